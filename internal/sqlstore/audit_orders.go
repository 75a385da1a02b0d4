package sqlstore

import (
	"context"
	"slices"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// story is everything the record says under one order number, whether there is such an order or not.
type story struct {
	no          order.Number
	rows        int // of orders: one
	order       orderRow
	lines       []order.Line
	transitions []order.Transition
	stepped     []int64       // when each transition was written down
	events      []event.Event // type and sequence
	payments    []paymentRow
	refunds     []payment.Refund
	owing       []debt // what is told of each refund
	keys        int
}

type orderRow struct {
	user     user.ID
	status   order.Status
	total    money.Money
	placedAt int64 // milliseconds, as all times here
	payBy    int64
	paidAt   int64
	closedAt int64 // 0: open
	version  int64
	events   int64
}

// debt is when a refund was written down, and whether for money that came too late: payment.late is told of it too.
type debt struct {
	at   int64
	late bool
}

type paymentRow struct {
	id        string
	succeeded bool
	amount    money.Money
	paidAt    int64
}

func (s *story) begin(no order.Number) {
	*s = story{
		no: no, lines: s.lines[:0], transitions: s.transitions[:0], stepped: s.stepped[:0], events: s.events[:0],
		payments: s.payments[:0], refunds: s.refunds[:0], owing: s.owing[:0],
	}
}

func (s *story) missing() bool { return s.rows == 0 }

// chapter is one table's part in the stories, read in the order of order numbers.
type chapter struct {
	query string
	read  func(*story, *stream)
	*stream
	no      order.Number
	subject string // no, as the outbox names it
	more    bool
}

// chapters are all tables that speak of orders. The outbox names them as people do, which sorts like the numbers as long as
// they have 15 digits; the few longer ones, of days with more than 9 999 999 orders, are sorted apart.
func chapters() []*chapter {
	const events = `SELECT subject, sequence, type FROM outbox WHERE subject_kind = 'order' AND length(subject) `
	return []*chapter{
		{query: `SELECT order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at, version, events
			FROM orders ORDER BY order_no`, read: (*story).readOrder},
		{query: `SELECT order_no, product_id, quantity, unit_price FROM order_lines ORDER BY order_no`, read: (*story).readLine},
		{
			query: `SELECT order_no, seq, from_status, to_status, event_sequence, at FROM order_transitions ORDER BY order_no, seq`,
			read:  (*story).readTransition,
		},
		{
			query: `SELECT order_no, payment_id, status, amount, currency, paid_at FROM payments ORDER BY order_no`,
			read:  (*story).readPayment,
		},
		{
			query: `SELECT order_no, payment_id, amount, currency, created_at, reason FROM refunds ORDER BY order_no`,
			read:  (*story).readRefund,
		},
		{query: `SELECT order_no FROM idempotency_keys ORDER BY order_no`, read: func(s *story, _ *stream) { s.keys++ }},
		{query: events + `= 15 ORDER BY subject, sequence`, read: (*story).readEvent},
		{
			query: events + `<> 15 ORDER BY substr(subject, 1, 8), length(subject), subject, sequence`,
			read:  (*story).readEvent,
		},
	}
}

func (s *story) readOrder(r *stream) {
	s.rows++
	if s.rows > 1 {
		return
	}
	s.order = orderRow{
		user: user.ID(r.text(1)), status: order.Status(r.text(2)), total: money.Money{Currency: r.text(3), Amount: r.int(4)},
		placedAt: r.int(5), payBy: r.int(6), paidAt: r.int(7), closedAt: r.int(8), version: r.int(9), events: r.int(10),
	}
}

func (s *story) readLine(r *stream) {
	s.lines = append(s.lines, order.Line{ProductID: product.ID(r.text(1)), Quantity: r.int(2), UnitPrice: r.int(3)})
}

func (s *story) readTransition(r *stream) {
	s.transitions = append(s.transitions, order.Transition{
		Seq: r.int(1), From: order.Status(r.text(2)), To: order.Status(r.text(3)), EventSequence: r.int(4),
	})
	s.stepped = append(s.stepped, r.int(5))
}

func (s *story) readPayment(r *stream) {
	s.payments = append(s.payments, paymentRow{
		id: r.text(1), succeeded: payment.Status(r.text(2)) == payment.Succeeded,
		amount: money.Money{Amount: r.int(3), Currency: r.text(4)}, paidAt: r.int(5),
	})
}

func (s *story) readRefund(r *stream) {
	s.refunds = append(s.refunds, payment.Refund{
		PaymentID: r.text(1), Amount: money.Money{Amount: r.int(2), Currency: r.text(3)},
	})
	s.owing = append(s.owing, debt{r.int(4), r.text(5) == payment.Late})
}

func (s *story) readEvent(r *stream) {
	s.events = append(s.events, event.Event{Sequence: r.int(1), Type: event.Type(r.text(2))})
}

// readOrders reads all chapters side by side and judges one order after another.
func (a *auditor) readOrders(ctx context.Context) (err error) {
	all := chapters()
	defer func() {
		for _, c := range all {
			if c.stream != nil {
				c.close()
			}
		}
	}()
	for _, c := range all {
		if c.stream, err = a.s.dialect.stream(ctx, a.snapshot, c.query); err != nil {
			return err
		}
		if err := a.turn(c); err != nil {
			return err
		}
	}
	var s story
	for {
		no, more := lowest(all)
		if !more {
			return nil
		}
		s.begin(no)
		for _, c := range all {
			for c.more && c.no == no {
				c.read(&s, c.stream)
				if err := a.turn(c); err != nil {
					return err
				}
			}
		}
		a.judge(&s)
	}
}

// turn goes to a chapter's next row and finds the order it speaks of. A subject that is no order's number is an offender.
func (a *auditor) turn(c *chapter) (err error) {
	for {
		if c.more, err = c.next(); err != nil || !c.more {
			return err
		}
		subject, named := c.named(0)
		switch {
		case !named:
			c.no = c.number()
			return nil
		case subject == c.subject:
			return nil
		}
		if c.no, err = order.ParseNumber(subject); err == nil {
			c.subject = subject
			return nil
		}
		a.violates(v8, subject)
	}
}

func lowest(all []*chapter) (no order.Number, more bool) {
	for _, c := range all {
		if c.more && (!more || c.no < no) {
			no, more = c.no, true
		}
	}
	return no, more
}

// judge looks at one order. V7 has two halves, and V6 names payments: the rest is one answer each.
func (a *auditor) judge(s *story) {
	a.account(s)
	for _, c := range []struct {
		check check
		holds bool
	}{
		{v3, a.isOne(s)}, {v4, s.lived()}, {v5, s.hasItsMoney()}, {v7, a.inTime(s)}, {v8, a.isTold(s)}, {v9, s.addsUp()},
	} {
		if !c.holds {
			a.violates(c.check, s.no.String())
		}
	}
	s.owed(func(paymentID string) { a.violates(v6, paymentID) })
}

// account adds an order's units to what its products and its user's counters should say (V2 and V11).
func (a *auditor) account(s *story) {
	status := s.order.status
	for i := range s.lines {
		l := &s.lines[i]
		shelf := a.shelf(l.ProductID)
		shelf.ordered = shelf.ordered || !s.missing()
		switch status {
		case order.Pending:
			shelf.held += l.Quantity
		case order.Paid, order.Fulfilled, order.Refunded:
			shelf.sold += l.Quantity
		case order.Cancelled, order.Expired:
		}
		if !status.CountsForLimit() || len(a.buyers) == 0 && shelf.counting != product.CountedAll {
			continue
		}
		b := ledger.Buyer{ProductID: l.ProductID, UserID: s.order.user}
		if left, counted := a.buyers[b]; counted || shelf.counting == product.CountedAll {
			a.buyers[b] = left - l.Quantity
		}
	}
}

// isOne is V3. An order whose key can still be sent again must have it.
func (a *auditor) isOne(s *story) bool {
	if s.missing() {
		return s.keys == 0
	}
	return s.rows == 1 && (s.keys == 1 || s.keys == 0 && s.order.placedAt <= ms(a.now.Add(-limits.ReplayFor)))
}

// lived is V4: from nothing to pending and on, each step legal and following from the one before.
func (s *story) lived() bool {
	if s.missing() {
		return len(s.transitions) == 0
	}
	at := order.Status("")
	for i, t := range s.transitions {
		legal := t.From == at && (at.CanBecome(t.To) || i == 0 && t.To == order.Pending)
		if !legal || t.Seq != int64(i)+1 {
			return false
		}
		at = t.To
	}
	return at == s.order.status && int64(len(s.transitions)) == s.order.version
}

// hasItsMoney is V5: a payment of exactly the total for an order that was paid, and none for one that still waits.
func (s *story) hasItsMoney() bool {
	if s.missing() {
		return true
	}
	exact := slices.ContainsFunc(s.payments, func(p paymentRow) bool { return p.succeeded && p.amount == s.order.total })
	some := slices.ContainsFunc(s.payments, func(p paymentRow) bool { return p.succeeded })
	switch s.order.status {
	case order.Paid, order.Fulfilled, order.Refunded:
		return exact
	case order.Pending:
		return !some
	case order.Cancelled, order.Expired:
	}
	return true
}

// owed is V6: it names every payment that is not owed back although it must be, or is although it must not.
func (s *story) owed(wrong func(paymentID string)) {
	payer := s.payer()
	for i := range s.payments {
		p := &s.payments[i]
		mine, exact := 0, true
		for k := range s.refunds {
			if r := &s.refunds[k]; r.PaymentID == p.id {
				mine++
				exact = exact && r.Amount == p.amount
			}
		}
		owes := p.succeeded && p != payer && s.order.status != order.Pending
		switch {
		case s.missing(), mine > 1, !exact, owes && mine == 0:
			wrong(p.id)
		case mine == 1 && !owes && !(p == payer && s.order.status == order.Refunded):
			wrong(p.id)
		}
	}
	for i := range s.refunds {
		id := s.refunds[i].PaymentID
		if !slices.ContainsFunc(s.payments, func(p paymentRow) bool { return p.id == id }) {
			wrong(id)
		}
	}
}

// payer is the payment that paid the order, or nil. A duplicate may have come in the same millisecond: of those two the one
// that is not owed back.
func (s *story) payer() (payer *paymentRow) {
	switch s.order.status {
	case order.Paid, order.Fulfilled, order.Refunded:
	default:
		return nil
	}
	for i := range s.payments {
		p := &s.payments[i]
		if !p.succeeded || p.paidAt != s.order.paidAt {
			continue
		}
		if !slices.ContainsFunc(s.refunds, func(r payment.Refund) bool { return r.PaymentID == p.id }) {
			return p
		}
		if payer == nil {
			payer = p
		}
	}
	return payer
}

// inTime is V7.
func (a *auditor) inTime(s *story) bool {
	switch {
	case s.missing():
		return true
	case s.order.status == order.Expired:
		return s.order.closedAt >= s.order.payBy
	case s.order.status == order.Pending:
		return s.order.payBy >= ms(a.late)
	}
	return true
}

// tells is the event that each step is told by.
var tells = map[order.Status]event.Type{
	order.Pending: event.OrderPlaced, order.Paid: event.OrderPaid, order.Cancelled: event.OrderCancelled,
	order.Expired: event.OrderExpired, order.Fulfilled: event.OrderFulfilled, order.Refunded: event.OrderRefunded,
}

// isTold is V8: events numbered without gaps up to as many as the order counts, and those of its steps are its transitions'.
// Events at the beginning may be forgotten, but not those of a step or of money owed since the log's beginning was last
// moved, and not the first as long as a key is answered with it.
func (a *auditor) isTold(s *story) bool {
	if s.missing() {
		return len(s.events)+len(s.transitions) == 0
	}
	lacks := s.order.events - int64(len(s.events))
	if lacks < 0 || lacks > 0 && (a.head.pruned == 0 || s.keys > 0) {
		return false
	}
	steps, owed, late := 0, 0, 0
	for i := range s.events {
		if s.events[i].Sequence != lacks+int64(i)+1 {
			return false
		}
		switch t := s.events[i].Type; {
		case isStep(t):
			steps++
		case t == event.RefundDue:
			owed++
		case t == event.PaymentLate:
			late++
		}
	}
	last := int64(0)
	for i := range s.transitions {
		t := &s.transitions[i]
		switch {
		case t.EventSequence <= last || t.EventSequence > s.order.events:
			return false
		case t.EventSequence > lacks:
			if s.events[t.EventSequence-lacks-1].Type != tells[t.To] {
				return false
			}
			steps--
		case !a.head.forgettable(s.stepped[i]):
			return false
		}
		last = t.EventSequence
	}
	for _, d := range s.owing {
		if lacks > 0 && !a.head.forgettable(d.at) {
			owed--
			late -= int(bit(d.late))
		}
	}
	if steps != 0 || owed < 0 || late < 0 {
		return false
	}
	a.missed += lacks
	return true
}

func isStep(t event.Type) bool {
	switch t {
	case event.OrderPlaced, event.OrderPaid, event.OrderCancelled, event.OrderExpired, event.OrderFulfilled, event.OrderRefunded:
		return true
	default:
		return false
	}
}

// addsUp is V9.
func (s *story) addsUp() bool {
	if s.missing() {
		return len(s.lines) == 0
	}
	sum := money.Money{Currency: s.order.total.Currency}
	for i := range s.lines {
		l := &s.lines[i]
		one, err := money.Money{Amount: l.UnitPrice, Currency: sum.Currency}.Times(l.Quantity)
		if err == nil {
			sum, err = sum.Plus(one)
		}
		if err != nil {
			return false
		}
	}
	return len(s.lines) > 0 && sum == s.order.total
}
