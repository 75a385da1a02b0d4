package redisfront_test

import (
	"context"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// ownQuotas counts who has to do without Redis.
type ownQuotas struct{ asked atomic.Int64 }

func (q *ownQuotas) Take(_ context.Context, asks []ratelimit.Ask) []ratelimit.Decision {
	q.asked.Add(1)
	all := make([]ratelimit.Decision, len(asks))
	for i := range all {
		all[i].Remaining = 77
	}
	return all
}

// taker takes from quotas.
type taker interface {
	Take(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision
}

// take takes one from one quota.
func take(t *testing.T, l taker, key string, q ratelimit.Quota) ratelimit.Decision {
	t.Helper()
	return l.Take(t.Context(), []ratelimit.Ask{{Key: key, Quota: q}})[0]
}

// patient is quick, but waits for quotas however busy the machine is.
func patient(address string) redisfront.Options {
	o := quick(address)
	o.QuotaMax = 5 * time.Second
	return o
}

// an hour's quota, so that nothing grows back while a test runs.
func hourly(burst int) ratelimit.Quota {
	return ratelimit.Quota{Count: burst, Per: time.Hour, Burst: burst}
}

func TestAQuotaHoldsForAllProcessesTogether(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	own := &ownQuotas{}
	var limiters []*redisfront.Limiter
	for range 3 {
		limiters = append(limiters, redisfront.NewLimiter(working(t, newRecord(), patient(s.URL())).front, own))
	}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			for range 10 {
				if take(t, limiters[i%3], "* user 1h\x00u-{1}", hourly(10)).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 10 || own.asked.Load() != 0 {
		t.Errorf("%d went through, and %d were decided by their process' own quotas; want 10, none", got, own.asked.Load())
	}
	second := ratelimit.Quota{Count: 10, Per: time.Second, Burst: 10}
	if d := take(t, limiters[0], "* user 1s\x00another", second); !d.Allowed {
		t.Errorf("another key: got %+v, want it allowed", d)
	}
	if ttl, err := do(t, direct(t, s.URL()), "PTTL", "quota:{* user 1s\x00another}").AsInt64(); err != nil || ttl < 1 || ttl > 1200 {
		t.Errorf("a quota of which little was taken is kept for %d ms (%v), want little longer than it takes to grow back", ttl, err)
	}
}

// The script does the arithmetic of ratelimit, whatever the quota, at the server's time.
func TestQuotasInRedisAreThoseOfTheProcess(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	l := redisfront.NewLimiter(working(t, newRecord(), patient(s.URL())).front, &ownQuotas{})
	c := direct(t, s.URL())
	quotas := []ratelimit.Quota{
		{Count: 1000, Per: time.Second, Burst: 1}, {Count: 7, Per: 10 * time.Second, Burst: 20}, {Count: 2000, Per: time.Second, Burst: 3},
	}
	outcomes := map[bool]int{}
	for i := range 600 {
		q, key := quotas[rand.IntN(len(quotas))], strconv.Itoa(rand.IntN(2))
		key = q.Per.String() + strconv.Itoa(q.Burst) + key
		before, _ := do(t, c, "GET", "quota:{"+key+"}").AsInt64()
		got := take(t, l, key, q)
		after, _ := do(t, c, "GET", "quota:{"+key+"}").AsInt64()
		outcomes[got.Allowed]++
		if after == 0 {
			continue // it was gone again before the look
		}
		now := time.UnixMicro(after).Add(-got.Reset) // when the quota is whole again, and how long that is
		full, want := q.Take(before, now, 1)
		if got != want || after != full {
			t.Fatalf("request %d of %+v: got %+v and %d, want %+v and %d", i, q, got, after, want, full)
		}
	}
	if outcomes[true] < 50 || outcomes[false] < 50 {
		t.Errorf("%v were allowed or not: that proves little", outcomes)
	}
}

// A request counts for all of its quotas or for none, in one round trip where all let it, wherever their keys lie.
func TestOfSeveralQuotasInRedisAllAreTakenFromOrNone(t *testing.T) {
	t.Parallel()
	t.Run("one server", func(t *testing.T) {
		t.Parallel()
		takenTogether(t, testenv.StartRedis(t, testenv.Options{}).URL())
	})
	t.Run("a cluster", func(t *testing.T) {
		t.Parallel()
		takenTogether(t, testenv.StartRedisCluster(t, testenv.Options{}).URL())
	})
}

func takenTogether(t *testing.T, address string) {
	t.Helper()
	own := &ownQuotas{}
	var limiters []*redisfront.Limiter
	for range 2 {
		limiters = append(limiters, redisfront.NewLimiter(working(t, newRecord(), patient(address)).front, own))
	}
	asks := []ratelimit.Ask{{Key: "address", Quota: hourly(1000)}, {Key: "key", Quota: hourly(2000)}, {Key: "user", Quota: hourly(5)}}
	for i := range 20 {
		got := limiters[i%2].Take(t.Context(), asks)
		for k, d := range got {
			want := ratelimit.Decision{Allowed: k < 2 || i < 5, Remaining: asks[k].Burst - min(i+1, 5)}
			if d.Allowed != want.Allowed || d.Remaining != want.Remaining {
				t.Fatalf("request %d, %s: got %+v, want %+v", i+1, asks[k].Key, d, want)
			}
		}
	}
	// Many at once, whose narrow quota is used up: none of them takes what others may have.
	var all sync.WaitGroup
	var through atomic.Int64
	for i := range 16 {
		all.Go(func() {
			for range 10 {
				if !ratelimit.Refused(limiters[i%2].Take(t.Context(), asks)) {
					through.Add(1)
				}
			}
		})
	}
	all.Wait()
	if d := take(t, limiters[0], "address", hourly(1000)); through.Load() > 0 || d.Remaining != 994 {
		t.Errorf("%d went through, and %d of the wide quota are left; want none, 994", through.Load(), d.Remaining)
	}
	if n := own.asked.Load(); n > 0 {
		t.Errorf("%d times a process asked its own quotas", n)
	}
}

// Redis dies: each process goes on with quotas of its own, as large as they were, and nobody waits long. It comes back: they are
// shared again.
func TestQuotasAreSharedAgainWhenRedisIsBack(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	var limiters []*redisfront.Limiter
	var fronts []*process
	for range 2 {
		p := working(t, newRecord(), patient(s.URL()))
		fronts = append(fronts, p)
		limiters = append(limiters, redisfront.NewLimiter(p.front, inproc.NewLimiter(time.Now)))
	}
	through := func(key string, burst int) (n [2]int) {
		for range 3 * burst {
			for i, l := range limiters {
				if take(t, l, key, hourly(burst)).Allowed {
					n[i]++
				}
			}
		}
		return n
	}
	if got := through("before", 10); got[0]+got[1] != 10 {
		t.Errorf("%v went through, want 10 of both", got)
	}
	s.Kill()
	asked := time.Now()
	take(t, limiters[0], "before", hourly(10))
	if waited := time.Since(asked); waited > 2*time.Second {
		t.Errorf("the first request without Redis waited %s", waited)
	}
	for _, p := range fronts {
		testenv.Until(t, patience, "Redis is missed", func() bool { return !p.front.State().Connected })
	}
	if got := through("before", 10); got[0] > 10 || got[0] < 9 || got[1] != 10 { // one was asked for above
		t.Errorf("%v went through without Redis, want 10 of each process", got)
	}
	s.Start()
	for _, p := range fronts {
		p.works(t)
	}
	if got := through("after", 10); got[0]+got[1] != 10 {
		t.Errorf("%v went through when Redis was back, want 10 of both", got)
	}
}

// A Redis that does not answer costs a request some tens of milliseconds, until it is missed.
func TestASilentRedisIsNotWaitedFor(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	own := &ownQuotas{}
	p := working(t, newRecord(), quick(s.URL()))
	l := redisfront.NewLimiter(p.front, own)
	take(t, l, "k", hourly(10))
	s.Pause()
	t.Cleanup(s.Resume)
	var longest time.Duration
	for range 5 {
		asked := time.Now()
		if d := take(t, l, "k", hourly(10)); d.Remaining != 77 {
			t.Errorf("got %+v of a Redis that is silent", d)
		}
		longest = max(longest, time.Since(asked))
	}
	if own.asked.Load() != 5 || longest > 500*time.Millisecond {
		t.Errorf("%d of 5 were decided by the process itself, and one waited for %s", own.asked.Load(), longest)
	}
}

func TestWithoutRedisAProcessKeepsQuotasByItself(t *testing.T) {
	own := &ownQuotas{}
	p := begin(t, newRecord(), quick("redis://127.0.0.1:1"))
	l := redisfront.NewLimiter(p.front, own)
	if d := take(t, l, "k", hourly(1)); d.Remaining != 77 || l.FellBack() != 1 {
		t.Errorf("got %+v, want what the process' own quotas say", d)
	}
}

// What is late for a quota says nothing of what Redis holds: gate and cache go on believing it.
func TestALateQuotaDoesNotEndTheBelief(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	o := quick(s.URL())
	o.QuotaMax = time.Nanosecond
	own := &ownQuotas{}
	p := working(t, newRecord(), o)
	l := redisfront.NewLimiter(p.front, own)
	for range 20 {
		take(t, l, "k", hourly(10))
		p.MayHaveUsed(t.Context(), key(1))
	}
	if late, asked := own.asked.Load(), p.own.keys; late != 20 || asked > 0 {
		t.Errorf("%d of 20 were late; then Redis was not asked %d times for a key, want 20, none", late, asked)
	}
}
