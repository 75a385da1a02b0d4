package redisfront

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the countdown.
const (
	dueMax       = 50 * time.Millisecond  // for one round trip that asks what is due
	leasedFor    = 10 * time.Second       // who was named an order that is due has so long to end it, before it is named again
	deadlinesMax = 1 << 17                // deadlines that wait to be told
	deadlinesAt  = 1024                   // told in one round trip
	deadlinesIn  = 250 * time.Millisecond // for that round trip
	ownKept      = time.Second            // after its deadline the process' own countdown may still be asked for an order
)

// OwnCountdown is the countdown of a process without Redis.
type OwnCountdown interface {
	Applied(a *ledger.Applied)
	Due(now time.Time, limit int) (due []order.Number, leased bool)
	Driver() string
	Next() time.Time
	Woken() <-chan struct{}
	Horizon() time.Time
	Extend(to time.Time)
	Add(no order.Number, payBy time.Time)
	Postpone(no order.Number, payBy time.Time)
}

// deadlines is how Redis keeps deadlines.
type deadlines interface {
	driver() string
	// tell puts in and takes out. May run twice.
	tell(ctx context.Context, c rueidis.Client, changes []deadline) error
	// due names orders whose time is over, each to one process.
	due(ctx context.Context, c rueidis.Client, now time.Time, limit int) ([]order.Number, error)
	// next is when something may be due, or the zero time.
	next() time.Time
	// listen hears from Redis until ctx ends, if there is anything to hear.
	listen(ctx context.Context)
}

// deadline is a change of what Redis keeps.
type deadline struct {
	no    order.Number
	what  change
	payBy time.Time
}

type change uint8

const (
	waits    change = iota // it is new, or was known before: then it stays as it is
	postpone               // it is due later than it was
	over                   // it need not be named any more
)

// Countdown names what is due next, of the orders of all processes and each order to one of them. It is filled by the commits of
// all, and, for what they could not tell, by the expirer from the record. When Redis is away, the countdown of this process goes on:
// it hears of the same commits all the time. What all of that forgets, the look at the record finds.
type Countdown struct {
	front *Front
	own   OwnCountdown
	kept  deadlines
	wake  chan struct{}
	kick  chan struct{}

	mu      sync.Mutex
	changes []deadline
	lost    atomic.Int64

	named string // the driver that answered last; the expirer's only, as is
	epoch string // for which the next deadlines were loaded
}

// NewSortedCountdown makes a countdown of sorted sets, from which what is due is taken with a lease.
func NewSortedCountdown(f *Front, own OwnCountdown) *Countdown {
	return newCountdown(f, own, func(c *Countdown) deadlines { return newSorted(f, c.signal) })
}

// NewKeyspaceCountdown makes a countdown of keys that expire, and of Redis' events of it.
func NewKeyspaceCountdown(f *Front, own OwnCountdown) *Countdown {
	return newCountdown(f, own, func(c *Countdown) deadlines { return newKeyspace(f, c.signal) })
}

func newCountdown(f *Front, own OwnCountdown, kept func(*Countdown) deadlines) *Countdown {
	c := &Countdown{front: f, own: own, wake: make(chan struct{}, 1), kick: make(chan struct{}, 1)}
	c.kept = kept(c)
	c.named = c.kept.driver()
	return c
}

// Lost is the number of deadlines that Redis was not told of.
func (d *Countdown) Lost() int64 { return d.lost.Load() }

// Run carries deadlines to Redis, and hears from it, until ctx ends.
func (d *Countdown) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { d.kept.listen(ctx) })
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-d.own.Woken():
			d.signal()
		case <-d.kick:
			for d.tellPage(ctx) {
			}
		}
	}
	all.Wait()
}

// tellPage tells what waits, a page of it, and reports whether there was any.
func (d *Countdown) tellPage(ctx context.Context) bool {
	d.mu.Lock()
	page := d.changes[:min(len(d.changes), deadlinesAt)]
	d.changes = d.changes[len(page):]
	d.mu.Unlock()
	if len(page) == 0 {
		return false
	}
	c := d.front.connected()
	if c == nil {
		d.lost.Add(int64(len(page)))
		return true
	}
	within, cancel := context.WithTimeout(ctx, deadlinesIn+d.front.opt.Grace)
	defer cancel()
	if err := d.kept.tell(within, c, page); err != nil {
		d.lost.Add(int64(len(page)))
		d.front.failed(d.front.trusted.Load())
	}
	return true
}

func (d *Countdown) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *Countdown) enqueue(changes ...deadline) {
	d.mu.Lock()
	if room := deadlinesMax - len(d.changes); len(changes) > room {
		d.lost.Add(int64(len(changes) - room))
		changes = changes[:room]
	}
	d.changes = append(d.changes, changes...)
	d.mu.Unlock()
	select {
	case d.kick <- struct{}{}:
	default:
	}
}

// Applied learns from a commit which orders wait to be paid, and which do not any more. It never blocks.
func (d *Countdown) Applied(a *ledger.Applied) {
	d.own.Applied(a)
	changes := make([]deadline, 0, len(a.Orders))
	for _, o := range a.Orders {
		switch {
		case o.Status == order.Pending && o.Version == 1 && o.Events == 1:
			changes = append(changes, deadline{o.Number, waits, o.PayBy})
		case o.Status != order.Pending && o.Version == 2: // its first step
			changes = append(changes, deadline{no: o.Number, what: over})
		}
	}
	if len(changes) > 0 {
		d.enqueue(changes...)
	}
}

// Driver names who answered Due last.
func (d *Countdown) Driver() string { return d.named }

// Due takes out up to limit orders whose time is over, by Redis if it answers; then no other process is told of them for a while.
func (d *Countdown) Due(now time.Time, limit int) (due []order.Number, leased bool) {
	c, k := d.front.connected(), d.front.known.Load()
	if c == nil || k == nil || k.epoch != d.epoch {
		if c != nil && k != nil { // it is another Redis, or has lost something: the expirer loads what is due next anew
			d.epoch = k.epoch
			d.own.Extend(time.Time{})
		}
		d.named = d.own.Driver()
		return d.own.Due(now, limit)
	}
	ctx, cancel := context.WithTimeout(context.Background(), dueMax+d.front.opt.Grace)
	defer cancel()
	due, err := d.kept.due(ctx, c, now, limit)
	if err != nil {
		d.front.failed(d.front.trusted.Load())
		d.named = d.own.Driver()
		return d.own.Due(now, limit)
	}
	d.own.Due(now.Add(-ownKept), deadlinesMax) // these are settled, or the look at the record has them
	d.named = d.kept.driver()
	return due, true
}

// Over tells that these were over when they were named.
func (d *Countdown) Over(numbers []order.Number) {
	changes := make([]deadline, len(numbers))
	for i, no := range numbers {
		changes[i] = deadline{no: no, what: over}
	}
	d.enqueue(changes...)
}

// Next is when something may be due, or the zero time.
func (d *Countdown) Next() time.Time {
	if d.front.connected() == nil {
		return d.own.Next()
	}
	return d.kept.next()
}

// Woken tells that an earlier deadline has come in.
func (d *Countdown) Woken() <-chan struct{} { return d.wake }

// Horizon is the time up to which deadlines were loaded from the record.
func (d *Countdown) Horizon() time.Time { return d.own.Horizon() }

// Extend moves the horizon before the deadlines up to it are loaded.
func (d *Countdown) Extend(to time.Time) { d.own.Extend(to) }

// Add puts a deadline in that may be known already.
func (d *Countdown) Add(no order.Number, payBy time.Time) {
	d.own.Add(no, payBy)
	d.enqueue(deadline{no, waits, payBy})
}

// Postpone puts a deadline in again that was named too early.
func (d *Countdown) Postpone(no order.Number, payBy time.Time) {
	if d.front.connected() == nil {
		d.own.Postpone(no, payBy)
		return
	}
	d.enqueue(deadline{no, postpone, payBy})
}
