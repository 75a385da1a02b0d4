package redisfront

import (
	"context"
	"sync"
)

// batcher gathers what many ask for while one round trip is under way, and sends it with the next: alone under no load, hundreds
// under much, and no timer in between.
type batcher[T any] struct {
	mu      sync.Mutex
	waiting []T
	spare   []T
	running bool
	kick    chan struct{}
}

// waitingMax bounds what waits for a round trip; whoever comes beyond does without Redis.
const waitingMax = 1 << 14

func newBatcher[T any]() *batcher[T] { return &batcher[T]{kick: make(chan struct{}, 1)} }

// add hands something in. It reports whether it will be worked on.
func (b *batcher[T]) add(x ...T) bool {
	b.mu.Lock()
	if !b.running || len(b.waiting) > waitingMax {
		b.mu.Unlock()
		return false
	}
	first := len(b.waiting) == 0
	b.waiting = append(b.waiting, x...)
	b.mu.Unlock()
	if first {
		select {
		case b.kick <- struct{}{}:
		default:
		}
	}
	return true
}

// run works until ctx ends, and on what has been handed in by then.
func (b *batcher[T]) run(ctx context.Context, work func([]T)) {
	b.mu.Lock()
	b.running = true
	b.mu.Unlock()
	for {
		select {
		case <-b.kick:
		case <-ctx.Done():
			b.mu.Lock()
			b.running = false
			b.mu.Unlock()
			work(b.take())
			return
		}
		if batch := b.take(); len(batch) > 0 {
			work(batch)
			clear(batch)
			b.spare = batch[:0]
		}
	}
}

func (b *batcher[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	batch := b.waiting
	b.waiting, b.spare = b.spare, nil
	return batch
}
