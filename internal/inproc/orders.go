package inproc

import (
	"github.com/maypok86/otter/v2"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// ordersMax bounds the orders kept in memory, about 1 kB each.
const ordersMax = 16_000

// Orders remembers orders as the last commits left them, so that reading one costs no SQL. It never goes back: what is kept
// is replaced only by a later state.
type Orders struct {
	cache *otter.Cache[order.Number, *order.Order]
}

// NewOrders makes an empty cache.
func NewOrders() *Orders {
	return &Orders{cache: otter.Must(&otter.Options[order.Number, *order.Order]{MaximumSize: ordersMax})}
}

// Get gives an order, or nil.
func (c *Orders) Get(no order.Number) *order.Order {
	o, _ := c.cache.GetIfPresent(no)
	return o
}

// Fill gives an order that was not there, loading and keeping it. A commit that overtakes the load wins.
func (c *Orders) Fill(no order.Number, load func() (*order.Order, error)) (*order.Order, error) {
	o, err := load()
	if err != nil {
		return nil, err
	}
	return c.keep(o), nil
}

// Applied learns from a commit.
func (c *Orders) Applied(a *ledger.Applied) {
	for _, o := range a.Orders {
		c.keep(o)
	}
}

// keep puts an order in unless a later state of it is there, and gives what is there then.
func (c *Orders) keep(o *order.Order) *order.Order {
	kept, _ := c.cache.Compute(o.Number, func(old *order.Order, found bool) (*order.Order, otter.ComputeOp) {
		if found && old.Events > o.Events {
			return old, otter.CancelOp
		}
		return o, otter.WriteOp
	})
	if kept == nil {
		return o
	}
	return kept
}
