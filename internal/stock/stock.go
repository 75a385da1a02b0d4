// Package stock keeps the units of one product: received = available + held + sold, none of them below zero, ever.
package stock

import (
	"errors"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// ErrShort is returned when more units are wanted than there are.
var ErrShort = errors.New("not enough units")

// Stock is the state of one product's units. Available is what the other three leave, so it cannot be wrong.
type Stock struct {
	ProductID product.ID
	Received  int64
	Held      int64
	Sold      int64
	Version   int64 // the number of entries in its ledger
	Events    int64 // the number of events told about it
}

// Available is what can still be ordered.
func (s *Stock) Available() int64 { return s.Received - s.Held - s.Sold }

// Kind says why an entry stands in the stock ledger.
type Kind string

// The kinds of entries. A hold ends exactly once: in a sale or a release.
const (
	Received Kind = "received" // delivered, or written off when negative
	Held     Kind = "held"     // an order was placed
	Sold     Kind = "sold"     // it was paid
	Released Kind = "released" // it was cancelled or expired
)

// Entry is one append-only line of the stock ledger: what one cause did to one product. Version numbers a product's
// entries 1, 2, 3, …, so that its whole history can be replayed in order.
type Entry struct {
	ProductID product.ID
	Version   int64
	Kind      Kind
	Available int64 // the change of each
	Held      int64
	Sold      int64
	OrderNo   int64  // 0 when no order caused it
	Reason    string // the merchant's, for Received
	Ref       string // the merchant's, for Received: counts once
	At        time.Time
}

// Hold sets quantity units aside for a pending order.
func (s *Stock) Hold(quantity int64) (Entry, error) {
	if quantity <= 0 || quantity > s.Available() {
		return Entry{}, ErrShort
	}
	s.Held += quantity
	return s.entry(Held, -quantity, quantity, 0), nil
}

// Sell turns a hold of quantity units into a sale.
func (s *Stock) Sell(quantity int64) (Entry, error) {
	if quantity <= 0 || quantity > s.Held {
		return Entry{}, ErrShort
	}
	s.Held -= quantity
	s.Sold += quantity
	return s.entry(Sold, 0, -quantity, quantity), nil
}

// Release gives a hold of quantity units back.
func (s *Stock) Release(quantity int64) (Entry, error) {
	if quantity <= 0 || quantity > s.Held {
		return Entry{}, ErrShort
	}
	s.Held -= quantity
	return s.entry(Released, quantity, -quantity, 0), nil
}

// Receive adds delta units, or takes -delta of the available ones away.
func (s *Stock) Receive(delta int64) (Entry, error) {
	if delta < -s.Available() {
		return Entry{}, ErrShort
	}
	s.Received += delta
	return s.entry(Received, delta, 0, 0), nil
}

func (s *Stock) entry(kind Kind, available, held, sold int64) Entry {
	s.Version++
	return Entry{ProductID: s.ProductID, Version: s.Version, Kind: kind, Available: available, Held: held, Sold: sold}
}

// AppendJSON appends the stock as the API and its events show it.
func (s *Stock) AppendJSON(b []byte) []byte {
	b = append(b, `{"product_id":`...)
	b = wire.AppendString(b, s.ProductID)
	b = append(b, `,"received":`...)
	b = strconv.AppendInt(b, s.Received, 10)
	b = append(b, `,"available":`...)
	b = strconv.AppendInt(b, s.Available(), 10)
	b = append(b, `,"held":`...)
	b = strconv.AppendInt(b, s.Held, 10)
	b = append(b, `,"sold":`...)
	b = strconv.AppendInt(b, s.Sold, 10)
	b = append(b, `,"version":`...)
	b = strconv.AppendInt(b, s.Version, 10)
	return append(b, '}')
}
