package checkout

import (
	"context"
	"errors"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Order gives an order as it is. It is shared: not to be changed.
func (d *Desk) Order(ctx context.Context, no order.Number) (*order.Order, error) {
	if o := d.Orders.Get(no); o != nil {
		return o, nil
	}
	return d.Orders.Fill(no, func() (*order.Order, error) { return d.Record.Order(ctx, no) })
}

// User gives what is known of a user. It is shared: not to be changed.
func (d *Desk) User(ctx context.Context, id user.ID) (*user.User, error) {
	load := func() (*user.User, error) { return d.Record.User(ctx, id) }
	if d.Users == nil {
		return load()
	}
	return d.Users(id, load)
}

// UserOf gives what is known of an order's user: nil when the shop never told us of him.
func (d *Desk) UserOf(ctx context.Context, o *order.Order) (*user.User, error) {
	u, err := d.User(ctx, o.UserID)
	if errors.Is(err, fault.ErrNotFound) {
		return nil, nil //nolint:nilnil // an order's user need not exist
	}
	return u, err
}

// Payment gives a payment as it is.
func (d *Desk) Payment(ctx context.Context, id string) (*payment.Payment, error) {
	return d.Record.Payment(ctx, id)
}
