package ledger

import (
	"context"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// lease is the rest of the block of order numbers granted to this process. It is a value: a batch works on a copy, and the
// copy replaces the original when the batch is committed, together with the grant it may contain.
type lease struct {
	day       order.Day
	next, end int64 // counts of the day; end is exclusive
}

// take gives the next number. The caller has made sure that there is one.
func (n *lease) take() order.Number {
	count := n.next
	n.next++
	return order.NumberOf(n.day, count)
}

// leaseFor gives a lease that holds at least want numbers of the day of now. The days of one process never go back, even when
// the clock does, so that its numbers rise. A batch that wants none takes no block.
func (l *Ledger) leaseFor(ctx context.Context, tx Tx, now time.Time, want int) (lease, error) {
	n := l.numbers
	day := max(order.DayOf(now.In(l.opt.TimeZone)), n.day)
	if want == 0 || day == n.day && n.end-n.next >= int64(want) {
		return n, nil
	}
	if day != n.day && n.day != 0 {
		failpoint.Hit("numbers.new_day")
	}
	block := max(l.opt.BlockSize, int64(want))
	first, err := tx.GrantNumbers(ctx, day, block)
	if err != nil {
		return lease{}, err
	}
	return lease{day: day, next: first, end: first + block}, nil
}
