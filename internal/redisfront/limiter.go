package redisfront

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// quotaMax bounds a look at a quota.
const quotaMax = 25 * time.Millisecond

// Quotas is what takes from quotas while Redis is away.
type Quotas interface {
	Take(ctx context.Context, key string, q ratelimit.Quota, cost int) ratelimit.Decision
}

// Limiter keeps quotas for all processes together. While Redis is away each process keeps them by itself, as large as they are: how
// many processes there are nobody knows then, and a buyer who always comes to the same one is not to be let in less often.
type Limiter struct {
	front    *Front
	fallback Quotas
	clock    func() time.Time

	fellBack atomic.Int64
}

// NewLimiter makes a limiter of a front.
func NewLimiter(f *Front, fallback Quotas, clock func() time.Time) *Limiter {
	return &Limiter{front: f, fallback: fallback, clock: clock}
}

// FellBack is how often this process decided by itself.
func (l *Limiter) FellBack() int64 { return l.fellBack.Load() }

// Take takes cost from the quota of a key. It asks no epoch: a quota that is lost is whole, whosever it was.
func (l *Limiter) Take(ctx context.Context, key string, q ratelimit.Quota, cost int) ratelimit.Decision {
	c := l.front.connected()
	if c == nil {
		return l.fall(ctx, key, q, cost)
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), quotaMax)
	defer cancel()
	now := l.clock()
	take := run{&gcraScript, []string{quotaKey(key)}, []string{
		strconv.FormatInt(now.UnixMicro(), 10), strconv.FormatInt(q.Every().Microseconds(), 10), strconv.Itoa(q.Burst), strconv.Itoa(cost),
	}}
	whole, err := runAll(within, c, []run{take})[0].AsInt64()
	if err != nil {
		l.front.failed(l.front.trusted.Load())
		return l.fall(ctx, key, q, cost)
	}
	_, d := q.Take(whole, now, cost)
	return d
}

func (l *Limiter) fall(ctx context.Context, key string, q ratelimit.Quota, cost int) ratelimit.Decision {
	l.fellBack.Add(1)
	return l.fallback.Take(ctx, key, q, cost)
}
