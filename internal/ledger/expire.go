package ledger

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// NotPaid is the close_reason of expired orders.
const NotPaid = "not_paid"

// Expire ends an order whose time to pay is over. Whoever names a number here may be wrong about it: the rule looks.
type Expire struct{ Number order.Number }

// Expired is the answer to Expire. Of an order that was still in time it says until when.
type Expired struct {
	Done  bool
	Early time.Time // pay_by of an order that is pending and not due; zero otherwise
	Lag   time.Duration
}

func (c Expire) lane() Lane { return Settle }

func (c Expire) wants(w *Want) { w.Orders = append(w.Orders, c.Number) }

func (c Expire) decide(b *Books) (Expired, error) {
	o := b.Orders[c.Number]
	switch {
	case o == nil:
		return Expired{}, nil
	case o.Status != order.Pending:
		failpoint.HitAs("expire.lost_to", string(o.Status))
		if planted.Bug(planted.ReleasedTwice) && !o.Status.CountsForLimit() {
			b.moveLines(o, (*stock.Stock).Release)
		}
		return Expired{}, nil
	case !o.Due(b.Now) && !planted.Bug(planted.ExpiredByProcessClock):
		failpoint.Hit("expire.early")
		return Expired{Early: o.PayBy}, nil
	}
	failpoint.Hit("expire.done")
	b.release(o, order.Expired, NotPaid, event.OrderExpired)
	return Expired{Done: true, Lag: b.Now.Sub(o.PayBy)}, nil
}
