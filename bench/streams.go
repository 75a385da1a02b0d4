package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Of the streams, most follow one order each, as buyers' pages do, some a user, and a few all events, as integrations do. All
// of them on all events would be two million messages a second, which nobody's two cores can write.
const (
	streamsOfUsers = 0.19
	streamsOfAll   = 0.01
	streamsCut     = 0.25 // of all, once, while the load runs

	streamRate    = 1000 // orders a second
	streamBuyers  = 64   // connections
	streamCancels = 8    // connections that cancel the orders that are followed
	streamOpenMax = time.Minute
	streamEndMax  = 20 * time.Second // for the last event to come to everybody
	streamSettle  = 2 * time.Second  // before memory is read
)

// The figures that bars are set for.
const (
	figureStreamLag    = "told after the commit, p99"
	figureStreamMissed = "events missed, told twice or out of order"
)

// audience is all listeners, with what each has to hear.
type audience struct {
	all   []*listener
	wants []func(e *logged) bool
	lag   Histogram
}

// logged is an event as the log has it.
type logged struct {
	position int64
	Type     string `json:"type"`
	Subject  string `json:"subject"`
	user     string
}

func (a *audience) add(s *shop, path string, wants func(e *logged) bool) {
	a.all = append(a.all, newListener(s, path, -1, &a.lag))
	a.wants = append(a.wants, wants)
}

// streams is thousands of open streams while orders are placed and cancelled: every event in each stream, in order, soon.
func (r *runner) streams(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, r.streamsOn)
}

func (r *runner) streamsOn(ctx context.Context, s *stand) (*Result, error) {
	ofUsers, ofAll := int(streamsOfUsers*float64(r.o.Streams)), int(streamsOfAll*float64(r.o.Streams))
	sale, err := r.newSale(ctx, s, 1, plenty, unhurried)
	if err != nil {
		return nil, err
	}
	sale.people = uint64(max(ofUsers, 1))
	followed := r.o.Streams - ofUsers - ofAll
	r.progress.stage("streams: place %s orders that are followed", thousands(float64(followed)))
	l := r.newLoad(s).load
	l.connections, l.requests = streamBuyers, int64(followed)
	if _, err := sale.place(ctx, l, nil); err != nil {
		return nil, err
	}
	orders := slices.Clone(sale.acknowledged)
	a := &audience{}
	for _, no := range orders {
		subject := strconv.FormatUint(no, 10)
		a.add(s.shop, "/v1/orders/"+subject+"/stream", func(e *logged) bool { return e.Subject == subject })
	}
	for i := range ofUsers {
		user := fmt.Sprintf("u-%08d", i)
		a.add(s.shop, "/v1/users/"+user+"/stream", func(e *logged) bool { return e.user == user })
	}
	for i := range ofAll {
		if i%2 == 0 {
			a.add(s.shop, "/v1/events/stream", func(*logged) bool { return true })
		} else {
			a.add(s.shop, "/v1/events/stream?types=order.cancelled", func(e *logged) bool { return e.Type == "order.cancelled" })
		}
	}
	return r.toAudience(ctx, s, sale, orders, a)
}

func (r *runner) toAudience(ctx context.Context, s *stand, sale *sale, orders []uint64, a *audience) (*Result, error) {
	listening, hangUp := context.WithCancel(ctx)
	defer hangUp()
	r.progress.stage("streams: open %s of them", thousands(float64(len(a.all))))
	if !sleepFor(ctx, streamSettle) {
		return nil, context.Cause(ctx)
	}
	before := s.memory()
	ended := a.listen(listening)
	if err := a.opened(ctx); err != nil {
		hangUp()
		return nil, errors.Join(err, <-ended)
	}
	if !sleepFor(ctx, streamSettle) {
		return nil, context.Cause(ctx)
	}
	perStream := float64(s.memory()-before) / float64(len(a.all))

	r.progress.stage("streams: orders are placed and cancelled, and some streams are cut")
	load := r.newLoad(s)
	load.load.connections, load.load.warmUp, load.load.patience = streamBuyers, 0, r.o.Duration
	if load.load.rate = r.o.Rate; load.load.rate == 0 {
		load.load.rate = streamRate
	}
	var beside sync.WaitGroup
	canceller := r.cancelAll(ctx, s, orders, &beside)
	cut := a.cutSome(ctx, r.o.Duration, &beside)
	m, err := sale.place(ctx, load.load, nil)
	beside.Wait()
	if err != nil {
		return nil, err
	}
	r.progress.stage("streams: the last events")
	log, err := s.log(ctx)
	if err != nil {
		return nil, err
	}
	a.waitFor(ctx, log)
	hangUp()
	if err := <-ended; err != nil {
		return nil, err
	}

	result := load.result("streams", m, done, ordersCounted)
	result.Note = fmt.Sprintf("%d streams: %d of orders, the rest of users and all events", len(a.all), len(orders))
	result.figure("streams", float64(len(a.all)), "open")
	if s.process != nil {
		result.figure("memory per stream", perStream, "kB")
	}
	result.figure("events in the log meanwhile", float64(len(log)), "")
	result.figure("events told", float64(a.lag.Count()), "")
	result.figure("told after the commit, p50", milliseconds(a.lag.Quantile(0.5)), "ms")
	result.figure(figureStreamLag, milliseconds(a.lag.Quantile(0.99)), "ms")
	result.figure("told after the commit, max", milliseconds(a.lag.Max()), "ms")
	result.figure("streams cut and resumed", float64(cut.Load()), "")
	result.figure("streams ended by the desk", float64(a.ended()), "")
	heard, wrong, first := a.compare(log)
	result.figure(figureStreamMissed, float64(wrong), "")
	r.progress.stage("streams: checks")
	sample, err := sale.checkSample(ctx)
	if err != nil {
		return nil, err
	}
	audit, err := checkAudit(ctx, s.shop)
	result.Checks = append(result.Checks, sale.checkAnswers("answers"), sale.checkNumbers(), sample, audit, // units were given back
		Check{Name: "every event in each stream, in order", OK: wrong == 0 && heard > 0, Detail: fmt.Sprintf("%d told as the log has them%s", heard, first)},
		Check{Name: "cancelled", OK: canceller.odd == 0, Detail: fmt.Sprintf("%d orders, %d answers that were not expected", len(orders), canceller.odd)})
	return result, err
}

// sleepFor reports false when the run was given up meanwhile.
func sleepFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// memory is what the server has now, in kB; 0 when it is not ours.
func (s *stand) memory() int64 {
	if s.process == nil {
		return 0
	}
	u, err := readUsage(s.process.cmd.Process.Pid)
	if err != nil {
		return 0
	}
	return u.memoryKB
}

// listen starts all listeners; the channel gives what went wrong first when the last of them has ended.
func (a *audience) listen(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	go func() {
		var listening sync.WaitGroup
		var first atomic.Pointer[error]
		for i, l := range a.all {
			listening.Go(func() {
				if err := l.run(ctx); err != nil {
					first.CompareAndSwap(nil, &err)
				}
			})
			if i%dialsAtOnce == dialsAtOnce-1 {
				_ = sleepFor(ctx, reconnectPause) // more at once overflow the listener's queue
			}
		}
		listening.Wait()
		var err error
		if p := first.Load(); p != nil {
			err = *p
		}
		ended <- err
	}()
	return ended
}

// opened waits until all streams are open.
func (a *audience) opened(ctx context.Context) error {
	late := time.NewTimer(streamOpenMax)
	defer late.Stop()
	for i, l := range a.all {
		select {
		case <-l.opens:
		case <-late.C:
			return fmt.Errorf("%d of %d streams did not open within %v", len(a.all)-i, len(a.all), streamOpenMax)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// cutSome cuts a part of the streams, each once, at some time of the run.
func (a *audience) cutSome(ctx context.Context, run time.Duration, beside *sync.WaitGroup) *atomic.Int64 {
	var cut atomic.Int64
	some := rand.Perm(len(a.all))[:int(streamsCut*float64(len(a.all)))]
	pause := run * 8 / 10 / time.Duration(max(len(some), 1))
	beside.Go(func() {
		for _, i := range some {
			if !sleepFor(ctx, pause) {
				return
			}
			a.all[i].cut()
			cut.Add(1)
		}
	})
	return &cut
}

// canceller cancels orders, one after another.
type canceller struct {
	shop *shop
	next func() uint64
}

func (c *canceller) request() []byte {
	return c.shop.post(fmt.Sprintf("/v1/orders/%d/cancel", c.next()), `{"reason":"bench"}`)
}

func (*canceller) judge(status int, _ []byte) outcome {
	if status == 200 {
		return done
	}
	return unexpected
}

// cancelAll cancels the followed orders, evenly over the run.
func (r *runner) cancelAll(ctx context.Context, s *stand, orders []uint64, beside *sync.WaitGroup) *measured {
	result := &measured{}
	var taken atomic.Int64
	l := &load{
		addr: s.shop.base.Host, connections: streamCancels, duration: r.o.Duration, patience: r.o.Duration, progress: silent(),
		rate: float64(len(orders)) / r.o.Duration.Seconds(),
		visit: func(int) visitor {
			return &canceller{s.shop, func() uint64 { return orders[(taken.Add(1)-1)%int64(len(orders))] }}
		},
	}
	beside.Go(func() {
		if m, err := l.run(ctx); err == nil {
			result.odd, result.unanswered = m.odd, m.unanswered
		}
	})
	return result
}

func (a *audience) ended() (n int64) {
	for _, l := range a.all {
		n += l.ends.Load()
	}
	return n
}

// log reads all of the log. It has no gaps, so that an event's place in it is its position.
func (s *stand) log(ctx context.Context) ([]logged, error) {
	var all []logged
	for cursor := ""; ; {
		var page struct {
			Data []struct {
				logged
				Data struct {
					UserID string `json:"user_id"` // of a product: none
				} `json:"data"`
			} `json:"data"`
			NextCursor string `json:"next_cursor"`
		}
		path := "/v1/events?limit=" + strconv.Itoa(pageOfEvents)
		if cursor != "" {
			path += "&cursor=" + url.QueryEscape(cursor)
		}
		if err := s.shop.call(ctx, "GET", path, nil, &page); err != nil {
			return nil, err
		}
		for i := range page.Data {
			e := page.Data[i].logged
			e.position, e.user = int64(len(all)+1), page.Data[i].Data.UserID
			all = append(all, e)
		}
		if cursor = page.NextCursor; len(page.Data) < pageOfEvents {
			return all, nil
		}
	}
}

// compare holds what everybody heard against the log: how many events were told rightly, how many were missed, told twice or out of
// order, and the first such case.
func (a *audience) compare(log []logged) (heard, wrong int, first string) {
	for i, l := range a.all {
		var want []int64
		for at := range log {
			if e := &log[at]; e.position > l.begin && a.wants[i](e) {
				want = append(want, e.position)
			}
		}
		if slices.Equal(l.heard, want) {
			heard += len(want)
			continue
		}
		wrong += max(1, len(want)-len(l.heard), len(l.heard)-len(want))
		if first == "" {
			first = fmt.Sprintf("; %s from %d: heard %d events, want %d", l.path, l.begin, len(l.heard), len(want))
		}
	}
	return heard, wrong, first
}

// waitFor waits until every listener has come to the last event that it has to hear.
func (a *audience) waitFor(ctx context.Context, log []logged) {
	last := make([]int64, len(a.all))
	for i, wants := range a.wants {
		for _, e := range slices.Backward(log) {
			if wants(&e) {
				last[i] = e.position
				break
			}
		}
	}
	for end := time.Now().Add(streamEndMax); time.Now().Before(end); {
		behind := false
		for i, l := range a.all {
			behind = behind || l.last.Load() < last[i]
		}
		if !behind || !sleepFor(ctx, lookPause) {
			return
		}
	}
}
