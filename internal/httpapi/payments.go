package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/payment"
)

func (s *Server) createPayment(x *exchange) error {
	no, err := x.changing()
	if err != nil {
		return err
	}
	var provider string
	err = x.decode([]string{"provider"}, func(f *fields, name []byte) {
		switch string(name) {
		case "provider":
			provider = f.id()
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	created, err := s.desk.CreatePayment(x.ctx, no, provider)
	if err != nil {
		return err
	}
	x.out = s.appendPayment(x.out[:0], &created.Payment)
	x.put(created.Created, x.out)
	return nil
}

func (s *Server) appendPayment(b []byte, p *payment.Payment) []byte {
	return p.AppendJSON(b, s.desk.PayURL(p))
}

// listPayments gives all payments of an order: they are few.
func (s *Server) listPayments(x *exchange) error {
	o, err := x.order()
	if err != nil {
		return err
	}
	payments, err := s.desk.PaymentsOf(x.ctx, o.Number)
	if err != nil {
		return err
	}
	x.page(len(payments), "", nil, func(b []byte, i int) []byte { return s.appendPayment(b, payments[i]) })
	return nil
}

func (s *Server) getPayment(x *exchange) error {
	id, err := x.existing("payment")
	if err != nil {
		return err
	}
	p, err := s.desk.Payment(x.ctx, id)
	if err != nil {
		return err
	}
	if x.session != nil {
		o, err := s.desk.Order(x.ctx, p.OrderNumber)
		if err != nil {
			return err
		}
		if err := x.mine(o.UserID, "payment"); err != nil {
			return err
		}
	}
	x.out = s.appendPayment(x.out[:0], p)
	x.ok(x.out)
	return nil
}
