package api

import "time"

// The statuses of an order.
const (
	OrderPending   = "pending"
	OrderPaid      = "paid"
	OrderFulfilled = "fulfilled"
	OrderCancelled = "cancelled"
	OrderExpired   = "expired"
	OrderRefunded  = "refunded"
)

// Order is an order as every route, event and page shows it.
type Order struct {
	OrderNo     string     `json:"order_no" example:"202611200000042"`
	UserID      string     `json:"user_id"`
	Status      string     `json:"status" enum:"pending,paid,fulfilled,cancelled,expired,refunded"`
	Lines       []Line     `json:"lines"`
	Total       Money      `json:"total"`
	CreatedAt   time.Time  `json:"created_at"`
	PayBy       time.Time  `json:"pay_by"`
	SecondsLeft int64      `json:"seconds_left" doc:"The countdown to pay_by, rounded up; 0 once the order is no longer pending."`
	PaidAt      *time.Time `json:"paid_at"`
	ClosedAt    *time.Time `json:"closed_at"`
	CloseReason *string    `json:"close_reason"`
	PaidLate    bool       `json:"paid_late" doc:"Paid after pay_by, but before the order expired."`
	Version     int64      `json:"version" doc:"Counts the order's steps."`
	Metadata    Metadata   `json:"metadata"`

	// User is there with ?expand=user only; nil when the shop never told of him.
	User *User `json:"user,omitempty" doc:"With expand=user only; null when the shop never told of the user."`
}

// Line is a quantity of one product at the price it had when the order was placed.
type Line struct {
	ProductID string `json:"product_id"`
	Title     string `json:"title"`
	Quantity  int64  `json:"quantity"`
	UnitPrice Money  `json:"unit_price"`
}

// PlaceOrder asks for an order. The price is the catalogue's.
type PlaceOrder struct {
	UserID   string      `json:"user_id" minLength:"1" maxLength:"128" doc:"Need not be known." example:"u-7"`
	Lines    []PlaceLine `json:"lines" minItems:"1" maxItems:"100" doc:"The same product on several lines is one line with the sum."`
	Metadata Metadata    `json:"metadata,omitzero" nullable:"true" doc:"Up to 4 kB as compact JSON."`
}

// PlaceLine asks for a quantity of one product.
type PlaceLine struct {
	ProductID string `json:"product_id" minLength:"1" maxLength:"128" example:"sku-1"`
	Quantity  int64  `json:"quantity" minimum:"1" maximum:"10000" example:"2"`
}

// Reason says why an order is cancelled or fulfilled; the order keeps it as its close_reason.
type Reason struct {
	Reason string `json:"reason,omitzero" nullable:"true" maxLength:"500"`
}
