package api

import "time"

// Product is a thing on sale.
type Product struct {
	ProductID   string     `json:"product_id" doc:"The merchant's own string." example:"sku-1"`
	Title       string     `json:"title"`
	Price       Money      `json:"price"`
	MaxPerUser  *int64     `json:"max_per_user" doc:"Units one user may have pending, paid and fulfilled; null: no limit."`
	PayWindow   *string    `json:"pay_window" doc:"How long an order may stay unpaid, as a Go duration; null: as long as the desk allows." example:"15m0s"`
	OnSaleFrom  *time.Time `json:"on_sale_from"`
	OnSaleUntil *time.Time `json:"on_sale_until" doc:"Exclusive."`
	Active      bool       `json:"active"`
	Available   int64      `json:"available" doc:"Units that can be ordered."`
	Version     int64      `json:"version"`
	CreatedAt   time.Time  `json:"created_at"`
	UpdatedAt   time.Time  `json:"updated_at"`
}

// PutProduct creates a product or changes it. What is left out stays as it is; a new product needs title and price.
type PutProduct struct {
	Title       Optional[string]    `json:"title,omitzero" minLength:"1" maxLength:"500" nullable:"false"`
	Price       Optional[Money]     `json:"price,omitzero"`
	MaxPerUser  Optional[int64]     `json:"max_per_user,omitzero" minimum:"1" maximum:"1000000000000" doc:"null: no limit."`
	PayWindow   Optional[string]    `json:"pay_window,omitzero" doc:"A Go duration in whole milliseconds, 1s to 720h; null: as long as the desk allows." example:"15m"`
	OnSaleFrom  Optional[time.Time] `json:"on_sale_from,omitzero" doc:"Any offset; null: it always has been."`
	OnSaleUntil Optional[time.Time] `json:"on_sale_until,omitzero" doc:"Exclusive, after on_sale_from; null: no end."`
	Active      Optional[bool]      `json:"active,omitzero" nullable:"false" doc:"Whether it can be ordered at all; true for a new product."`
}

// Stock is a product's units: received = available + held + sold.
type Stock struct {
	ProductID string `json:"product_id"`
	Received  int64  `json:"received"`
	Available int64  `json:"available" doc:"Can be ordered."`
	Held      int64  `json:"held" doc:"Kept by pending orders."`
	Sold      int64  `json:"sold"`
	Version   int64  `json:"version" doc:"Rises with every change."`
}

// AdjustStock takes a delivery in, or writes units off.
type AdjustStock struct {
	Delta  int64  `json:"delta" minimum:"-1000000000" maximum:"1000000000" doc:"Units to add, or to take away when negative; not 0." example:"100"`
	Reason string `json:"reason,omitzero" nullable:"true" maxLength:"500" example:"restock"`
	Ref    string `json:"ref,omitzero" nullable:"true" minLength:"1" maxLength:"128" doc:"Names the delivery: the same ref counts once per product." example:"PO-7"`
}
