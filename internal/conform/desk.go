package conform

import (
	"context"
	"encoding/binary"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// opening is when every desk opens: a moment with odd milliseconds.
var opening = time.Date(2026, 11, 20, 10, 0, 0, 123e6, time.UTC)

// desk is a ledger over a watched record, with short words for what stories do. What can only go wrong by a mistake of the
// suite ends the test.
type desk struct {
	*testing.T
	clock   *Clock
	record  Record
	watched *watched
	ledger  *ledger.Ledger
	options ledger.Options
	keys    uint64

	mu   sync.Mutex
	last lastSaid
}

// lastSaid is what the ledger last told of everything: after the commit, from its memory.
type lastSaid struct {
	orders   map[order.Number]*order.Order
	products map[product.ID]*product.Product
	stock    map[product.ID]*stock.Stock
	users    map[user.ID]*user.User
}

func newDesk(t *testing.T, open Open, options ledger.Options) *desk {
	t.Helper()
	d := &desk{T: t, clock: NewClock(opening), options: options}
	d.record = open(t, d.clock.Now)
	d.watched = &watched{Store: d.record, events: map[event.Subject][]event.Event{}}
	d.last = lastSaid{
		map[order.Number]*order.Order{}, map[product.ID]*product.Product{}, map[product.ID]*stock.Stock{}, map[user.ID]*user.User{},
	}
	d.start()
	t.Cleanup(func() {
		d.stop()
		if !t.Failed() {
			d.checkRecord()
		}
	})
	return d
}

// start opens the desk over the record as it is.
func (d *desk) start() {
	options := d.options
	options.Applied = d.applied
	d.ledger = ledger.New(d.watched, options)
}

func (d *desk) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := d.ledger.Close(ctx); err != nil {
		d.Errorf("close the ledger: %v", err)
	}
}

func (d *desk) restart() {
	d.stop()
	d.start()
}

func (d *desk) applied(a *ledger.Applied) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range a.Orders {
		d.last.orders[o.Number] = o
	}
	for i, p := range a.Products {
		d.last.products[p.ID], d.last.stock[p.ID] = p, a.Stock[i]
	}
	for _, u := range a.Users {
		d.last.users[u.ID] = u
	}
}

// checkRecord compares what the record holds with what the ledger said, and audits it.
func (d *desk) checkRecord() {
	d.Helper()
	var w ledger.Want
	for no := range d.last.orders {
		w.Orders = append(w.Orders, no)
	}
	for id := range d.last.products {
		w.Products = append(w.Products, id)
	}
	for id := range d.last.users {
		w.Users = append(w.Users, id)
	}
	rows := d.look(w)
	got := lastSaid{rows.Orders, rows.Products, rows.Stock, rows.Users}
	if diff := cmp.Diff(d.last, got, cmp.AllowUnexported(lastSaid{}), cmpopts.EquateEmpty()); diff != "" {
		d.Errorf("the record holds (+) something else than the ledger said (-):\n%s", diff)
	}
	d.checkAudit()
}

func (d *desk) checkAudit() {
	d.Helper()
	report, err := d.record.Audit(context.Background())
	if err != nil {
		d.Fatalf("audit: %v", err)
	}
	for _, c := range violated(report) {
		d.Errorf("%s %s: %d violations, such as %q", c.ID, c.Name, c.Violations, c.Samples)
	}
}

func violated(r audit.Report) (list []audit.Check) {
	for _, c := range r.Checks {
		if c.Violations > 0 {
			list = append(list, c)
		}
	}
	return list
}

// look reads rows as a batch would.
func (d *desk) look(w ledger.Want) *ledger.Rows {
	d.Helper()
	ctx := context.Background()
	tx, err := d.record.Begin(ctx)
	if err != nil {
		d.Fatalf("look: %v", err)
	}
	defer tx.Rollback()
	rows, err := tx.Load(ctx, &w)
	if err != nil {
		d.Fatalf("look: %v", err)
	}
	return rows
}

func (d *desk) order(no order.Number) *order.Order {
	d.Helper()
	o := d.look(ledger.Want{Orders: []order.Number{no}}).Orders[no]
	if o == nil {
		d.Fatalf("no order %s in the record", no)
	}
	return o
}

func (d *desk) payments(no order.Number) []*payment.Payment {
	d.Helper()
	return d.look(ledger.Want{Orders: []order.Number{no}}).Payments[no]
}

// ask hands a command in and waits for its answer.
func ask[R any](d *desk, c ledger.Command[R]) (R, error) {
	return ledger.Submit(context.Background(), d.ledger, c)
}

// must is ask for a command that has to be accepted.
func must[R any](d *desk, c ledger.Command[R]) R {
	d.Helper()
	r, err := ask(d, c)
	if err != nil {
		d.Fatalf("%+v: %v", c, err)
	}
	return r
}

// refused asks for something that must be refused with this fault, and write nothing.
func refused[R any](d *desk, c ledger.Command[R], want *fault.Error) *fault.Error {
	d.Helper()
	before := d.watched.savesTried()
	_, err := ask(d, c)
	if !errors.Is(err, want) {
		d.Errorf("%+v: got %v, want %s", c, err, want.Code)
	}
	if n := d.watched.savesTried() - before; n != 0 {
		d.Errorf("%+v: a refused command was saved", c)
	}
	return fault.Of(err)
}

func set[T any](v T) ledger.Patch[T] { return ledger.Patch[T]{Set: true, Value: v} }

func cny(amount int64) money.Money { return money.Money{Amount: amount, Currency: "CNY"} }

// sell puts a product on sale at 10.00 CNY with some units.
func (d *desk) sell(id product.ID, units int64, change ...func(*ledger.PutProduct)) {
	d.Helper()
	p := ledger.PutProduct{ID: id, Title: set("Ticket " + string(id)), Price: set(cny(1000))}
	for _, c := range change {
		c(&p)
	}
	must(d, p)
	if units > 0 {
		must(d, ledger.AdjustStock{ProductID: id, Delta: units, Reason: "delivery"})
	}
}

func limited(units int64) func(*ledger.PutProduct) {
	return func(p *ledger.PutProduct) { p.MaxPerUser = set(units) }
}

func line(id product.ID, quantity int64) ledger.PlaceLine {
	return ledger.PlaceLine{ProductID: id, Quantity: quantity, Field: "lines[0]"}
}

// wish is a new order under a new key.
func (d *desk) wish(u user.ID, lines ...ledger.PlaceLine) ledger.Place {
	d.keys++
	p := ledger.Place{UserID: u, Lines: lines, Metadata: []byte(`{}`)}
	binary.BigEndian.PutUint64(p.Key[:], d.keys)
	binary.BigEndian.PutUint64(p.Fingerprint[8:], d.keys)
	return p
}

func (d *desk) place(u user.ID, lines ...ledger.PlaceLine) order.Number {
	d.Helper()
	return must(d, d.wish(u, lines...)).Number
}

// expireAll expires whatever is due.
func (d *desk) expireAll() {
	d.Helper()
	d.mu.Lock()
	all := slices.Sorted(maps.Keys(d.last.orders))
	d.mu.Unlock()
	for _, no := range all {
		must(d, ledger.Expire{Number: no})
	}
}

// money is a notice of a transaction of exactly an order's total.
func (d *desk) money(no order.Number, transaction string) ledger.Pay {
	d.Helper()
	return ledger.Pay{PaymentID: "pay_" + transaction, Notice: payment.Notice{
		Provider: "sandbox", OrderNumber: no, TransactionID: transaction, Amount: d.order(no).Total, Succeeded: true,
	}}
}

func (d *desk) pay(no order.Number, transaction string, want ledger.PayOutcome) {
	d.Helper()
	if got := must(d, d.money(no, transaction)); got != want {
		d.Errorf("pay %s: got %s, want %s", no, got, want)
	}
}

// wantStock compares a product's units.
func (d *desk) wantStock(id product.ID, available, held, sold int64) {
	d.Helper()
	s := d.look(ledger.Want{Products: []product.ID{id}}).Stock[id]
	if s == nil || s.Available() != available || s.Held != held || s.Sold != sold {
		d.Errorf("stock of %q: got %+v, want %d available, %d held, %d sold", id, s, available, held, sold)
	}
}

func (d *desk) wantStatus(no order.Number, want order.Status) {
	d.Helper()
	if o := d.order(no); o.Status != want {
		d.Errorf("order %s is %s, want %s", no, o.Status, want)
	}
}

// wantEvents compares what was told of an order.
func (d *desk) wantEvents(no order.Number, want ...event.Type) {
	d.Helper()
	if diff := cmp.Diff(want, d.watched.told(event.Subject{Kind: event.Order, ID: no.String()})); diff != "" {
		d.Errorf("events of %s: want (-), got (+):\n%s", no, diff)
	}
}

func (d *desk) wantPayments(no order.Number, want ...payment.Status) {
	d.Helper()
	var got []payment.Status
	for _, p := range d.payments(no) {
		got = append(got, p.Status)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.Errorf("payments of %s: want (-), got (+):\n%s", no, diff)
	}
}

// asked is a command of any kind, ready to be handed in.
type asked func(l *ledger.Ledger) (any, error)

func asks[R any](c ledger.Command[R]) asked {
	return func(l *ledger.Ledger) (any, error) { return ledger.Submit(context.Background(), l, c) }
}

type answer struct {
	value any
	err   error
}

// batch hands commands in so that they share one transaction, in the order given.
func (d *desk) batch(commands ...asked) []answer {
	d.Helper()
	return d.rush(append([]asked{asks(ledger.Expire{})}, commands...)...)[1:] // a command about nothing holds the door
}

// rush hands commands in so that the first has a transaction of its own, and the others wait meanwhile and share the next.
func (d *desk) rush(commands ...asked) []answer { return rush(d.watched, d.ledger, commands) }

func rush(w *watched, l *ledger.Ledger, commands []asked) []answer {
	answers := make([]answer, len(commands))
	g := w.hold()
	var all sync.WaitGroup
	for i, c := range commands {
		all.Go(func() { answers[i].value, answers[i].err = c(l) })
		if i == 0 {
			<-g.reached
		}
		for l.Waiting(ledger.Open)+l.Waiting(ledger.Settle) < i {
			runtime.Gosched()
		}
	}
	close(g.open)
	all.Wait()
	return answers
}
