package ledger

import (
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// Guards keep one user from holding stock that he does not pay for. What is zero keeps nobody from anything.
type Guards struct {
	UnpaidMax    int           // orders that may wait to be paid at a time
	LeftMax      int           // orders that may be left to expire …
	LeftWithin   time.Duration // … within this time, before …
	CoolDown     time.Duration // … so long no other may be placed
	RepeatWithin time.Duration // the same lines may not be ordered again under another key
}

func (g *Guards) on() bool { return g.UnpaidMax > 0 || g.LeftMax > 0 || g.RepeatWithin > 0 }

// historyMax bounds the orders of a user that are remembered for the guards; the newest are.
const historyMax = 64

// History is a user's newest orders that were placed while a guard was on, oldest first, as the record has them: their numbers are
// kept with the user, and locked; what became of them is asked of themselves. So whatever ends an order has nothing to count down.
type History struct {
	Orders  []*order.Order
	Version int64 // of the row; 0: there is none yet
}

// HistoryChange is a user's newest orders as they are to be; the row must still have version Was.
type HistoryChange struct {
	Orders []order.Number
	Was    int64
}

// Holds is what became of orders in a batch, for those who watch how much that is held is paid for.
type Holds struct {
	Paid, Cancelled, Expired int
	Shares                   []float64 // of a user's remembered orders that ended, how many were paid: at each that was paid or expired
	CoolingDown              int       // users who have to wait from now on
}

// history gives what is remembered of a user, with what this batch has made of it; nil while no guard is on.
func (b *Books) history(id user.ID) *History {
	h := b.Histories[id]
	if h == nil {
		return nil
	}
	for i, o := range h.Orders {
		if locked := b.Orders[o.Number]; locked != nil {
			h.Orders[i] = locked
		}
	}
	return h
}

// mayPlace refuses a buyer who has to wait before he may place another order.
func (c Place) mayPlace(b *Books) error {
	h := b.history(c.UserID)
	if h == nil {
		return nil
	}
	g := &b.guards
	unpaid, next := 0, time.Duration(0)
	for _, o := range h.Orders {
		if o.Status == order.Pending {
			if left := o.PayBy.Sub(b.Now); unpaid == 0 || left < next {
				next = left
			}
			unpaid++
		}
	}
	if g.UnpaidMax > 0 && unpaid >= g.UnpaidMax {
		failpoint.Hit("place.too_many_unpaid")
		return fault.ErrTooManyUnpaid.With("max_unpaid", int64(g.UnpaidMax)).After(max(next, time.Second))
	}
	if until := g.coolsUntil(h.Orders); until.After(b.Now) {
		failpoint.Hit("place.cooling_down")
		return fault.ErrTooManyUnpaid.Detailf("Too many orders were left to expire; no other can be placed for a while.").After(until.Sub(b.Now))
	}
	for _, o := range h.Orders {
		age := b.Now.Sub(o.CreatedAt)
		if age < g.RepeatWithin && o.Status.CountsForLimit() && c.sameLines(o) {
			failpoint.Hit("place.repeated")
			return fault.ErrRateLimited.Detailf("The same lines were ordered a moment ago under another Idempotency-Key.").
				With("order_no", o.Number.String()).After(g.RepeatWithin - age)
		}
	}
	return nil
}

// sameLines: both name each product once, so as many lines that are all there are the same ones.
func (c Place) sameLines(o *order.Order) bool {
	return len(o.Lines) == len(c.Lines) && !slices.ContainsFunc(c.Lines, func(l PlaceLine) bool {
		return !slices.ContainsFunc(o.Lines, func(ol order.Line) bool { return ol.ProductID == l.ProductID && ol.Quantity == l.Quantity })
	})
}

// coolsUntil is when a user may place orders again: CoolDown after the last order that was the one too many. The zero time: he need
// not wait.
func (g *Guards) coolsUntil(orders []*order.Order) (until time.Time) {
	if g.LeftMax == 0 {
		return until
	}
	var left []time.Time
	for _, o := range orders {
		if o.Status == order.Expired {
			left = append(left, o.ClosedAt)
		}
	}
	slices.SortFunc(left, time.Time.Compare)
	for i := g.LeftMax - 1; i < len(left); i++ {
		if left[i].Sub(left[i-g.LeftMax+1]) <= g.LeftWithin {
			until = left[i].Add(g.CoolDown)
		}
	}
	return until
}

// remember adds a placed order to what is remembered of its user.
func (b *Books) remember(o *order.Order) {
	if h := b.history(o.UserID); h != nil {
		h.Orders = append(h.Orders, o)
		b.changes.Histories[o.UserID] = HistoryChange{Was: h.Version} // its orders are listed when all are known
	}
}

// listHistories says which orders are remembered from now on: not those whose end no guard asks for any more.
func (b *Books) listHistories() {
	for id, change := range b.changes.Histories {
		h := b.history(id)
		for _, o := range h.Orders {
			if !b.forgettable(o) {
				change.Orders = append(change.Orders, o.Number)
			}
		}
		change.Orders = change.Orders[max(0, len(change.Orders)-historyMax):]
		b.changes.Histories[id] = change
	}
}

func (b *Books) forgettable(o *order.Order) bool {
	g := &b.guards
	return o.Status != order.Pending && b.Now.Sub(o.PayBy) > g.LeftWithin+g.CoolDown && b.Now.Sub(o.CreatedAt) > g.RepeatWithin
}

// ended counts what became of an order, and tells when its user has to wait because of it.
func (b *Books) ended(o *order.Order) {
	switch o.Status {
	case order.Paid:
		b.holds.Paid++
	case order.Cancelled:
		b.holds.Cancelled++
		return
	case order.Expired:
		b.holds.Expired++
	case order.Pending, order.Fulfilled, order.Refunded:
		return
	}
	h := b.history(o.UserID)
	if h == nil || !slices.Contains(h.Orders, o) {
		return
	}
	var paid, expired int64
	for _, other := range h.Orders {
		switch {
		case other.Status == order.Expired:
			expired++
		case !other.PaidAt.IsZero():
			paid++
		}
	}
	b.holds.Shares = append(b.holds.Shares, float64(paid)/float64(paid+expired))
	before := slices.DeleteFunc(slices.Clone(h.Orders), func(other *order.Order) bool { return other == o })
	until := b.guards.coolsUntil(h.Orders)
	if o.Status != order.Expired || !until.After(b.Now) || b.guards.coolsUntil(before).After(b.Now) {
		return
	}
	failpoint.Hit("guards.cooling_down")
	b.holds.CoolingDown++
	data := wire.AppendString([]byte(`{"user_id":`), string(o.UserID))
	data = strconv.AppendInt(append(data, `,"paid":`...), paid, 10)
	data = strconv.AppendInt(append(data, `,"expired":`...), expired, 10)
	data = wire.AppendTime(append(data, `,"until":`...), until)
	b.tellAbout(o, event.UserCoolingDown, append(data, '}'))
}
