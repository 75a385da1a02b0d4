package money

import (
	"math"
	"testing"
)

func TestAmountsAreShownInTheirCurrency(t *testing.T) {
	for _, c := range []struct {
		amount   int64
		currency string
		want     string
	}{
		{0, "CNY", "CNY 0.00"},
		{5, "EUR", "EUR 0.05"},
		{1999, "USD", "USD 19.99"},
		{123_456, "CNY", "CNY 1,234.56"},
		{100_000_000, "CNY", "CNY 1,000,000.00"},
		{0, "JPY", "JPY 0"},
		{12_000, "JPY", "JPY 12,000"},
		{999, "KRW", "KRW 999"},
		{5, "KWD", "KWD 0.005"},
		{1_234_567, "KWD", "KWD 1,234.567"},
		{math.MaxInt64, "XXX", "XXX 92,233,720,368,547,758.07"},
	} {
		if got := (Money{Amount: c.amount, Currency: c.currency}).Text(); got != c.want {
			t.Errorf("%d %s: got %q, want %q", c.amount, c.currency, got, c.want)
		}
	}
}
