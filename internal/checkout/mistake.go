package checkout

import (
	"context"
	"slices"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// withinLimits is the mistake planted.LimitLookedUpBefore, made on purpose only: what it counts may change before the order is
// placed. An order like this one may be this one, asked for again, and is let through.
func (d *Desk) withinLimits(ctx context.Context, c ledger.Place) error {
	orders, err := d.Record.Orders(ctx, OrderFilter{UserID: c.UserID, Limit: limits.PageMax})
	if err != nil || slices.ContainsFunc(orders, func(o *order.Order) bool { return len(o.Lines) == len(c.Lines) && unitsOf(o, c) }) {
		return err
	}
	for _, l := range c.Lines {
		has := l.Quantity
		for _, o := range orders {
			if o.Status.CountsForLimit() {
				has += quantityOf(o, l.ProductID)
			}
		}
		if shelf, err := d.Record.Shelf(ctx, l.ProductID); err == nil && shelf.MaxPerUser > 0 && has > shelf.MaxPerUser {
			return fault.ErrPurchaseLimit
		}
	}
	return nil
}

// unitsOf reports whether an order has the units that are asked for.
func unitsOf(o *order.Order, c ledger.Place) bool {
	for _, l := range c.Lines {
		if quantityOf(o, l.ProductID) != l.Quantity {
			return false
		}
	}
	return true
}

func quantityOf(o *order.Order, id product.ID) (n int64) {
	for i := range o.Lines {
		if o.Lines[i].ProductID == id {
			n += o.Lines[i].Quantity
		}
	}
	return n
}
