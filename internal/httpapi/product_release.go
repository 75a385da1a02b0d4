package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
)

func (s *Server) releaseProduct(x *exchange) error {
	id, err := x.existing("product")
	if err != nil {
		return err
	}
	p, err := ledger.Submit(x.ctx, s.desk.Ledger, ledger.Release{ProductID: product.ID(id)})
	if err != nil {
		return err
	}
	x.out = p.AppendJSON(x.out[:0], p.Available)
	x.ok(x.out)
	return nil
}
