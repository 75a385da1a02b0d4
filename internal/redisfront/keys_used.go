package redisfront

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

const (
	followEvery = 50 * time.Millisecond // between two looks for what was marked, of a desk that refuses nobody
	restMax     = 5 * time.Second       // after marks could not be taken over
)

var (
	errMarksLost   = errors.New("marks of used keys were lost")
	errOtherServer = errors.New("it may be another server that answered")
	errElsewhere   = fmt.Errorf("%w: the epoch lives on others than this process reaches", errOtherServer)
)

// usedKeys answers whether keys may have been used. Each desk has the marks of the open epoch in its own memory, and before it says
// "no" asks Redis what was marked since: one question for all who wait, to which the answer is nothing most of the time, where
// asking for the bits of each key would cost a command each. Marks are made before a commit, so whoever could have heard of
// the commit when he asked finds them. A desk that is alone does not ask.
type usedKeys struct {
	front *Front
	looks *batcher[*keyLook]
	alone atomic.Pointer[alone]

	taking *marksCopy // of which not all shards are; nil: none. follow's only
}

// alone is that there is no other desk, as Redis has said.
type alone struct {
	marks *marksCopy // what is known
	dials int64
	until time.Time
}

// keyLook is one key, on its way to Redis and back; without a way back it only has what was marked taken over.
type keyLook struct {
	at       marking
	used     bool
	ok       bool
	answered chan struct{}
}

func newUsedKeys(f *Front) *usedKeys { return &usedKeys{front: f, looks: newBatcher[*keyLook]()} }

// MayHaveUsed reports whether a key may have been answered already, by any process; false is certain.
func (g *Gate) MayHaveUsed(ctx context.Context, key ledger.Key) bool {
	at := markingOf(key)
	if marks := g.used.all(); marks != nil {
		return marks.has(at)
	}
	if !g.used.ready() {
		return g.fallback.MayHaveUsed(ctx, key)
	}
	l := &keyLook{at: at, answered: make(chan struct{})}
	if !g.used.looks.add(l) {
		return g.fallback.MayHaveUsed(ctx, key)
	}
	if !ledger.Told(ctx, l.answered) {
		return true // nobody waits for the answer any more
	}
	if !l.ok {
		return g.fallback.MayHaveUsed(ctx, key)
	}
	return l.used
}

// all gives the marks when they are known to be all there are, or nil.
func (u *usedKeys) all() *marksCopy {
	a := u.alone.Load()
	if a == nil || time.Now().After(a.until) || a.marks != u.front.marks.Load() {
		return nil
	}
	if t := u.front.open(); t == nil || t.dials != a.dials || t.epoch != a.marks.epoch {
		return nil
	}
	return a.marks
}

// KnowsKeys reports whether used keys are known here. Until then, and without Redis, the process' own gate is asked for them.
func (g *Gate) KnowsKeys() bool { return g.used.ready() }

func (u *usedKeys) ready() bool {
	t, c := u.front.open(), u.front.marks.Load()
	return t != nil && c != nil && c.epoch == t.epoch
}

// follow takes over the marks of each epoch that is opened, and what is added to them, until ctx ends: a process that has not asked for long
// would have to begin anew.
func (u *usedKeys) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	defer u.front.leave(ctx)
	var again time.Time
	rest := followEvery
	for !u.front.opt.Alone { // else the process' own marks are all there are
		u.front.comeIn(ctx)
		switch t := u.front.open(); {
		case u.ready():
			rest = followEvery
		case t != nil && time.Now().After(again):
			if got, err := u.takeOver(ctx, t); got {
				rest = followEvery
			} else if err != nil {
				rest = min(2*rest, restMax)
				again = time.Now().Add(rest)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			u.looks.add(&keyLook{})
		}
	}
}

// takeOver takes the marks of the open epoch over, or those shards that are still missing, and reports whether it got any.
func (u *usedKeys) takeOver(ctx context.Context, t *trust) (got bool, err error) {
	if u.taking == nil || u.taking.epoch != t.epoch {
		u.taking = nil
		u.alone.Store(nil)
		u.front.marks.Store(nil) // those of an epoch before are of no use any more
		u.taking, err = u.front.beginCopy(ctx, t)
	}
	for err == nil && !u.taking.whole() {
		if u.front.open() != t {
			return got, nil
		}
		err = u.front.copyShard(ctx, t, u.taking)
		got = got || err == nil
	}
	if err == nil {
		u.front.marks.Store(u.taking)
	}
	if err == nil || errors.Is(err, errMarksLost) {
		u.taking = nil
	}
	if err != nil && ctx.Err() == nil {
		u.front.log.Debug("redis: used keys are not known yet", "err", withoutSecrets(err, &u.front.option))
	}
	return got, err
}

// send asks what was marked, for all who wait.
func (u *usedKeys) send(batch []*keyLook) {
	defer func() {
		for _, l := range batch {
			if l.answered != nil {
				close(l.answered)
			}
		}
	}()
	t, c := u.front.open(), u.front.marks.Load()
	if t == nil || c == nil || c.epoch != t.epoch {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitMax+u.front.opt.Grace)
	defer cancel()
	switch err := u.catchUp(ctx, t, c, batch); {
	case errors.Is(err, errMarksLost):
		u.front.marks.CompareAndSwap(c, nil) // they are taken over anew
		return
	case err != nil:
		u.front.failed(t)
		return
	}
	if t.dials != u.front.dials.Load() {
		return // it may have been another server that answered
	}
	for _, l := range batch {
		l.used, l.ok = c.has(l.at), true
	}
}

// catchUp adds to a copy what was marked since. errMarksLost: not all of that is to be had. In a storm of refusals nothing was, and the
// quickest command there is says so; who else there is, it does not.
func (u *usedKeys) catchUp(ctx context.Context, t *trust, c *marksCopy, batch []*keyLook) error {
	if !slices.ContainsFunc(batch, func(l *keyLook) bool { return l.answered == nil }) {
		if batches, err := batchesOf(ctx, t.client, t.epoch); err != nil || batches == c.batches {
			return err
		}
	}
	asked := time.Now()
	told, err := runAll(ctx, t.client, []run{u.front.since(t.epoch, c.batches, false)})[0].ToArray()
	if err != nil {
		return err
	}
	others, err := c.catchUp(told)
	if err != nil {
		return err
	}
	if others == 0 {
		u.alone.Store(&alone{c, t.dials, asked.Add(aloneLasts)})
	} else {
		u.alone.Store(nil)
	}
	return nil
}
