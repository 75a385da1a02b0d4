package sandbox_test

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/provider/sandbox"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

var (
	secret  = []byte("a secret that only the test knows")
	opening = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
)

// desk is the real one on a database in memory, with a clock that the test owns.
type desk struct {
	*checkout.Desk
	store *sqlstore.Store
	now   time.Time
	err   error // of every Notice, when set
	seen  []payment.Notice
}

func (d *desk) Payment(ctx context.Context, id string) (*payment.Payment, error) {
	return d.store.Payment(ctx, id)
}

func (d *desk) Notice(ctx context.Context, n payment.Notice) (ledger.PayOutcome, error) {
	d.seen = append(d.seen, n)
	if d.err != nil {
		return "", d.err
	}
	return d.Desk.Notice(ctx, n)
}

func open(t *testing.T) (*desk, *sandbox.Provider) {
	t.Helper()
	d := &desk{now: opening}
	clock := func() time.Time { return d.now }
	var err error
	if d.store, err = sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{Clock: clock}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	orders := inproc.NewOrders()
	l := ledger.New(d.store, ledger.Options{Applied: orders.Applied})
	t.Cleanup(func() {
		if err := l.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := d.store.Close(); err != nil {
			t.Error(err)
		}
	})
	d.Desk = &checkout.Desk{Ledger: l, Record: nil, Orders: orders, Clock: clock}
	p := sandbox.New(secret, "http://desk.example", d, clock)
	return d, p
}

// placed puts one order with one open payment on the books, at the time it is.
func (d *desk) placed(t *testing.T, paymentID, title string, price money.Money, quantity int64) order.Number {
	t.Helper()
	id := product.ID("sku-" + paymentID)
	submit(t, d, ledger.PutProduct{
		ID: id, Title: ledger.Patch[string]{Set: true, Value: title}, Price: ledger.Patch[money.Money]{Set: true, Value: price},
	})
	submit(t, d, ledger.AdjustStock{ProductID: id, Delta: quantity})
	placed := submit(t, d, ledger.Place{
		Key: ledger.Key([]byte((paymentID + "................")[:16])), UserID: "u-7",
		Lines: []ledger.PlaceLine{{ProductID: id, Quantity: quantity, Field: "lines[0]"}},
	})
	submit(t, d, ledger.CreatePayment{Number: placed.Number, Provider: sandbox.Name, PaymentID: paymentID})
	return placed.Number
}

func submit[R any](t *testing.T, d *desk, c ledger.Command[R]) R {
	t.Helper()
	answer, err := ledger.Submit(t.Context(), d.Ledger, c)
	if err != nil {
		t.Fatalf("%T: %v", c, err)
	}
	return answer
}

func (d *desk) status(t *testing.T, no order.Number) order.Status {
	t.Helper()
	o, err := d.store.Order(t.Context(), no)
	if err != nil {
		t.Fatal(err)
	}
	return o.Status
}
