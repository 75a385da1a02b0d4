// Package limits names every bound on what comes from outside, and checks text against it.
package limits

import (
	"fmt"
	"time"
	"unicode"
	"unicode/utf8"
)

// The bounds of API version 1.
const (
	BodyBytes         = 64 << 10 // one request body
	MetadataBytes     = 4 << 10  // one metadata object, as compact JSON
	JSONDepth         = 32       // nesting of any body
	IDChars           = 128      // a product's, user's or transaction's id
	KeyChars          = 255      // an Idempotency-Key
	TitleChars        = 500
	ReasonChars       = 500
	NameChars         = 200 // of a user or an API key
	PhoneChars        = 50
	EmailChars        = 320
	AddressChars      = 2000
	LinesPerOrder     = 100
	QuantityPerLine   = 10_000
	StockDelta        = 1_000_000_000
	StockReceived     = 1_000_000_000_000
	PriceAmount       = 1_000_000_000_000
	PayWindowMin      = time.Second
	PayWindowMax      = 30 * 24 * time.Hour
	PageDefault       = 50
	PageMax           = 200
	EventsScanned     = 10_000 // positions of the log that one page may look through
	OrdersScanned     = 2000   // orders that one page of a list of lately may look through …
	UserOrdersScanned = 200    // … and of one user's
	PaymentsOfOrder   = 50     // attempts to pay one order, open and failed
	APIKeys           = 1000   // that open something
	SessionsOfUser    = 20     // that are good; a new one ends the one used longest ago
	GuardedOrders     = 20     // of a user that the guards may be set to
	CoolDownMax       = 7 * 24 * time.Hour
	ReplayFor         = 72 * time.Hour // the same Idempotency-Key gets the same answer for this long at least
)

// ID says what is wrong with an identifier, or "" when nothing is: 1 to 128 printable characters.
func ID(s string) string {
	switch {
	case s == "":
		return "is required"
	default:
		return Text(s, IDChars)
	}
}

// Text says what is wrong with a line of text of up to maxChars characters, or "". Control characters are refused: NUL fails
// a whole batch on PostgreSQL, line breaks forge log lines. So is U+FFFD, which stands for bytes that were not UTF-8.
func Text(s string, maxChars int) string {
	if len(s) > maxChars && utf8.RuneCountInString(s) > maxChars {
		return fmt.Sprintf("must be at most %d characters", maxChars)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] >= 0x7f {
			return printable(s)
		}
	}
	return ""
}

func printable(s string) string {
	if !utf8.ValidString(s) {
		return "must be valid UTF-8"
	}
	for _, r := range s {
		if r != ' ' && !unicode.IsGraphic(r) || r == utf8.RuneError {
			return "must be printable characters only"
		}
	}
	return ""
}
