package redisfront

import (
	"context"
	"errors"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of knowing used keys.
const (
	followEvery = 100 * time.Millisecond // a process that refuses nobody looks for what was marked
	copyMax     = 5 * time.Second        // to take over all marks
	copyAtOnce  = 8                      // shards, of 512 kB each
)

var errMarksLost = errors.New("marks of used keys were lost")

// usedKeys answers whether keys may have been used. Each process has the marks of the open epoch in its own memory, and before it says
// "no" asks Redis what was marked since: one question for all who wait, to which the answer is nothing most of the time, where
// asking for the bits of each key would cost a command each. Marks are made before a commit, so whoever could have heard of
// the commit when he asked finds them.
type usedKeys struct {
	front *Front
	looks *batcher[*keyLook]
	copy  atomic.Pointer[marksCopy]
}

// marksCopy is what the marks of an epoch were after so many batches. Only who works on the looks changes it.
type marksCopy struct {
	epoch   string
	batches int64
	shards  [markShards][]byte
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
	if g.used.copy.Load() == nil {
		return g.fallback.MayHaveUsed(ctx, key)
	}
	l := &keyLook{at: markingOf(key), answered: make(chan struct{})}
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

// KnowsKeys reports whether used keys are known here. Until then, and without Redis, the process' own gate is asked for them.
func (g *Gate) KnowsKeys() bool { return g.used.ready() }

func (u *usedKeys) ready() bool {
	t, c := u.front.open(), u.copy.Load()
	return t != nil && c != nil && c.epoch == t.epoch
}

// follow takes over the marks of each epoch that is opened, and what is added to them, until ctx ends: a process that has not asked for long
// would have to begin anew.
func (u *usedKeys) follow(ctx context.Context) {
	tick := time.NewTicker(followEvery)
	defer tick.Stop()
	for !u.front.opt.Alone { // else the process' own marks are all there are
		if t := u.front.open(); t != nil && !u.ready() {
			u.takeOver(ctx, t)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			u.looks.add(&keyLook{})
		}
	}
}

// takeOver copies the marks. How many batches they are of is asked first, and a batch is counted only once all its marks are made.
func (u *usedKeys) takeOver(ctx context.Context, t *trust) {
	ctx, cancel := context.WithTimeout(ctx, copyMax)
	defer cancel()
	c, err := u.front.copyMarks(ctx, t)
	switch {
	case err == nil && t.dials == u.front.dials.Load():
		u.copy.Store(c)
	case err != nil && ctx.Err() == nil:
		u.front.log.Debug("redis: used keys are not known yet", "err", withoutSecrets(err, &u.front.option))
	}
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
	t, c := u.front.open(), u.copy.Load()
	if t == nil || c == nil || c.epoch != t.epoch {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitMax+u.front.opt.Grace)
	defer cancel()
	switch err := u.front.catchUp(ctx, t, c); {
	case errors.Is(err, errMarksLost):
		u.copy.CompareAndSwap(c, nil) // they are taken over anew
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

// copyMarks copies the marks of an epoch, if they are whole.
func (f *Front) copyMarks(ctx context.Context, t *trust) (*marksCopy, error) {
	c := &marksCopy{epoch: t.epoch}
	var err error
	if c.batches, err = t.batches(ctx); err != nil {
		return nil, err
	}
	for from := 0; from < markShards; from += copyAtOnce {
		var commands rueidis.Commands
		for shard := range copyAtOnce {
			commands = append(commands, t.client.B().Get().Key(marksKey(t.epoch, from+shard)).Build())
		}
		for i, r := range t.client.DoMulti(ctx, commands...) {
			text, err := r.ToString()
			if err != nil {
				return nil, err
			}
			c.shards[from+i] = []byte(text)
			if !c.whole(from + i) {
				return nil, errMarksLost
			}
		}
	}
	return c, nil
}

// batches is how many batches have marked keys in an epoch.
func (t *trust) batches(ctx context.Context) (int64, error) {
	return t.client.Do(ctx, t.client.B().Get().Key(batchesKey(t.epoch)).Build()).AsInt64()
}

// catchUp adds to a copy what was marked since. errMarksLost: not all of that is to be had. In a storm of refusals nothing was, and the
// quickest command there is says so.
func (f *Front) catchUp(ctx context.Context, t *trust, c *marksCopy) error {
	switch batches, err := t.batches(ctx); {
	case rueidis.IsRedisNil(err):
		return errMarksLost
	case err != nil || batches == c.batches:
		return err
	}
	since := run{&usedSinceScript, lastKeys(t.epoch), []string{strconv.FormatInt(c.batches, 10)}}
	answer, err := runAll(ctx, t.client, []run{since})[0].ToArray()
	if err == nil && len(answer) == 0 {
		err = errMarksLost
	}
	if err != nil {
		return err
	}
	batches, err := answer[0].AsInt64()
	if err != nil {
		return err
	}
	if batches-c.batches != int64(len(answer)-1) {
		return errMarksLost
	}
	for i := range answer[1:] {
		keys, err := answer[1+i].ToString()
		if err != nil {
			return err
		}
		for ; len(keys) >= len(ledger.Key{}); keys = keys[len(ledger.Key{}):] {
			c.add(markingOf(ledger.Key([]byte(keys[:len(ledger.Key{})]))))
		}
	}
	c.batches = batches
	return nil
}

// whole reports whether a shard knows every key there is.
func (c *marksCopy) whole(shard int) bool {
	return len(c.shards[shard]) == markBits/8 && c.shards[shard][0]&(1<<7) != 0
}

func (c *marksCopy) add(m marking) {
	for _, bit := range m.bits {
		c.shards[m.shard][bit/8] |= 1 << (7 - bit%8) // Redis counts bits from the highest of a byte
	}
}

func (c *marksCopy) has(m marking) bool {
	for _, bit := range m.bits {
		if c.shards[m.shard][bit/8]&(1<<(7-bit%8)) == 0 {
			return false
		}
	}
	return true
}
