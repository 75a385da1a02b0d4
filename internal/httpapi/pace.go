package httpapi

import (
	"context"
	"runtime"
	"sync/atomic"
	"time"
)

// A refusal costs as much outside the ledger as a placed order does: a rush of requests that are all turned away at once would take
// the machine from those that are placed, and the ledger's one goroutine would wait behind thousands. So refusals for overload
// are given at a pace, in the order they came. A connection that waits for its refusal sends nothing meanwhile.
const (
	refusalsPerCPU = 1500            // a second
	refusalWaitMax = 2 * time.Second // then it is told, pace or not
)

// pace spreads events evenly over time. The zero pace has none.
type pace struct {
	every time.Duration
	next  atomic.Int64 // when the next event may happen, in Unix nanoseconds
}

func newRefusals() *pace {
	return &pace{every: time.Second / time.Duration(refusalsPerCPU*runtime.GOMAXPROCS(0))}
}

// wait waits for the event's turn, at most refusalWaitMax, or until ctx ends.
func (p *pace) wait(ctx context.Context, now time.Time) {
	turn := p.turn(now.UnixNano())
	if turn <= 0 {
		return
	}
	timer := time.NewTimer(turn)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// turn takes the next place in the row and says how far it is from now.
func (p *pace) turn(now int64) time.Duration {
	for {
		next := p.next.Load()
		at := max(next, now)
		if at-now > int64(refusalWaitMax) {
			return refusalWaitMax
		}
		if p.next.CompareAndSwap(next, at+int64(p.every)) {
			return time.Duration(at - now)
		}
	}
}
