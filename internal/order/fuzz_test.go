package order

import "testing"

// FuzzNumber: text that is accepted is the one spelling of its number.
func FuzzNumber(f *testing.F) {
	for _, s := range []string{
		"202611200000042", "2026112010000000", "202611209999999999", "20261120999999999", "2026112000000010", "202613010000001", "202602300000001", "202611200000000",
		"", "-02611200000042", "+02611200000042", "000001010000001", "999912319999999", "٢٠٢٦١١٢٠", "202611200000042 ", "20261120\x00000042",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNumber(s)
		if err != nil {
			return
		}
		if n.String() != s || n.Count() < 1 || NumberOf(n.Day(), n.Count()) != n || n <= 0 {
			t.Fatalf("%q was read as %d, which is %s, the %d. of %d", s, n, n, n.Count(), n.Day())
		}
	})
}
