// Package payment is money on its way: attempts to pay an order, what a provider says of them, and what must go back.
package payment

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// Status is where a payment is in its life.
type Status string

// The statuses. A payment leaves pending once; closed means its order ended without it.
const (
	Pending   Status = "pending"
	Succeeded Status = "succeeded"
	Failed    Status = "failed"
	Closed    Status = "closed"
)

// Payment is one attempt to pay an order through a provider.
type Payment struct {
	ID            string
	OrderNumber   order.Number
	Provider      string
	Status        Status
	Amount        money.Money
	TransactionID string // the provider's; "" until it succeeded
	CreatedAt     time.Time
	PaidAt        time.Time
}

// Notice is what a provider told us, after its signature was checked over the raw bytes.
type Notice struct {
	Provider      string
	OrderNumber   order.Number
	TransactionID string
	Amount        money.Money
	Succeeded     bool
}

// Why money goes back.
const (
	Late      = "late"      // it came when the order was over
	Duplicate = "duplicate" // the order was already paid by another transaction
)

// Refund is money that has to go back.
type Refund struct {
	ID          string
	PaymentID   string
	OrderNumber order.Number
	Amount      money.Money
	Reason      string
	Status      string // "due" until it is sent
	CreatedAt   time.Time
}

// RefundIDOf is the id of the refund that a payment can have: one at most.
func RefundIDOf(paymentID string) string { return "re_" + paymentID }

// AppendJSON appends the payment as the API and its events show it. payURL is where the buyer can pay it, or "".
func (p *Payment) AppendJSON(b []byte, payURL string) []byte {
	b = append(b, `{"payment_id":`...)
	b = wire.AppendString(b, p.ID)
	b = append(b, `,"order_no":"`...)
	b = p.OrderNumber.Append(b)
	b = append(b, `","provider":`...)
	b = wire.AppendString(b, p.Provider)
	b = append(b, `,"status":"`...)
	b = append(b, p.Status...)
	b = append(b, `","amount":`...)
	b = wire.AppendMoney(b, p.Amount)
	b = append(b, `,"transaction_id":`...)
	b = wire.AppendOptional(b, p.TransactionID)
	b = append(b, `,"pay_url":`...)
	b = wire.AppendOptional(b, payURL)
	b = wire.AppendTime(append(b, `,"created_at":`...), p.CreatedAt)
	b = wire.AppendTime(append(b, `,"paid_at":`...), p.PaidAt)
	return append(b, '}')
}

// AppendJSON appends the refund as its events show it.
func (r *Refund) AppendJSON(b []byte) []byte {
	b = append(b, `{"refund_id":`...)
	b = wire.AppendString(b, r.ID)
	b = append(b, `,"payment_id":`...)
	b = wire.AppendString(b, r.PaymentID)
	b = append(b, `,"order_no":"`...)
	b = r.OrderNumber.Append(b)
	b = append(b, `","amount":`...)
	b = wire.AppendMoney(b, r.Amount)
	b = append(b, `,"reason":`...)
	b = wire.AppendString(b, r.Reason)
	b = append(b, `,"status":`...)
	b = wire.AppendString(b, r.Status)
	b = wire.AppendTime(append(b, `,"created_at":`...), r.CreatedAt)
	return append(b, '}')
}
