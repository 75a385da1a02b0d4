package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
)

// authenticate finds out whose request it is and whether he may make it.
func (s *Server) authenticate(x *exchange) error {
	if err := s.recognize(x); err != nil || x.route.anyKey {
		return err
	}
	return x.needs(x.route.scope)
}

func (s *Server) recognize(x *exchange) error {
	if ticket, given := x.ticket(); given {
		return s.redeem(x, ticket)
	}
	secret, ok := bearer(x.r.Header)
	if !ok {
		return fault.ErrUnauthenticated
	}
	key, err := s.keys.find(x.ctx, secret, x.now)
	x.key = key
	return err
}

// needs refuses a key that lacks a scope.
func (x *exchange) needs(scope apikey.Scope) error {
	if !x.key.Allows(scope) {
		return fault.ErrForbidden.Detailf("The key lacks the scope %s.", scope)
	}
	return nil
}

// secretChars bounds a key as it is sent (product.md: an operator's own has up to 200 characters).
const secretChars = 200

// bearer reads the one Authorization header. Of two, nobody knows which was meant.
func bearer(h http.Header) (secret string, ok bool) {
	sent := h["Authorization"]
	if len(sent) != 1 {
		return "", false
	}
	scheme, secret, _ := strings.Cut(sent[0], " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != "" && len(secret) <= secretChars
}

// How long and how much the keyring believes without asking the record.
const (
	keyFresh      = 2 * time.Second // then one request asks again, and the others go on with what is known
	keyStale      = 4 * time.Second // then all wait for the answer: a revoked key is dead everywhere within 5 s
	unknownFor    = 2 * time.Second
	keysKept      = 4096
	unknownKept   = 4096
	lookupsAtOnce = 16 // made-up keys may not take the record from everybody else
	lookupMax     = 2 * time.Second
	usedEvery     = time.Minute // the use of a key is noted so often
	notesAtOnce   = 4
)

// keyring remembers for a moment which keys are good, so that a request costs no SQL.
type keyring struct {
	store checkout.KeyStore
	clock func() time.Time
	log   *slog.Logger

	mu      sync.RWMutex
	known   map[apikey.Hash]*held
	unknown map[apikey.Hash]time.Time // until when
	epoch   uint64                    // rises when what was looked up before must not be believed

	asking  singleflight.Group
	lookups chan struct{}
	asked   atomic.Int64 // times the record was
	noting  sync.WaitGroup
	notes   chan struct{}
}

// held is a key as the record had it.
type held struct {
	key    *apikey.Key
	at     time.Time
	asking atomic.Bool
	usedAt atomic.Int64 // Unix seconds of the last use that was noted
}

func newKeyring(store checkout.KeyStore, clock func() time.Time, log *slog.Logger) *keyring {
	return &keyring{
		store: store, clock: clock, log: log,
		known: map[apikey.Hash]*held{}, unknown: map[apikey.Hash]time.Time{},
		lookups: make(chan struct{}, lookupsAtOnce), notes: make(chan struct{}, notesAtOnce),
	}
}

// find gives the key that a client sent, if it opens anything at now.
func (k *keyring) find(ctx context.Context, secret string, now time.Time) (*apikey.Key, error) {
	return k.look(ctx, apikey.HashOf(secret), now, !apikey.Mistyped(secret))
}

// look is find by what is kept of a key. What is not plausible is not looked up.
func (k *keyring) look(ctx context.Context, hash apikey.Hash, now time.Time, plausible bool) (*apikey.Key, error) {
	k.mu.RLock()
	h, until, epoch := k.known[hash], k.unknown[hash], k.epoch
	k.mu.RUnlock()
	switch {
	case h != nil && now.Sub(h.at) < keyFresh:
	case h != nil && now.Sub(h.at) < keyStale && !h.asking.CompareAndSwap(false, true):
	case h == nil && (now.Before(until) || !plausible):
		return nil, fault.ErrUnauthenticated
	default:
		asked, err := k.ask(ctx, hash, epoch, h)
		switch {
		case err == nil:
			h = asked
		case h == nil || now.Sub(h.at) >= keyStale || errors.Is(err, fault.ErrUnauthenticated):
			return nil, err
		}
	}
	if !h.key.Valid(now) {
		return nil, fault.ErrUnauthenticated
	}
	k.used(h, now)
	return h.key, nil
}

// ask looks a key up, once for all who are waiting for it.
func (k *keyring) ask(ctx context.Context, hash apikey.Hash, epoch uint64, was *held) (*held, error) {
	if was != nil {
		defer was.asking.Store(false)
	}
	found, err, _ := k.asking.Do(strconv.FormatUint(epoch, 10)+string(hash[:]), func() (any, error) {
		select {
		case k.lookups <- struct{}{}:
			defer func() { <-k.lookups }()
		default:
			return nil, fault.ErrOverloaded
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupMax)
		defer cancel()
		k.asked.Add(1)
		key, err := k.store.KeyByHash(ctx, hash)
		return k.learn(hash, key, err, epoch, was)
	})
	if err != nil {
		return nil, err
	}
	h, _ := found.(*held)
	return h, nil
}

// learn keeps what the record said, unless a key was revoked here meanwhile.
func (k *keyring) learn(hash apikey.Hash, key *apikey.Key, err error, epoch uint64, was *held) (*held, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	switch {
	case errors.Is(err, fault.ErrNotFound):
		if k.epoch == epoch {
			delete(k.known, hash)
			keep(k.unknown, hash, now.Add(unknownFor), unknownKept)
		}
		return nil, fault.ErrUnauthenticated
	case err != nil:
		return nil, fault.ErrUnavailable.Detailf("Keys cannot be looked up now.").Because(err)
	}
	h := &held{key: key, at: now}
	if !key.LastUsedAt.IsZero() {
		h.usedAt.Store(key.LastUsedAt.Unix())
	}
	if was != nil {
		h.usedAt.Store(max(h.usedAt.Load(), was.usedAt.Load()))
	}
	if k.epoch == epoch {
		keep(k.known, hash, h, keysKept)
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

// size is how many good and made-up keys are remembered.
func (k *keyring) size() (known, unknown int) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return len(k.known), len(k.unknown)
}

// forget drops everything known: a key was revoked.
func (k *keyring) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.epoch++
	clear(k.known)
}

// used notes the use of a key, once a minute and beside the request.
func (k *keyring) used(h *held, now time.Time) {
	last := h.usedAt.Load()
	if now.Unix()-last < int64(usedEvery/time.Second) || !h.usedAt.CompareAndSwap(last, now.Unix()) {
		return
	}
	select {
	case k.notes <- struct{}{}:
	default:
		return // the next minute will do
	}
	k.noting.Go(func() {
		defer func() { <-k.notes }()
		ctx, cancel := context.WithTimeout(context.Background(), lookupMax)
		defer cancel()
		if err := k.store.TouchKey(ctx, h.key.ID, now); err != nil {
			k.log.Debug("use of a key not noted", "key_id", h.key.ID, "err", err)
		}
	})
}

// close waits for the last notes.
func (k *keyring) close(ctx context.Context) error {
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
