package redisfront

import (
	"context"
	"errors"
	"math"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the sorted sets.
const (
	sortedShards = 8                      // sets, shared by the servers of a cluster
	sortedLook   = 500 * time.Millisecond // between two looks at all sets: another process may have put in what it cannot end any more
	sortedLasts  = 35 * 24 * time.Hour    // after its last deadline came in: longer than any pay window
)

// sorted keeps deadlines in sorted sets. It knows when the next of each is due, and asks no set before.
type sorted struct {
	place *place
	woken func()

	mu     sync.Mutex
	at     [sortedShards]int64 // when something is due, milliseconds; 0: to be asked
	looked time.Time
}

func newSorted(f *Front, woken func()) *sorted { return &sorted{place: &place{front: f}, woken: woken} }

func (*sorted) driver() string { return "redis" }

func (s *sorted) listen(context.Context) {}

func shardOf(no order.Number) int { return int(no % sortedShards) }

// tell puts in what is new, then moves, then takes out: of an order all three may be on one page, in this order.
func (s *sorted) tell(ctx context.Context, c rueidis.Client, changes []deadline) error {
	name, err := s.place.name(ctx)
	if err != nil {
		return err
	}
	var words [over + 1][sortedShards][]string
	first := [sortedShards]int64{}
	for i := range changes {
		d := &changes[i]
		shard := shardOf(d.no)
		w := &words[d.what][shard]
		if d.what != over {
			at := d.payBy.UnixMilli()
			if first[shard] == 0 || at < first[shard] {
				first[shard] = at
			}
			*w = append(*w, strconv.FormatInt(at, 10))
		}
		*w = append(*w, d.no.String())
	}
	var commands rueidis.Commands
	for shard := range sortedShards {
		key := countdownKey(name, strconv.Itoa(shard))
		if w := words[waits][shard]; len(w) > 0 {
			commands = append(commands, c.B().Arbitrary("ZADD").Keys(key).Args("NX").Args(w...).Build(),
				c.B().Expire().Key(key).Seconds(int64(sortedLasts.Seconds())).Build())
		}
		if w := words[postpone][shard]; len(w) > 0 {
			commands = append(commands, c.B().Arbitrary("ZADD").Keys(key).Args(w...).Build())
		}
		if w := words[over][shard]; len(w) > 0 {
			commands = append(commands, c.B().Zrem().Key(key).Member(w...).Build())
		}
	}
	for _, r := range c.DoMulti(ctx, commands...) {
		err = errors.Join(err, r.Error())
	}
	s.earlier(&first)
	return err
}

// earlier takes note of deadlines that came in, and tells if one is before all that was known.
func (s *sorted) earlier(first *[sortedShards]int64) {
	s.mu.Lock()
	known, now := s.soonest(), int64(math.MaxInt64)
	for shard, at := range first {
		if at != 0 {
			s.at[shard] = min(s.at[shard], at)
			now = min(now, at)
		}
	}
	s.mu.Unlock()
	if now < known {
		s.woken()
	}
}

func (s *sorted) soonest() int64 {
	soonest := s.at[0]
	for _, at := range s.at {
		soonest = min(soonest, at)
	}
	return soonest
}

func (s *sorted) next() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.UnixMilli(s.soonest())
}

// due asks the sets in which something is due; now and then all of them.
func (s *sorted) due(ctx context.Context, c rueidis.Client, now time.Time, limit int) ([]order.Number, error) {
	name, err := s.place.name(ctx)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	all := now.Sub(s.looked) >= sortedLook || now.Before(s.looked)
	var shards []int
	var was []int64
	for shard, at := range s.at {
		if all || at <= now.UnixMilli() {
			shards, was = append(shards, shard), append(was, at)
			s.at[shard] = math.MaxInt64 // until it is known; what comes in meanwhile is noted
		}
	}
	s.mu.Unlock()
	if len(shards) == 0 {
		return nil, nil
	}
	runs := make([]run, len(shards))
	for i, shard := range shards {
		runs[i] = run{&dueScript, []string{countdownKey(name, strconv.Itoa(shard))}, []string{
			strconv.FormatInt(now.UnixMilli(), 10), strconv.FormatInt(now.Add(leasedFor).UnixMilli(), 10),
			strconv.Itoa(max(limit/len(shards), 1)),
		}}
	}
	var found []order.Number
	for i, r := range runAll(ctx, c, runs) {
		numbers, next, failed := readDue(r)
		if failed != nil {
			next, err = was[i], failed
		}
		found = append(found, numbers...)
		s.mu.Lock()
		s.at[shards[i]] = min(s.at[shards[i]], next)
		s.mu.Unlock()
	}
	if err == nil && all {
		s.looked = now
	}
	if len(found) > 0 {
		return found, nil // what failed is asked again
	}
	return nil, err
}

func readDue(r rueidis.RedisResult) (found []order.Number, next int64, err error) {
	words, err := r.AsStrSlice()
	if err != nil || len(words) == 0 {
		return nil, 0, errors.Join(err, errAnswer)
	}
	next = math.MaxInt64
	if at, err := strconv.ParseFloat(words[0], 64); err == nil {
		next = int64(at)
	}
	for _, word := range words[1:] {
		if no, err := order.ParseNumber(word); err == nil {
			found = append(found, no)
		}
	}
	return found, next, nil
}

var errAnswer = errors.New("an answer that is none")

// place names where a record's deadlines are kept: of this record and no other, whatever else becomes of Redis.
type place struct {
	front *Front
	mu    sync.Mutex
	known string
}

func (p *place) name(ctx context.Context) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.known == "" {
		name, err := p.front.record.SharedSecret(ctx, "countdown", randomName(8))
		if err != nil {
			return "", err
		}
		p.known = name
	}
	return p.known, nil
}
