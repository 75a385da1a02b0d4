package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

func (s *Server) fulfilOrder(x *exchange) error {
	return s.stepOrder(x, func(no order.Number, reason string) (order.Order, error) {
		return ledger.Submit(x.ctx, s.desk.Ledger, ledger.Fulfil{Number: no, Reason: reason})
	})
}
