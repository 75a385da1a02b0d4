package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

// CreatePayment opens an attempt to pay an order. An attempt that is open already at the same provider is given again.
type CreatePayment struct {
	Number    order.Number
	Provider  string
	PaymentID string
}

// PaymentCreated is the answer to CreatePayment.
type PaymentCreated struct {
	payment.Payment
	Created bool
}

func (c CreatePayment) lane() Lane { return Open }

func (c CreatePayment) wants(w *Want) { w.Orders = append(w.Orders, c.Number) }

func (c CreatePayment) decide(b *Books) (PaymentCreated, error) {
	o := b.Orders[c.Number]
	switch {
	case o == nil:
		return PaymentCreated{}, fault.ErrNotFound.Detailf("There is no such order.")
	case o.Status != order.Pending || o.Due(b.Now):
		return PaymentCreated{}, fault.ErrNotPayable.With("status", string(o.Status))
	}
	for _, p := range b.Payments[o.Number] {
		if p.Provider == c.Provider && p.Status == payment.Pending {
			return PaymentCreated{Payment: *p}, nil
		}
	}
	p := &payment.Payment{
		ID: c.PaymentID, OrderNumber: o.Number, Provider: c.Provider, Status: payment.Pending, Amount: o.Total, CreatedAt: b.Now,
	}
	b.addPayment(p)
	return PaymentCreated{Payment: *p, Created: true}, nil
}

// FailPayment says that an attempt to pay has failed at the provider. The order stays as it is: the buyer may try again.
type FailPayment struct{ payment.Notice }

// Failed is the answer to FailPayment: whether an open attempt was ended by it.
type Failed bool

func (c FailPayment) lane() Lane { return Settle }

func (c FailPayment) wants(w *Want) { w.Orders = append(w.Orders, c.OrderNumber) }

func (c FailPayment) decide(b *Books) (Failed, error) {
	o := b.Orders[c.OrderNumber]
	if o == nil {
		return false, fault.ErrNotFound.Detailf("There is no such order.")
	}
	if c.Amount != o.Total {
		return false, fault.ErrPaymentMismatch.Field("amount", "is not the order's total")
	}
	for _, p := range b.Payments[o.Number] {
		if p.Provider == c.Provider && p.Status == payment.Pending {
			p.Status = payment.Failed
			b.changePayment(p)
			return true, nil
		}
	}
	return false, nil
}
