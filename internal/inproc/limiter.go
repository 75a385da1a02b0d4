package inproc

import (
	"context"
	"hash/maphash"
	"slices"
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

// Take takes one from each quota, or from none where one of them is used up.
func (l *Limiter) Take(_ context.Context, asks []ratelimit.Ask) []ratelimit.Decision {
	now := l.clock()
	shards, locked := make([]*limitShard, len(asks)), make([]uint64, len(asks))
	for i := range asks {
		locked[i] = maphash.String(l.seed, asks[i].Key) % limitShards
		shards[i] = &l.shards[locked[i]]
	}
	slices.Sort(locked) // everybody locks in one order
	for _, i := range slices.Compact(locked) {
		l.shards[i].mu.Lock()
		defer l.shards[i].mu.Unlock() //nolint:gocritic // all are let go together, at the end
	}
	full, decisions := make([]int64, len(asks)), make([]ratelimit.Decision, len(asks))
	for i := range asks {
		full[i], decisions[i] = asks[i].Take(shards[i].whole(asks[i].Key), now, 1)
	}
	refused := ratelimit.Refused(decisions)
	for i := range asks {
		if refused && decisions[i].Allowed { // by this one: it stays as it is
			full[i], decisions[i] = asks[i].Take(shards[i].whole(asks[i].Key), now, 0)
		}
		shards[i].keep(asks[i].Key, full[i])
	}
	return decisions
}

// whole is when the quota of a key is whole again.
func (s *limitShard) whole(key string) int64 {
	if full, known := s.young[key]; known {
		return full
	}
	return s.old[key]
}

// keep remembers when the quota of a key is whole again, unless nothing was ever taken from it.
func (s *limitShard) keep(key string, full int64) {
	if full == 0 {
		return
	}
	if _, known := s.young[key]; !known && len(s.young) >= limitKeysMax/limitShards/2 {
		s.old, s.young = s.young, make(map[string]int64, len(s.young))
	}
	s.young[key] = full
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
