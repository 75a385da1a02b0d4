package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/product"
)

func (s *Server) putProduct(x *exchange) error {
	c := ledger.PutProduct{ID: product.ID(x.possible("product"))}
	err := x.decode(nil, func(f *fields, name []byte) {
		switch string(name) {
		case "title":
			c.Title = set(f.label(limits.TitleChars))
		case "price":
			c.Price = set(f.money())
		case "max_per_user":
			c.MaxPerUser = clearable(f, func() int64 { return f.integer(1, limits.StockReceived) })
		case "pay_window":
			c.PayWindow = clearable(f, f.payWindow)
		case "on_sale_from":
			c.OnSaleFrom = clearable(f, f.time)
		case "on_sale_until":
			c.OnSaleUntil = clearable(f, f.time)
		case "active":
			c.Active = set(f.boolean())
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	p, err := ledger.Submit(x.ctx, s.desk.Ledger, c)
	if err != nil {
		return err
	}
	x.out = p.AppendJSON(x.out[:0], p.Available)
	x.put(p.Created, x.out)
	return nil
}

// set is a field that a change replaces.
func set[T any](value T) ledger.Patch[T] { return ledger.Patch[T]{Set: true, Value: value} }

// clearable is a field that a change replaces, or clears with null.
func clearable[T any](f *fields, read func() T) ledger.Patch[T] {
	if f.null() {
		return ledger.Patch[T]{Set: true}
	}
	return set(read())
}

func (s *Server) getProduct(x *exchange) error {
	id, err := x.existing("product")
	if err != nil {
		return err
	}
	shelf, err := s.desk.Shelf(x.ctx, product.ID(id))
	if err != nil {
		return err
	}
	x.out = appendShelf(x.out[:0], shelf)
	x.ok(x.out)
	return nil
}

func appendShelf(b []byte, s checkout.Shelf) []byte {
	return s.Product.AppendJSON(b, s.Stock.Available())
}

func (s *Server) listProducts(x *exchange) error {
	limit, after := x.limit(), x.after("")
	if err := x.fields.invalid(); err != nil {
		return err
	}
	shelves, err := s.desk.Record.Shelves(x.ctx, product.ID(after), limit+1)
	if err != nil {
		return err
	}
	var next []byte
	if len(shelves) > limit {
		shelves = shelves[:limit]
		next = []byte(shelves[limit-1].ID)
	}
	x.page(len(shelves), "", next, func(b []byte, i int) []byte { return appendShelf(b, shelves[i]) })
	return nil
}
