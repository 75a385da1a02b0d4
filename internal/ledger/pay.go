package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// Pay says that money has arrived at a provider: a notice that was verified, or the provider's answer when asked.
type Pay struct {
	payment.Notice
	PaymentID string // of the record, should the order have no open payment at this provider
}

// PayOutcome is what became of money.
type PayOutcome string

// What can become of money. None of it is ever dropped.
const (
	PaidNow       PayOutcome = "paid"      // it paid the order
	PaidAgain     PayOutcome = "again"     // this transaction was counted before; nothing changed
	PaidDuplicate PayOutcome = "duplicate" // another transaction had paid the order: a refund is due
	PaidLate      PayOutcome = "late"      // the order was over: a refund is due
)

func (c Pay) lane() Lane { return Settle }

func (c Pay) wants(w *Want) {
	w.Orders = append(w.Orders, c.OrderNumber)
	w.Transactions = append(w.Transactions, Transaction{c.Provider, c.TransactionID})
}

func (c Pay) decide(b *Books) (PayOutcome, error) {
	o := b.Orders[c.OrderNumber]
	if o == nil {
		return "", fault.ErrNotFound.Detailf("There is no such order.")
	}
	transaction := Transaction{c.Provider, c.TransactionID}
	p := b.Transactions[transaction]
	switch {
	case p == nil:
	case p.OrderNumber != o.Number || p.Amount != c.Amount:
		failpoint.Hit("pay.transaction_of_another")
		return "", fault.ErrPaymentMismatch.Field("transaction_id", "was used for another payment")
	case p.Status == payment.Succeeded:
		failpoint.Hit("pay.again")
		return PaidAgain, nil
	}
	if c.Amount != o.Total && !planted.Bug(planted.AmountUnchecked) {
		failpoint.Hit("pay.mismatch")
		return "", fault.ErrPaymentMismatch.Field("amount", "is not the order's total")
	}

	if p != nil {
		failpoint.Hit("pay.failed_and_succeeded")
		b.changePayment(p) // it had failed, and succeeded after all
	} else {
		p = b.recordOf(o, c.Notice, c.PaymentID)
	}
	p.Status, p.TransactionID, p.PaidAt = payment.Succeeded, c.TransactionID, b.Now
	b.Transactions[transaction] = p
	switch o.Status {
	case order.Pending:
		failpoint.Hit("pay.paid")
		if o.Due(b.Now) {
			failpoint.Hit("pay.won_the_tie")
		}
		b.moveLines(o, (*stock.Stock).Sell)
		b.closePayments(o)
		b.step(o, order.Paid, "", event.OrderPaid)
		return PaidNow, nil
	case order.Paid, order.Fulfilled, order.Refunded:
		failpoint.Hit("pay.duplicate")
		c.owe(b, o, p, payment.Duplicate)
		return PaidDuplicate, nil
	case order.Cancelled, order.Expired:
	}
	failpoint.HitAs("pay.late_on", string(o.Status))
	b.tellAbout(o, event.PaymentLate, p.AppendJSON(nil, ""))
	if !planted.Bug(planted.LateMoneyKept) {
		c.owe(b, o, p, payment.Late)
	}
	return PaidLate, nil
}

// owe writes down that the money has to go back, and tells it.
func (c Pay) owe(b *Books, o *order.Order, p *payment.Payment, reason string) {
	r := &payment.Refund{
		ID: payment.RefundIDOf(p.ID), PaymentID: p.ID, OrderNumber: o.Number, Amount: p.Amount,
		Reason: reason, Status: "due", CreatedAt: b.Now,
	}
	b.changes.Refunds = append(b.changes.Refunds, r)
	b.tellAbout(o, event.RefundDue, r.AppendJSON(nil))
}
