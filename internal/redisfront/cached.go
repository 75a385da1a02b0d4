package redisfront

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
)

// Limits of what is remembered of one kind.
const (
	readMax    = 100 * time.Millisecond // for one round trip
	fillerMax  = 500 * time.Millisecond // that others wait for whoever fills in; then they ask the record themselves
	pollMin    = time.Millisecond       // between two looks whether it was filled in, doubled each time
	pollMax    = 20 * time.Millisecond
	nearValues = 20_000          // kept ready to use in this process
	missingFor = 5 * time.Second // that something does not exist

	lapseWithin = time.Minute // what is kept lapses, at most a tenth later than it might
)

// kind says how values of one kind are remembered.
type kind[K comparable, T any] struct {
	name    string // as people say it
	key     func(epoch string, id K) string
	load    func(ctx context.Context, id K) (*T, error) // from the record
	version func(*T) int64                              // from 1; greater with each change
	lasts   func(*T) time.Duration                      // nil: settledFor
	misses  bool                                        // that one does not exist is kept, too: it is marked before it is made
	forever bool                                        // it never changes, and is marked by nobody
}

// cached is what all processes remember together of one kind.
type cached[K comparable, T any] struct {
	kind[K, T]
	front *Front
	near  near

	mu      sync.Mutex
	gather  map[K]*reading[T] // of a value, the reading that others can still join
	running map[K]*reading[T] // and the one that is on its way

	nearHits, farHits, shared, records, fillers atomic.Int64
}

// reading is one look at Redis, and at the record if need be, for all who asked before it began: whoever comes later may know of
// something later.
type reading[T any] struct {
	after *reading[T]
	value *T
	err   error
	done  chan struct{}
}

func newCached[K comparable, T any](f *Front, k kind[K, T]) *cached[K, T] {
	return &cached[K, T]{
		kind: k, front: f, near: newNear(),
		gather: map[K]*reading[T]{}, running: map[K]*reading[T]{},
	}
}

// ReadCounts is where values were found.
type ReadCounts struct {
	Near   int64 // in this process, and still valid
	Far    int64 // in Redis
	Shared int64 // by another reader of this process, who had not begun to look
	Record int64
}

func (c *cached[K, T]) counts() ReadCounts {
	return ReadCounts{c.nearHits.Load(), c.farHits.Load(), c.shared.Load(), c.records.Load()}
}

// Read gives a value as it is. It is shared: not to be changed. All of this process who ask for the same at a time share one look.
func (c *cached[K, T]) Read(ctx context.Context, id K) (*T, error) {
	if c.forever {
		if m, ok := c.near.get(c.nearKey("", id)); ok {
			c.nearHits.Add(1)
			return of[T](m), nil
		}
	}
	c.mu.Lock()
	r, joined := c.gather[id]
	if !joined {
		r = &reading[T]{after: c.running[id], err: fault.ErrInternal, done: make(chan struct{})}
		c.gather[id] = r
	}
	c.mu.Unlock()
	if joined {
		select {
		case <-r.done:
			c.shared.Add(1)
			return r.value, r.err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if r.after != nil {
		<-r.after.done
		r.after = nil
	}
	c.mu.Lock()
	delete(c.gather, id)
	c.running[id] = r
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		if c.running[id] == r {
			delete(c.running, id)
		}
		c.mu.Unlock()
		close(r.done)
	}()
	r.value, r.err = c.find(context.WithoutCancel(ctx), id) // the others wait for it, too
	return r.value, r.err
}

// find looks in Redis, then in the record. Of all processes that miss a value one loads it, and the others wait for it for a while.
func (c *cached[K, T]) find(ctx context.Context, id K) (*T, error) {
	giveUp := time.Now().Add(fillerMax + c.front.opt.Grace)
	for pause := pollMin; ; pause = min(2*pause, pollMax) {
		t := c.front.open()
		if t == nil || c.front.opt.Alone {
			break
		}
		filler := c.filler()
		value, state := c.ask(ctx, t, id, filler)
		switch {
		case state == "here":
			return c.existing(value)
		case state == "fill":
			return c.fill(ctx, t, id, filler)
		case state == "wait" && time.Now().Before(giveUp):
			failpoint.Hit("cache.waits_for_filler")
			time.Sleep(pause)
			continue
		}
		break
	}
	return c.fromRecord(ctx, id)
}

// filler makes a name for who may fill in.
func (c *cached[K, T]) filler() string {
	return c.front.self + strconv.FormatInt(c.fillers.Add(1), 36)
}

// nearKey is where a value of an epoch is kept in this process: one that never changes, whatever the epoch.
func (c *cached[K, T]) nearKey(epoch string, id K) string {
	if c.forever {
		epoch = ""
	}
	return c.key(epoch, id)
}

// of is the value that was met.
func of[T any](m *met) *T {
	value, _ := m.value.(*T)
	return value
}

func (c *cached[K, T]) existing(value *T) (*T, error) {
	if value == nil {
		return nil, fault.ErrNotFound.Detailf("There is no such %s.", c.name)
	}
	return value, nil
}

func (c *cached[K, T]) fromRecord(ctx context.Context, id K) (*T, error) {
	c.records.Add(1)
	ctx, cancel := context.WithTimeout(ctx, recordMax)
	defer cancel()
	return c.load(ctx, id)
}

// ask gives the value when it is here, or what is to be done to have it.
func (c *cached[K, T]) ask(ctx context.Context, t *trust, id K, filler string) (*T, string) {
	ctx, cancel := context.WithTimeout(ctx, readMax+c.front.opt.Grace)
	defer cancel()
	key := c.key(t.epoch, id)
	if m, ok := c.near.get(key); ok {
		is, err := t.client.Do(ctx, t.client.B().Hmget().Key(key).Field("version", "marked").Build()).AsStrSlice()
		switch {
		case err != nil || len(is) != 2:
			c.front.failed(t)
			return nil, ""
		case is[0] == m.version && is[1] == "" && c.same(t):
			c.nearHits.Add(1)
			return of[T](m), "here"
		}
	}
	value, state := c.answered(t, id, runAll(ctx, t.client, []run{c.question(key, filler)})[0])
	if state == "here" {
		c.farHits.Add(1)
	}
	return value, state
}

func (c *cached[K, T]) question(key, filler string) run {
	return run{&cachedReadScript, []string{key}, []string{filler}}
}

// same reports whether it can have been no other server that answered.
func (c *cached[K, T]) same(t *trust) bool { return t.dials == c.front.dials.Load() }

// answered takes what Redis says of a value.
func (c *cached[K, T]) answered(t *trust, id K, result rueidis.RedisResult) (*T, string) {
	answer, err := result.AsStrSlice()
	if err != nil || len(answer) == 0 {
		c.front.failed(t)
		return nil, ""
	}
	if !c.same(t) {
		return nil, ""
	}
	if answer[0] != "here" || len(answer) != 3 {
		return nil, answer[0]
	}
	var value *T
	if answer[1] != "0" {
		value = new(T)
		if json.Unmarshal([]byte(answer[2]), value) != nil {
			return nil, ""
		}
	}
	c.near.set(c.nearKey(t.epoch, id), &met{answer[1], value})
	return value, "here"
}

// fill loads a value and lets all have it.
func (c *cached[K, T]) fill(ctx context.Context, t *trust, id K, filler string) (*T, error) {
	value, err := c.fromRecord(ctx, id)
	failpoint.Hit("cache.loaded")
	f := c.filling(c.key(t.epoch, id), filler, value, errors.Is(err, fault.ErrNotFound))
	within, cancel := context.WithTimeout(ctx, readMax+c.front.opt.Grace)
	defer cancel()
	c.filled(t, id, f, value, runAll(within, t.client, []run{f})[0])
	return value, err
}

// filling fills a value in, or says that there is none, or gives the turn back.
func (c *cached[K, T]) filling(key, filler string, value *T, missing bool) run {
	args := []string{filler, "0", "", "0"}
	switch {
	case value != nil:
		if text, err := json.Marshal(value); err == nil {
			args = []string{filler, strconv.FormatInt(c.version(value), 10), string(text), millisOf(c.keptFor(value))}
		}
	case missing && c.misses:
		args[3] = millisOf(missingFor)
	}
	return run{&cachedFillScript, []string{key}, args}
}

// keyOf names a value in any epoch.
func (k *kind[K, T]) keyOf(id K) func(epoch string) string {
	return func(epoch string) string { return k.key(epoch, id) }
}

// changed is what a value has become by a batch.
func (k *kind[K, T]) changed(id K, value *T, batch int64, epoch string) changed {
	return changed{k.keyOf(id), k.version(value), value, k.keptFor(value), batch, epoch}
}

// keptFor is how long a value is kept, at least. What came together, as at a warm-up, does not lapse together.
func (k *kind[K, T]) keptFor(value *T) time.Duration {
	lasts := settledFor
	if k.lasts != nil {
		lasts = k.lasts(value)
	}
	return lasts + rand.N(min(lasts/10, lapseWithin)+1) //nolint:gosec // not secret
}

// filled keeps in this process what was filled in. If it was not, the turn to fill lapses.
func (c *cached[K, T]) filled(t *trust, id K, f run, value *T, result rueidis.RedisResult) bool {
	kept, err := result.AsInt64()
	if err != nil || kept != 1 {
		return false
	}
	c.near.set(c.nearKey(t.epoch, id), &met{f.args[1], value})
	return true
}

// warm loads in one go those of some values that nobody has, and takes the others over. It gives how many there are now, and how
// many it has loaded.
func (c *cached[K, T]) warm(ctx context.Context, t *trust, ids []K, load func() (map[K]*T, error)) (here, loaded int, err error) {
	questions := make([]run, len(ids))
	for i, id := range ids {
		questions[i] = c.question(c.key(t.epoch, id), c.filler())
	}
	within, cancel := context.WithTimeout(ctx, warmMax)
	defer cancel()
	var missed []int
	for i, r := range runAll(within, t.client, questions) {
		switch _, state := c.answered(t, ids[i], r); state {
		case "here":
			here++
		case "fill":
			missed = append(missed, i)
		case "":
			return here, 0, errNotUsed
		}
	}
	if len(missed) == 0 {
		return here, 0, nil
	}
	values, err := load() // after Redis has promised to turn away what becomes old meanwhile
	fillings := make([]run, len(missed))
	for k, i := range missed {
		fillings[k] = c.filling(questions[i].keys[0], questions[i].args[0], values[ids[i]], false)
	}
	within, cancel = context.WithTimeout(ctx, warmMax)
	defer cancel()
	for k, r := range runAll(within, t.client, fillings) {
		if c.filled(t, ids[missed[k]], fillings[k], values[ids[missed[k]]], r) {
			loaded++
		}
	}
	return here + loaded, loaded, err
}

func millisOf(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }
