package inproc

import (
	"sync/atomic"

	"github.com/maypok86/otter/v2"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

const (
	// ordersBytes bounds the orders kept in memory, by what they hold.
	ordersBytes = 24 << 20
	// orderStripes is the number of counters of changes that orders share.
	orderStripes = 4096
)

// Orders remembers orders as the last commits left them, so that reading one costs no SQL. It is for a process that alone writes the
// record. It never goes back: what is kept is replaced only by a later state, and what was read before a commit is not kept after it.
type Orders struct {
	cache   *otter.Cache[order.Number, *order.Order]
	changes [orderStripes]atomic.Uint64

	hits, misses atomic.Int64
}

// CacheCounts is how many orders a cache holds, about, and how often one was found in it or not.
type CacheCounts struct{ Orders, Hits, Misses int64 }

// Counts tells how the cache is doing.
func (c *Orders) Counts() CacheCounts {
	return CacheCounts{int64(c.cache.EstimatedSize()), c.hits.Load(), c.misses.Load()}
}

// NewOrders makes an empty cache.
func NewOrders() *Orders {
	return &Orders{cache: otter.Must(&otter.Options[order.Number, *order.Order]{
		MaximumWeight: ordersBytes,
		Weigher: func(_ order.Number, o *order.Order) uint32 {
			bytes := 400 + len(o.UserID) + len(o.CloseReason) + len(o.Metadata)
			for i := range o.Lines {
				bytes += 80 + len(o.Lines[i].ProductID) + len(o.Lines[i].Title)
			}
			return uint32(bytes) // an order is far smaller
		},
	})}
}

// Uncached is the cache of a process that shares its record with others: there is none. What another process has changed is
// not told here, and a reader whom now this one answers and now that must never see an order go back.
type Uncached struct{}

// Get finds nothing.
func (Uncached) Get(order.Number) *order.Order { return nil }

// Fill gives the order as the record has it now.
func (Uncached) Fill(_ order.Number, load func() (*order.Order, error)) (*order.Order, error) {
	return load()
}

// Applied has nothing to learn.
func (Uncached) Applied(*ledger.Applied) {}

// Doubted has nothing to forget.
func (Uncached) Doubted(*ledger.Applied) {}

// Counts are none.
func (Uncached) Counts() CacheCounts { return CacheCounts{} }

// Get gives an order, or nil.
func (c *Orders) Get(no order.Number) *order.Order {
	o, ok := c.cache.GetIfPresent(no)
	if ok {
		c.hits.Add(1)
	} else {
		c.misses.Add(1)
	}
	return o
}

// Fill gives an order that was not there, and keeps it unless it was changed while it was loaded: what changed it may be known,
// or may be known and forgotten again.
func (c *Orders) Fill(no order.Number, load func() (*order.Order, error)) (*order.Order, error) {
	changes := c.stripe(no)
	before := changes.Load()
	o, err := load()
	if err != nil {
		return nil, err
	}
	c.cache.Compute(no, func(old *order.Order, found bool) (*order.Order, otter.ComputeOp) {
		if found || changes.Load() != before {
			failpoint.Hit("orders.changed_while_loaded")
			return old, otter.CancelOp
		}
		return o, otter.WriteOp
	})
	if kept, ok := c.cache.GetIfPresent(no); ok && kept.Events > o.Events {
		return kept, nil
	}
	return o, nil
}

// Applied learns from a commit.
func (c *Orders) Applied(a *ledger.Applied) {
	for _, o := range a.Orders {
		c.stripe(o.Number).Add(1)
		c.cache.Set(o.Number, o)
	}
}

// Doubted forgets orders that may have changed or not.
func (c *Orders) Doubted(a *ledger.Applied) {
	for _, o := range a.Orders {
		c.stripe(o.Number).Add(1)
		c.cache.Invalidate(o.Number)
	}
}

func (c *Orders) stripe(no order.Number) *atomic.Uint64 { return &c.changes[uint64(no)%orderStripes] }
