package api

import "time"

// The statuses of a payment.
const (
	PaymentPending   = "pending"
	PaymentSucceeded = "succeeded"
	PaymentFailed    = "failed"
	PaymentClosed    = "closed" // its order ended without it
)

// Payment is one attempt to pay an order through a provider.
type Payment struct {
	PaymentID     string     `json:"payment_id"`
	OrderNo       string     `json:"order_no"`
	Provider      string     `json:"provider" example:"sandbox"`
	Status        string     `json:"status" enum:"pending,succeeded,failed,closed"`
	Amount        Money      `json:"amount"`
	TransactionID *string    `json:"transaction_id" doc:"The provider's."`
	PayURL        *string    `json:"pay_url" doc:"Where the buyer can pay; null when he no longer can."`
	CreatedAt     time.Time  `json:"created_at"`
	PaidAt        *time.Time `json:"paid_at"`
}

// CreatePayment opens an attempt to pay.
type CreatePayment struct {
	Provider string `json:"provider" minLength:"1" maxLength:"128" example:"sandbox"`
}
