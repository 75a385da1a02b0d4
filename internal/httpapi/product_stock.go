package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/product"
)

func (s *Server) adjustStock(x *exchange) error {
	id, err := x.existing("product")
	if err != nil {
		return err
	}
	c := ledger.AdjustStock{ProductID: product.ID(id)}
	err = x.decode([]string{"delta"}, func(f *fields, name []byte) {
		switch string(name) {
		case "delta":
			if c.Delta = f.integer(-limits.StockDelta, limits.StockDelta); c.Delta == 0 {
				f.fail("must not be 0")
			}
		case "reason":
			if !f.null() {
				c.Reason = f.text(limits.ReasonChars)
			}
		case "ref":
			if !f.null() {
				c.Ref = f.id()
			}
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	adjusted, err := ledger.Submit(x.ctx, s.desk.Ledger, c)
	if err != nil {
		return err
	}
	x.out = adjusted.AppendJSON(x.out[:0])
	x.put(!adjusted.Repeated, x.out)
	return nil
}

func (s *Server) getStock(x *exchange) error {
	id, err := x.existing("product")
	if err != nil {
		return err
	}
	shelf, err := s.desk.Shelf(x.ctx, product.ID(id))
	if err != nil {
		return err
	}
	x.out = shelf.Stock.AppendJSON(x.out[:0])
	x.ok(x.out)
	return nil
}
