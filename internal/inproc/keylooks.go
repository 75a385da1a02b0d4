package inproc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

const (
	// keysPerLook is how many keys are looked up with one statement at most.
	keysPerLook = 512
	// keyLookMax bounds a look. Whoever is not told by then asks the ledger.
	keyLookMax = time.Second
)

// KeyLooks asks the record whether idempotency keys were used: where several processes write it, the marks of one say nothing of
// the others'. As in the ledger, a look takes whatever was asked during the last one, so a storm of refusals of a product that
// is sold out costs a statement for hundreds of them.
type KeyLooks struct {
	look func(ctx context.Context, keys []ledger.Key) (used []ledger.Key, err error)
	turn chan struct{} // held by whose look is under way

	// Woken is as the gate's.
	Woken func(context.Context)

	mu    sync.Mutex
	next  *keyLook // the look that gathers keys; nil: none
	looks atomic.Int64
}

// keyLook is one statement, for all who wait for it.
type keyLook struct {
	keys []ledger.Key
	used map[ledger.Key]bool
	err  error
	done chan struct{}
}

// NewKeyLooks makes looks at the record.
func NewKeyLooks(look func(ctx context.Context, keys []ledger.Key) (used []ledger.Key, err error)) *KeyLooks {
	return &KeyLooks{look: look, turn: make(chan struct{}, 1)}
}

// Looks is how often the record was asked.
func (k *KeyLooks) Looks() int64 { return k.looks.Load() }

// MayHave reports whether a key may have been used. A record that cannot be asked says nothing: it may.
func (k *KeyLooks) MayHave(ctx context.Context, key ledger.Key) bool {
	l, first := k.join(key)
	if first {
		k.run(ctx, l)
		return l.mayHave(key) // it is known, also to a caller whom nobody waits for any more
	}
	if !ledger.Told(ctx, l.done) {
		return true
	}
	if k.Woken != nil {
		k.Woken(ctx)
	}
	return l.mayHave(key)
}

func (l *keyLook) mayHave(key ledger.Key) bool { return l.err != nil || l.used[key] }

// join puts a key into the look that gathers; first: the caller has opened it, and must run it.
func (k *KeyLooks) join(key ledger.Key) (l *keyLook, first bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.next == nil {
		k.next, first = &keyLook{done: make(chan struct{})}, true
	}
	l = k.next
	l.keys = append(l.keys, key)
	if len(l.keys) == keysPerLook {
		k.next = nil
	}
	return l, first
}

// run looks for all who have joined, once the look before has ended. The others wait for it whatever becomes of the caller.
func (k *KeyLooks) run(ctx context.Context, l *keyLook) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keyLookMax)
	defer cancel()
	defer close(l.done)
	k.turn <- struct{}{}
	defer func() { <-k.turn }()
	k.mu.Lock()
	if k.next == l {
		k.next = nil
	}
	k.mu.Unlock()

	k.looks.Add(1)
	l.err = context.Canceled // unless the look returns
	used, err := k.look(ctx, l.keys)
	l.used = make(map[ledger.Key]bool, len(used))
	for _, key := range used {
		l.used[key] = true
	}
	l.err = err
}
