package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// lateBy is how long past its pay_by an order may be pending.
const lateBy = time.Minute

// Audit runs the checks V1 to V11 over what is committed.
func (v *view) Audit(context.Context) (audit.Report, error) {
	v.s.turns.enter()
	defer v.s.turns.done()
	return v.s.audit(lateBy), nil
}

// books adds up what orders say of stock and counters.
type books struct {
	*Store
	report     audit.Report
	held, sold map[product.ID]int64
	units      map[ledger.Buyer]int64
}

func (s *Store) audit(late time.Duration) audit.Report {
	b := &books{Store: s, held: map[product.ID]int64{}, sold: map[product.ID]int64{}, units: map[ledger.Buyer]int64{}}
	b.report = audit.Report{Clean: true, CheckedAt: s.now(), Checks: make([]audit.Check, 11)}
	for i := range b.report.Checks {
		b.report.Checks[i].ID = fmt.Sprint("V", i+1)
	}
	perOrder := map[order.Number]int{}
	for _, used := range s.keys {
		perOrder[used.Number]++
	}
	for no, n := range perOrder {
		if _, there := s.orders[no]; !there || n > 1 {
			b.violates(3, no.String())
		}
	}
	for _, no := range sortedKeys(s.orders) {
		o := s.orders[no]
		b.auditOrder(&o, late)
	}
	for _, id := range sortedKeys(s.stock) {
		b.auditStock(id)
	}
	b.auditUnits()
	b.auditLog()
	return b.report
}

func (b *books) violates(check int, id string) {
	c := &b.report.Checks[check-1]
	c.Violations++
	if len(c.Samples) < audit.SamplesMax {
		c.Samples = append(c.Samples, id)
	}
	b.report.Clean = false
}

func (b *books) auditOrder(o *order.Order, late time.Duration) {
	no := o.Number.String()
	sum := int64(0)
	for i := range o.Lines {
		l := &o.Lines[i]
		sum += l.Quantity * l.UnitPrice
		switch o.Status {
		case order.Pending:
			b.held[l.ProductID] += l.Quantity
		case order.Paid, order.Fulfilled, order.Refunded:
			b.sold[l.ProductID] += l.Quantity
		case order.Cancelled, order.Expired:
		}
		if o.Status.CountsForLimit() {
			b.units[ledger.Buyer{ProductID: l.ProductID, UserID: o.UserID}] += l.Quantity
		}
	}
	if sum != o.Total.Amount || len(o.Lines) == 0 {
		b.violates(9, no)
	}
	if !b.lived(o) {
		b.violates(4, no)
	}
	b.auditMoney(o)
	if o.Status == order.Expired && o.ClosedAt.Before(o.PayBy) ||
		o.Status == order.Pending && o.PayBy.Before(b.now().Add(-late)) {
		b.violates(7, no)
	}
	if !b.told(o) {
		b.violates(8, no)
	}
}

// lived is V4.
func (b *books) lived(o *order.Order) bool {
	at := order.Status("")
	for i, t := range b.transitions[o.Number] {
		if t.From != at || t.Seq != int64(i)+1 || i > 0 && !at.CanBecome(t.To) {
			return false
		}
		at = t.To
	}
	return at == o.Status && int64(len(b.transitions[o.Number])) == o.Version
}

// auditMoney is V5 and V6: the first money of exactly the total pays, and all other goes back.
func (b *books) auditMoney(o *order.Order) {
	paid := o.Status == order.Paid || o.Status == order.Fulfilled || o.Status == order.Refunded
	some, kept := 0, 0
	for _, id := range b.paymentsOf[o.Number] {
		p := b.payments[id]
		r, owed := b.refunds[id]
		if p.Status != payment.Succeeded {
			if owed {
				b.violates(6, id)
			}
			continue
		}
		some++
		if !owed {
			kept++
		}
		if owed && r.Amount != p.Amount {
			b.violates(6, id)
		}
		if !owed && (!paid || p.Amount != o.Total) {
			b.violates(5, id)
		}
	}
	switch {
	case paid && kept == 0, o.Status == order.Pending && some > 0:
		b.violates(5, o.Number.String())
	case kept > 1, !paid && kept > 0:
		b.violates(6, o.Number.String())
	}
}

// steps is the event that tells each step.
var steps = map[order.Status]event.Type{
	order.Pending: event.OrderPlaced, order.Paid: event.OrderPaid, order.Cancelled: event.OrderCancelled,
	order.Expired: event.OrderExpired, order.Fulfilled: event.OrderFulfilled, order.Refunded: event.OrderRefunded,
}

// told is V8 for an order: events 1 to n, and each step told by its own.
func (b *books) told(o *order.Order) bool {
	events := b.bySubject[event.Subject{Kind: event.Order, ID: o.Number.String()}]
	count, reminders := 0, 0
	for i, id := range events {
		e := b.outbox[id]
		if e.Sequence != int64(i)+1 {
			return false
		}
		if e.Type == event.OrderExpiring {
			reminders++
		}
		for _, t := range steps {
			if e.Type == t {
				count++
			}
		}
	}
	if int64(len(events)) != o.Events || count != len(b.transitions[o.Number]) || reminders > 1 {
		return false
	}
	for _, t := range b.transitions[o.Number] {
		if t.EventSequence < 1 || t.EventSequence > o.Events || b.outbox[events[t.EventSequence-1]].Type != steps[t.To] {
			return false
		}
	}
	return true
}

// auditStock is V1, V2, V8 for products, and V10.
func (b *books) auditStock(id product.ID) {
	row := b.stock[id]
	var now stock.Stock
	received := int64(0)
	for i, e := range b.entries[id] {
		now.Received += e.Available + e.Held + e.Sold
		now.Held += e.Held
		now.Sold += e.Sold
		if e.Kind == stock.Received {
			received += e.Available
		}
		if e.Version != int64(i)+1 || now.Available() < 0 || now.Held < 0 || now.Sold < 0 {
			b.violates(10, fmt.Sprintf("%s at version %d", id, e.Version))
		}
	}
	if row.Available() < 0 || row.Held < 0 || row.Sold < 0 || row.Received != received {
		b.violates(1, string(id))
	}
	if row.Held != b.held[id] || row.Sold != b.sold[id] {
		b.violates(2, fmt.Sprintf("%s: held %d, orders hold %d; sold %d, orders bought %d", id, row.Held, b.held[id], row.Sold, b.sold[id]))
	}
	if now.Held != row.Held || now.Sold != row.Sold || now.Received != row.Received || int64(len(b.entries[id])) != row.Version {
		b.violates(10, string(id))
	}
	events := b.bySubject[event.Subject{Kind: event.Product, ID: string(id)}]
	for i, e := range events {
		if b.outbox[e].Sequence != int64(i)+1 {
			b.violates(8, string(id))
		}
	}
	if int64(len(events)) != row.Events {
		b.violates(8, string(id))
	}
}

// auditUnits is V11.
func (b *books) auditUnits() {
	var wrong []string
	for buyer, n := range b.Store.units {
		if n != b.units[buyer] {
			wrong = append(wrong, fmt.Sprintf("%s/%s: %d counted, %d in orders", buyer.ProductID, buyer.UserID, n, b.units[buyer]))
		}
	}
	for buyer, n := range b.units {
		_, counted := b.Store.units[buyer]
		if p := b.products[buyer.ProductID]; !counted && p.Counting == product.CountedAll && n != 0 {
			wrong = append(wrong, fmt.Sprintf("%s/%s: not counted, %d in orders", buyer.ProductID, buyer.UserID, n))
		}
	}
	slices.SortFunc(wrong, strings.Compare)
	for _, id := range wrong {
		b.violates(11, id)
	}
}

// auditLog is the part of V8 that reaches readers: each event waits, or is in the log, once.
func (b *books) auditLog() {
	places := make(map[int64]int, len(b.outbox))
	for _, ids := range b.waiting {
		for _, id := range ids {
			places[id]++
		}
	}
	for _, id := range b.log {
		places[id]++
	}
	if len(places) != len(b.outbox) {
		b.violates(8, "log")
	}
	for _, id := range sortedKeys(places) {
		if _, there := b.outbox[id]; !there || places[id] != 1 {
			b.violates(8, fmt.Sprint("event ", id))
		}
	}
}
