package redisfront

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// quotaMax bounds one round trip for the quotas of a request.
const quotaMax = 25 * time.Millisecond

// Quotas is what takes from quotas while Redis is away.
type Quotas interface {
	Take(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision
}

// Limiter keeps quotas for all processes together. While Redis is away each process keeps them by itself, as large as they are: how
// many processes there are nobody knows then, and a buyer who always comes to the same one is not to be let in less often.
type Limiter struct {
	front    *Front
	fallback Quotas

	fellBack atomic.Int64
}

// NewLimiter makes a limiter of a front.
func NewLimiter(f *Front, fallback Quotas) *Limiter { return &Limiter{front: f, fallback: fallback} }

// FellBack is how often this process decided by itself.
func (l *Limiter) FellBack() int64 { return l.fellBack.Load() }

// Take takes one from each quota, or from none where one of them is used up. The keys are asked for together, in one round trip, and
// each by a script of its own, for they may lie on several servers: so what was taken beside a refusal is given back in another. For
// that moment the client may be refused by a quota that has room; he is being refused anyway. It asks no epoch: a quota that is lost
// is whole, whosever it was.
func (l *Limiter) Take(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision {
	c := l.front.connected()
	if c == nil {
		return l.fall(ctx, asks)
	}
	takes := make([]run, len(asks))
	for i := range asks {
		takes[i] = run{&gcraScript, []string{quotaKey(asks[i].Key)}, []string{microseconds(asks[i].Every()), strconv.Itoa(asks[i].Burst)}}
	}
	found, decisions := make([][]int64, len(asks)), make([]ratelimit.Decision, len(asks))
	for i, r := range l.run(c, takes) {
		moments, err := r.AsIntSlice()
		if err != nil || len(moments) != 2 {
			l.front.unanswered()
			return l.fall(ctx, asks)
		}
		found[i] = moments
		_, decisions[i] = asks[i].Take(moments[1], time.UnixMicro(moments[0]), 1)
	}
	if !ratelimit.Refused(decisions) {
		return decisions
	}
	var back []run
	for i := range asks {
		if decisions[i].Allowed { // by this one: it is to stay as it was
			_, decisions[i] = asks[i].Take(found[i][1], time.UnixMicro(found[i][0]), 0)
			back = append(back, run{&gcraBackScript, takes[i].keys, takes[i].args[:1]})
		}
	}
	if len(back) > 0 {
		l.run(c, back) // what cannot be given back grows back
	}
	return decisions
}

// run gives Redis its time, also where the client has left: what is taken half would count.
func (l *Limiter) run(c rueidis.Client, runs []run) []rueidis.RedisResult {
	within, cancel := context.WithTimeout(context.Background(), l.front.opt.QuotaMax)
	defer cancel()
	return runAll(within, c, runs)
}

func (l *Limiter) fall(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision {
	l.fellBack.Add(1)
	return l.fallback.Take(ctx, asks)
}

func microseconds(d time.Duration) string { return strconv.FormatInt(d.Microseconds(), 10) }
