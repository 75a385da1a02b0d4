// Package inproc holds the quick roles inside one process: the gate, the marks of used keys, the cache of orders and the
// countdown. Each may be wrong or empty at any time; the record decides.
package inproc

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

const (
	// believed is how long a refusal is told without asking the record again.
	believed = time.Second
	// saleSlack is how far around a sale's opening and end the gate does not refuse and lets the record's clock decide.
	saleSlack = 2 * time.Second
	// shelvesMax bounds the products the gate knows. Beyond it, all are forgotten: not knowing admits.
	shelvesMax = 200_000
)

// Gate refuses what cannot succeed, from what the last commits said of each product. A refusal is believed for a second;
// then exactly one request asks the record, with one statement, and its answer serves the others: so no lost update keeps a
// product sold out, and a storm of refusals costs one statement per product and second. Who comes while it is asked waits for the
// answer.
type Gate struct {
	look  func(context.Context, product.ID) (checkout.Shelf, error)
	clock func() time.Time

	// Keys is where keys that this process has not marked are looked for, where several processes share the record; nil: the
	// marks are all there are.
	Keys *KeyLooks

	// Woken, if set, is called by whoever was told by somebody else's look, before he goes on: a simulation, which lets one act at a
	// time, takes them up in an order of its own.
	Woken func(context.Context)

	marks   *KeyMarks
	shelves sync.Map // product.ID → *shelf
	known   atomic.Int64
	probes  atomic.Int64
}

// GateCounts is how many products a gate knows, and how often it has asked the record about one, or about keys.
type GateCounts struct{ Products, Probes, KeyLooks int64 }

// Counts tells what the gate knows and has asked.
func (g *Gate) Counts() GateCounts {
	c := GateCounts{Products: g.known.Load(), Probes: g.probes.Load()}
	if g.Keys != nil {
		c.KeyLooks = g.Keys.Looks()
	}
	return c
}

// shelf is what the gate knows of one product.
type shelf struct {
	mu        sync.Mutex
	product   *product.Product
	available int64
	version   int64
	freshAt   time.Time     // when the record last confirmed it
	probing   chan struct{} // closed when the probe under way has its answer; nil: there is none
}

// NewGate makes a gate that asks the record with look.
func NewGate(look func(context.Context, product.ID) (checkout.Shelf, error), marks *KeyMarks, clock func() time.Time) *Gate {
	return &Gate{look: look, marks: marks, clock: clock}
}

// MayHaveUsed reports whether a key may have been answered already; false is certain.
func (g *Gate) MayHaveUsed(ctx context.Context, key ledger.Key) bool {
	return g.marks.MayHave(key) || g.Keys != nil && g.Keys.MayHave(ctx, key)
}

// Answered teaches the gate nothing: it learns from commits.
func (g *Gate) Answered(user.ID, []ledger.PlaceLine, error) {}

// Admit gives the reason to refuse an order now, or nil. A product it does not know is admitted.
func (g *Gate) Admit(ctx context.Context, _ user.ID, lines []ledger.PlaceLine) error {
	for i := range lines {
		known, ok := g.shelves.Load(lines[i].ProductID)
		if !ok {
			continue
		}
		s, _ := known.(*shelf)
		if refusal := g.ask(ctx, s, &lines[i]); refusal != nil {
			return refusal
		}
	}
	return nil
}

func (g *Gate) ask(ctx context.Context, s *shelf, l *ledger.PlaceLine) error {
	now := g.clock()
	s.mu.Lock()
	refusal := s.refuses(l, now)
	if refusal == nil || now.Sub(s.freshAt) < believed {
		s.mu.Unlock()
		return refusal
	}
	if probe := s.probing; probe != nil {
		s.mu.Unlock()
		return g.await(ctx, s, probe, l, now)
	}
	failpoint.Hit("gate.probed")
	probe := make(chan struct{})
	s.probing = probe
	s.mu.Unlock()
	defer func() { // whatever becomes of the look: others wait for it
		s.mu.Lock()
		s.probing = nil
		s.mu.Unlock()
		close(probe)
	}()

	g.probes.Add(1)
	found, err := g.look(ctx, l.ProductID)
	if err != nil {
		return nil // not knowing admits; the ledger will say what is wrong with the record
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.set(found.Product, found.Stock, now) // it is as old as the question
	return s.refuses(l, now)
}

// await waits for the answer to a probe of somebody else: nobody is refused by what is no longer believed.
func (g *Gate) await(ctx context.Context, s *shelf, probe <-chan struct{}, l *ledger.PlaceLine, now time.Time) error {
	if !ledger.Told(ctx, probe) {
		return ctx.Err()
	}
	if g.Woken != nil {
		g.Woken(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.freshAt) >= believed {
		return nil // the probe failed
	}
	return s.refuses(l, now)
}

// refuses is called with the lock held.
func (s *shelf) refuses(l *ledger.PlaceLine, now time.Time) error {
	if s.product.Quarantined() {
		return ledger.SaleStopped(l.ProductID)
	}
	if !s.product.OnSale(now) && !s.product.OnSale(now.Add(saleSlack)) && !s.product.OnSale(now.Add(-saleSlack)) {
		return fault.ErrNotOnSale.With("product_id", string(l.ProductID))
	}
	if s.available < l.Quantity {
		return fault.ErrOutOfStock.With("product_id", string(l.ProductID)).With("available", s.available)
	}
	return nil
}

// set takes over what the record said, unless something newer is known. Called with the lock held.
func (s *shelf) set(p *product.Product, st *stock.Stock, now time.Time) {
	if s.product == nil || p.Version >= s.product.Version {
		s.product = p
	}
	if st.Version >= s.version {
		s.available, s.version, s.freshAt = st.Available(), st.Version, now
	}
}

// Using marks the keys of a batch that is about to be committed: a buyer of the last unit who asks again must not be told that it
// is gone, also when nobody knows yet whether he has it.
func (g *Gate) Using(keys []ledger.Key) {
	for _, key := range keys {
		g.marks.Add(key)
	}
}

// Applied learns from a commit.
func (g *Gate) Applied(a *ledger.Applied) {
	g.Using(a.Keys)
	now := g.clock()
	for i, p := range a.Products {
		if p == nil || a.Stock[i] == nil {
			continue
		}
		known, ok := g.shelves.Load(p.ID)
		if !ok {
			if g.known.Add(1) > shelvesMax {
				g.shelves.Clear()
				g.known.Store(1)
			}
			fresh := &shelf{}
			fresh.set(p, a.Stock[i], now) // before anyone can see it
			known, _ = g.shelves.LoadOrStore(p.ID, fresh)
		}
		s, _ := known.(*shelf)
		s.mu.Lock()
		s.set(p, a.Stock[i], now)
		s.mu.Unlock()
	}
}
