package redisfront

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/rueidis/rueidislock"
)

// Limits of a lock.
const (
	lockTry   = 500 * time.Millisecond // to get one
	lockLasts = 5 * time.Second        // when it is not renewed: its holder is gone, or stands still
)

// locks keep processes from doing the same work at the same time. Each carries a token, is renewed while it is held, and is let go of
// by nobody but its holder. Nothing rests on one: a holder who stood still may wake up when another has it, so what is done under a
// lock may be done twice.
type locks struct {
	address string
	lasts   time.Duration
	try     time.Duration // to get one

	mu         sync.Mutex
	connecting chan struct{}      // closed once that was tried; nil: nobody is at it
	locker     rueidislock.Locker // nil: none was needed yet
}

// take takes a lock, until release or the end of ctx. Who cannot have it because Redis does not answer is told that he may go on.
func (l *locks) take(ctx context.Context, name string) (release func(), ok bool) {
	locker := l.connected(ctx)
	if locker == nil {
		return func() {}, true
	}
	_, release, err := locker.TryWithContext(ctx, name)
	if errors.Is(err, rueidislock.ErrNotLocked) {
		return nil, false
	}
	if err != nil {
		return func() {}, true
	}
	return release, true
}

// connected gives a connection of its own, made when it is first needed: what is known of the front's must not be shaken by it. Nobody
// waits for it longer than for a lock; it is nil then.
func (l *locks) connected(ctx context.Context) rueidislock.Locker {
	ctx, cancel := context.WithTimeout(ctx, l.try)
	defer cancel()
	l.mu.Lock()
	if l.locker == nil && l.connecting == nil {
		l.connecting = make(chan struct{})
		go l.connect(l.connecting)
	}
	locker, connecting := l.locker, l.connecting
	l.mu.Unlock()
	if locker != nil {
		return locker
	}
	select {
	case <-ctx.Done():
	case <-connecting:
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.locker
}

func (l *locks) connect(done chan struct{}) {
	defer close(done)
	option, err := parse(l.address)
	var locker rueidislock.Locker
	if err == nil {
		locker, err = rueidislock.NewLocker(rueidislock.LockerOption{
			ClientOption: option, KeyPrefix: lockPrefix, KeyMajority: 1, FallbackSETPX: true, TryNextAfter: l.try, KeyValidity: l.lasts,
		})
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connecting = nil
	if err == nil {
		l.locker = locker
	}
}

func (l *locks) close() {
	l.mu.Lock()
	connecting := l.connecting
	l.mu.Unlock()
	if connecting != nil {
		<-connecting
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.locker != nil {
		l.locker.Close()
	}
}
