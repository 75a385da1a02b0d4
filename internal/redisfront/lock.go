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

	mu     sync.Mutex
	locker rueidislock.Locker // nil: none was needed yet
}

// try takes a lock, until release or the end of ctx. Who cannot have it because Redis does not answer is told that he may go on.
func (l *locks) try(ctx context.Context, name string) (release func(), ok bool) {
	locker, err := l.connect()
	if err != nil {
		return func() {}, true
	}
	_, release, err = locker.TryWithContext(ctx, name)
	if errors.Is(err, rueidislock.ErrNotLocked) {
		return nil, false
	}
	if err != nil {
		return func() {}, true
	}
	return release, true
}

// connect makes a connection of its own, when it is first needed: what is known of the front's must not be shaken by it.
func (l *locks) connect() (rueidislock.Locker, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.locker != nil {
		return l.locker, nil
	}
	option, err := parse(l.address)
	if err != nil {
		return nil, err
	}
	l.locker, err = rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: option, KeyPrefix: lockPrefix, KeyMajority: 1, FallbackSETPX: true, TryNextAfter: lockTry, KeyValidity: l.lasts,
	})
	return l.locker, err
}

func (l *locks) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.locker != nil {
		l.locker.Close()
	}
}
