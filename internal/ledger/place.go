package ledger

import (
	"fmt"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Place is a buyer's wish for an order. Lines name each product once.
type Place struct {
	Key         Key
	Fingerprint Fingerprint
	UserID      user.ID
	Lines       []PlaceLine
	Metadata    []byte
}

// PlaceLine wants a quantity of a product. Field names the line as the buyer sent it.
type PlaceLine struct {
	ProductID product.ID
	Quantity  int64
	Field     string
}

// Placed is the answer to Place: the bytes of the 201, which the same key gets again as they are.
type Placed struct {
	Number   order.Number
	Body     []byte
	Replayed bool
}

func (c Place) lane() Lane { return Open }

func (c Place) wants(w *Want) {
	w.Keys = append(w.Keys, c.Key)
	for _, l := range c.Lines {
		w.Products = append(w.Products, l.ProductID)
		w.Buyers = append(w.Buyers, Buyer{l.ProductID, c.UserID})
	}
	if w.Guarded {
		w.Histories = append(w.Histories, c.UserID)
	}
}

func (c Place) decide(b *Books) (Placed, error) {
	if seen, ok := b.Keys[c.Key]; ok {
		if seen.Fingerprint != c.Fingerprint {
			return Placed{}, fault.ErrKeyReused
		}
		if len(seen.Body) == 0 { // keys are forgotten before the answers: the record is broken, and an empty 201 would hide it
			return Placed{}, fault.ErrInternal.Because(fmt.Errorf("order %s has a key and no first event", seen.Number))
		}
		return Placed{Number: seen.Number, Body: seen.Body, Replayed: true}, nil
	}
	o, err := c.price(b)
	if err != nil {
		return Placed{}, err
	}
	if err := c.mayPlace(b); err != nil {
		return Placed{}, err
	}
	for _, l := range c.Lines {
		if err := c.allowed(b, l); err != nil {
			return Placed{}, err
		}
	}
	return c.accept(b, o), nil
}

// price looks at what the lines cost and how long they can be held: the catalogue's price, in one currency, for the
// shortest of the products' pay windows.
func (c Place) price(b *Books) (*order.Order, error) {
	o := &order.Order{
		UserID: c.UserID, Status: order.Pending, Lines: make([]order.Line, len(c.Lines)),
		CreatedAt: b.Now, Version: 1, Metadata: c.Metadata,
	}
	unknown := fault.ErrInvalid
	window := time.Duration(0)
	for i, l := range c.Lines {
		p := b.Products[l.ProductID]
		if p == nil {
			unknown = unknown.Field(l.Field+".product_id", "there is no such product")
			continue
		}
		o.Lines[i] = order.Line{ProductID: p.ID, Title: p.Title, Quantity: l.Quantity, UnitPrice: p.Price.Amount}
		sum, err := p.Price.Times(l.Quantity)
		if err == nil && i > 0 && len(unknown.Fields) == 0 {
			sum, err = o.Total.Plus(sum)
		}
		switch {
		case err == nil:
			o.Total = sum
		case err == money.ErrCurrencies: //nolint:errorlint // returned bare
			return nil, fault.ErrInvalid.Field(l.Field+".product_id", "all lines must be in one currency")
		default:
			return nil, fault.ErrInvalid.Field(l.Field+".quantity", "the total is too large")
		}
		w := p.PayWindow
		if w == 0 {
			w = b.payWindow
		}
		if window == 0 || w < window {
			window = w
		}
	}
	if len(unknown.Fields) > 0 {
		return nil, unknown
	}
	o.PayBy = b.Now.Add(window)
	return o, nil
}

// allowed looks whether the buyer may have a line: on sale, within his limit, in stock.
func (c Place) allowed(b *Books, l PlaceLine) error {
	p := b.Products[l.ProductID]
	if p.Quarantined() {
		failpoint.Hit("place.quarantined")
		return SaleStopped(l.ProductID)
	}
	if !p.OnSale(b.Now) {
		failpoint.Hit("place.not_on_sale")
		return fault.ErrNotOnSale.With("product_id", string(l.ProductID))
	}
	if p.MaxPerUser > 0 && !planted.Bug(planted.LimitLookedUpBefore) && b.Units[Buyer{l.ProductID, c.UserID}]+l.Quantity > p.MaxPerUser {
		failpoint.Hit("place.limit")
		return fault.ErrPurchaseLimit.With("product_id", string(l.ProductID)).With("max_per_user", p.MaxPerUser)
	}
	if available := b.Stock[l.ProductID].Available(); available < l.Quantity {
		failpoint.Hit("place.out_of_stock")
		return fault.ErrOutOfStock.With("product_id", string(l.ProductID)).With("available", available)
	}
	return nil
}

// SaleStopped refuses an order of a product under quarantine.
func SaleStopped(id product.ID) error {
	return fault.ErrNotOnSale.Detailf("The sale of this product is stopped until somebody has looked at its numbers.").
		With("product_id", string(id))
}

func (c Place) accept(b *Books, o *order.Order) Placed {
	failpoint.Hit("place.accepted")
	o.Number = b.numbers.take()
	b.moveLines(o, (*stock.Stock).Hold)
	b.countUnits(o, +1)
	b.changes.NewOrders = append(b.changes.NewOrders, o)
	b.remember(o)
	body := b.tellOrder(o, event.OrderPlaced)
	answered := Answered{Fingerprint: c.Fingerprint, Number: o.Number, Body: body}
	b.Keys[c.Key] = answered
	b.changes.Keys[c.Key] = answered
	return Placed{Number: o.Number, Body: body}
}
