package ledger

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// Patch is a field that may be left out: then the old value stays. A zero Value clears it.
type Patch[T any] struct {
	Set   bool
	Value T
}

func (p Patch[T]) apply(to *T) {
	if p.Set {
		*to = p.Value
	}
}

// PutProduct creates a product, or changes what is set of it.
type PutProduct struct {
	ID          product.ID
	Title       Patch[string]
	Price       Patch[money.Money]
	MaxPerUser  Patch[int64]
	PayWindow   Patch[time.Duration]
	OnSaleFrom  Patch[time.Time]
	OnSaleUntil Patch[time.Time]
	Active      Patch[bool]
}

// ProductPut is the answer to PutProduct.
type ProductPut struct {
	product.Product
	Available int64
	Created   bool
}

func (c PutProduct) lane() Lane { return Open }

func (c PutProduct) wants(w *Want) {
	w.Products = append(w.Products, c.ID)
	if c.MaxPerUser.Value > 0 {
		w.Limited = append(w.Limited, c.ID)
	}
}

func (c PutProduct) decide(b *Books) (ProductPut, error) {
	p := b.Products[c.ID]
	created := p == nil
	is := product.Product{ID: c.ID, Active: true, CreatedAt: b.Now}
	if !created {
		is = *p
	}
	was := is
	c.Title.apply(&is.Title)
	c.Price.apply(&is.Price)
	c.MaxPerUser.apply(&is.MaxPerUser)
	c.PayWindow.apply(&is.PayWindow)
	c.OnSaleFrom.apply(&is.OnSaleFrom)
	c.OnSaleUntil.apply(&is.OnSaleUntil)
	c.Active.apply(&is.Active)
	if is.Counting == product.NotCounted && is.MaxPerUser > 0 {
		is.Counting = countingFrom(b.Stock[c.ID])
	}
	if err := c.complete(&is); err != nil {
		return ProductPut{}, err
	}
	switch {
	case created:
		p = &product.Product{}
		b.Products[c.ID], b.Stock[c.ID] = p, &stock.Stock{ProductID: c.ID}
		b.changes.NewProducts = append(b.changes.NewProducts, p)
		b.changes.NewStock = append(b.changes.NewStock, b.Stock[c.ID])
	case is == was:
		return ProductPut{Product: was, Available: b.Stock[c.ID].Available()}, nil
	}
	*p = is
	b.touchProduct(p)
	return ProductPut{Product: *p, Available: b.Stock[c.ID].Available(), Created: created}, nil
}

// countingFrom looks whether any unit is in an order that a limit would have counted.
func countingFrom(s *stock.Stock) product.Counting {
	if s == nil || s.Held+s.Sold == 0 {
		return product.CountedAll
	}
	return product.CountedSince
}

func (c PutProduct) complete(p *product.Product) error {
	wrong := fault.ErrInvalid
	if p.Title == "" {
		wrong = wrong.Field("title", "is required")
	}
	if p.Price.Currency == "" {
		wrong = wrong.Field("price", "is required")
	}
	if !p.OnSaleUntil.IsZero() && !p.OnSaleUntil.After(p.OnSaleFrom) {
		wrong = wrong.Field("on_sale_until", "must be after on_sale_from")
	}
	if len(wrong.Fields) > 0 {
		return wrong
	}
	return nil
}
