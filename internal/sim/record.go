package sim

import (
	"bytes"
	"cmp"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// rows are what is committed.
type rows struct {
	products    map[product.ID]product.Product
	stock       map[product.ID]stock.Stock
	entries     map[product.ID][]stock.Entry
	orders      map[order.Number]order.Order
	transitions map[order.Number][]order.Transition
	payments    map[string]payment.Payment
	paymentsOf  map[order.Number][]string // by id
	money       map[ledger.Transaction]string
	refunds     map[string]payment.Refund // by payment
	users       map[user.ID]user.User
	units       map[ledger.Buyer]int64
	buyers      map[user.ID]remembered
	keys        map[ledger.Key]usedKey
	refs        map[ledger.Ref]bool
	batches     map[ledger.BatchID]time.Time
	days        map[order.Day]int64 // the next count
	outbox      map[int64]event.Event
	bySubject   map[event.Subject][]int64
	waiting     [event.Shards][]int64 // rising
	log         []int64               // by position, from 1
	leases      [event.Shards]lease
}

// remembered is which orders of a user the guards look at.
type remembered struct {
	orders  []order.Number
	version int64
}

// usedKey is what a key was used for, and when that was committed.
type usedKey struct {
	ledger.Answered
	at time.Time
}

type lease struct {
	owner string
	token int64
	until time.Time
}

// Store is a record in memory that behaves as the real ones do: transactions that see what is committed, hold row locks and
// unique keys until they end, refuse what a CHECK refuses, and can be lost at any step.
type Store struct {
	rows
	clock     func() time.Time
	turns     turns
	oneWriter bool // as SQLite: a transaction holds the whole record from its beginning

	holders   map[lock]*tx
	lastEvent int64               // given, whether committed or not
	cursor    [event.Shards]int64 // of the relay that is wrong on purpose
	mistakes  []string            // what no order of steps may lead to
}

func newStore(clock func() time.Time, by turns, oneWriter bool) *Store {
	return &Store{
		clock: clock, turns: by, oneWriter: oneWriter, holders: map[lock]*tx{},
		rows: rows{
			products: map[product.ID]product.Product{}, stock: map[product.ID]stock.Stock{}, entries: map[product.ID][]stock.Entry{},
			orders: map[order.Number]order.Order{}, transitions: map[order.Number][]order.Transition{},
			payments: map[string]payment.Payment{}, paymentsOf: map[order.Number][]string{}, money: map[ledger.Transaction]string{},
			refunds: map[string]payment.Refund{}, users: map[user.ID]user.User{}, units: map[ledger.Buyer]int64{}, buyers: map[user.ID]remembered{},
			keys: map[ledger.Key]usedKey{}, refs: map[ledger.Ref]bool{}, batches: map[ledger.BatchID]time.Time{},
			days: map[order.Day]int64{}, outbox: map[int64]event.Event{}, bySubject: map[event.Subject][]int64{},
		},
	}
}

// now is the record's clock in whole milliseconds.
func (s *Store) now() time.Time { return whole(s.clock()) }

func whole(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// apply makes what a transaction has written true.
func (s *Store) apply(t *tx) {
	if t.claimed {
		s.batches[t.batch] = s.now()
	}
	for day, next := range t.granted {
		s.days[day] = next
	}
	for _, id := range t.relayed {
		s.log = append(s.log, id)
		e := s.outbox[id]
		shard := e.Subject.Shard()
		s.waiting[shard] = slices.DeleteFunc(s.waiting[shard], func(other int64) bool { return other == id })
		for _, shard := range t.shards {
			s.cursor[shard] = max(s.cursor[shard], id)
		}
	}
	if t.leased != nil {
		s.leases = *t.leased
	}
	if t.saved != nil {
		s.applyChanges(t.saved, t.firstEvent)
	}
}

func (s *Store) applyChanges(c *ledger.Changes, eventID int64) {
	for _, p := range slices.Concat(c.NewProducts, c.Products) {
		s.products[p.ID] = storedProduct(p)
	}
	for _, st := range c.NewStock {
		s.stock[st.ProductID] = *st
	}
	for _, st := range c.Stock {
		s.stock[st.ProductID] = *st.Stock
	}
	for _, e := range c.Entries {
		s.entries[e.ProductID] = append(s.entries[e.ProductID], e)
		if e.Ref != "" {
			s.refs[ledger.Ref{ProductID: e.ProductID, Ref: e.Ref}] = true
		}
	}
	for _, o := range c.NewOrders {
		s.orders[o.Number] = storedOrder(o)
		s.transitions[o.Number] = append(s.transitions[o.Number],
			order.Transition{Number: o.Number, Seq: 1, To: order.Pending, EventSequence: 1, At: whole(o.CreatedAt)})
	}
	for _, o := range c.Orders {
		s.orders[o.Number] = storedOrder(o.Order)
	}
	for _, tr := range c.Transitions {
		s.transitions[tr.Number] = append(s.transitions[tr.Number], tr)
		if o := s.orders[tr.Number]; tr.To == order.Expired && s.now().Before(o.PayBy) {
			s.mistakes = append(s.mistakes, "I10: order "+o.Number.String()+" expired before its time by the record's clock")
		}
	}
	for _, p := range c.NewPayments {
		s.paymentsOf[p.OrderNumber] = append(s.paymentsOf[p.OrderNumber], p.ID)
		slices.Sort(s.paymentsOf[p.OrderNumber])
	}
	for _, p := range slices.Concat(c.NewPayments, c.Payments) {
		s.payments[p.ID] = storedPayment(p)
		if p.TransactionID != "" {
			s.money[ledger.Transaction{Provider: p.Provider, ID: p.TransactionID}] = p.ID
		}
	}
	for _, r := range c.Refunds {
		s.refunds[r.PaymentID] = *r
	}
	for _, u := range slices.Concat(c.NewUsers, c.Users) {
		s.users[u.ID] = *u
	}
	for b, n := range c.Units {
		s.units[b] = n
	}
	for id, h := range c.Histories {
		s.buyers[id] = remembered{h.Orders, h.Was + 1}
	}
	for k, a := range c.Keys {
		s.keys[k] = usedKey{ledger.Answered{Fingerprint: a.Fingerprint, Number: a.Number}, s.clock()}
	}
	for i := range c.Events {
		e := c.Events[i]
		id := eventID + int64(i)
		s.outbox[id] = e
		s.bySubject[e.Subject] = append(s.bySubject[e.Subject], id)
		shard := e.Subject.Shard()
		at, _ := slices.BinarySearch(s.waiting[shard], id)
		s.waiting[shard] = slices.Insert(s.waiting[shard], at, id)
	}
}

func storedProduct(p *product.Product) product.Product {
	is := *p
	is.PayWindow = is.PayWindow.Truncate(time.Millisecond)
	is.OnSaleFrom, is.OnSaleUntil = whole(is.OnSaleFrom), whole(is.OnSaleUntil)
	is.CreatedAt, is.UpdatedAt = whole(is.CreatedAt), whole(is.UpdatedAt)
	return is
}

func storedOrder(o *order.Order) order.Order {
	is := *o
	is.CreatedAt, is.PayBy, is.PaidAt, is.ClosedAt = whole(is.CreatedAt), whole(is.PayBy), whole(is.PaidAt), whole(is.ClosedAt)
	return is
}

func storedPayment(p *payment.Payment) payment.Payment {
	is := *p
	is.CreatedAt, is.PaidAt = whole(is.CreatedAt), whole(is.PaidAt)
	return is
}

// body is the data of an order's first event: what its buyer was answered.
func (s *Store) body(no order.Number) []byte {
	ids := s.bySubject[event.Subject{Kind: event.Order, ID: no.String()}]
	if len(ids) == 0 {
		return nil
	}
	return bytes.Clone(s.outbox[ids[0]].Data)
}

// sortedKeys gives a map's keys in order: nothing here may depend on the order of maps.
func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
