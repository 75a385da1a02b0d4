package redisfront_test

import (
	"context"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// eventLog is a log in memory that counts its readers.
type eventLog struct {
	mu     sync.Mutex
	events []event.Event
	reads  int
	atEnd  func() // called before its end is told
}

func (l *eventLog) grow(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for range n {
		at := int64(len(l.events) + 1)
		l.events = append(l.events, event.Event{
			Type: event.OrderPlaced, Subject: event.Subject{Kind: event.Order, ID: "1"}, Sequence: at, Data: []byte(`{}`), Position: at,
		})
	}
}

func (l *eventLog) Events(_ context.Context, f checkout.EventFilter) ([]event.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads++
	rest := l.events[f.After:]
	return append([]event.Event(nil), rest[:min(len(rest), f.Limit)]...), nil
}

func (l *eventLog) LogEnd(context.Context) (int64, error) {
	l.mu.Lock()
	if atEnd := l.atEnd; atEnd != nil {
		l.atEnd = nil
		l.mu.Unlock()
		atEnd()
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	return int64(len(l.events)), nil
}

// feeding gives a process' feed, and how often it heard that the log has grown.
func feeding(t *testing.T, p *process, log redisfront.Log) (*redisfront.Feed, *atomic.Int64) {
	t.Helper()
	var grown atomic.Int64
	d := redisfront.NewFeed(p.front, log, func() { grown.Add(1) })
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return d, &grown
}

// hear collects the sequence numbers of the events on the channel.
func hear(t *testing.T, c rueidis.Client) func() []int64 {
	t.Helper()
	return hearBy(t, c, c.B().Subscribe().Channel("holdfast:events").Build())
}

func hearBy(t *testing.T, c rueidis.Client, subscribe rueidis.Completed) func() []int64 {
	t.Helper()
	var mu sync.Mutex
	var heard []int64
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		_ = c.Receive(ctx, subscribe, func(m rueidis.PubSubMessage) {
			var e struct {
				Sequence int64 `json:"sequence"`
			}
			if err := json.Unmarshal([]byte(m.Message), &e); err != nil {
				t.Error(err)
			}
			mu.Lock()
			heard = append(heard, e.Sequence)
			mu.Unlock()
		})
	})
	t.Cleanup(func() {
		cancel()
		all.Wait()
	})
	return func() []int64 {
		mu.Lock()
		defer mu.Unlock()
		return append([]int64(nil), heard...)
	}
}

func TestEveryEventIsOnTheChannelOnceAndInOrder(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	r, log := newRecord(), &eventLog{}
	log.grow(7) // long ago
	a, heardAtA := feeding(t, working(t, r, quick(s.URL())), log)
	b, heardAtB := feeding(t, working(t, r, quick(s.URL())), log)
	heard := hear(t, c)
	testenv.Until(t, patience, "somebody listens", func() bool {
		n, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:events").AsIntMap()
		m, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:log").AsIntMap()
		return n["holdfast:events"] == 1 && m["holdfast:log"] == 2
	})
	const n = 3000
	for range n / 10 {
		log.grow(10)
		a.Wake()
		b.Wake()
	}
	testenv.Until(t, patience, "all events are heard", func() bool { return len(heard()) >= n })
	for i, sequence := range heard() {
		if sequence != int64(8+i) {
			t.Fatalf("event %d on the channel is number %d, want %d", i, sequence, 8+i)
		}
	}
	if got := len(heard()); got != n {
		t.Errorf("%d events were heard, want %d", got, n)
	}
	testenv.Until(t, patience, "both processes were woken", func() bool { return heardAtA.Load() > 0 && heardAtB.Load() > 0 })
}

func TestNobodyReadsTheLogForAChannelThatNobodyHears(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	r, log := newRecord(), &eventLog{}
	a, _ := feeding(t, working(t, r, quick(s.URL())), log)
	_, heardAtB := feeding(t, working(t, r, quick(s.URL())), log)
	c := direct(t, s.URL())
	testenv.Until(t, patience, "both listen", func() bool {
		m, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:log").AsIntMap()
		return m["holdfast:log"] == 2
	})
	log.grow(1000)
	began := time.Now()
	a.Wake()
	testenv.Until(t, patience, "the other process was woken", func() bool { return heardAtB.Load() > 0 })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %v", took)
	}
	log.mu.Lock()
	defer log.mu.Unlock()
	if log.reads > 0 {
		t.Errorf("the log was read %d times, want never", log.reads)
	}
}

// Of these two the server's count of the channel's subscribers says nothing.
func TestWhoBeginsToListenMissesNothingThatHappensAfterwards(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	log := &eventLog{}
	d, _ := feeding(t, working(t, newRecord(), quick(s.URL())), log)
	testenv.Until(t, patience, "it has begun", func() bool {
		m, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:log").AsIntMap()
		return m["holdfast:log"] == 1
	})
	heard := make(chan func() []int64, 1)
	log.mu.Lock()
	log.atEnd = func() { // it was found that nobody listens
		hears := hear(t, c)
		testenv.Until(t, patience, "somebody listens", func() bool {
			n, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:events").AsIntMap()
			return n["holdfast:events"] == 1
		})
		log.grow(1)
		heard <- hears
	}
	log.mu.Unlock()
	log.grow(1)
	d.Wake()
	hears := <-heard
	testenv.Until(t, patience, "he hears what happened then", func() bool { return slices.Contains(hears(), 2) })
}

func TestEventsAreHeardByPatternAndAtAReplica(t *testing.T) {
	s, replica := testenv.StartRedis(t, testenv.Options{}), testenv.StartRedis(t, testenv.Options{})
	c, atReplica := direct(t, s.URL()), direct(t, replica.URL())
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	password, _ := u.User.Password()
	for _, who := range []struct {
		hears string
		rueidis.Client
		subscribe rueidis.Completed
		before    func()
	}{
		{"by pattern", c, c.B().Psubscribe().Pattern("holdfast:ev*").Build(), func() {}},
		{
			"at a replica", atReplica, atReplica.B().Psubscribe().Pattern("holdfast:events").Build(),
			func() {
				do(t, c, "CONFIG", "SET", "repl-diskless-sync-delay", "0")
				do(t, atReplica, "CONFIG", "SET", "masterauth", password)
				do(t, atReplica, "REPLICAOF", u.Hostname(), u.Port())
				testenv.Until(t, patience, "the replica follows", func() bool {
					info, err := do(t, c, "INFO", "replication").ToString()
					return err == nil && strings.Contains(info, "state=online")
				})
			},
		},
	} {
		t.Run(who.hears, func(t *testing.T) {
			who.before()
			r, log := newRecord(), &eventLog{}
			d, _ := feeding(t, working(t, r, quick(s.URL())), log)
			heard := hearBy(t, who.Client, who.subscribe)
			testenv.Until(t, patience, "he listens", func() bool {
				n, err := do(t, who.Client, "PUBSUB", "NUMPAT").AsInt64()
				return err == nil && n == 1
			})
			testenv.Until(t, patience, "he hears an event", func() bool {
				log.grow(1)
				d.Wake()
				return len(heard()) > 0
			})
		})
	}
}

func TestAPlaceBehindTheEndOfTheLogIsGivenUp(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	r, log := newRecord(), &eventLog{}
	r.shared["feed"] = "of-this-record"
	do(t, c, "SET", "holdfast:published:{of-this-record}", strconv.Itoa(1e6)) // and then an older record was restored
	heard := hear(t, c)
	testenv.Until(t, patience, "somebody listens", func() bool {
		n, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:events").AsIntMap()
		return n["holdfast:events"] == 1
	})
	a, _ := feeding(t, working(t, r, quick(s.URL())), log)
	testenv.Until(t, patience, "its place is given up", func() bool {
		return rueidis.IsRedisNil(c.Do(t.Context(), c.B().Get().Key("holdfast:published:{of-this-record}").Build()).Error())
	})
	log.grow(3)
	a.Wake()
	testenv.Until(t, patience, "the events are heard", func() bool { return len(heard()) == 3 })
}
