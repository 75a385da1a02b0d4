package conform

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// model is what a desk should do, as plainly as it can be said. It keeps no counters: what is held, sold or bought is counted
// from its orders whenever somebody asks, so it cannot forget to give anything back.
type model struct {
	now          time.Time
	products     map[product.ID]*modelProduct
	orders       map[order.Number]*modelOrder
	users        map[user.ID]*modelUser
	keys         map[ledger.Key]ledger.Placed
	fingerprints map[ledger.Key]ledger.Fingerprint
	refs         map[ledger.Ref]bool
	last         order.Number
}

type modelProduct struct {
	product  product.Product
	received int64
}

type modelOrder struct {
	user     user.ID
	lines    []ledger.PlaceLine
	total    money.Money
	payBy    time.Time
	created  time.Time
	status   order.Status
	late     bool
	reminded bool
	version  int64
	events   int64
	payments []*modelPayment
}

type modelPayment struct {
	provider, transaction string
	status                payment.Status
	amount                money.Money
}

type modelUser struct {
	name    string
	version int64
}

func newModel() *model {
	return &model{
		products: map[product.ID]*modelProduct{}, orders: map[order.Number]*modelOrder{}, users: map[user.ID]*modelUser{},
		keys: map[ledger.Key]ledger.Placed{}, fingerprints: map[ledger.Key]ledger.Fingerprint{}, refs: map[ledger.Ref]bool{},
	}
}

// units counts the units of a product in orders of a user ("" for all) that have one of the statuses.
func (m *model) units(id product.ID, u user.ID, statuses ...order.Status) (n int64) {
	for _, o := range m.orders {
		for _, s := range statuses {
			for _, l := range o.lines {
				if l.ProductID == id && o.status == s && (u == "" || o.user == u) {
					n += l.Quantity
				}
			}
		}
	}
	return n
}

func (m *model) held(id product.ID) int64 { return m.units(id, "", order.Pending) }

func (m *model) sold(id product.ID) int64 { return m.units(id, "", order.Paid, order.Fulfilled) }

func (m *model) available(id product.ID) int64 {
	return m.products[id].received - m.held(id) - m.sold(id)
}

func (m *model) bought(id product.ID, u user.ID) int64 {
	return m.units(id, u, order.Pending, order.Paid, order.Fulfilled)
}

// place says what becomes of an order; got lends it the number and the bytes, which are the desk's to choose.
func (m *model) place(c ledger.Place, got ledger.Placed) string {
	if was, used := m.keys[c.Key]; used {
		if m.fingerprints[c.Key] != c.Fingerprint {
			return fault.ErrKeyReused.Code
		}
		if got.Number != was.Number || string(got.Body) != string(was.Body) {
			return "replayed as " + string(was.Body)
		}
		return "replayed"
	}
	o := &modelOrder{user: c.UserID, lines: c.Lines, created: m.now, status: order.Pending, version: 1, events: 1}
	for _, l := range c.Lines {
		p := m.products[l.ProductID]
		if p == nil || o.total.Currency != "" && o.total.Currency != p.product.Price.Currency {
			return fault.ErrInvalid.Code
		}
		o.total.Currency = p.product.Price.Currency
		o.total.Amount += p.product.Price.Amount * l.Quantity
		by := m.now.Add(30 * time.Minute)
		if p.product.PayWindow > 0 {
			by = m.now.Add(p.product.PayWindow)
		}
		if o.payBy.IsZero() || by.Before(o.payBy) {
			o.payBy = by
		}
	}
	for _, l := range c.Lines {
		p := m.products[l.ProductID].product
		switch {
		case !p.Active, m.now.Before(p.OnSaleFrom), !p.OnSaleUntil.IsZero() && !m.now.Before(p.OnSaleUntil):
			return fault.ErrNotOnSale.Code
		case p.MaxPerUser > 0 && m.bought(l.ProductID, c.UserID)+l.Quantity > p.MaxPerUser:
			return fault.ErrPurchaseLimit.Code
		case m.available(l.ProductID) < l.Quantity:
			return fault.ErrOutOfStock.Code
		}
	}
	if got.Number <= m.last {
		return "placed under a number above " + m.last.String()
	}
	m.last = got.Number
	m.orders[got.Number], m.keys[c.Key], m.fingerprints[c.Key] = o, got, c.Fingerprint
	return "placed"
}

func (m *model) pay(c ledger.Pay, _ ledger.PayOutcome) string {
	o := m.orders[c.OrderNumber]
	if o == nil {
		return fault.ErrNotFound.Code
	}
	no, p := m.transaction(c.Notice)
	switch {
	case p == nil && c.Amount != o.total, p != nil && (no != c.OrderNumber || p.amount != c.Amount):
		return fault.ErrPaymentMismatch.Code
	case p == nil:
		p = o.record(c.Notice)
	case p.status == payment.Succeeded:
		return string(ledger.PaidAgain)
	}
	p.status = payment.Succeeded
	switch o.status {
	case order.Pending:
		o.late = !m.now.Before(o.payBy)
		o.step(order.Paid)
		return string(ledger.PaidNow)
	case order.Paid, order.Fulfilled:
		o.events++
		return string(ledger.PaidDuplicate)
	default:
		o.events += 2
		return string(ledger.PaidLate)
	}
}

// open is the open payment of an order at a provider, or nil.
func (o *modelOrder) open(provider string) *modelPayment {
	for _, p := range o.payments {
		if p.provider == provider && p.status == payment.Pending {
			return p
		}
	}
	return nil
}

// transaction finds the payment that carries a provider's transaction already, and its order.
func (m *model) transaction(n payment.Notice) (order.Number, *modelPayment) {
	for no, o := range m.orders {
		for _, p := range o.payments {
			if p.transaction == n.TransactionID && p.provider == n.Provider {
				return no, p
			}
		}
	}
	return 0, nil
}

// record is the open payment that a provider's word is about, or a new one.
func (o *modelOrder) record(n payment.Notice) *modelPayment {
	p := o.open(n.Provider)
	if p == nil {
		p = &modelPayment{provider: n.Provider, amount: n.Amount}
		o.payments = append(o.payments, p)
	}
	p.transaction = n.TransactionID
	return p
}

// step changes a status, tells it, and closes what is still open.
func (o *modelOrder) step(to order.Status) {
	o.status = to
	o.version++
	o.events++
	for _, p := range o.payments {
		if p.status == payment.Pending {
			p.status = payment.Closed
		}
	}
}

func (m *model) createPayment(c ledger.CreatePayment, _ ledger.PaymentCreated) string {
	o := m.orders[c.Number]
	switch {
	case o == nil:
		return fault.ErrNotFound.Code
	case o.status != order.Pending || !m.now.Before(o.payBy):
		return fault.ErrNotPayable.Code
	case o.open(c.Provider) != nil:
		return "given again"
	}
	o.payments = append(o.payments, &modelPayment{provider: c.Provider, status: payment.Pending, amount: o.total})
	return "created"
}

func (m *model) failPayment(c ledger.FailPayment, _ ledger.Failed) string {
	o := m.orders[c.OrderNumber]
	if o == nil {
		return fault.ErrNotFound.Code
	}
	no, p := m.transaction(c.Notice)
	switch {
	case p == nil && c.Amount != o.total, p != nil && (no != c.OrderNumber || p.amount != c.Amount):
		return fault.ErrPaymentMismatch.Code
	case p != nil:
		return "known"
	}
	o.record(c.Notice).status = payment.Failed
	return "failed"
}

func (m *model) cancel(c ledger.Cancel, _ order.Order) string {
	o := m.orders[c.Number]
	switch {
	case o == nil:
		return fault.ErrNotFound.Code
	case o.status != order.Pending:
		return fault.ErrNotCancellable.Code
	}
	o.step(order.Cancelled)
	return "cancelled"
}

func (m *model) expire(c ledger.Expire, _ ledger.Expired) string {
	o := m.orders[c.Number]
	switch {
	case o == nil || o.status != order.Pending:
		return "nothing expired"
	case m.now.Before(o.payBy):
		return "early"
	}
	o.step(order.Expired)
	return "expired"
}

func (m *model) remind(c ledger.Remind, _ ledger.Reminded) string {
	o := m.orders[c.Number]
	if o == nil || o.status != order.Pending || o.reminded || !m.now.Before(o.payBy) || o.payBy.Sub(o.created) <= c.Lead {
		return "not reminded"
	}
	o.reminded = true
	o.events++
	return "reminded"
}

func (m *model) fulfil(c ledger.Fulfil, _ order.Order) string {
	o := m.orders[c.Number]
	switch {
	case o == nil:
		return fault.ErrNotFound.Code
	case o.status != order.Paid:
		return fault.ErrNotFulfillable.Code
	}
	o.step(order.Fulfilled)
	return "fulfilled"
}

func (m *model) adjust(c ledger.AdjustStock, _ ledger.StockAdjusted) string {
	p := m.products[c.ProductID]
	ref := ledger.Ref{ProductID: c.ProductID, Ref: c.Ref}
	switch {
	case p == nil:
		return fault.ErrNotFound.Code
	case m.refs[ref]:
		return "counted before"
	case m.available(c.ProductID)+c.Delta < 0:
		return fault.ErrInsufficientStock.Code
	}
	p.received += c.Delta
	if c.Ref != "" {
		m.refs[ref] = true
	}
	return "adjusted"
}

func (m *model) putProduct(c ledger.PutProduct, _ ledger.ProductPut) string {
	p := m.products[c.ID]
	is := product.Product{ID: c.ID, Active: true, CreatedAt: m.now}
	if p != nil {
		is = p.product
	}
	was := is
	change(&is.Title, c.Title)
	change(&is.Price, c.Price)
	change(&is.MaxPerUser, c.MaxPerUser)
	change(&is.PayWindow, c.PayWindow)
	change(&is.OnSaleFrom, c.OnSaleFrom)
	change(&is.OnSaleUntil, c.OnSaleUntil)
	change(&is.Active, c.Active)
	switch {
	case is.Title == "", is.Price.Currency == "", !is.OnSaleUntil.IsZero() && !is.OnSaleUntil.After(is.OnSaleFrom):
		return fault.ErrInvalid.Code
	case p != nil && is == was:
		return "left alone"
	}
	is.Version++
	if p == nil {
		m.products[c.ID] = &modelProduct{product: is}
		return "made"
	}
	p.product = is
	return "changed"
}

func change[T any](v *T, to ledger.Patch[T]) {
	if to.Set {
		*v = to.Value
	}
}

func (m *model) putUser(c ledger.PutUser, _ ledger.UserPut) string {
	u := m.users[c.ID]
	switch {
	case u == nil:
		m.users[c.ID] = &modelUser{c.Name.Value, 1}
		return "made"
	case u.name == c.Name.Value:
		return "left alone"
	}
	u.name = c.Name.Value
	u.version++
	return "changed"
}
