package redisfront_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// countdown is the countdown of one process, beside its own.
type countdown struct {
	*redisfront.Countdown
	own *inproc.Countdown
}

type newCountdown = func(*redisfront.Front, redisfront.OwnCountdown) *redisfront.Countdown

// counting begins the countdown of a process and waits until Redis answers for it.
func counting(t *testing.T, p *process, by newCountdown, driver string) *countdown {
	t.Helper()
	own := inproc.NewCountdown()
	c := &countdown{by(p.front, own), own}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { c.Run(ctx) })
	stop := p.stop
	p.stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		stop()
	})
	t.Cleanup(p.stop)
	testenv.Until(t, patience, "redis counts down", func() bool {
		c.Due(time.Unix(0, 0), 1)
		return c.Driver() == driver
	})
	return c
}

// wakes waits until the expirer is told to look.
func (c *countdown) wakes(t *testing.T) {
	t.Helper()
	testenv.Until(t, patience, "the expirer is woken", func() bool {
		select {
		case <-c.Woken():
			return true
		default:
			return false
		}
	})
}

// pending is a commit of orders that wait to be paid.
func pending(payBy time.Time, numbers ...order.Number) *ledger.Applied {
	a := &ledger.Applied{}
	for _, no := range numbers {
		a.Orders = append(a.Orders, &order.Order{Number: no, Status: order.Pending, PayBy: payBy, Version: 1, Events: 1})
	}
	return a
}

func numbers(n int) (all []order.Number) {
	for i := range n {
		all = append(all, order.NumberOf(20261120, int64(i+1)))
	}
	return all
}

// named asks a countdown until it has named as many as wanted, and asks once more.
func named(t *testing.T, c *countdown, now time.Time, want int) (all []order.Number) {
	t.Helper()
	testenv.Until(t, patience, "all are named", func() bool {
		due, _ := c.Due(now, 64)
		all = append(all, due...)
		return len(all) >= want
	})
	due, _ := c.Due(now, 1024)
	return append(all, due...)
}

func TestWhatIsDueIsNamedToOneOfAllProcesses(t *testing.T) {
	proxy, address := overProxy(t, testenv.StartRedis(t, testenv.Options{}))
	r := newRecord()
	a := counting(t, working(t, r, quick(address)), redisfront.NewSortedCountdown, "redis")
	b := counting(t, working(t, r, quick(address)), redisfront.NewSortedCountdown, "redis")
	all := numbers(2000)
	now := time.Now()
	proxy.Delay(30 * time.Millisecond) // what it is like on a busy machine: what is named in a reply that comes too late, only its lease ends
	a.Applied(pending(now.Add(-time.Millisecond), all[:1000]...))
	b.Applied(pending(now.Add(-time.Millisecond), all[1000:]...))
	a.Applied(pending(now.Add(time.Hour), order.NumberOf(20261120, 5000)))

	var mu sync.Mutex
	var got []order.Number
	var both sync.WaitGroup
	for _, c := range []*countdown{a, b} {
		both.Go(func() {
			testenv.Until(t, patience, "all are named", func() bool {
				due, leased := c.Due(now, 100)
				if !leased && len(due) > 0 {
					t.Errorf("named by %s, want leased", c.Driver())
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, due...)
				return len(got) >= len(all)
			})
		})
	}
	both.Wait()
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("named %d orders, %d of them once; want each of %d once", len(got), len(slices.Compact(got)), len(all))
	}
}

func TestAnOrderIsNamedAgainWhenNobodyEndedIt(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := counting(t, working(t, newRecord(), quick(s.URL())), redisfront.NewSortedCountdown, "redis")
	all := numbers(3)
	now := time.Now()
	c.Applied(pending(now, all...))
	if got := named(t, c, now, 3); len(got) != 3 {
		t.Fatalf("named %v, want %v", got, all)
	}
	paid := &order.Order{Number: all[0], Status: order.Paid, Version: 2, Events: 2}
	c.Applied(&ledger.Applied{Orders: []*order.Order{paid}})
	c.Over(all[1:2])
	client := direct(t, s.URL())
	testenv.Until(t, patience, "one is left", func() bool { return kept(t, client) == 1 })
	if got := named(t, c, now.Add(9*time.Second), 0); len(got) > 0 {
		t.Errorf("named %v while it is leased", got)
	}
	if got := named(t, c, now.Add(11*time.Second), 1); !slices.Equal(got, all[2:]) {
		t.Errorf("after the lease: named %v, want %v", got, all[2:])
	}
}

func TestAnOrderThatWasNamedTooEarlyIsNamedLater(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := counting(t, working(t, newRecord(), quick(s.URL())), redisfront.NewSortedCountdown, "redis")
	no := numbers(1)[0]
	now := time.Now().Truncate(time.Millisecond)
	c.Applied(pending(now, no))
	named(t, c, now, 1)
	c.Postpone(no, now.Add(3*time.Second))
	testenv.Until(t, patience, "it is put in again", func() bool { return c.Next().Equal(now.Add(3 * time.Second)) })
	c.Add(no, now) // a page of the record that was read before
	c.Add(numbers(2)[1], now.Add(time.Hour))
	client := direct(t, s.URL())
	testenv.Until(t, patience, "both are told", func() bool { return kept(t, client) == 2 })
	if got := named(t, c, now.Add(2*time.Second), 0); len(got) > 0 {
		t.Errorf("named %v early", got)
	}
	if got := named(t, c, now.Add(3*time.Second), 1); len(got) != 1 {
		t.Errorf("named %v when it is due, want it once", got)
	}
}

func TestAnEarlierDeadlineWakes(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := counting(t, working(t, newRecord(), quick(s.URL())), redisfront.NewSortedCountdown, "redis")
	now := time.Now().Truncate(time.Millisecond)
	c.Applied(pending(now.Add(time.Hour), numbers(1)...))
	c.wakes(t)
	testenv.Until(t, patience, "it is known", func() bool { c.Due(time.Now(), 10); return c.Next().Equal(now.Add(time.Hour)) })
	c.Applied(pending(now.Add(time.Minute), numbers(2)[1]))
	c.wakes(t)
	if got := c.Next(); !got.Equal(now.Add(time.Minute)) {
		t.Errorf("next is %v, want the earlier one in a minute, %v", got, now.Add(time.Minute))
	}
}

func TestWithoutRedisTheProcessCountsDownItself(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, newRecord(), quick(s.URL()))
	c := counting(t, p, redisfront.NewSortedCountdown, "redis")
	now := time.Now()
	c.Extend(now.Add(time.Hour))
	all := numbers(5)
	c.Applied(pending(now, all...))
	s.Kill()
	testenv.Until(t, patience, "it is away", func() bool { return !p.front.State().Connected })
	got, leased := c.Due(now, 10)
	slices.Sort(got)
	if !slices.Equal(got, all) || leased || c.Driver() != "inproc" {
		t.Errorf("named %v by %s, leased %v; want %v by inproc", got, c.Driver(), leased, all)
	}
}

func TestAfterAFlushDeadlinesAreLoadedAnew(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := counting(t, working(t, newRecord(), quick(s.URL())), redisfront.NewSortedCountdown, "redis")
	c.Extend(time.Now().Add(time.Minute))
	do(t, direct(t, s.URL()), "FLUSHALL")
	testenv.Until(t, patience, "nothing is known any more", func() bool {
		c.Due(time.Now(), 10)
		return c.Horizon().IsZero()
	})
}

func TestAKeyThatExpiresIsAHintForOneProcess(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	client := direct(t, s.URL())
	r := newRecord()
	a := counting(t, working(t, r, quick(s.URL())), redisfront.NewKeyspaceCountdown, "keyspace")
	b := counting(t, working(t, r, quick(s.URL())), redisfront.NewKeyspaceCountdown, "keyspace")
	testenv.Until(t, patience, "both listen", func() bool {
		heard, err := do(t, client, "PUBSUB", "NUMSUB", "__keyevent@0__:expired").ToArray()
		if err != nil || len(heard) != 2 {
			return false
		}
		n, _ := heard[1].AsInt64()
		return n == 2
	})
	all := numbers(50)
	a.Applied(pending(time.Now().Add(50*time.Millisecond), all...))
	b.Applied(pending(time.Now().Add(time.Hour), numbers(51)[50]))
	paid := numbers(52)[51]
	a.Applied(pending(time.Now().Add(100*time.Millisecond), paid))
	a.Applied(&ledger.Applied{Orders: []*order.Order{{Number: paid, Status: order.Paid, Version: 2, Events: 2}}})
	var got []order.Number
	testenv.Until(t, patience, "all are named", func() bool {
		for _, c := range []*countdown{a, b} {
			due, _ := c.Due(time.Now(), 7)
			got = append(got, due...)
		}
		return len(got) >= len(all)
	})
	for _, c := range []*countdown{a, b} {
		testenv.Until(t, patience, "every event was looked at", func() bool {
			due, _ := c.Due(time.Now(), 1000)
			got = append(got, due...)
			return c.Next().IsZero()
		})
	}
	slices.Sort(got)
	if !slices.Equal(got, all) {
		t.Errorf("named %v, want each of %d once", got, len(all))
	}
}

// The record's clock decides: by a process' clock that is ahead every order is named too early.
func TestAKeyThatExpiredTooEarlyIsNamedAgainWhenItIsDue(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	client := direct(t, s.URL())
	c := counting(t, working(t, newRecord(), quick(s.URL())), redisfront.NewKeyspaceCountdown, "keyspace")
	testenv.Until(t, patience, "it listens", func() bool {
		heard, _ := do(t, client, "PUBSUB", "NUMSUB", "__keyevent@0__:expired").AsIntMap()
		return heard["__keyevent@0__:expired"] == 1
	})
	no := numbers(1)[0]
	c.Applied(pending(time.Now().Add(20*time.Millisecond), no))
	named(t, c, time.Now(), 1)
	began := time.Now()
	c.Postpone(no, began.Add(100*time.Millisecond))
	named(t, c, time.Now(), 1)
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it was named again after %v, want 100 ms: as soon as it was due", took)
	}
}

// kept is the number of deadlines in Redis.
func kept(t *testing.T, c rueidis.Client) (n int64) {
	t.Helper()
	keys, err := do(t, c, "KEYS", "countdown:*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		card, err := do(t, c, "ZCARD", key).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		n += card
	}
	return n
}
