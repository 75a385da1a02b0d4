package redisfront

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of marking keys before a commit.
const (
	markMax   = 100 * time.Millisecond // for one try
	markTries = 3
	marksMax  = 200 * time.Millisecond // for all of them: with the lease and the way to the record, orders pause for less than a second
	vetoTries = 5
	vetoAfter = 300 * time.Millisecond // without an answer from Redis
)

// veto is an epoch that this process put in the place of one that it could not mark keys in. Nobody opens it.
type veto struct {
	mu        sync.Mutex
	epoch     string
	free      time.Time // from then on nobody believes the epoch before
	seen      time.Time // the record still had it then
	awaySince time.Time
}

// reached takes note that Redis answers.
func (v *veto) reached() {
	v.mu.Lock()
	v.awaySince = time.Time{}
	v.mu.Unlock()
}

// Using marks the keys of a batch before it is committed, so that whatever process a buyer asks again knows that his key may have
// been used. What cannot be marked is committed only once nobody believes the marks any more: the record gets another epoch, and
// after a lease all processes have seen it. That costs one pause, when Redis is lost; none while it is away.
func (f *Front) Using(keys []ledger.Key) {
	f.announce(func(ctx context.Context, c rueidis.Client, epoch string) error { return f.mark(ctx, c, epoch, keys) })
}

// announce tells all processes, before a batch is committed, what will not be so any more.
func (f *Front) announce(tell func(ctx context.Context, c rueidis.Client, epoch string) error) {
	if f.opt.Alone {
		return
	}
	all, done := context.WithTimeout(context.Background(), marksMax)
	defer done()
	for range markTries {
		k := f.known.Load()
		if k == nil || time.Now().After(k.until) {
			break
		}
		if f.vetoed(k.epoch) {
			return
		}
		c := f.connected()
		if c == nil || all.Err() != nil {
			break
		}
		ctx, cancel := context.WithTimeout(all, markMax)
		err := tell(ctx, c, k.epoch)
		for _, b := range k.before {
			if err == nil && time.Now().Before(b.until) {
				err = tell(ctx, c, b.epoch)
			}
		}
		cancel()
		if err == nil {
			return
		}
		f.failed(f.trusted.Load())
	}
	failpoint.Hit("front.veto")
	f.forbid()
}

// inForce takes note that the record had an epoch at a time.
func (v *veto) inForce(epoch string, asked time.Time) {
	v.mu.Lock()
	if v.epoch == epoch {
		v.seen = asked
	}
	v.mu.Unlock()
}

// vetoed reports whether an epoch is this process' veto, and waits until the epoch before is believed by nobody.
func (f *Front) vetoed(epoch string) bool {
	f.veto.mu.Lock()
	mine, free := f.veto.epoch == epoch, f.veto.free
	f.veto.mu.Unlock()
	if mine {
		time.Sleep(time.Until(free))
	}
	return mine
}

// forbid gives the record an epoch that nobody opens, and returns when nobody believes another. When the record does not answer
// it gives up: then the batch will not be committed either.
func (f *Front) forbid() {
	ctx, cancel := context.WithTimeout(context.Background(), recordMax)
	defer cancel()
	for range vetoTries {
		k := f.known.Load()
		if k == nil {
			f.readEpoch(ctx)
			continue
		}
		if f.replace(ctx, k.epoch) && f.vetoed(f.known.Load().epoch) {
			return
		}
	}
	f.log.Error("redis: marks could not be given up", "err", ctx.Err())
}

// replace puts a veto in the place of an epoch, and reports whether the record has it.
func (f *Front) replace(ctx context.Context, was string) bool {
	asked, fresh := time.Now(), randomName(16)
	kept, err := f.record.ReplaceShared(ctx, epochName, was, fresh)
	if err != nil {
		return false
	}
	if kept == fresh {
		f.veto.mu.Lock()
		if asked.Sub(f.veto.seen) > f.opt.Lease+f.opt.Settle { // else what was put in its place cannot have been opened yet
			f.veto.free = time.Now().Add(f.opt.Lease)
		}
		f.veto.epoch = fresh
		f.veto.mu.Unlock()
	}
	f.learn(kept, asked)
	return kept == fresh
}

// unreachable is called whenever Redis was looked at in vain. After a while the epoch is vetoed, also when somebody who does reach it
// is building another: so it is over before the next batch comes.
func (f *Front) unreachable(ctx context.Context) {
	if f.opt.Alone {
		return
	}
	now := time.Now()
	f.veto.mu.Lock()
	if f.veto.awaySince.IsZero() {
		f.veto.awaySince = now
	}
	away, mine := now.Sub(f.veto.awaySince), f.veto.epoch
	f.veto.mu.Unlock()
	if k := f.known.Load(); away > vetoAfter && k != nil && k.epoch != mine {
		within, cancel := context.WithTimeout(ctx, recordMax)
		defer cancel()
		f.replace(within, k.epoch)
	}
}
