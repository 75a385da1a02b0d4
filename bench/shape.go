package bench

import (
	"context"
	"time"
)

// The shapes of product.md as far as the bench and its two rivals speak them.

type moneyShape struct {
	Amount   int64  `json:"amount"`
	Currency string `json:"currency"`
}

type lineShape struct {
	ProductID string     `json:"product_id"`
	Title     string     `json:"title"`
	Quantity  int64      `json:"quantity"`
	UnitPrice moneyShape `json:"unit_price"`
}

type orderShape struct {
	OrderNo     string         `json:"order_no"`
	UserID      string         `json:"user_id"`
	Status      string         `json:"status"`
	Lines       []lineShape    `json:"lines"`
	Total       moneyShape     `json:"total"`
	CreatedAt   string         `json:"created_at"`
	PayBy       string         `json:"pay_by"`
	SecondsLeft int64          `json:"seconds_left"`
	PaidAt      *string        `json:"paid_at"`
	ClosedAt    *string        `json:"closed_at"`
	CloseReason *string        `json:"close_reason"`
	PaidLate    bool           `json:"paid_late"`
	Version     int64          `json:"version"`
	Metadata    map[string]any `json:"metadata"`
}

type placeShape struct {
	UserID   string         `json:"user_id"`
	Lines    []placeLine    `json:"lines"`
	Metadata map[string]any `json:"metadata"`
}

type placeLine struct {
	ProductID string `json:"product_id"`
	Quantity  int64  `json:"quantity"`
}

func wireTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

func (s *shop) order(ctx context.Context, number string) (order orderShape, err error) {
	err = s.call(ctx, "GET", "/v1/orders/"+number, nil, &order)
	return order, err
}
