package redisfront_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// ownQuotas counts who has to do without Redis.
type ownQuotas struct{ asked atomic.Int64 }

func (q *ownQuotas) Take(context.Context, string, ratelimit.Quota, int) ratelimit.Decision {
	q.asked.Add(1)
	return ratelimit.Decision{Remaining: 77}
}

func TestAQuotaHoldsForAllProcessesTogether(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC) // not the server's time: the rate is all it knows
	own := &ownQuotas{}
	var limiters []*redisfront.Limiter
	for range 3 {
		p := working(t, newRecord(), quick(s.URL()))
		limiters = append(limiters, redisfront.NewLimiter(p.front, own, func() time.Time { return now }))
	}
	q := ratelimit.Quota{Count: 10, Per: time.Second, Burst: 10}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			for range 10 {
				if limiters[i%3].Take(t.Context(), "* user 1s\x00u-{1}", q, 1).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 10 || own.asked.Load() != 0 {
		t.Errorf("%d went through, %d of them by their process' own quotas; want 10, none", got, own.asked.Load())
	}
	if d := limiters[0].Take(t.Context(), "* user 1s\x00another", q, 1); !d.Allowed {
		t.Errorf("another key: got %+v, want it allowed", d)
	}
	if ttl, err := do(t, direct(t, s.URL()), "PTTL", "quota:{* user 1s\x00another}").AsInt64(); err != nil || ttl < 1 || ttl > 1200 {
		t.Errorf("a quota of which little was taken is kept for %d ms (%v), want little longer than it takes to grow back", ttl, err)
	}
}

// The script does the arithmetic of ratelimit, whatever the quota and the time.
func TestQuotasInRedisAreThoseOfTheProcess(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, newRecord(), quick(s.URL()))
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := redisfront.NewLimiter(p.front, &ownQuotas{}, func() time.Time { return now })
	full := map[ratelimit.Quota]int64{}
	quotas := []ratelimit.Quota{
		{Count: 3, Per: time.Second, Burst: 1}, {Count: 7, Per: 10 * time.Second, Burst: 20}, {Count: 1000000, Per: time.Second, Burst: 5},
	}
	for i := range 500 {
		now = now.Add(time.Duration(rand.IntN(1_500_000)) * time.Microsecond)
		q, cost := quotas[i%len(quotas)], 1+rand.IntN(2)
		var want ratelimit.Decision
		full[q], want = q.Take(full[q], now, cost)
		if got := l.Take(t.Context(), q.Per.String()+string(rune('a'+i%3)), q, cost); got != want {
			t.Fatalf("request %d of %+v: got %+v, want %+v", i, q, got, want)
		}
	}
}

func TestWithoutRedisAProcessKeepsQuotasByItself(t *testing.T) {
	own := &ownQuotas{}
	p := begin(t, newRecord(), quick("redis://127.0.0.1:1"))
	l := redisfront.NewLimiter(p.front, own, time.Now)
	if d := l.Take(t.Context(), "k", ratelimit.Quota{Count: 1, Per: time.Second, Burst: 1}, 1); d.Remaining != 77 || l.FellBack() != 1 {
		t.Errorf("got %+v, want what the process' own quotas say", d)
	}
}
