// Package wire says how a string, a time and an amount are written in the API's JSON. The nouns that the ledger renders
// inside its loop are written by hand with it.
package wire

import (
	"strconv"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/internal/money"
)

// TimeFormat is RFC 3339 in UTC with milliseconds.
const TimeFormat = "2006-01-02T15:04:05.000Z"

// AppendString quotes s. Everything in the record is valid UTF-8; should it not be, it is shown with replacements.
func AppendString[S ~string](b []byte, s S) []byte {
	b, _ = jsontext.AppendQuote(b, string(s))
	return b
}

// AppendOptional is AppendString, with null for "".
func AppendOptional[S ~string](b []byte, s S) []byte {
	if s == "" {
		return append(b, `null`...)
	}
	return AppendString(b, s)
}

// AppendTime appends t as a string, or null for the zero time.
func AppendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, `null`...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, TimeFormat)
	return append(b, '"')
}

// AppendMoney appends an amount of minor units with its currency.
func AppendMoney(b []byte, m money.Money) []byte {
	b = append(b, `{"amount":`...)
	b = strconv.AppendInt(b, m.Amount, 10)
	b = append(b, `,"currency":"`...)
	b = append(b, m.Currency...)
	return append(b, `"}`...)
}

// AppendObject appends a JSON object that is kept as text; empty text is the empty object.
func AppendObject(b, object []byte) []byte {
	if len(object) == 0 {
		return append(b, `{}`...)
	}
	return append(b, object...)
}
