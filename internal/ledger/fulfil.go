package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Fulfil says that a paid order was handed over.
type Fulfil struct {
	Number order.Number
	Reason string
}

func (c Fulfil) lane() Lane { return Open }

func (c Fulfil) wants(w *Want) { w.Orders = append(w.Orders, c.Number) }

func (c Fulfil) decide(b *Books) (order.Order, error) {
	o := b.Orders[c.Number]
	if o == nil {
		return order.Order{}, fault.ErrNotFound.Detailf("There is no such order.")
	}
	if o.Status != order.Paid {
		return order.Order{}, fault.ErrNotFulfillable.With("status", string(o.Status))
	}
	b.step(o, order.Fulfilled, c.Reason, event.OrderFulfilled)
	return *o, nil
}
