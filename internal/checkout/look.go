package checkout

import (
	"context"
	"errors"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// reads gives where single things are read.
func (d *Desk) reads() Reads {
	if d.Memory != nil {
		return d.Memory
	}
	return d.Record
}

// Order gives an order as it is. It is shared: not to be changed.
func (d *Desk) Order(ctx context.Context, no order.Number) (*order.Order, error) {
	if o := d.Orders.Get(no); o != nil {
		return o, nil
	}
	return d.Orders.Fill(no, func() (*order.Order, error) { return d.reads().Order(ctx, no) })
}

// Shelf gives a product with its stock as it is. It is shared: not to be changed.
func (d *Desk) Shelf(ctx context.Context, id product.ID) (Shelf, error) {
	return d.reads().Shelf(ctx, id)
}

// User gives what is known of a user. It is shared: not to be changed.
func (d *Desk) User(ctx context.Context, id user.ID) (*user.User, error) {
	return d.reads().User(ctx, id)
}

// UserOf gives what is known of an order's user: nil when the shop never told us of him.
func (d *Desk) UserOf(ctx context.Context, o *order.Order) (*user.User, error) {
	u, err := d.User(ctx, o.UserID)
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil //nolint:nilnil // an order's user need not exist
	}
	return u, err
}

// Payment gives a payment as it is. It is shared: not to be changed.
func (d *Desk) Payment(ctx context.Context, id string) (*payment.Payment, error) {
	return d.reads().Payment(ctx, id)
}

// PaymentsOf gives the payments of an order as they are, oldest first. They are shared: not to be changed.
func (d *Desk) PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error) {
	return d.reads().PaymentsOf(ctx, no)
}

// Warm loads what a sale begins with into the memory that processes share, if there is one.
func (d *Desk) Warm(ctx context.Context) (Warmed, error) {
	if d.Memory == nil {
		return Warmed{}, nil
	}
	return d.Memory.Warm(ctx)
}
