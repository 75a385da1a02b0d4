package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// Cancel ends a pending order on the wish of its buyer or the merchant and gives its stock back.
type Cancel struct {
	Number order.Number
	Reason string
}

func (c Cancel) lane() Lane { return Settle }

func (c Cancel) wants(w *Want) { w.Orders = append(w.Orders, c.Number) }

func (c Cancel) decide(b *Books) (order.Order, error) {
	o := b.Orders[c.Number]
	if o == nil {
		return order.Order{}, fault.ErrNotFound.Detailf("There is no such order.")
	}
	if o.Status != order.Pending {
		failpoint.HitAs("cancel.lost_to", string(o.Status))
		return order.Order{}, fault.ErrNotCancellable.With("status", string(o.Status))
	}
	b.release(o, order.Cancelled, c.Reason, event.OrderCancelled)
	return *o, nil
}

// release ends a pending order without money: its units are for sale again, to this buyer too.
func (b *Books) release(o *order.Order, to order.Status, reason string, tells event.Type) {
	b.moveLines(o, (*stock.Stock).Release)
	b.countUnits(o, -1)
	b.closePayments(o)
	b.step(o, to, reason, tells)
}
