package ledger

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Remind tells, once per order, that the time to pay is running out.
type Remind struct {
	Number order.Number
	Lead   time.Duration // an order that had no more time than this from the start is not reminded
}

// Reminded is the answer to Remind: whether this was the time.
type Reminded bool

func (c Remind) lane() Lane { return Open }

func (c Remind) wants(w *Want) { w.Orders = append(w.Orders, c.Number) }

func (c Remind) decide(b *Books) (Reminded, error) {
	o := b.Orders[c.Number]
	if o == nil || o.Status != order.Pending || o.Reminded || o.Due(b.Now) || o.PayBy.Sub(o.CreatedAt) <= c.Lead {
		return false, nil
	}
	failpoint.Hit("remind.told")
	b.changing(o)
	o.Reminded = true
	b.tellOrder(o, event.OrderExpiring)
	return true, nil
}
