package ledger

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Books is what the rules of one batch see and write on: the loaded rows, as changed by the commands decided so far, and
// the list of what changed. Nothing in it touches the database.
type Books struct {
	*Rows
	numbers   lease
	payWindow time.Duration
	guards    Guards
	holds     Holds

	stockWas  map[product.ID]stock.Stock // changed stock, as it was loaded
	ordersHad map[order.Number]int64     // changed orders, and the events they had when they were loaded
	changes   Changes
}

func newBooks(rows *Rows, numbers lease, payWindow time.Duration, guards Guards) *Books {
	for transaction, p := range rows.Transactions { // found in two ways it is one payment all the same: what changes one changes both
		for _, same := range rows.Payments[p.OrderNumber] {
			if same.ID == p.ID {
				rows.Transactions[transaction] = same
			}
		}
	}
	return &Books{
		Rows:      rows,
		numbers:   numbers,
		payWindow: payWindow,
		guards:    guards,
		stockWas:  map[product.ID]stock.Stock{},
		ordersHad: map[order.Number]int64{},
		changes:   Changes{Now: rows.Now, Units: map[Buyer]int64{}, Histories: map[user.ID]HistoryChange{}, Keys: map[Key]Answered{}},
	}
}

// move writes an entry of the stock ledger. The rule has looked before that the units are there, so an error is a mistake of
// the rule, or a row that contradicts its order: the batch must not be committed.
func (b *Books) move(id product.ID, by func(*stock.Stock) (stock.Entry, error), cause stock.Entry) {
	s := b.Stock[id]
	if s == nil {
		panic(fmt.Sprintf("no stock row of %q", id))
	}
	if _, seen := b.stockWas[id]; !seen {
		b.stockWas[id] = *s
	}
	entry, err := by(s)
	if err != nil {
		panic(fmt.Sprintf("stock of %q at version %d: %v", id, s.Version, err))
	}
	entry.OrderNo, entry.Reason, entry.Ref, entry.At = cause.OrderNo, cause.Reason, cause.Ref, b.Now
	b.changes.Entries = append(b.changes.Entries, entry)
}

// moveLines moves the units of every line of an order.
func (b *Books) moveLines(o *order.Order, by func(*stock.Stock, int64) (stock.Entry, error)) {
	for i := range o.Lines {
		quantity := o.Lines[i].Quantity
		b.move(o.Lines[i].ProductID, func(s *stock.Stock) (stock.Entry, error) { return by(s, quantity) },
			stock.Entry{OrderNo: int64(o.Number)})
	}
}

// countUnits adds the units of an order to its user's counters, or takes them away when sign is -1. It does so in memory before
// a product counts, too: a limit may be set later in the batch.
func (b *Books) countUnits(o *order.Order, sign int64) {
	for i := range o.Lines {
		l := &o.Lines[i]
		buyer := Buyer{l.ProductID, o.UserID}
		b.Units[buyer] += sign * l.Quantity
		if p := b.Products[l.ProductID]; p != nil && p.Counting != product.NotCounted {
			b.changes.Units[buyer] = b.Units[buyer]
		}
	}
}

// changing marks an order, to be called before the first change of it.
func (b *Books) changing(o *order.Order) {
	if _, seen := b.ordersHad[o.Number]; !seen {
		b.ordersHad[o.Number] = o.Events
	}
}

// step moves an order to its next status and tells it.
func (b *Books) step(o *order.Order, to order.Status, reason string, tells event.Type) {
	b.changing(o)
	t, err := o.Step(to, reason, b.Now)
	if err != nil {
		panic(fmt.Sprintf("order %s from %s to %s: %v", o.Number, o.Status, to, err))
	}
	b.changes.Transitions = append(b.changes.Transitions, t)
	b.tellOrder(o, tells)
	b.ended(o)
}

// tellOrder writes an event whose data is the order as it is now, and gives that data.
func (b *Books) tellOrder(o *order.Order, t event.Type) []byte {
	o.Events++
	data := o.AppendJSON(make([]byte, 0, 512), b.Now)
	b.tell(t, event.Subject{Kind: event.Order, ID: o.Number.String()}, o.Events, data)
	return data
}

// tellAbout writes an event of an order whose data is something else.
func (b *Books) tellAbout(o *order.Order, t event.Type, data []byte) {
	b.changing(o)
	o.Events++
	b.tell(t, event.Subject{Kind: event.Order, ID: o.Number.String()}, o.Events, data)
}

func (b *Books) tell(t event.Type, about event.Subject, sequence int64, data []byte) {
	b.changes.Events = append(b.changes.Events,
		event.Event{Type: t, Subject: about, Sequence: sequence, Time: b.Now, Data: data})
}

// closePayments ends the open attempts to pay an order, but for the one that succeeded.
func (b *Books) closePayments(o *order.Order) {
	for _, p := range b.Payments[o.Number] {
		if p.Status == payment.Pending {
			p.Status = payment.Closed
			b.changePayment(p)
		}
	}
}

func (b *Books) addPayment(p *payment.Payment) {
	b.Payments[p.OrderNumber] = append(b.Payments[p.OrderNumber], p)
	b.changes.NewPayments = append(b.changes.NewPayments, p)
}

func (b *Books) changePayment(p *payment.Payment) {
	if !contains(b.changes.NewPayments, p) && !contains(b.changes.Payments, p) {
		b.changes.Payments = append(b.changes.Payments, p)
	}
}

// touchProduct is called with every change of a product, after it.
func (b *Books) touchProduct(p *product.Product) {
	p.Version++
	p.UpdatedAt = b.Now
	if !contains(b.changes.NewProducts, p) && !contains(b.changes.Products, p) {
		b.changes.Products = append(b.changes.Products, p)
	}
}

func (b *Books) changeUser(u *user.User) {
	if !contains(b.changes.NewUsers, u) && !contains(b.changes.Users, u) {
		b.changes.Users = append(b.changes.Users, u)
	}
}

func contains[T any](list []*T, one *T) bool {
	for _, other := range list {
		if other == one {
			return true
		}
	}
	return false
}

// finish adds what follows from all commands together (one stock.changed per product and batch) and sorts the rows
// that are locked, so that two processes take them in the same order.
func (b *Books) finish() *Changes {
	c := &b.changes
	slices.SortFunc(c.NewProducts, func(p, q *product.Product) int { return strings.Compare(string(p.ID), string(q.ID)) })
	slices.SortFunc(c.NewStock, func(p, q *stock.Stock) int { return strings.Compare(string(p.ProductID), string(q.ProductID)) })
	slices.SortFunc(c.NewUsers, func(p, q *user.User) int { return strings.Compare(string(p.ID), string(q.ID)) })
	for _, id := range slices.Sorted(maps.Keys(b.stockWas)) {
		was, s := b.stockWas[id], b.Stock[id]
		b.tellStock(s, event.StockChanged)
		if was.Available() > 0 && s.Available() == 0 {
			b.tellStock(s, event.StockDepleted)
		}
		if !contains(c.NewStock, s) {
			c.Stock = append(c.Stock, StockChange{s, was.Version})
		}
	}
	for _, buyer := range b.WorkedOut {
		if b.Products[buyer.ProductID].Counting != product.NotCounted {
			c.Units[buyer] = b.Units[buyer]
		}
	}
	b.listHistories()
	for _, no := range slices.Sorted(maps.Keys(b.ordersHad)) {
		c.Orders = append(c.Orders, OrderChange{b.Orders[no], b.ordersHad[no]})
	}
	return c
}

func (b *Books) tellStock(s *stock.Stock, t event.Type) {
	s.Events++
	b.tell(t, event.Subject{Kind: event.Product, ID: string(s.ProductID)}, s.Events, s.AppendJSON(make([]byte, 0, 128)))
}

// applied is what the accelerators learn of the committed books.
func (b *Books) applied() *Applied {
	c := &b.changes
	a := &Applied{
		Now: b.Now, Events: len(c.Events), Changed: c.ChangedProducts(), Orders: c.NewOrders, Payments: map[order.Number][]*payment.Payment{},
	}
	for id, p := range b.Products {
		a.Products = append(a.Products, p)
		a.Stock = append(a.Stock, b.Stock[id])
	}
	for _, o := range c.Orders {
		a.Orders = append(a.Orders, o.Order)
	}
	for no := range c.ChangedOrders() {
		if _, itself := b.ordersHad[no]; !itself {
			a.Paying = append(a.Paying, b.Orders[no])
		}
		a.Payments[no] = b.Payments[no]
	}
	a.Users = append(append(a.Users, c.NewUsers...), c.Users...)
	for key := range b.Keys {
		a.Keys = append(a.Keys, key)
	}
	return a
}
