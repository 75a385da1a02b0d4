package inproc

import (
	"container/heap"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// countdownMax bounds the deadlines in memory: 16 MB. What does not fit is found by the look at the record.
const countdownMax = 1 << 20

// Countdown names what is due next, to the millisecond, for deadlines within a horizon that moves with time. Beyond it the
// record keeps them; the expirer loads the next stretch before it begins.
type Countdown struct {
	mu      sync.Mutex
	next    deadlines
	horizon time.Time // deadlines up to here are known
	wake    chan struct{}
}

type deadline struct {
	payBy int64 // milliseconds
	no    order.Number
}

// NewCountdown makes an empty countdown.
func NewCountdown() *Countdown { return &Countdown{wake: make(chan struct{}, 1)} }

// Woken tells that an earlier deadline has come in.
func (c *Countdown) Woken() <-chan struct{} { return c.wake }

// Horizon is the time up to which deadlines are known.
func (c *Countdown) Horizon() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.horizon
}

// Extend moves the horizon before the deadlines up to it are loaded: an order placed meanwhile comes in by itself.
func (c *Countdown) Extend(to time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.horizon = to
}

// Add puts a deadline in.
func (c *Countdown) Add(no order.Number, payBy time.Time) {
	c.mu.Lock()
	first := c.add(no, payBy)
	c.mu.Unlock()
	if first {
		c.signal()
	}
}

func (c *Countdown) add(no order.Number, payBy time.Time) (first bool) {
	if len(c.next) >= countdownMax {
		return false
	}
	heap.Push(&c.next, deadline{payBy.UnixMilli(), no})
	return c.next[0].no == no
}

// Applied learns the deadlines of new orders from a commit.
func (c *Countdown) Applied(a *ledger.Applied) {
	first := false
	c.mu.Lock()
	for _, o := range a.Orders {
		if o.Status == order.Pending && o.Version == 1 && o.Events == 1 && !o.PayBy.After(c.horizon) {
			first = c.add(o.Number, o.PayBy) || first
		}
	}
	c.mu.Unlock()
	if first {
		c.signal()
	}
}

func (c *Countdown) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Driver names this countdown.
func (*Countdown) Driver() string { return "inproc" }

// Over need not be told: what was named is forgotten.
func (*Countdown) Over([]order.Number) {}

// Postpone puts a deadline in again that was named too early.
func (c *Countdown) Postpone(no order.Number, payBy time.Time) { c.Add(no, payBy) }

// Due takes out up to limit orders whose time is over at now, the earliest first. Other processes may name them, too.
func (c *Countdown) Due(now time.Time, limit int) (due []order.Number, leased bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.next) > 0 && len(due) < limit && c.next[0].payBy <= now.UnixMilli() {
		d, _ := heap.Pop(&c.next).(deadline)
		due = append(due, d.no)
	}
	return due, false
}

// Next is the earliest deadline, or the zero time.
func (c *Countdown) Next() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.next) == 0 {
		return time.Time{}
	}
	return time.UnixMilli(c.next[0].payBy)
}

// Len is the number of deadlines in memory.
func (c *Countdown) Len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.next)
}

type deadlines []deadline

func (d deadlines) Len() int           { return len(d) }
func (d deadlines) Less(i, k int) bool { return d[i].payBy < d[k].payBy }
func (d deadlines) Swap(i, k int)      { d[i], d[k] = d[k], d[i] }

func (d *deadlines) Push(x any) {
	entry, _ := x.(deadline)
	*d = append(*d, entry)
}

func (d *deadlines) Pop() any {
	old := *d
	last := old[len(old)-1]
	*d = old[:len(old)-1]
	return last
}
