package inproc

import (
	"context"
	"hash/maphash"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

const (
	// limitShards is the number of locks that the keys of quotas share.
	limitShards = 64
	// limitKeysMax bounds the keys that are remembered, about 30 MB of them.
	limitKeysMax = 200_000
)

// Limiter keeps quotas in this process's memory, as many as it has room for. The keys that nobody has used for longest are forgotten
// first; a key that is forgotten has all of its quota again, so a full memory never keeps anybody out.
type Limiter struct {
	clock  func() time.Time
	seed   maphash.Seed
	shards [limitShards]limitShard
}

// limitShard keeps its keys in two generations. A key that is used goes to the younger one; when that is full, it takes the place
// of the older, which is forgotten.
type limitShard struct {
	mu         sync.Mutex
	young, old map[string]int64 // when the key's quota is whole again; see ratelimit.Quota.Take
}

// NewLimiter makes a limiter that remembers nothing yet.
func NewLimiter(clock func() time.Time) *Limiter {
	l := &Limiter{clock: clock, seed: maphash.MakeSeed()}
	for i := range l.shards {
		l.shards[i].young = map[string]int64{}
	}
	return l
}

// Take takes cost from the quota of a key.
func (l *Limiter) Take(_ context.Context, key string, q ratelimit.Quota, cost int) ratelimit.Decision {
	now := l.clock()
	s := &l.shards[maphash.String(l.seed, key)%limitShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	full, known := s.young[key]
	if !known {
		full = s.old[key]
	}
	full, d := q.Take(full, now, cost)
	if full == 0 {
		return d // nothing was taken from a whole quota: that need not be remembered
	}
	if !known && len(s.young) >= limitKeysMax/limitShards/2 {
		s.old, s.young = s.young, make(map[string]int64, len(s.young))
	}
	s.young[key] = full
	return d
}

// Keys is how many keys are remembered.
func (l *Limiter) Keys() (n int) {
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.young) + len(s.old)
		s.mu.Unlock()
	}
	return n
}
