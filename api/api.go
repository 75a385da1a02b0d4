// Package api is what travels over the wire: the JSON shapes of API version 1, its error codes, and the OpenAPI document
// that describes them. It is shared by the server, which is tested against it, and by clients.
package api

import (
	_ "embed"
	"encoding/json"
)

// Document is the OpenAPI 3.1 document, as it is served at /openapi.json.
//
//go:embed openapi.json
var Document []byte

// Money is an amount in minor units (cents, fen) of a currency.
type Money struct {
	Amount   int64  `json:"amount" minimum:"0" doc:"Minor units: 1999 is CNY 19.99."`
	Currency string `json:"currency" pattern:"^[A-Z]{3}$" doc:"ISO 4217 code." example:"CNY"`
}

// Page is one page of a list.
type Page[T any] struct {
	Data []T `json:"data"`
	// NextCursor is given back as ?cursor= for the next page. It is nil on the last one; the log of events has none that is
	// the last.
	NextCursor *string `json:"next_cursor" doc:"For ?cursor=; null on the last page."`
}

// Metadata is a JSON object that belongs to the caller: up to 4 kB as compact JSON. It comes back with its names sorted and
// its numbers as they were written.
type Metadata = json.RawMessage
