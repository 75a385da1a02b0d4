package ledger

import (
	"context"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Block is a stretch of order numbers of a day that was granted by the record: Count of them, from First on.
type Block struct{ First, Count int64 }

// end is the count behind the last of the block.
func (b Block) end() int64 { return b.First + b.Count }

// Valid reports whether a block can have been granted.
func (b Block) Valid() bool {
	return b.First >= 1 && b.Count >= 1 && b.Count <= BlockMax && b.First <= order.CountMax-b.Count
}

// BlockMax is the most that a block holds.
const BlockMax = 1_000_000

// lease is what is left of the blocks granted to this process. It is a value: a batch works on a copy, and the copy replaces the
// original when the batch is committed, together with the grant it may contain.
type lease struct {
	day   order.Day
	now   Block   // numbers are given from this one
	more  []Block // then from these; never changed, for copies share them
	above int64   // no number below it may still be given, so that they rise
}

// take gives the next number. The caller has made sure that there is one.
func (n *lease) take() order.Number {
	for n.now.Count == 0 {
		n.now, n.more = n.more[0], n.more[1:]
	}
	count := n.now.First
	n.now.First++
	n.now.Count--
	return order.NumberOf(n.day, count)
}

// left is how many numbers can be taken.
func (n *lease) left() int64 {
	left := n.now.Count
	for _, b := range n.more {
		left += b.Count
	}
	return left
}

// with is the lease with blocks behind what is left. A block that is not above all others is left out: its numbers are lost.
func (n lease) with(blocks ...Block) lease {
	more := append([]Block(nil), n.more...)
	for _, b := range blocks {
		if b.Valid() && b.First >= n.above {
			more = append(more, b)
			n.above = b.end()
		}
	}
	n.more = more
	return n
}

// leaseFor gives a lease that holds at least want numbers of the day of now. The days of one process never go back, even when
// the clock does, so that its numbers rise. A batch that wants none takes no block.
//
// Blocks that wait for a process to take them are this one's at once, whatever becomes of the batch. A block that the batch's own
// transaction grants is committed with it.
func (l *Ledger) leaseFor(ctx context.Context, tx Tx, now time.Time, want int) (lease, error) {
	n := l.numbers
	day := max(order.DayOf(now.In(l.opt.TimeZone)), n.day)
	if want == 0 || day == n.day && n.left() >= int64(want) {
		return n, nil
	}
	if day != n.day {
		if n.day != 0 {
			failpoint.Hit("numbers.new_day")
		}
		n = lease{day: day}
	}
	if !l.collided {
		if blocks := l.opt.Granted(ctx, day, n.above, int64(want)-n.left()); len(blocks) > 0 {
			n = n.with(blocks...)
			l.keep(n)
		}
	}
	missing := int64(want) - n.left()
	if missing <= 0 {
		return n, nil
	}
	block := max(l.opt.BlockSize, missing)
	first, err := tx.GrantNumbers(ctx, day, block)
	if err != nil {
		return lease{}, err
	}
	return n.with(Block{first, block}), nil
}

// keep holds on to a lease, and lets others see what is left of it.
func (l *Ledger) keep(n lease) {
	l.numbers = n
	l.numbersDay.Store(int64(n.day))
	l.numbersLeft.Store(n.left())
}

// Numbers tells how many order numbers of which day this process holds and has not given yet.
func (l *Ledger) Numbers() (day order.Day, left int64) {
	return order.Day(l.numbersDay.Load()), l.numbersLeft.Load()
}
