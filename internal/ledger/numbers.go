package ledger

import (
	"context"
	"errors"
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

// taken is what came of asking for blocks that were granted before.
type taken struct {
	day    order.Day
	blocks []Block
}

// errDayBegins ends a run whose record shows a day of which no numbers were asked for yet. The next run has them.
var errDayBegins = errors.New("a day begins")

// ask has blocks taken beside the batches, unless that is under way.
func (l *Ledger) ask(want int64) {
	if l.opt.Granted == nil || l.asked || l.collided || l.numbers.day == 0 {
		return
	}
	l.asked = true
	day, above := l.numbers.day, l.numbers.above
	go func() { l.taken <- taken{day, l.opt.Granted(context.Background(), day, above, want)} }()
}

// receive puts blocks that were asked for behind what is left. Those of a day that is over are lost, and those that came before
// the record granted higher ones.
func (l *Ledger) receive(t taken) {
	l.asked = false
	if t.day == l.numbers.day && !l.collided {
		l.keep(l.numbers.with(t.blocks...))
	}
}

// makeReady is called before a batch's transaction begins. It waits for blocks only when the batch may need more numbers than
// there are: nobody else waits then, for nothing is locked yet.
func (l *Ledger) makeReady(want int64) {
	l.wanted = want
	select {
	case t := <-l.taken:
		l.receive(t)
	default:
	}
	for range 2 { // fewer may have been asked for before, or have waited
		missing := want - l.numbers.left()
		if missing <= 0 {
			return
		}
		if l.ask(missing); !l.asked {
			return
		}
		t := <-l.taken
		l.receive(t)
		if t.day == l.numbers.day && len(t.blocks) == 0 {
			return // there are none
		}
	}
}

// refill asks for blocks after a batch, so that there is a whole block, and numbers for two batches like it.
func (l *Ledger) refill() {
	if missing := max(l.opt.BlockSize, 2*l.wanted) - l.numbers.left(); missing > 0 {
		l.ask(missing)
	}
}

// leaseFor gives a lease that holds at least want numbers of the day of now. The days of one process never go back, even when
// the clock does, so that its numbers rise. A batch that wants none takes no block.
//
// What is still missing the record grants, and the grant is committed with the batch.
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
		if l.opt.Granted != nil && !l.collided {
			l.keep(n)
			return lease{}, errDayBegins
		}
	}
	block := max(l.opt.BlockSize, int64(want)-n.left())
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
