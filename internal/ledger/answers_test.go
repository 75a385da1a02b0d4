package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// lockedStore is a record whose rows somebody holds, from the second batch on.
type lockedStore struct {
	*sqlstore.Store
	batches int
	free    chan error // how each wait ends
}

func (s *lockedStore) Begin(ctx context.Context) (ledger.Tx, error) {
	tx, err := s.Store.Begin(ctx)
	if s.batches++; err != nil || s.batches == 1 {
		return tx, err
	}
	return lockedTx{tx, s}, nil
}

type lockedTx struct {
	ledger.Tx
	store *lockedStore
}

func (t lockedTx) Load(ctx context.Context, want *ledger.Want) (*ledger.Rows, error) {
	if err := <-t.store.free; err != nil {
		return nil, err
	}
	return t.Tx.Load(ctx, want)
}

// Whoever's batch is committed is answered while the next one begins; that one may have to wait for its rows, or fail.
func TestACommittedBatchIsAnsweredWhateverTheNextOneWaitsFor(t *testing.T) {
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	locked := &lockedStore{Store: store, free: make(chan error)}
	applied := make(chan chan struct{})
	l := ledger.New(locked, ledger.Options{Applied: func(*ledger.Applied) {
		next := make(chan struct{})
		applied <- next
		<-next
	}})
	put := func() chan error {
		answer := make(chan error, 1)
		go func() {
			_, err := ledger.Submit(t.Context(), l, ledger.PutUser{ID: "u"})
			answer <- err
		}()
		return answer
	}
	late := time.After(10 * time.Second)
	told := func(answer chan error, what string) error {
		select {
		case err := <-answer:
			return err
		case <-late:
			t.Fatalf("%s is not answered", what)
			return nil
		}
	}
	first := put()
	next := <-applied
	second := put()
	for l.Waiting(ledger.Open) == 0 {
		time.Sleep(time.Millisecond) //nolint:forbidigo // until the other goroutine has come
	}
	close(next)
	if err := told(first, "the first batch"); err != nil { // nobody has let the second one have its rows
		t.Errorf("the first batch: %v", err)
	}
	lost := errors.New("lost")
	locked.free <- lost
	if err := told(second, "a batch that failed"); !errors.Is(err, lost) {
		t.Errorf("the second batch: got %v, want %v", err, lost)
	}
	third := put()
	locked.free <- nil
	close(<-applied)
	if err := told(third, "the third batch"); err != nil {
		t.Errorf("the third batch: %v", err)
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}
