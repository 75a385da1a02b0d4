package sqlstore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// unreachable commits, loses the answer, and then cannot be reached for a while.
type unreachable struct {
	*sqlstore.Store
	lose, away atomic.Bool
}

func (u *unreachable) Begin(ctx context.Context) (ledger.Tx, error) {
	if u.away.Load() {
		return nil, errors.New("connection refused")
	}
	tx, err := u.Store.Begin(ctx)
	return losing{tx, u}, err
}

type losing struct {
	ledger.Tx
	u *unreachable
}

func (l losing) Commit(ctx context.Context) error {
	err := l.Tx.Commit(ctx)
	if l.u.lose.Swap(false) {
		l.u.away.Store(true)
		return errors.New("connection reset at COMMIT")
	}
	return err
}

type doubtfulDesk struct {
	*checkout.Desk
	store *unreachable
}

func newDoubtfulDesk(t *testing.T, units int64) *doubtfulDesk {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	store := &unreachable{Store: s}
	marks := inproc.NewKeyMarks(time.Now)
	marks.Ready()
	gate, orders := inproc.NewGate(s.Shelf, marks, time.Now), inproc.NewOrders()
	l := ledger.New(store, ledger.Options{
		Using: gate.Using, Doubted: orders.Doubted,
		Applied: func(a *ledger.Applied) { gate.Applied(a); orders.Applied(a) },
	})
	t.Cleanup(func() { _ = l.Close(context.Background()); _ = s.Close() })
	if _, err := ledger.Submit(t.Context(), l, ledger.PutProduct{
		ID: "a", Title: ledger.Patch[string]{Set: true, Value: "T"},
		Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 1, Currency: "CNY"}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "a", Delta: units}); err != nil {
		t.Fatal(err)
	}
	return &doubtfulDesk{&checkout.Desk{Ledger: l, Record: record{s}, Gate: gate, Orders: orders, Clock: time.Now}, store}
}

func wish(_, key string) checkout.Order {
	return checkout.Order{Scope: checkout.Merchant, IdempotencyKey: key, UserID: "u", Lines: []checkout.Line{{ProductID: "a", Quantity: 1}}}
}

func TestKeyOfACommitLeftInDoubtIsAnswered(t *testing.T) {
	d := newDoubtfulDesk(t, 1)
	d.store.lose.Store(true)
	_, err := d.Place(t.Context(), wish("A", "k-A")) // committed: A has the last unit; he is told 503, "ask again, with the same key"
	t.Logf("A, first: %v", err)
	d.store.away.Store(false)
	_, err = d.Place(t.Context(), wish("B", "k-B"))
	t.Logf("B: %v", err)
	if _, err = d.Place(t.Context(), wish("A", "k-A")); err != nil {
		t.Errorf("A, who has the last unit, asks again with the same key and is told: %v", err)
	}
}

func TestOrderPaidByACommitLeftInDoubtIsShownPaid(t *testing.T) {
	d := newDoubtfulDesk(t, 1)
	placed, err := d.Place(t.Context(), wish("A", "k-A"))
	if err != nil {
		t.Fatal(err)
	}
	d.store.lose.Store(true)
	n := payment.Notice{Provider: "sandbox", OrderNumber: placed.Number, TransactionID: "t1", Amount: money.Money{Amount: 1, Currency: "CNY"}, Succeeded: true}
	_, err = d.Notice(t.Context(), n)
	t.Logf("first notice: %v", err)
	d.store.away.Store(false)
	outcome, err := d.Notice(t.Context(), n)
	t.Logf("again: %v %v", outcome, err)
	o, err := d.Order(t.Context(), placed.Number)
	if err != nil || o.Status != order.Paid {
		t.Errorf("GET order: %s, %v; the record says paid, and nothing will ever correct it", o.Status, err)
	}
}

func TestReplayedFailedNoticeChangesNothing(t *testing.T) {
	d := newDoubtfulDesk(t, 1)
	placed, err := d.Place(t.Context(), wish("A", "k-A"))
	if err != nil {
		t.Fatal(err)
	}
	attempt := func(id string) ledger.PaymentCreated {
		p, err := ledger.Submit(t.Context(), d.Ledger, ledger.CreatePayment{Number: placed.Number, Provider: "sandbox", PaymentID: id})
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	attempt("p1")
	n := payment.Notice{Provider: "sandbox", OrderNumber: placed.Number, TransactionID: "t1", Amount: money.Money{Amount: 1, Currency: "CNY"}}
	if _, err := d.Notice(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	attempt("p2")                                       // the buyer tries again
	if _, err := d.Notice(t.Context(), n); err != nil { // the provider repeats itself
		t.Fatal(err)
	}
	if p, err := d.Payment(t.Context(), "p2"); err != nil || p.Status != payment.Pending {
		t.Errorf("p2 is %s, %v: a replayed notice about p1 has ended it", p.Status, err)
	}
}

func TestBeginAfterCloseReturns(t *testing.T) {
	s, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	for name, f := range map[string]func(){
		"Begin": func() { _, _ = s.Begin(context.Background()) },
		"Close": func() { _ = s.Close() },
	} {
		done := make(chan struct{})
		go func() { f(); close(done) }()
		select {
		case <-done:
		case <-time.After(time.Second):
			t.Errorf("%s after Close waits for ever", name)
		}
	}
}

func TestACancelledBeginLeavesNoTransactionOpen(t *testing.T) {
	s, err := sqlstore.Open(t.Context(), "sqlite:"+t.TempDir()+"/r.db", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(3 * time.Second)
	for i := 0; time.Now().Before(until); i++ {
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			for k := 0; k < i%400; k++ {
				_ = fmt.Sprint(k)
			}
			cancel()
		})
		_, _ = s.LeaseShards(ctx, "r", time.Second)
		wg.Wait()
		tx, err := s.Begin(context.Background())
		if err != nil {
			t.Fatalf("after %d cancelled leases: %v", i, err)
		}
		tx.Rollback()
	}
}

func TestAnotherNameOfTheFileIsTheSameRecord(t *testing.T) {
	dir := t.TempDir()
	s, err := sqlstore.Open(t.Context(), "sqlite:"+dir+"/a.db", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if err := os.Symlink(dir+"/a.db", dir+"/b.db"); err != nil {
		t.Fatal(err)
	}
	if second, err := sqlstore.Open(t.Context(), "sqlite:"+dir+"/b.db", sqlstore.Options{}); err == nil {
		_ = second.Close()
		t.Error("two desks serve one file: the second has a lock of its own")
	}
}
