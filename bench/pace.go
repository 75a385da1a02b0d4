package bench

import (
	"math"
	"sync/atomic"
	"time"
)

// pace says when the next request starts and where its answer counts. Its methods are safe for concurrent use.
type pace interface {
	// next waits until a request is due. It reports false when there is none any more.
	next(timer *time.Timer) (t *tally, intended time.Time, ok bool)
	// settle is called after the end: it counts what never started, and gives the number that was due in the measured time.
	settle(t *tally, began, ended time.Time) int64
}

func (l *load) newPace(r *round, first time.Time) pace {
	if l.rate == 0 {
		return &closedLoop{round: r}
	}
	interval := float64(time.Second) / l.rate
	return &openLoop{round: r, interval: interval, first: first, last: int64(float64(l.warmUp+l.duration) / interval)}
}

// closedLoop sends the next request when the last one is answered: it measures what can be done at most.
type closedLoop struct {
	*round
	begun atomic.Int64
}

func (p *closedLoop) next(*time.Timer) (*tally, time.Time, bool) {
	if p.stopped.Load() || (p.requests > 0 && p.begun.Add(1) > p.requests) {
		return nil, time.Time{}, false
	}
	return p.tally.Load(), time.Now(), true
}

func (p *closedLoop) settle(*tally, time.Time, time.Time) int64 { return 0 }

// openLoop gives every request a time of its own, whether the ones before are answered or not, and latency counts from that
// time: so a server that stalls is charged for all who had to wait, and not for the one who was first.
type openLoop struct {
	*round
	interval float64 // nanoseconds
	first    time.Time
	last     int64 // tickets in all, warm-up too
	ticket   atomic.Int64
}

func (p *openLoop) next(timer *time.Timer) (*tally, time.Time, bool) {
	for {
		ticket := p.ticket.Add(1) - 1
		if ticket >= p.last {
			return nil, time.Time{}, false
		}
		intended := p.first.Add(time.Duration(float64(ticket) * p.interval))
		late := time.Since(intended)
		if late < 0 && !p.sleep(timer, -late) || p.stopped.Load() {
			return nil, time.Time{}, false
		}
		t := p.tally.Load()
		if late <= p.patience {
			return t, intended, true
		}
		t.unsent.Add(1)
	}
}

// dueBefore is how many tickets were due before a moment.
func (p *openLoop) dueBefore(at time.Time) int64 {
	return min(int64(math.Ceil(float64(at.Sub(p.first))/p.interval)), p.last)
}

// settle counts the tickets of the window that no connection came to take as unsent.
func (p *openLoop) settle(t *tally, began, ended time.Time) int64 {
	due := p.dueBefore(ended) - p.dueBefore(began)
	var begun int64
	for o := range outcomes {
		begun += t.count(o)
	}
	t.unsent.Store(max(due-begun, 0))
	return due
}
