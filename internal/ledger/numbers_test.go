package ledger_test

import (
	"context"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// openStore is a record that knows how many of its transactions are open, and how often numbers were granted in one.
type openStore struct {
	*sqlstore.Store
	open, granted atomic.Int64
}

func (s *openStore) Begin(ctx context.Context) (ledger.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	if err == nil {
		s.open.Add(1)
	}
	return &openTx{tx, s, sync.OnceFunc(func() { s.open.Add(-1) })}, err
}

type openTx struct {
	ledger.Tx
	store *openStore
	over  func()
}

func (t *openTx) GrantNumbers(ctx context.Context, day order.Day, n int64) (int64, error) {
	t.store.granted.Add(1)
	return t.Tx.GrantNumbers(ctx, day, n)
}

func (t *openTx) Commit(ctx context.Context) error { defer t.over(); return t.Tx.Commit(ctx) }
func (t *openTx) Rollback()                        { t.Tx.Rollback(); t.over() }

// numbered is a ledger with a product, whose numbers come from granted: up to 1000 were.
type numbered struct {
	*ledger.Ledger
	store *openStore
	now   atomic.Int64 // milliseconds
	wish  uint64
}

func openNumbered(t *testing.T, block int64, granted func(n *numbered, day order.Day, above, want int64) []ledger.Block) *numbered {
	t.Helper()
	n := &numbered{}
	n.now.Store(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC).UnixMilli())
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{Clock: func() time.Time { return time.UnixMilli(n.now.Load()).UTC() }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for day := order.Day(20261120); day <= 20261121; day++ {
		if _, err := store.GrantAhead(t.Context(), day, 1000); err != nil {
			t.Fatal(err)
		}
	}
	n.store = &openStore{Store: store}
	n.Ledger = ledger.New(n.store, ledger.Options{
		BlockSize: block,
		Granted: func(_ context.Context, day order.Day, above, want int64) []ledger.Block {
			return granted(n, day, above, want)
		},
	})
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second) // should a test have failed before it let go
		defer cancel()
		_ = n.Close(ctx)
	})
	if _, err := ledger.Submit(t.Context(), n.Ledger, ledger.PutProduct{
		ID: "a", Title: ledger.Patch[string]{Set: true, Value: "T"},
		Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 1, Currency: "CNY"}},
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Submit(t.Context(), n.Ledger, ledger.AdjustStock{ProductID: "a", Delta: 1000}); err != nil {
		t.Fatal(err)
	}
	return n
}

func (n *numbered) place(t *testing.T) string {
	t.Helper()
	n.wish++
	var k ledger.Key
	binary.LittleEndian.PutUint64(k[:], n.wish)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	placed, err := ledger.Submit(ctx, n.Ledger, ledger.Place{
		Key: k, UserID: "u", Lines: []ledger.PlaceLine{{ProductID: "a", Quantity: 1, Field: "lines[0]"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return placed.Number.String()
}

func TestNoTransactionIsOpenWhileABatchWaitsForNumbers(t *testing.T) {
	release, calls := make(chan struct{}), atomic.Int64{}
	n := openNumbered(t, 1, func(n *numbered, _ order.Day, above, _ int64) []ledger.Block {
		switch calls.Add(1) {
		case 1: // the first batch of a day; nothing else is under way
			if n.store.open.Load() != 0 {
				t.Error("the first batch's transaction is open while numbers are taken")
			}
			return []ledger.Block{{First: 51, Count: 1}}
		case 2:
			<-release
			return []ledger.Block{{First: above, Count: 1}, {First: 71, Count: 100}}
		}
		return nil
	})
	if no := n.place(t); no != "202611200000051" {
		t.Errorf("got %s, want the one that was granted before", no)
	}
	placed := make(chan string)
	go func() { placed <- n.place(t) }()
	began := time.Now()
	for time.Since(began) < 50*time.Millisecond || n.Waiting(ledger.Open) > 0 { // it is one batch, and has no number
		if n.store.open.Load() != 0 {
			t.Fatal("a transaction is open while its batch waits for numbers")
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // the ledger waits for as long as this test wants
	}
	close(release)
	if no := <-placed; no != "202611200000052" {
		t.Errorf("got %s, want 202611200000052", no)
	}
	for _, want := range []string{"202611200000071", "202611200000072"} {
		if no := n.place(t); no != want {
			t.Errorf("got %s, want %s", no, want)
		}
	}
	if granted := n.store.granted.Load(); granted != 0 {
		t.Errorf("the record granted numbers %d times in a batch's transaction, though others waited", granted)
	}
}

func TestABatchThatHasNumbersWaitsForNoMore(t *testing.T) {
	release, asked, calls := make(chan struct{}), make(chan struct{}, 100), atomic.Int64{}
	n := openNumbered(t, 5, func(_ *numbered, _ order.Day, above, _ int64) []ledger.Block {
		if calls.Add(1) > 1 {
			asked <- struct{}{}
			<-release
			return nil
		}
		return []ledger.Block{{First: max(above, 11), Count: 5}}
	})
	for i := range 5 {
		n.place(t)
		if i == 0 {
			<-asked // for more, beside the batches, and in vain
		}
	}
	if calls.Load() != 2 {
		t.Errorf("asked %d times, want once and once more beside the batches", calls.Load())
	}
	if day, left := n.Numbers(); day != 20261120 || left != 0 {
		t.Errorf("%d numbers of %d are left, want none", left, day)
	}
	close(release)
	if no := n.place(t); no != "202611200001001" {
		t.Errorf("got %s, want the first that the record grants", no)
	}
}

func TestABatchAsksOnceForNumbersThatAreNotThere(t *testing.T) {
	var before atomic.Int64
	n := openNumbered(t, 5, func(n *numbered, _ order.Day, _, _ int64) []ledger.Block {
		if n.store.granted.Load() == 0 { // or it is asked beside the batches
			before.Add(1)
		}
		return nil
	})
	n.place(t)
	if got := before.Load(); got != 1 {
		t.Errorf("asked %d times before the record granted numbers, want once", got)
	}
}

func TestNumbersTakenForADayThatIsOverAreLost(t *testing.T) {
	release, calls := make(chan struct{}), atomic.Int64{}
	n := openNumbered(t, 5, func(_ *numbered, day order.Day, above, want int64) []ledger.Block {
		switch calls.Add(1) {
		case 1:
			return []ledger.Block{{First: 101, Count: 3}}
		case 2: // beside the batches
			<-release
			return []ledger.Block{{First: above, Count: 100}}
		}
		if day != 20261121 {
			t.Errorf("numbers of %d are asked for, want the new day's", day)
		}
		return []ledger.Block{{First: max(above, 11), Count: want}}
	})
	n.place(t)
	if no := n.place(t); no != "202611200000102" {
		t.Errorf("got %s, want 202611200000102", no)
	}
	n.now.Add(24 * 60 * 60 * 1000)
	time.AfterFunc(20*time.Millisecond, func() { close(release) })
	for _, want := range []string{"202611210000011", "202611210000012"} {
		if no := n.place(t); no != want {
			t.Errorf("got %s, want %s of the new day", no, want)
		}
	}
	if granted := n.store.granted.Load(); granted != 0 {
		t.Errorf("the record granted numbers %d times in a batch's transaction, though others waited", granted)
	}
}
