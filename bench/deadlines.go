package bench

import (
	"context"
	"fmt"
	"time"
)

const lookPause = 100 * time.Millisecond

// lags is how late orders expired: the time from pay_by to closed_at, both the database's own, as the order.expired events
// tell them.
type lags struct {
	Histogram
	early             int64 // closed before pay_by: must never happen
	missing           int   // not expired when the patience was over
	firstDue, lastDue time.Time
	lastOver          time.Time
}

// lagsOf waits until all of these orders have expired, or the patience is over. It reads the log from a cursor on and gives
// back how far it came.
func lagsOf(ctx context.Context, shop *shop, cursor string, orders []uint64, patience time.Duration) (*lags, string, error) {
	waiting := make(map[uint64]struct{}, len(orders))
	for _, order := range orders {
		waiting[order] = struct{}{}
	}
	l := &lags{}
	for ends := time.Now().Add(patience); len(waiting) > 0 && time.Now().Before(ends); {
		page, next, err := shop.expired(ctx, cursor)
		if err != nil {
			return nil, cursor, err
		}
		for i := range page {
			// A page that is read again for want of a new cursor holds orders that are no longer waited for.
			if _, ours := waiting[page[i].OrderNo]; ours {
				delete(waiting, page[i].OrderNo)
				l.add(&page[i])
			}
		}
		if len(page) == pageOfEvents && next != cursor {
			cursor = next
			continue
		}
		cursor = next
		select {
		case <-ctx.Done():
			return nil, cursor, context.Cause(ctx)
		case <-time.After(lookPause):
		}
	}
	l.missing = len(waiting)
	return l, cursor, nil
}

func (l *lags) add(o *expiredOrder) {
	if o.ClosedAt.Before(o.PayBy) {
		l.early++
	}
	l.Record(o.ClosedAt.Sub(o.PayBy))
	if l.firstDue.IsZero() || o.PayBy.Before(l.firstDue) {
		l.firstDue = o.PayBy
	}
	if o.PayBy.After(l.lastDue) {
		l.lastDue = o.PayBy
	}
	if o.ClosedAt.After(l.lastOver) {
		l.lastOver = o.ClosedAt
	}
}

func (l *lags) check(name string) Check {
	return Check{
		Name: name, OK: l.early == 0 && l.missing == 0,
		Detail: fmt.Sprintf("%d expired, %d early, %d not at all", l.Count(), l.early, l.missing),
	}
}

// checkFree proves that expired orders gave their stock back.
func checkFree(ctx context.Context, s *sale) (Check, error) {
	for _, product := range s.products {
		level, err := s.stand.shop.stock(ctx, product)
		if err != nil {
			return Check{}, err
		}
		if level.Available != level.Received {
			return Check{Name: "stock given back", Detail: fmt.Sprintf("%s: %+v", product, level)}, nil
		}
	}
	return Check{Name: "stock given back", OK: true, Detail: "all of it is available again"}, nil
}
