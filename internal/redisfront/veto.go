package redisfront

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
)

// Limits of marking keys before a commit.
const (
	markMax   = 300 * time.Millisecond // for one try
	markTries = 3
	marksMax  = 400 * time.Millisecond // for all of them: with the lease and the way to the record, orders pause for less than a second
	vetoTries = 5
	vetoAfter = 300 * time.Millisecond // without an answer from Redis to a look
	peersMax  = 20 * time.Millisecond  // for a look at who is behind a new connection
	moveEvery = 10 * time.Millisecond  // between two looks for an epoch that lives on the servers that are there
	moveTries = 10
)

// vetoPrefix tells an epoch that nobody opens from others. It was put in the place of one in which a process could not mark keys.
const vetoPrefix = "veto-"

func isVeto(epoch string) bool { return strings.HasPrefix(epoch, vetoPrefix) }

// veto is what this process knows of vetoes, its own and those of others.
type veto struct {
	mu        sync.Mutex
	free      time.Time // from then on nobody believes an epoch from before the veto
	seen      time.Time // the record had a veto then, or later
	awaySince time.Time
	gone      bool // it is not asked any more before a look was answered
}

// reached takes note that Redis answers.
func (v *veto) reached() {
	v.mu.Lock()
	v.awaySince, v.gone = time.Time{}, false
	v.mu.Unlock()
}

// missed takes note that Redis did not answer a look, and reports whether it has not for so long that it is gone.
func (v *veto) missed() (gone bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.awaySince.IsZero() {
		v.awaySince = time.Now()
	}
	v.gone = v.gone || time.Since(v.awaySince) > vetoAfter
	return v.gone
}

// giveUp takes note that what had to be told could not be.
func (v *veto) giveUp() {
	v.mu.Lock()
	v.gone = true
	v.mu.Unlock()
}

func (v *veto) isGone() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gone
}

// announce tells all processes, before a batch is committed, what will not be so any more: which keys may have been used from now on,
// and which values change. What cannot be told is committed only once nobody believes the epoch any more: the record gets another
// one, and after a lease all processes have seen it. That costs one pause, when Redis is lost; none while it is away, and the processes
// that find a veto there wait for the same lease only.
func (f *Front) announce(tell teller) {
	if f.opt.Alone {
		return
	}
	why, left := errNoServer, marksMax+f.opt.Grace
	for tries, moves := 0, 0; tries < markTries && moves < moveTries; {
		k := f.believed()
		if k == nil { // the machine was busy with something else: a late look is no reason for a veto
			f.readEpoch(context.Background())
			k = f.believed()
		}
		if k == nil {
			why = errNoEpoch
			break
		}
		if f.vetoed(k.epoch) {
			return
		}
		c := f.client.Load() // though the last look came to nothing: a Redis that is late is asked, one that is gone is not
		if c == nil || f.veto.isGone() || left <= 0 {
			break
		}
		asked := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), min(left, markMax+f.opt.Grace))
		free, err := f.tellBelievers(ctx, *c, k, tell)
		cancel()
		if err == nil {
			time.Sleep(time.Until(free)) // for a lease at most: the batch is committed whoever waits for it
			return
		}
		why = err
		f.failed(f.trusted.Load())
		if errors.Is(err, errOtherServer) { // an epoch that lives there is being made, by this desk at least
			moves++
			time.Sleep(moveEvery)
			f.readEpoch(context.Background())
		} else {
			tries++
		}
		left -= time.Since(asked)
	}
	f.veto.giveUp()
	failpoint.Hit("front.veto")
	f.forbid(why)
}

// teller tells what changes in an epoch, and gives since when this desk is known there.
type teller func(ctx context.Context, c rueidis.Client, epoch string) (since time.Time, err error)

// tellBelievers tells all who believe the epoch of the record, or one that is being replaced and that they may still believe, and gives from when on
// none of them believes what is not so: who there is, or an epoch that this desk never saw. Only the servers that an epoch lives on are told:
// where a replica has taken over for this desk and not for another yet, that one does not hear of it.
func (f *Front) tellBelievers(ctx context.Context, c rueidis.Client, k *known, tell teller) (free time.Time, err error) {
	there := f.whoIsThere(c)
	if there != nil && !livesOn(k.epoch, there.servers) {
		return free, errElsewhere
	}
	since, err := tell(ctx, c, k.epoch)
	if err != nil {
		return free, err
	}
	if !time.Now().Before(k.madeAfter.Add(f.opt.Lease + f.opt.Settle)) { // else it is not open yet: nobody believes to be alone in it
		free = since.Add(aloneLasts + sparing)
	}
	free = later(free, k.watched.Add(f.opt.Lease+sparing)) // an epoch that this desk never saw may be believed until a lease after
	for _, b := range k.before {
		switch {
		case time.Now().After(b.until):
		case there != nil && !livesOn(b.epoch, there.servers):
			free = later(free, b.until)
		default:
			if since, err = tell(ctx, c, b.epoch); err != nil {
				return free, err
			}
			free = later(free, since.Add(aloneLasts+sparing))
		}
	}
	if there != nil && !there.are(c, f.dials.Load()) {
		return free, errOtherServer
	}
	return free, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// whoIsThere gives the servers behind the connections of now, once a look has told. That none does in time, for a node of a cluster that lets
// itself be connected and says nothing, is no reason not to tell the others: nil.
func (f *Front) whoIsThere(c rueidis.Client) *peers {
	for end := time.Now().Add(peersMax + f.opt.Grace); ; time.Sleep(time.Millisecond) {
		if p := f.peers.Load(); p.are(c, f.dials.Load()) {
			return p
		}
		if time.Now().After(end) {
			return nil
		}
		f.doubt()
	}
}

// inForce takes note that the record, asked at a time, had a veto. Unless it had one a short while before, what was put in the place of
// that one may have been opened since: it is believed for a lease after it has gone.
func (v *veto) inForce(asked time.Time, lease, settle time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := time.Now()
	if now.Sub(v.seen) > lease+settle {
		v.free = now.Add(lease)
	}
	if asked.After(v.seen) {
		v.seen = asked
	}
}

// vetoed reports whether an epoch is a veto, and waits until the epoch before is believed by nobody.
func (f *Front) vetoed(epoch string) bool {
	if !isVeto(epoch) {
		return false
	}
	f.veto.mu.Lock()
	free := f.veto.free
	f.veto.mu.Unlock()
	time.Sleep(time.Until(free))
	return true
}

// forbid gives the record an epoch that nobody opens, and returns when nobody believes another. When the record does not answer
// it gives up: then the batch will not be committed either.
func (f *Front) forbid(why error) {
	ctx, cancel := context.WithTimeout(context.Background(), recordMax)
	defer cancel()
	for range vetoTries {
		k := f.known.Load()
		if k == nil {
			f.readEpoch(ctx)
			continue
		}
		if kept, err := f.replace(ctx, k.epoch, why); err == nil && f.vetoed(kept) {
			return
		}
	}
	f.log.Error("redis: marks could not be given up", "err", ctx.Err())
}

// replace puts a veto in the place of an epoch, unless the record has another by now, and gives what it has.
func (f *Front) replace(ctx context.Context, was string, why error) (kept string, err error) {
	asked := time.Now()
	veto := vetoPrefix + randomName(16)
	if kept, err = f.record.ReplaceShared(ctx, epochName, was, veto); err == nil {
		f.learn(kept, asked)
	}
	if kept == veto {
		f.log.Warn("redis: nobody believes it any more until it is rebuilt: this process could not tell it what changes", "err", withoutSecrets(why, &f.option))
	}
	return kept, err
}

// unreachable is called whenever Redis was looked at in vain. After a while the epoch is vetoed, also when somebody who does reach it
// is building another: so it is over before the next batch comes.
func (f *Front) unreachable(ctx context.Context, why error) {
	if f.opt.Alone {
		return
	}
	if k := f.known.Load(); f.veto.missed() && k != nil && !isVeto(k.epoch) {
		within, cancel := context.WithTimeout(ctx, recordMax)
		defer cancel()
		_, _ = f.replace(within, k.epoch, why) // else the next look does
	}
}
