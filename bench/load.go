package bench

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

const (
	drainMax = 15 * time.Second // how long answers may still come in after the end

	requestsTimeMax = time.Hour // for a run that is measured by requests and not by time
)

// visitor is what one connection does: it writes its next request and judges the answer. Each is used by one goroutine.
type visitor interface {
	// request is a whole HTTP request, valid until the next call.
	request() []byte
	judge(status int, body []byte) outcome
}

// load is one run of requests against one address, as fast as answers come in (closed loop) or at a rate (open loop).
type load struct {
	addr        string
	connections int
	warmUp      time.Duration
	duration    time.Duration
	rate        float64       // requests a second; 0 is a closed loop
	patience    time.Duration // open loop: a request that cannot start within it is given up and counted as unsent
	requests    int64         // closed loop: this many, however long it takes, without a warm-up; 0 is by time
	visit       func(i int) visitor
	progress    *progress
	begin, end  func() // called around the measured time, when set
}

// measured is what came of a load between its warm-up and its end.
type measured struct {
	tally
	window     time.Duration
	offered    int64 // open loop: how many were due
	unanswered int64 // in the whole run, warm-up too: broken, so perhaps carried out
	odd        int64 // in the whole run: unexpected
}

func (m *measured) perSecond(o outcome) float64 {
	return float64(m.count(o)) / m.window.Seconds()
}

// round is a load while it runs.
type round struct {
	*load
	pace    pace
	tally   atomic.Pointer[tally] // of the stretch that is now
	stop    chan struct{}
	stopped atomic.Bool
	mu      sync.Mutex
	conns   map[*conn]struct{} // to be cut when the drain takes too long
	cut     bool
}

// run dials, warms up, measures, and waits for every connection to be done. It fails when it cannot connect, or ctx ends.
func (l *load) run(ctx context.Context) (*measured, error) {
	r := &round{load: l, stop: make(chan struct{}), conns: make(map[*conn]struct{})}
	conns, err := r.dialAll(ctx)
	if err != nil {
		return nil, err
	}
	if l.requests > 0 {
		l.warmUp, l.duration = 0, requestsTimeMax
	}
	before, during, after := &tally{}, &measured{}, &tally{}
	r.tally.Store(before)
	r.pace = l.newPace(r, time.Now())
	var began time.Time
	measure := func() {
		call(l.begin)
		began = time.Now()
		r.tally.Store(&during.tally)
	}
	if l.warmUp == 0 {
		measure()
	}
	finished := r.start(conns)
	if l.warmUp > 0 {
		err = r.wait(ctx, finished, l.warmUp, before)
		measure()
	}
	if err == nil {
		err = r.wait(ctx, finished, l.duration, &during.tally)
	}
	r.tally.Store(after)
	ended := time.Now()
	call(l.end)
	r.finish(finished)

	during.window = ended.Sub(began)
	during.offered = r.pace.settle(&during.tally, began, ended)
	during.whole(before, after)
	return during, err
}

func call(f func()) {
	if f != nil {
		f()
	}
}

// whole adds what has to be known of the stretches before and after the measured time, too.
func (m *measured) whole(before, after *tally) {
	for _, t := range []*tally{&m.tally, before, after} {
		m.unanswered += t.count(broken)
		m.odd += t.count(unexpected)
		if text := t.strange.String(); text != "" {
			m.strange.keep(text)
		}
	}
}

// start sets every connection to work; the channel is closed when all of them are done.
func (r *round) start(conns []*conn) <-chan struct{} {
	var workers sync.WaitGroup
	for i, c := range conns {
		workers.Go(func() { r.work(r.visit(i), c) })
	}
	finished := make(chan struct{})
	go func() {
		workers.Wait()
		close(finished)
	}()
	return finished
}

// wait shows progress until d is over or all work is done.
func (r *round) wait(ctx context.Context, finished <-chan struct{}, d time.Duration, t *tally) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	tick := r.progress.ticks()
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
			return nil
		case <-finished:
			return nil
		case <-tick.C:
			r.progress.show(t)
		}
	}
}

// finish ends the run: it waits for the last answers and then cuts the connections that got none.
func (r *round) finish(finished <-chan struct{}) {
	r.stopped.Store(true)
	close(r.stop)
	select {
	case <-finished:
		return
	case <-time.After(drainMax):
	}
	r.mu.Lock()
	r.cut = true
	for c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	<-finished
}

// work is the life of one connection.
func (r *round) work(v visitor, c *conn) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		t, intended, ok := r.pace.next(timer)
		if !ok {
			break
		}
		if c == nil {
			c = r.reconnect(timer)
		}
		if c == nil {
			t.latency[broken].Record(time.Since(intended))
			continue
		}
		if !r.exchange(c, v, t, intended) {
			r.forget(c)
			c = nil
		}
	}
	if c != nil {
		r.forget(c)
	}
}

// exchange makes one request. It reports false when the connection is of no more use.
func (r *round) exchange(c *conn, v visitor, t *tally, intended time.Time) bool {
	sent := time.Now()
	status, body, err := c.exchange(v.request())
	answered := time.Now()
	if err != nil {
		t.latency[broken].Record(answered.Sub(intended))
		t.strange.keep(err.Error())
		return false
	}
	o := v.judge(status, body)
	t.latency[o].Record(answered.Sub(intended))
	if r.rate > 0 {
		t.service[o].Record(answered.Sub(sent))
	}
	if o == unexpected {
		t.strange.keep(fmt.Sprintf("%d %.300s", status, body))
	}
	return !c.closing
}

// sleep reports false when the run ended meanwhile.
func (r *round) sleep(timer *time.Timer, d time.Duration) bool {
	timer.Reset(d)
	select {
	case <-timer.C:
		return true
	case <-r.stop:
		return false
	}
}
