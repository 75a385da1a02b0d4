package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
)

func (s *Server) cancelOrder(x *exchange) error {
	return s.stepOrder(x, func(no order.Number, reason string) (order.Order, error) {
		return ledger.Submit(x.ctx, s.desk.Ledger, ledger.Cancel{Number: no, Reason: reason})
	})
}

// stepOrder moves an order on, with an optional {"reason"}, and answers with the order.
func (s *Server) stepOrder(x *exchange, step func(no order.Number, reason string) (order.Order, error)) error {
	no, err := x.changing()
	if err != nil {
		return err
	}
	var reason string
	err = x.decode(nil, func(f *fields, name []byte) {
		switch string(name) {
		case "reason":
			if !f.null() {
				reason = f.text(limits.ReasonChars)
			}
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	o, err := step(no, reason)
	if err != nil {
		return err
	}
	x.out = o.AppendJSON(x.out[:0], x.now)
	x.ok(x.out)
	return nil
}
