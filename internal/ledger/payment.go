package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
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
	if p := b.openPayment(o, c.Provider); p != nil {
		return PaymentCreated{Payment: *p}, nil
	}
	if len(b.Payments[o.Number]) >= limits.PaymentsOfOrder {
		return PaymentCreated{}, fault.ErrTooManyPayments.With("max_payments", limits.PaymentsOfOrder)
	}
	p := &payment.Payment{
		ID: c.PaymentID, OrderNumber: o.Number, Provider: c.Provider, Status: payment.Pending, Amount: o.Total, CreatedAt: b.Now,
	}
	b.addPayment(p)
	return PaymentCreated{Payment: *p, Created: true}, nil
}

// FailPayment says that a transaction has failed at the provider. The order stays as it is: the buyer may try again. No money
// has moved, so a failure beyond what an order may have of attempts is not written down.
type FailPayment struct {
	payment.Notice
	PaymentID string // of the record, should the order have no open payment at this provider
}

// Failed is the answer to FailPayment: whether it was news.
type Failed bool

func (c FailPayment) lane() Lane { return Settle }

func (c FailPayment) wants(w *Want) {
	w.Orders = append(w.Orders, c.OrderNumber)
	w.Transactions = append(w.Transactions, Transaction{c.Provider, c.TransactionID})
}

func (c FailPayment) decide(b *Books) (Failed, error) {
	o := b.Orders[c.OrderNumber]
	if o == nil {
		return false, fault.ErrNotFound.Detailf("There is no such order.")
	}
	transaction := Transaction{c.Provider, c.TransactionID}
	if p := b.Transactions[transaction]; p != nil {
		if p.OrderNumber != o.Number || p.Amount != c.Amount {
			return false, fault.ErrPaymentMismatch.Field("transaction_id", "was used for another payment")
		}
		return false, nil // told before, or paid meanwhile: it ends no other attempt
	}
	if c.Amount != o.Total {
		return false, fault.ErrPaymentMismatch.Field("amount", "is not the order's total")
	}
	if b.openPayment(o, c.Provider) == nil && len(b.Payments[o.Number]) >= limits.PaymentsOfOrder {
		return false, nil
	}
	p := b.recordOf(o, c.Notice, c.PaymentID)
	p.Status, p.TransactionID = payment.Failed, c.TransactionID
	b.Transactions[transaction] = p
	return true, nil
}

// recordOf finds the open payment of an order that a provider's word is about, or makes the record that was missing.
func (b *Books) recordOf(o *order.Order, n payment.Notice, id string) *payment.Payment {
	if p := b.openPayment(o, n.Provider); p != nil {
		b.changePayment(p)
		return p
	}
	p := &payment.Payment{ID: id, OrderNumber: o.Number, Provider: n.Provider, Amount: n.Amount, CreatedAt: b.Now}
	b.addPayment(p)
	return p
}

// openPayment is the attempt to pay an order that is open at a provider, or nil.
func (b *Books) openPayment(o *order.Order, provider string) *payment.Payment {
	for _, p := range b.Payments[o.Number] {
		if p.Provider == provider && p.Status == payment.Pending {
			return p
		}
	}
	return nil
}
