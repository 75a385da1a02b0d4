package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/user"
)

func (s *Server) putUser(x *exchange) error {
	c := ledger.PutUser{ID: user.ID(x.possible("user"))}
	if err := x.mine(c.ID, "user"); err != nil {
		return err
	}
	err := x.decode(nil, func(f *fields, name []byte) {
		text := func(limit int) ledger.Patch[string] {
			return clearable(f, func() string { return f.text(limit) })
		}
		switch string(name) {
		case "name":
			c.Name = text(limits.NameChars)
		case "phone":
			c.Phone = text(limits.PhoneChars)
		case "email":
			c.Email = text(limits.EmailChars)
		case "address":
			c.Address = text(limits.AddressChars)
		case "metadata":
			if x.session != nil {
				f.skip()
				f.fail("is the shop's own: a buyer cannot set it")
				return
			}
			c.Metadata = set(f.metadata())
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	u, err := ledger.Submit(x.ctx, s.desk.Ledger, c)
	if err != nil {
		return err
	}
	x.out = u.AppendJSON(x.out[:0])
	x.put(u.Created, x.out)
	return nil
}

func (s *Server) getUser(x *exchange) error {
	id, err := x.existing("user")
	if err != nil {
		return err
	}
	if err := x.mine(user.ID(id), "user"); err != nil {
		return err
	}
	u, err := s.desk.Record.User(x.ctx, user.ID(id))
	if err != nil {
		return err
	}
	x.out = u.AppendJSON(x.out[:0])
	x.ok(x.out)
	return nil
}
