package worker_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// desk is a ledger over a record in memory, on a clock that the test owns.
type desk struct {
	t         *testing.T
	mu        sync.Mutex
	wall      time.Time
	steady    time.Duration
	store     *sqlstore.Store
	ledger    *ledger.Ledger
	countdown *inproc.Countdown
	lags      []time.Duration
	keys      byte
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	d := &desk{t: t, wall: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), countdown: inproc.NewCountdown()}
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{Clock: d.clock})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.store = store
	d.ledger = ledger.New(store, ledger.Options{Applied: d.countdown.Applied})
	t.Cleanup(func() {
		_ = d.ledger.Close(context.Background())
		_ = store.Close()
	})
	d.must(ledger.Submit(t.Context(), d.ledger, ledger.PutProduct{
		ID: "sku-1", Title: ledger.Patch[string]{Set: true, Value: "Ticket"},
		Price:     ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 1, Currency: "CNY"}},
		PayWindow: ledger.Patch[time.Duration]{Set: true, Value: 10 * time.Second},
	}))
	if _, err := ledger.Submit(t.Context(), d.ledger, ledger.AdjustStock{ProductID: "sku-1", Delta: 10}); err != nil {
		t.Fatal(err)
	}
	return d
}

func (d *desk) must(_ ledger.ProductPut, err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) clock() time.Time {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.wall
}

func (d *desk) monotonic() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.steady
}

// pass moves both clocks; jump the wall clock only, as somebody who sets it.
func (d *desk) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wall, d.steady = d.wall.Add(by), d.steady+by
}

func (d *desk) jump(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wall = d.wall.Add(by)
}

func (d *desk) place() order.Number {
	d.t.Helper()
	d.keys++
	placed, err := ledger.Submit(d.t.Context(), d.ledger, ledger.Place{
		Key: ledger.Key{d.keys}, UserID: "u-7", Lines: []ledger.PlaceLine{{ProductID: "sku-1", Quantity: 1, Field: "lines[0]"}},
	})
	if err != nil {
		d.t.Fatal(err)
	}
	return placed.Number
}

func (d *desk) expirer(countdown worker.Countdown) *worker.Expirer {
	return worker.NewExpirer(d.ledger, d.store, countdown, worker.ExpirerOptions{
		Clock: d.clock, Steady: d.monotonic, Log: slog.New(slog.DiscardHandler),
		Observe: func(_ string, lag time.Duration) { d.lags = append(d.lags, lag) },
	})
}

func (d *desk) turn(e *worker.Expirer) {
	d.t.Helper()
	if _, err := e.RunOnce(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *desk) status(no order.Number) order.Status {
	d.t.Helper()
	o, err := d.store.Order(d.t.Context(), no)
	if err != nil {
		d.t.Fatal(err)
	}
	return o.Status
}

func TestUnpaidOrderGivesItsStockBackAtItsDeadline(t *testing.T) {
	d := newDesk(t)
	e := d.expirer(d.countdown)
	d.turn(e)
	no := d.place()
	d.pass(9999 * time.Millisecond)
	d.turn(e)
	if got := d.status(no); got != order.Pending {
		t.Fatalf("a millisecond early: got %s, want pending", got)
	}
	d.pass(time.Millisecond)
	d.turn(e)
	if got := d.status(no); got != order.Expired {
		t.Fatalf("at pay_by: got %s, want expired", got)
	}
	shelf, err := d.store.Shelf(t.Context(), "sku-1")
	if err != nil {
		t.Fatal(err)
	}
	if got := shelf.Stock.Available(); got != 10 {
		t.Errorf("available: got %d, want 10", got)
	}
	if len(d.lags) != 1 || d.lags[0] != 0 {
		t.Errorf("lags: got %v, want [0s]", d.lags)
	}
}

// forgetful is a countdown that loses everything it is told.
type forgetful struct{ *inproc.Countdown }

func (forgetful) Add(order.Number, time.Time)               {}
func (forgetful) Due(time.Time, int) ([]order.Number, bool) { return nil, false }
func (forgetful) Next() time.Time                           { return time.Time{} }

func TestLookFindsWhatTheCountdownForgot(t *testing.T) {
	d := newDesk(t)
	e := d.expirer(forgetful{d.countdown})
	d.turn(e)
	no := d.place()
	d.pass(10*time.Second + 500*time.Millisecond)
	d.turn(e)
	if got := d.status(no); got != order.Expired {
		t.Errorf("half a second after pay_by: got %s, want expired", got)
	}
}

func TestDeadlinesFromBeforeTheStartAreKept(t *testing.T) {
	d := newDesk(t)
	no := d.place() // while no expirer runs: nobody's countdown has it
	d.pass(5 * time.Second)
	e := d.expirer(inproc.NewCountdown())
	d.turn(e)
	d.pass(5 * time.Second)
	d.turn(e)
	if got := d.status(no); got != order.Expired {
		t.Errorf("got %s, want expired at the millisecond: the horizon was loaded", got)
	}
}

func TestExpiryPausesWhenTheWallClockJumps(t *testing.T) {
	d := newDesk(t)
	e := d.expirer(d.countdown)
	d.turn(e)
	no := d.place()
	d.pass(time.Second)
	d.jump(time.Hour)
	d.turn(e)
	if got := d.status(no); got != order.Pending || !e.Paused() {
		t.Fatalf("after a jump of an hour: got %s, paused %t; want pending, true", got, e.Paused())
	}
	d.jump(-time.Hour)
	d.turn(e)
	d.pass(31 * time.Second)
	d.turn(e)
	if got := d.status(no); got != order.Expired || e.Paused() {
		t.Errorf("steady for 31 s and overdue: got %s, paused %t; want expired, false", got, e.Paused())
	}
}

func TestReminderTellsOncePerOrder(t *testing.T) {
	d := newDesk(t)
	r := worker.NewReminder(d.ledger, d.store, 3*time.Second, d.clock, slog.New(slog.DiscardHandler))
	no := d.place()
	remind := func() *order.Order {
		t.Helper()
		if _, err := r.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		o, err := d.store.Order(t.Context(), no)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	d.pass(6 * time.Second)
	if o := remind(); o.Reminded {
		t.Fatal("reminded 4 s before pay_by, want 3 s")
	}
	d.pass(time.Second)
	if o := remind(); !o.Reminded || o.Events != 2 || o.Version != 1 {
		t.Fatalf("got reminded %t, events %d, version %d; want true, 2, 1", o.Reminded, o.Events, o.Version)
	}
	again := worker.NewReminder(d.ledger, d.store, 3*time.Second, d.clock, slog.New(slog.DiscardHandler))
	if _, err := again.RunOnce(t.Context()); err != nil { // another process, or this one after a restart
		t.Fatal(err)
	}
	if o := remind(); o.Events != 2 {
		t.Errorf("events: got %d, want 2: told once", o.Events)
	}
}

func TestNoReminderWhenTheWindowIsShorterThanTheLead(t *testing.T) {
	d := newDesk(t)
	r := worker.NewReminder(d.ledger, d.store, time.Minute, d.clock, slog.New(slog.DiscardHandler))
	no := d.place()
	if _, err := r.RunOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	o, err := d.store.Order(t.Context(), no)
	if err != nil || o.Reminded {
		t.Errorf("reminded %t, err %v; want false", o != nil && o.Reminded, err)
	}
}

// awayFor is a record that cannot be asked.
type awayFor struct{}

func (awayFor) Deadlines(context.Context, order.Deadline, time.Time, int) ([]order.Deadline, error) {
	return nil, errors.New("away")
}

func TestExpirerSaysWhenTheRecordIsAway(t *testing.T) {
	d := newDesk(t)
	e := worker.NewExpirer(d.ledger, awayFor{}, d.countdown, worker.ExpirerOptions{Clock: d.clock, Steady: d.monotonic})
	if _, err := e.RunOnce(t.Context()); err == nil {
		t.Error("got no error: a record that cannot be asked must not pass for one without deadlines")
	}
}
