package money

import (
	"math/big"
	"testing"
)

// FuzzArithmetic: what is worked out is what it is among numbers without bounds, or it is said that it does not fit.
func FuzzArithmetic(f *testing.F) {
	for _, n := range []int64{0, 1, -1, 9900, 1<<31 - 1, 1 << 31, 1<<32 + 1, 1 << 62, 1<<63 - 1, -1 << 63, 3037000500} {
		f.Add(n, int64(1), "CNY", "CNY")
		f.Add(n, n, "CNY", "EUR")
		f.Add(int64(1<<63-1), n, "cny", "")
	}
	f.Fuzz(func(t *testing.T, a, b int64, currency, other string) {
		m := Money{a, currency}
		product, err := m.Times(b)
		want := new(big.Int).Mul(big.NewInt(a), big.NewInt(b))
		if fits := a >= 0 && b >= 0 && want.IsInt64(); fits != (err == nil) || fits && (product.Amount != want.Int64() || product.Currency != currency) {
			t.Fatalf("%d × %d: got %+v, %v, want %s", a, b, product, err, want)
		}
		sum, err := m.Plus(Money{b, other})
		want.Add(big.NewInt(a), big.NewInt(b))
		if fits := a >= 0 && b >= 0 && want.IsInt64() && currency == other; fits != (err == nil) || fits && sum.Amount != want.Int64() {
			t.Fatalf("%d %s + %d %s: got %+v, %v, want %s", a, currency, b, other, sum, err, want)
		}
		if ValidCurrency(currency) && (len(currency) != 3 || currency < "AAA" || currency > "ZZZ") {
			t.Fatalf("%q is a currency", currency)
		}
	})
}
