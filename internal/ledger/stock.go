package ledger

import (
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// AdjustStock takes a delivery in, or writes units off when Delta is negative. A Ref counts once per product.
type AdjustStock struct {
	ProductID product.ID
	Delta     int64
	Reason    string
	Ref       string
}

// StockAdjusted is the answer to AdjustStock: the stock as it is.
type StockAdjusted struct {
	stock.Stock
	Repeated bool // the Ref was seen before; nothing changed
}

func (c AdjustStock) lane() Lane { return Open }

func (c AdjustStock) wants(w *Want) {
	w.Products = append(w.Products, c.ProductID)
	if c.Ref != "" {
		w.Refs = append(w.Refs, Ref{c.ProductID, c.Ref})
	}
}

func (c AdjustStock) decide(b *Books) (StockAdjusted, error) {
	s := b.Stock[c.ProductID]
	ref := Ref{c.ProductID, c.Ref}
	switch {
	case s == nil:
		return StockAdjusted{}, fault.ErrNotFound.Detailf("There is no such product.")
	case c.Ref != "" && b.Refs[ref]:
		failpoint.Hit("stock.ref_again")
		return StockAdjusted{Stock: *s, Repeated: true}, nil
	case s.Available()+c.Delta < 0:
		return StockAdjusted{}, fault.ErrInsufficientStock.
			With("product_id", string(c.ProductID)).With("available", s.Available())
	case s.Received+c.Delta > limits.StockReceived:
		return StockAdjusted{}, fault.ErrInvalid.Field("delta", "more than %d units in all are not counted", int64(limits.StockReceived))
	}
	if c.Ref != "" {
		b.Refs[ref] = true
	}
	b.move(c.ProductID, func(s *stock.Stock) (stock.Entry, error) { return s.Receive(c.Delta) },
		stock.Entry{Reason: c.Reason, Ref: c.Ref})
	return StockAdjusted{Stock: *s}, nil
}
