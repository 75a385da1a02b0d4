// Package product is the catalogue's noun: a thing on sale, its price and its sale rules.
package product

import (
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// ID is the merchant's own string for a product: 1 to 128 printable characters, compared byte by byte.
type ID string

// Counting is whether a product's units are counted per user. It begins when a limit is first set, and does not end.
type Counting int64

// The ways of counting.
const (
	NotCounted   Counting = iota
	CountedAll            // from its first order on: a user without a counter has none
	CountedSince          // there were orders before: a user without a counter may have some
)

// Product is one thing on sale.
type Product struct {
	ID          ID
	Title       string
	Price       money.Money
	MaxPerUser  int64         // units one user may hold, have paid and have had fulfilled; 0: no limit
	PayWindow   time.Duration // 0: the desk's default
	OnSaleFrom  time.Time     // zero: always has been
	OnSaleUntil time.Time     // zero: no end
	Active      bool
	Counting    Counting
	Version     int64
	CreatedAt   time.Time
	UpdatedAt   time.Time

	// The auditor stops the sale of a product whose numbers do not add up, until an operator has looked.
	Quarantine    string    // in what they differ; "": the sale is not stopped
	QuarantinedAt time.Time // since when
	Released      string    // the difference that an operator has let pass
}

// Quarantined reports whether the product's sale was stopped because its numbers do not add up.
func (p *Product) Quarantined() bool { return p.Quarantine != "" }

// OnSale reports whether the product can be ordered at now. The end is exclusive.
func (p *Product) OnSale(now time.Time) bool {
	return p.Active &&
		(p.OnSaleFrom.IsZero() || !now.Before(p.OnSaleFrom)) &&
		(p.OnSaleUntil.IsZero() || now.Before(p.OnSaleUntil))
}

// AppendJSON appends the product as the API shows it, with the units that can be ordered.
func (p *Product) AppendJSON(b []byte, available int64) []byte {
	b = wire.AppendString(append(b, `{"product_id":`...), p.ID)
	b = wire.AppendString(append(b, `,"title":`...), p.Title)
	b = wire.AppendMoney(append(b, `,"price":`...), p.Price)
	b = append(b, `,"max_per_user":`...)
	if p.MaxPerUser > 0 {
		b = strconv.AppendInt(b, p.MaxPerUser, 10)
	} else {
		b = append(b, `null`...)
	}
	b = append(b, `,"pay_window":`...)
	if p.PayWindow > 0 {
		b = wire.AppendString(b, p.PayWindow.String())
	} else {
		b = append(b, `null`...)
	}
	b = wire.AppendTime(append(b, `,"on_sale_from":`...), p.OnSaleFrom)
	b = wire.AppendTime(append(b, `,"on_sale_until":`...), p.OnSaleUntil)
	b = strconv.AppendBool(append(b, `,"active":`...), p.Active)
	b = strconv.AppendInt(append(b, `,"available":`...), available, 10)
	b = strconv.AppendInt(append(b, `,"version":`...), p.Version, 10)
	b = wire.AppendTime(append(b, `,"created_at":`...), p.CreatedAt)
	b = wire.AppendTime(append(b, `,"updated_at":`...), p.UpdatedAt)
	return append(b, '}')
}
