package redisfront

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Limits of the cache.
const (
	readMax       = 100 * time.Millisecond // for one round trip
	fillerMax     = 500 * time.Millisecond // that others wait for whoever fills in; then they ask the record themselves
	pollMin       = time.Millisecond       // between two looks whether it was filled in, doubled each time
	pollMax       = 20 * time.Millisecond
	nearValues    = 20_000           // kept ready to use in this process
	cachedMin     = 2 * time.Minute  // longer than any batch lasts
	cachedMax     = 24 * time.Hour   // for a deadline far away
	settledFor    = 10 * time.Minute // for what has been paid or is over, and for users
	changedMax    = 8192             // values that wait to be told
	changedAtOnce = 256
)

// Cache remembers orders and users for all processes. No reader goes back in time, whichever process he asks: a value is marked
// before the commit that changes it, and is read in the record until what it has become is there. So what is kept in this process
// spares reading and decoding a value, never asking whether it is still the one.
type Cache struct {
	front  *Front
	Orders *Cached[order.Order]
	Users  *Cached[user.User]

	batches atomic.Int64           // announced by this process
	under   atomic.Pointer[string] // the epoch that was believed when the last one was announced
	lost    atomic.Int64
	kick    chan struct{}
	mu      sync.Mutex
	waiting []changed
}

// changed is what a value has become.
type changed struct {
	key     func(epoch string) string
	version int64
	value   any
	lasts   time.Duration
	batch   int64
	epoch   string
}

// NewCache makes the cache of a front. Run works for it.
func NewCache(f *Front) *Cache {
	return &Cache{
		front: f, kick: make(chan struct{}, 1),
		Orders: newCached(f, orderKey, func(o *order.Order) int64 { return o.Events }, orderLasts),
		Users:  newCached(f, userKey, func(u *user.User) int64 { return u.Version }, func(*user.User) time.Duration { return settledFor }),
	}
}

// orderLasts is how long an order is kept: while it can be paid, and for a while after.
func orderLasts(o *order.Order) time.Duration {
	if o.Status != order.Pending {
		return settledFor
	}
	return min(max(time.Until(o.PayBy)+cachedMin, cachedMin), cachedMax)
}

// Changing tells all processes what a batch is about to change. As with used keys, a Redis that cannot be told is believed by nobody any
// more before the batch is committed.
func (c *Cache) Changing(ch *ledger.Changes) {
	batch := c.batches.Add(1)
	c.under.Store(nil)
	if t := c.front.open(); t != nil {
		c.under.Store(&t.epoch)
	}
	var keys []func(epoch string) string
	for _, o := range ch.Orders {
		keys = append(keys, c.keyOfOrder(o.Number))
	}
	for _, users := range [][]*user.User{ch.NewUsers, ch.Users} {
		for _, u := range users {
			keys = append(keys, c.keyOfUser(u.ID))
		}
	}
	if len(keys) == 0 {
		return
	}
	c.front.announce(func(ctx context.Context, client rueidis.Client, epoch string) error {
		runs := make([]run, len(keys))
		for i, key := range keys {
			runs[i] = run{&cachedChangingScript, []string{key(epoch)}, []string{c.front.self, strconv.FormatInt(batch, 10)}}
		}
		for _, r := range runAll(ctx, client, runs) {
			if err := r.Error(); err != nil {
				return err
			}
		}
		return nil
	})
}

func (c *Cache) keyOfOrder(no order.Number) func(string) string {
	return func(epoch string) string { return orderKey(epoch, no.String()) }
}

func (c *Cache) keyOfUser(id user.ID) func(string) string {
	return func(epoch string) string { return userKey(epoch, string(id)) }
}

// Applied learns from the batch announced last and carries it to Redis, in the background. What is lost stays marked, and is read in
// the record. Only into an epoch that was believed before the commit: then whatever changed since was marked in it, too.
func (c *Cache) Applied(a *ledger.Applied) {
	under := c.under.Load()
	if under == nil || c.front.opt.Alone {
		return
	}
	batch, epoch := c.batches.Load(), *under
	c.mu.Lock()
	for _, o := range a.Orders {
		c.waiting = append(c.waiting, changed{c.keyOfOrder(o.Number), o.Events, o, orderLasts(o), batch, epoch})
	}
	for _, u := range a.Users {
		c.waiting = append(c.waiting, changed{c.keyOfUser(u.ID), u.Version, u, settledFor, batch, epoch})
	}
	if beyond := len(c.waiting) - changedMax; beyond > 0 {
		c.waiting = c.waiting[beyond:]
		c.lost.Add(int64(beyond))
	}
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// Run carries what has changed to Redis until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		}
		for ctx.Err() == nil && c.tellPage(ctx) {
		}
	}
}

// tellPage tells some of what has changed, and reports whether there was any.
func (c *Cache) tellPage(ctx context.Context) bool {
	c.mu.Lock()
	page := c.waiting[:min(len(c.waiting), changedAtOnce)]
	if c.waiting = c.waiting[len(page):]; len(c.waiting) == 0 {
		c.waiting = nil
	}
	c.mu.Unlock()
	if len(page) == 0 {
		return false
	}
	t := c.front.open()
	runs := make([]run, 0, len(page))
	for _, v := range page {
		text, err := json.Marshal(v.value)
		if err != nil || t == nil || t.epoch != v.epoch {
			c.lost.Add(1)
			continue
		}
		runs = append(runs, run{&cachedChangedScript, []string{v.key(v.epoch)}, []string{
			c.front.self, strconv.FormatInt(v.batch, 10), strconv.FormatInt(v.version, 10), string(text), strconv.FormatInt(v.lasts.Milliseconds(), 10),
		}})
	}
	if len(runs) == 0 {
		return true
	}
	within, cancel := context.WithTimeout(ctx, newsWait)
	defer cancel()
	for _, r := range runAll(within, t.client, runs) {
		if r.Error() != nil {
			c.lost.Add(1)
		}
	}
	return true
}

// Lost is how many values did not get through. They are read in the record until they are filled in.
func (c *Cache) Lost() int64 { return c.lost.Load() }

// Cached is the cache of one kind of value.
type Cached[T any] struct {
	front   *Front
	key     func(epoch, id string) string
	version func(*T) int64
	lasts   func(*T) time.Duration
	near    *otter.Cache[string, nearValue[T]]

	mu      sync.Mutex
	gather  map[string]*reading[T] // of a key, the question that readers can still join
	running map[string]*reading[T] // and the one that is on its way

	nearHits, farHits, records, fillers atomic.Int64
}

// nearValue is a value as this process has met it last, in an epoch.
type nearValue[T any] struct {
	version string
	value   *T
}

// reading is one question to Redis, for all who asked it before it was sent: whoever comes later may know of something later.
type reading[T any] struct {
	after *reading[T]
	value *T
	state string
	done  chan struct{}
}

func newCached[T any](f *Front, key func(epoch, id string) string, version func(*T) int64, lasts func(*T) time.Duration) *Cached[T] {
	return &Cached[T]{
		front: f, key: key, version: version, lasts: lasts,
		near:   otter.Must(&otter.Options[string, nearValue[T]]{MaximumSize: nearValues}),
		gather: map[string]*reading[T]{}, running: map[string]*reading[T]{},
	}
}

// ReadCounts is where values were found.
type ReadCounts struct {
	Near   int64 // in this process, and still valid
	Far    int64 // in Redis
	Record int64
}

// Counts tells where values were found.
func (c *Cached[T]) Counts() ReadCounts {
	return ReadCounts{c.nearHits.Load(), c.farHits.Load(), c.records.Load()}
}

// Read gives a value as it is. It is shared: not to be changed. Of all readers of what is not in Redis one loads it, and the others
// wait for him for a while.
func (c *Cached[T]) Read(id string, load func() (*T, error)) (*T, error) {
	giveUp := time.Now().Add(fillerMax)
	for pause := pollMin; ; pause = min(2*pause, pollMax) {
		t := c.front.open()
		if t == nil || c.front.opt.Alone {
			break
		}
		key, filler := c.key(t.epoch, id), c.front.self+strconv.FormatInt(c.fillers.Add(1), 36)
		value, state := c.join(t, key, filler)
		switch {
		case value != nil:
			return value, nil
		case state == "fill":
			return c.fill(t, key, filler, load)
		case state == "wait" && time.Now().Before(giveUp):
			failpoint.Hit("cache.waits_for_filler")
			time.Sleep(pause)
			continue
		}
		break
	}
	c.records.Add(1)
	return load()
}

// join asks with all others of this process who ask for the same just now. Only one of them is ever told to fill in.
func (c *Cached[T]) join(t *trust, key, filler string) (*T, string) {
	c.mu.Lock()
	r, joined := c.gather[key]
	if !joined {
		r = &reading[T]{after: c.running[key], done: make(chan struct{})}
		c.gather[key] = r
	}
	c.mu.Unlock()
	if joined {
		<-r.done
		switch {
		case r.value != nil:
			c.nearHits.Add(1)
		case r.state == "fill":
			return nil, "wait"
		}
		return r.value, r.state
	}
	if r.after != nil {
		<-r.after.done
		r.after = nil
	}
	c.mu.Lock()
	delete(c.gather, key)
	c.running[key] = r
	c.mu.Unlock()
	r.value, r.state = c.ask(t, key, filler)
	c.mu.Lock()
	if c.running[key] == r {
		delete(c.running, key)
	}
	c.mu.Unlock()
	close(r.done)
	return r.value, r.state
}

// ask gives the value, or what is to be done to have it.
func (c *Cached[T]) ask(t *trust, key, filler string) (*T, string) {
	near, _ := c.near.GetIfPresent(key)
	ctx, cancel := context.WithTimeout(context.Background(), readMax)
	defer cancel()
	answer, err := runAll(ctx, t.client, []run{{&cachedReadScript, []string{key}, []string{filler, near.version}}})[0].AsStrSlice()
	if err != nil || len(answer) == 0 {
		c.front.failed(t)
		return nil, ""
	}
	if t.dials != c.front.dials.Load() { // it may have been another server that answered
		return nil, ""
	}
	switch {
	case answer[0] == "same":
		c.nearHits.Add(1)
		return near.value, ""
	case answer[0] == "here" && len(answer) == 3:
		value := new(T)
		if json.Unmarshal([]byte(answer[2]), value) != nil {
			return nil, ""
		}
		c.near.Set(key, nearValue[T]{answer[1], value})
		c.farHits.Add(1)
		return value, ""
	}
	return nil, answer[0]
}

// fill loads a value and lets all have it. What does not exist is not kept: it may at any moment.
func (c *Cached[T]) fill(t *trust, key, filler string, load func() (*T, error)) (*T, error) {
	c.records.Add(1)
	value, err := load()
	args := []string{filler, "0", "", "0"}
	if err == nil {
		failpoint.Hit("cache.loaded")
		version := strconv.FormatInt(c.version(value), 10)
		c.near.Set(key, nearValue[T]{version, value})
		text, failed := json.Marshal(value)
		if failed != nil {
			return value, nil // it was read all the same
		}
		args = []string{
			filler, version, string(text), strconv.FormatInt(c.lasts(value).Milliseconds(), 10),
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), readMax)
	defer cancel()
	_ = runAll(ctx, t.client, []run{{&cachedFillScript, []string{key}, args}})[0].Error() // its turn to fill lapses
	return value, err
}
