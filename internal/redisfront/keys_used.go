package redisfront

import (
	"context"
	"slices"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// keyLook is one key, on its way to Redis and back.
type keyLook struct {
	key      ledger.Key
	at       marking
	used     bool
	ok       bool
	answered chan struct{}
}

// MayHaveUsed reports whether a key may have been answered already, by any process; false is certain.
func (g *Gate) MayHaveUsed(ctx context.Context, key ledger.Key) bool {
	t := g.front.open()
	if t == nil || g.front.opt.Alone {
		return g.fallback.MayHaveUsed(ctx, key)
	}
	l := &keyLook{key: key, at: markingOf(key), answered: make(chan struct{})}
	if !g.looks.add(l) {
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

// sendLooks asks for many keys in one round trip.
func (g *Gate) sendLooks(batch []*keyLook) {
	defer func() {
		for _, l := range batch {
			close(l.answered)
		}
	}()
	t := g.front.open()
	if t == nil {
		return
	}
	slices.SortStableFunc(batch, func(a, b *keyLook) int { return a.at.shard - b.at.shard })
	markings := make([]marking, len(batch))
	for i, l := range batch {
		markings[i] = l.at
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitMax+g.front.opt.Grace)
	defer cancel()
	commands, counts := looks(t.client.B, t.epoch, markings)
	at := 0
	for i, r := range t.client.DoMulti(ctx, commands...) {
		words, err := r.AsIntSlice()
		if err != nil || len(words) != 1+counts[i] {
			g.front.failed(t)
			return
		}
		for _, word := range words[1:] {
			l := batch[at]
			l.used, l.ok = words[0] == 0 || l.at.in(word), true // a shard that is not whole does not know every key
			at++
		}
	}
	if t.dials != g.front.dials.Load() { // it may have been another server that answered
		for _, l := range batch {
			l.ok = false
		}
	}
}
