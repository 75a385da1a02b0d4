package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
)

// How long and how much the keyrings believe without asking the record.
const (
	keyFresh      = 2 * time.Second // then one request asks again, and the others go on with what is known
	keyStale      = 4 * time.Second // then all wait for the answer: a revoked key is dead everywhere within 5 s
	keysKept      = 4096
	lookupsAtOnce = 16          // made-up keys may not take the record from everybody else
	usedEvery     = time.Minute // the use of a key is noted so often

	sessionFresh        = 500 * time.Millisecond
	sessionStale        = time.Second // an ended session is dead everywhere by then
	sessionsKept        = 32_768
	sessionLooksAtOnce  = 64                     // every buyer brings one of his own
	sessionLookWait     = 250 * time.Millisecond // for a turn
	sessionUsesPerIdle  = 10                     // a session's use is noted so often in the time that it may rest
	sessionUsedEveryMax = time.Minute

	unknownFor  = 2 * time.Second
	unknownKept = 4096
	lookupMax   = 2 * time.Second
	notesAtOnce = 4
)

// credential is what a client can bring along: an API key or a session.
type credential interface {
	Valid(now time.Time) bool
}

// keyring remembers for a moment which credentials are good, so that a request costs no SQL.
type keyring[C credential] struct {
	rules ringRules[C]
	clock func() time.Time
	log   *slog.Logger

	mu      sync.RWMutex
	known   map[apikey.Hash]*held[C]
	unknown map[apikey.Hash]time.Time // until when
	epoch   uint64                    // rises when what was looked up before must not be believed

	asking  singleflight.Group
	lookups chan struct{}
	asked   atomic.Int64 // times the record was
	noting  sync.WaitGroup
	notes   chan struct{}
}

// ringRules are what keys and sessions differ in.
type ringRules[C credential] struct {
	look         func(context.Context, apikey.Hash) (C, error)
	note         func(context.Context, C, time.Time) error // that it was used
	used         func(C) time.Time                         // last; zero: never
	every        time.Duration                             // its use is noted
	fresh, stale time.Duration
	kept         int
	looksAtOnce  int
	lookWait     time.Duration // for one of them; 0: none

	ended func(context.Context, apikey.Hash) (ended, known bool) // asks other processes; nil: none can end any
}

// held is a credential as the record had it.
type held[C credential] struct {
	value  C
	at     time.Time
	asking atomic.Bool
	usedAt atomic.Int64 // Unix milliseconds of the last use that was noted
}

func newKeyring(store checkout.KeyStore, clock func() time.Time, log *slog.Logger) *keyring[*apikey.Key] {
	return newRing(clock, log, ringRules[*apikey.Key]{
		look:  store.KeyByHash,
		note:  func(ctx context.Context, k *apikey.Key, now time.Time) error { return store.TouchKey(ctx, k.ID, now) },
		used:  func(k *apikey.Key) time.Time { return k.LastUsedAt },
		every: usedEvery, fresh: keyFresh, stale: keyStale, kept: keysKept, looksAtOnce: lookupsAtOnce,
	})
}

// newSessionRing remembers sessions, and lets one that is used last for another idle time.
func newSessionRing(store checkout.SessionStore, clock func() time.Time, log *slog.Logger, idle time.Duration, ended Ended) *keyring[*apikey.Session] {
	rules := ringRules[*apikey.Session]{
		look: store.SessionByHash,
		note: func(ctx context.Context, s *apikey.Session, now time.Time) error {
			return store.ExtendSession(ctx, s.ID, s.Until(now, idle))
		},
		used:  func(s *apikey.Session) time.Time { return s.ExpiresAt.Add(-idle) },
		every: min(idle/sessionUsesPerIdle, sessionUsedEveryMax), fresh: sessionFresh, stale: sessionStale, kept: sessionsKept,
		looksAtOnce: sessionLooksAtOnce, lookWait: sessionLookWait,
	}
	if ended != nil {
		rules.ended = ended.Ended
	}
	return newRing(clock, log, rules)
}

func newRing[C credential](clock func() time.Time, log *slog.Logger, rules ringRules[C]) *keyring[C] {
	return &keyring[C]{
		rules: rules, clock: clock, log: log,
		known: map[apikey.Hash]*held[C]{}, unknown: map[apikey.Hash]time.Time{},
		lookups: make(chan struct{}, rules.looksAtOnce), notes: make(chan struct{}, notesAtOnce),
	}
}

// find gives what a client sent, if it opens anything at now.
func (k *keyring[C]) find(ctx context.Context, secret string, now time.Time) (C, error) {
	return k.look(ctx, apikey.HashOf(secret), now, !apikey.Mistyped(secret))
}

// remembers reports whether find would not have to ask the record.
func (k *keyring[C]) remembers(secret string, now time.Time) bool {
	hash := apikey.HashOf(secret)
	k.mu.RLock()
	h, until := k.known[hash], k.unknown[hash]
	k.mu.RUnlock()
	if h == nil {
		return now.Before(until) || apikey.Mistyped(secret)
	}
	return now.Sub(h.at) < k.rules.fresh
}

// look is find by what is kept of a secret. What is not plausible is not looked up.
func (k *keyring[C]) look(ctx context.Context, hash apikey.Hash, now time.Time, plausible bool) (none C, err error) {
	k.mu.RLock()
	h, until, epoch := k.known[hash], k.unknown[hash], k.epoch
	k.mu.RUnlock()
	switch {
	case h != nil && now.Sub(h.at) < k.rules.fresh:
	case h != nil && now.Sub(h.at) < k.rules.stale && !h.asking.CompareAndSwap(false, true):
	case h == nil && (now.Before(until) || !plausible):
		return none, fault.ErrUnauthenticated
	default:
		asked, err := k.ask(ctx, hash, epoch, h)
		switch {
		case err == nil:
			h = asked
		case h == nil || now.Sub(h.at) >= k.rules.stale || errors.Is(err, fault.ErrUnauthenticated):
			return none, err
		}
	}
	if k.rules.ended != nil {
		ended, known := k.rules.ended(ctx, hash)
		if !known && h.at.Before(now) {
			if h, err = k.ask(ctx, hash, epoch, h); err != nil {
				return none, err
			}
		}
		if ended {
			k.forget([]apikey.Hash{hash})
			return none, fault.ErrUnauthenticated
		}
	}
	if !h.value.Valid(now) {
		return none, fault.ErrUnauthenticated
	}
	k.used(h, now)
	return h.value, nil
}

// ask looks a secret up, once for all who are waiting for it.
func (k *keyring[C]) ask(ctx context.Context, hash apikey.Hash, epoch uint64, was *held[C]) (*held[C], error) {
	if was != nil {
		defer was.asking.Store(false)
	}
	found, err, _ := k.asking.Do(strconv.FormatUint(epoch, 10)+string(hash[:]), func() (any, error) {
		if !k.takeTurn() {
			return nil, fault.ErrOverloaded
		}
		defer func() { <-k.lookups }()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), min(lookupMax, k.rules.stale)) // whoever joins is told nothing older
		defer cancel()
		k.asked.Add(1)
		asked := k.clock()
		value, err := k.rules.look(ctx, hash)
		return k.learn(hash, value, err, asked, epoch, was)
	})
	if err != nil {
		return nil, err
	}
	h, _ := found.(*held[C])
	return h, nil
}

// takeTurn waits a little, where there is a wait, for one of the looks that may run.
func (k *keyring[C]) takeTurn() bool {
	select {
	case k.lookups <- struct{}{}:
		return true
	default:
	}
	if k.rules.lookWait == 0 {
		return false
	}
	late := time.NewTimer(k.rules.lookWait)
	defer late.Stop()
	select {
	case k.lookups <- struct{}{}:
		return true
	case <-late.C:
		return false
	}
}

// learn keeps what the record said when it was asked at a time, unless something was revoked here meanwhile.
func (k *keyring[C]) learn(hash apikey.Hash, value C, err error, asked time.Time, epoch uint64, was *held[C]) (*held[C], error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case errors.Is(err, fault.ErrNotFound):
		if k.epoch == epoch {
			delete(k.known, hash)
			keep(k.unknown, hash, asked.Add(unknownFor), unknownKept)
		}
		return nil, fault.ErrUnauthenticated
	case err != nil:
		return nil, fault.ErrUnavailable.Detailf("Keys cannot be looked up now.").Because(err)
	}
	h := &held[C]{value: value, at: asked}
	if used := k.rules.used(value); !used.IsZero() {
		h.usedAt.Store(used.UnixMilli())
	}
	if was != nil {
		h.usedAt.Store(max(h.usedAt.Load(), was.usedAt.Load()))
	}
	if k.epoch == epoch {
		keep(k.known, hash, h, k.rules.kept)
	}
	return h, nil
}

// keep puts into a bounded map. A full one is emptied: not knowing costs a look, no more.
func keep[V any](m map[apikey.Hash]V, hash apikey.Hash, v V, most int) {
	if len(m) >= most {
		clear(m)
	}
	m[hash] = v
}

// size is how many good and made-up secrets are remembered.
func (k *keyring[C]) size() (known, unknown int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.known), len(k.unknown)
}

// forgetAll drops everything known: something was revoked.
func (k *keyring[C]) forgetAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch++
	clear(k.known)
}

// forget drops secrets that were revoked. What others look up at this moment is not kept either.
func (k *keyring[C]) forget(hashes []apikey.Hash) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch++
	for _, hash := range hashes {
		delete(k.known, hash)
	}
}

// used notes the use of a secret, seldom and beside the request.
func (k *keyring[C]) used(h *held[C], now time.Time) {
	last := h.usedAt.Load()
	if now.UnixMilli()-last < k.rules.every.Milliseconds() || !h.usedAt.CompareAndSwap(last, now.UnixMilli()) {
		return
	}
	select {
	case k.notes <- struct{}{}:
	default:
		h.usedAt.CompareAndSwap(now.UnixMilli(), last) // the next request will do
		return
	}
	k.noting.Go(func() {
		defer func() { <-k.notes }()
		ctx, cancel := context.WithTimeout(context.Background(), lookupMax)
		defer cancel()
		if err := k.rules.note(ctx, h.value, now); err != nil {
			k.log.Debug("use of a key or a session not noted", "err", err)
		}
	})
}

// close waits for the last notes.
func (k *keyring[C]) close(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		k.noting.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
