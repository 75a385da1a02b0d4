package money

import "strconv"

// digits is how many decimals a currency has, by ISO 4217; whatever is not named has two.
func digits(currency string) int {
	switch currency {
	case "BIF", "CLP", "DJF", "GNF", "ISK", "JPY", "KMF", "KRW", "PYG", "RWF", "UGX", "UYI", "VND", "VUV", "XAF", "XOF", "XPF":
		return 0
	case "BHD", "IQD", "JOD", "KWD", "LYD", "OMR", "TND":
		return 3
	case "CLF", "UYW":
		return 4
	default:
		return 2
	}
}

// Text shows money as people read it: CNY 1,234.50.
func (m Money) Text() string {
	places := digits(m.Currency)
	text := strconv.FormatInt(m.Amount, 10)
	for len(text) <= places {
		text = "0" + text
	}
	whole, rest := text[:len(text)-places], text[len(text)-places:]
	b := append([]byte(m.Currency), ' ')
	for i := range len(whole) {
		if i > 0 && (len(whole)-i)%3 == 0 {
			b = append(b, ',')
		}
		b = append(b, whole[i])
	}
	if places > 0 {
		b = append(append(b, '.'), rest...)
	}
	return string(b)
}
