package redisfront

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// Limits of a rebuild.
const (
	shelvesPage    = 500              // products read and written at once
	epochOld       = 72 * time.Hour   // an epoch is replaced, for its marks never forget
	rebuildMax     = 10 * time.Minute // for all of it
	rebuildWord    = 2 * time.Second  // for one word with Redis
	rebuildRestMin = time.Second      // after one that failed
	rebuildRestMax = 4 * time.Second
)

// errSuperseded ends a rebuild whose epoch is not the record's any more: a half-built epoch is dead.
var errSuperseded = errors.New("another epoch has begun")

// opening is what Redis says of the epoch that is open.
type opening struct {
	epoch   string
	servers string // it was built on
	at      time.Time
}

// old reports whether an epoch's marks are full of keys that nobody can use any more.
func (o opening) old() bool { return time.Since(o.at) > epochOld }

func readOpening(ctx context.Context, c rueidis.Client) (opening, error) {
	fields, err := c.Do(ctx, c.B().Hgetall().Key(epochKey).Build()).AsStrMap()
	if err != nil {
		return opening{}, err
	}
	at, _ := strconv.ParseInt(fields["opened_at"], 10, 64)
	return opening{fields["epoch"], fields["servers"], time.UnixMilli(at)}, nil
}

// Rebuild fills the Redis at an address anew from the record, beside the desks that use it, and gives the number of products. It
// tells how many there are so far.
func Rebuild(ctx context.Context, record Record, o Options, progress func(products int)) (products int, err error) {
	f, err := New(record, o)
	if err != nil {
		return 0, err
	}
	if f.connect(); f.client.Load() == nil {
		return 0, errors.New(f.State().Reason)
	}
	defer f.close()
	c := *f.client.Load()
	for { // a desk may be rebuilding by itself, or may have put an end to this
		was, err := record.SharedSecret(ctx, epochName, randomName(16))
		if err != nil {
			return 0, err
		}
		opened, err := readOpening(ctx, c)
		if err == nil {
			err = f.rebuild(ctx, c, was, opened, func(n int) { products = n; progress(n) })
		}
		if !errors.Is(err, errBusy) && !errors.Is(err, errSuperseded) || ctx.Err() != nil {
			if err != nil {
				err = errors.New(withoutSecrets(err, &f.option))
			}
			return products, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(lookEvery):
		}
	}
}

// startRebuild builds the front anew in the background, unless this process or another is at it.
func (f *Front) startRebuild(ctx context.Context, c rueidis.Client, was string, opened opening) {
	if !f.rebuilding.CompareAndSwap(false, true) {
		return
	}
	f.loops.Go(func() {
		defer f.rebuilding.Store(false)
		err := f.rebuild(ctx, c, was, opened, func(int) {})
		if err == nil {
			f.rest = 0
			f.doubt()
			return
		}
		if ctx.Err() != nil || errors.Is(err, errBusy) {
			return
		}
		f.rest = min(max(2*f.rest, rebuildRestMin), rebuildRestMax)
		f.log.Warn("redis: rebuild not finished; it is tried again", "err", withoutSecrets(err, &f.option))
		select {
		case <-ctx.Done():
		case <-time.After(f.rest):
		}
	})
}

var errBusy = errors.New("another process rebuilds")

// rebuild makes a new epoch of the record and fills Redis with what the record says, product by product, by version: whatever is
// committed meanwhile is newer and stays. Two who rebuild do no harm: one epoch is the record's in the end, and only it is opened.
func (f *Front) rebuild(ctx context.Context, c rueidis.Client, was string, opened opening, progress func(products int)) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildMax)
	defer cancel()
	on, err := f.servers(ctx, c)
	if err != nil {
		return err
	}
	b := build{Front: f, c: c, epoch: newEpoch(on.ids), began: on.ids, progress: progress}
	release, ok := f.locks.take(ctx, "rebuild") // nothing rests on it
	if !ok {
		return errBusy
	}
	defer release()
	if kept, err := f.record.SharedSecret(ctx, epochName, was); err != nil || kept != was {
		return errors.Join(errBusy, err) // somebody was quicker
	}
	dead := f.dead
	if err := b.forget(ctx, dead...); err != nil {
		return fmt.Errorf("forget: %w", err)
	}
	f.dead = []string{b.epoch} // unless it is opened
	if err := b.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	asked := time.Now()
	kept, err := f.record.ReplaceShared(ctx, epochName, was, b.epoch)
	if err != nil {
		return fmt.Errorf("new epoch: %w", err)
	}
	f.learn(kept, asked)
	if kept != b.epoch {
		return errSuperseded
	}
	begun := time.Now()
	// After this nobody writes to an older epoch, and every batch is marked in this one or has been committed: then the record tells of it.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(begun.Add(f.opt.Lease + f.opt.Settle))):
	}
	if err := b.forget(ctx, append(dead, was, opened.epoch)...); err != nil { // the dead again: somebody may still have marked keys in them
		return fmt.Errorf("forget: %w", err)
	}
	if err := b.fillShelves(ctx); err != nil {
		return fmt.Errorf("products: %w", err)
	}
	failpoint.Hit("rebuild.half")
	if !f.opt.Alone {
		if err := b.fillMarks(ctx); err != nil {
			return fmt.Errorf("used keys: %w", err)
		}
	}
	failpoint.Hit("rebuild.before_open")
	if err := b.open(ctx); err != nil {
		return err
	}
	f.dead = nil
	f.rebuilds.Add(1)
	f.log.Info("redis: rebuilt from the record", "count", b.products)
	return nil
}

// build is one rebuild.
type build struct {
	*Front
	c        rueidis.Client
	epoch    string
	began    string // on these servers
	products int
	progress func(products int)
}

// prepare makes the shards of the marks, which vanish by themselves should this epoch die. Their last bit comes first: a shard that
// grew with its marks would be given twice the room it needs.
func (b *build) prepare(ctx context.Context) error {
	if b.opt.Alone {
		return nil
	}
	var commands rueidis.Commands
	for shard := range markShards {
		key := marksKey(b.epoch, shard)
		commands = append(commands, b.c.B().Setbit().Key(key).Offset(markBits-1).Value(0).Build(),
			b.c.B().Expire().Key(key).Seconds(marksLast).Build())
	}
	// Its count of batches begins where one that was lost, and was begun anew by the next batch, will not come.
	count := strconv.FormatInt(time.Now().UnixMilli(), 10)
	commands = append(commands, b.c.B().Hset().Key(batchesKey(b.epoch)).FieldValue().FieldValue("count", count).Build(),
		b.c.B().Expire().Key(batchesKey(b.epoch)).Seconds(marksLast).Build())
	return b.doAll(ctx, commands)
}

// forget drops the marks of epochs that nobody believes, or marks keys in, any more.
func (b *build) forget(ctx context.Context, epochs ...string) error {
	if b.opt.Alone {
		return nil
	}
	var commands rueidis.Commands
	for _, epoch := range epochs {
		for shard := range markShards {
			commands = append(commands, b.c.B().Unlink().Key(marksKey(epoch, shard)).Build())
		}
		commands = append(commands, b.c.B().Unlink().Key(lastKeys(epoch)...).Build())
	}
	return b.doAll(ctx, commands)
}

func (b *build) doAll(ctx context.Context, commands rueidis.Commands) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildWord)
	defer cancel()
	for _, r := range b.c.DoMulti(ctx, commands...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// current makes sure that the record still has this epoch. A rebuild that slept finds out here that it is over.
func (b *build) current(ctx context.Context) error {
	kept, err := b.record.SharedSecret(ctx, epochName, b.epoch)
	if err != nil {
		return err
	}
	if kept != b.epoch {
		return errSuperseded
	}
	return nil
}

// fillShelves writes every product, page by page.
func (b *build) fillShelves(ctx context.Context) error {
	after := product.ID("")
	for {
		if err := b.current(ctx); err != nil {
			return err
		}
		page, err := b.record.Shelves(ctx, after, shelvesPage)
		if err != nil {
			return err
		}
		runs := make([]run, len(page))
		for i := range page {
			runs[i] = learnRun(b.epoch, b.self, page[i].Product, page[i].Stock, 0)
		}
		if err := b.runPage(ctx, runs); err != nil {
			return err
		}
		b.products += len(page)
		b.progress(b.products)
		if len(page) < shelvesPage {
			return nil
		}
		after = page[len(page)-1].ID
	}
}

func (b *build) runPage(ctx context.Context, runs []run) error {
	ctx, cancel := context.WithTimeout(ctx, rebuildWord)
	defer cancel()
	if len(runs) == 0 {
		return nil
	}
	for _, r := range runAll(ctx, b.c, runs) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// fillMarks marks every key that can still be replayed.
func (b *build) fillMarks(ctx context.Context) error {
	keys := make([]ledger.Key, 0, marksAtOnce)
	var failed error
	flush := func() {
		if failed == nil {
			failed = b.current(ctx)
		}
		if failed == nil && len(keys) > 0 {
			within, cancel := context.WithTimeout(ctx, rebuildWord)
			failed = b.mark(within, b.c, b.epoch, keys)
			cancel()
		}
		keys = keys[:0]
	}
	from := order.NumberOf(order.DayOf(time.Now().UTC().AddDate(0, 0, -markedDays)), 0)
	reading, stop := context.WithCancel(ctx)
	defer stop()
	err := b.record.UsedKeys(reading, from, func(k ledger.Key) {
		if keys = append(keys, k); len(keys) == marksAtOnce {
			flush()
		}
		if failed != nil {
			stop()
		}
	})
	flush()
	if failed != nil {
		return failed
	}
	return err
}

// openMarks says that the shards know all keys. What was lost on the way, and was begun anew by a later mark or by this, would not lapse
// as prepare has said: a flush changes no run id.
func (b *build) openMarks(ctx context.Context) error {
	if b.opt.Alone {
		return nil
	}
	marks, lapses := make(rueidis.Commands, markShards), make(rueidis.Commands, markShards)
	for shard := range markShards {
		key := marksKey(b.epoch, shard)
		marks[shard], lapses[shard] = b.c.B().Setbit().Key(key).Offset(wholeBit).Value(1).Build(), b.c.B().Pttl().Key(key).Build()
	}
	ctx, cancel := context.WithTimeout(ctx, rebuildWord)
	defer cancel()
	if err := firstError(b.c.DoMulti(ctx, marks...)); err != nil {
		return err
	}
	for _, r := range b.c.DoMulti(ctx, lapses...) {
		switch n, err := r.AsInt64(); {
		case err != nil:
			return err
		case n < 0:
			return errMarksLost
		}
	}
	_, err := batchesOf(ctx, b.c, b.epoch)
	return err
}

// open says that the epoch is whole, and on which servers.
func (b *build) open(ctx context.Context) error {
	if err := b.openMarks(ctx); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	within, cancel := context.WithTimeout(ctx, rebuildWord)
	defer cancel()
	on, err := b.servers(within, b.c)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	if on.ids != b.began {
		return errors.New("open: the servers are others than at the beginning")
	}
	if err := b.current(within); err != nil {
		return fmt.Errorf("open: %w", err)
	}
	err = b.c.Do(within, b.c.B().Hset().Key(epochKey).FieldValue().FieldValue("epoch", b.epoch).FieldValue("servers", on.ids).
		FieldValue("opened_at", strconv.FormatInt(time.Now().UnixMilli(), 10)).Build()).Error()
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	return nil
}
