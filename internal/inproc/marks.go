package inproc

import (
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

const (
	// marksBits is the size of one generation of marks, 8 MB: with 3 000 000 keys one in a thousand unused keys is taken for
	// a used one, with 10 000 000 one in 25. That costs a look at the record, no more.
	marksBits = 1 << 26
	// marksPerKey is the number of bits set for a key.
	marksPerKey = 4
	// marksLast is how long a mark lasts at least.
	marksLast = limits.ReplayFor
)

// KeyMarks remembers which idempotency keys were used, in fixed memory: a Bloom filter. "No" is certain, "yes" means that the
// record has to be asked. It speaks for one process: for one that alone writes the record once every key in it was added, else beside KeyLooks. Until
// Ready it says yes to everything.
type KeyMarks struct {
	ready   atomic.Bool
	current atomic.Pointer[marks]
	old     atomic.Pointer[marks] // of the 72 hours before
	clock   func() time.Time
}

type marks struct {
	since time.Time
	words []atomic.Uint64
}

func newMarks(words int, since time.Time) *marks {
	return &marks{since: since, words: make([]atomic.Uint64, words)}
}

// NewKeyMarks makes empty marks.
func NewKeyMarks(clock func() time.Time) *KeyMarks { return NewSmallKeyMarks(clock, marksBits) }

// NewSmallKeyMarks makes empty marks of fewer bits, a multiple of 64: for a desk that sees few keys and is made often.
func NewSmallKeyMarks(clock func() time.Time, bits int) *KeyMarks {
	k := &KeyMarks{clock: clock}
	k.current.Store(newMarks(bits/64, clock()))
	return k
}

// Ready says that every key in the record has been added.
func (k *KeyMarks) Ready() { k.ready.Store(true) }

// IsReady reports whether every key in the record has been added.
func (k *KeyMarks) IsReady() bool { return k.ready.Load() }

// Add marks a key as used.
func (k *KeyMarks) Add(key ledger.Key) {
	m := k.current.Load()
	if now := k.clock(); now.Sub(m.since) > marksLast {
		k.old.Store(m) // first: its keys are marked all the while
		k.current.CompareAndSwap(m, newMarks(len(m.words), now))
		m = k.current.Load()
	}
	h, step := split(key)
	for range marksPerKey {
		m.words[h/64%uint64(len(m.words))].Or(1 << (h % 64))
		h += step
	}
}

// MayHave reports whether a key may have been used.
func (k *KeyMarks) MayHave(key ledger.Key) bool {
	return !k.ready.Load() || k.current.Load().has(key) || k.old.Load().has(key)
}

func (m *marks) has(key ledger.Key) bool {
	if m == nil {
		return false
	}
	h, step := split(key)
	for range marksPerKey {
		if m.words[h/64%uint64(len(m.words))].Load()&(1<<(h%64)) == 0 {
			return false
		}
		h += step
	}
	return true
}

// split makes two hashes of a key, which is one already.
func split(key ledger.Key) (h, step uint64) {
	return binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:]) | 1
}
