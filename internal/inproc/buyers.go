package inproc

import (
	"errors"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// buyersMax bounds the buyers that are remembered. Beyond it, all are forgotten: not knowing admits.
const buyersMax = 50_000

// Buyers remembers for a second whom the ledger has told to pay first, or to wait: whoever asks again meanwhile costs no place in a
// batch. An order of his that ends is seen at once.
type Buyers struct {
	clock func() time.Time

	mu      sync.RWMutex
	refused map[user.ID]refusedBuyer
}

type refusedBuyer struct {
	why   error
	until time.Time
}

// NewBuyers makes a memory of nobody.
func NewBuyers(clock func() time.Time) *Buyers {
	return &Buyers{clock: clock, refused: map[user.ID]refusedBuyer{}}
}

// Refusal gives the reason to refuse a buyer now, or nil.
func (b *Buyers) Refusal(id user.ID) error {
	b.mu.RLock()
	r, known := b.refused[id]
	b.mu.RUnlock()
	if !known || !b.clock().Before(r.until) {
		return nil
	}
	return r.why
}

// Refused is told what the ledger refused an order of a buyer with. Only what he is refused with whatever he orders is remembered.
func (b *Buyers) Refused(id user.ID, why error) {
	if !errors.Is(why, fault.ErrTooManyUnpaid) {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) >= buyersMax {
		clear(b.refused)
	}
	b.refused[id] = refusedBuyer{why, b.clock().Add(min(believed, fault.Of(why).RetryAfter))}
}

// Applied learns from a commit.
func (b *Buyers) Applied(a *ledger.Applied) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.refused) == 0 {
		return
	}
	for _, o := range a.Orders {
		if o.Status != order.Pending {
			delete(b.refused, o.UserID)
		}
	}
}
