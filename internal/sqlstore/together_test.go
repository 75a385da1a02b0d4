package sqlstore_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// loaded is a transaction of a batch that holds product a.
func (c counter) loaded(id ledger.BatchID) (ledger.Tx, *ledger.Rows) {
	c.Helper()
	tx, err := c.store.Begin(c.Context())
	if err == nil {
		err = tx.Claim(c.Context(), id)
	}
	if err != nil {
		c.Fatal(err)
	}
	c.Cleanup(tx.Rollback)
	rows, err := tx.Load(c.Context(), &ledger.Want{Products: []product.ID{"a"}})
	if err != nil {
		c.Fatal(err)
	}
	return tx, rows
}

// What is written goes to the database before anybody has compared how many rows were changed, on some together with the COMMIT.
func TestABatchWhoseRowIsNotAsItWasIsNotCommitted(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := openCounter(t, d.url(t))
			tx, rows := c.loaded(ledger.BatchID{1})
			s := *rows.Stock["a"]
			was := s.Version
			s.Held, s.Version = 1, was+1
			err := tx.Save(t.Context(), &ledger.Changes{Now: rows.Now, Stock: []ledger.StockChange{{Stock: &s, Was: was - 1}}})
			if err == nil {
				if err = tx.Commit(t.Context()); !errors.Is(err, ledger.ErrNotCommitted) {
					t.Errorf("COMMIT: got %v, want %v", err, ledger.ErrNotCommitted)
				}
			}
			if !errors.Is(err, ledger.ErrRetry) {
				t.Errorf("got %v, want %v", err, ledger.ErrRetry)
			}
			tx.Rollback()
			c.held(0)
			if _, _, err := c.place(wishOf()); err != nil {
				t.Errorf("the next batch: %v", err)
			}
		})
	}
}

// The batch's id may be written together with what is read: whatever goes wrong, it is known whether the id was taken.
func TestABatchThatWasCommittedIsRecognized(t *testing.T) {
	t.Parallel()
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			t.Parallel()
			c := openCounter(t, d.url(t))
			tx, _ := c.loaded(ledger.BatchID{1})
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			again, err := c.store.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer again.Rollback()
			if err = again.Claim(t.Context(), ledger.BatchID{1}); err == nil {
				_, err = again.Load(t.Context(), &ledger.Want{Products: []product.ID{"a"}})
			}
			if !errors.Is(err, ledger.ErrCommitted) {
				t.Errorf("got %v, want %v", err, ledger.ErrCommitted)
			}
		})
	}
}

// A server that is not there any more has not taken the batch's id.
func TestABatchThatNobodyHeardOfIsUnclaimed(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, testenv.Options) *testenv.Server{
		"PostgreSQL": testenv.StartPostgres, "MariaDB": testenv.StartMariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := start(t, testenv.Options{})
			c := openCounter(t, server.URL())
			tx, err := c.store.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			server.Kill()
			if err = tx.Claim(t.Context(), ledger.BatchID{1}); err == nil {
				_, err = tx.Load(t.Context(), &ledger.Want{Products: []product.ID{"a"}})
			}
			if !errors.Is(err, ledger.ErrUnclaimed) || !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("got %v, want %v and %v", err, ledger.ErrUnclaimed, fault.ErrUnavailable)
			}
		})
	}
}

// The road to a server may be long, and a batch goes there and back twice or three times, not once for each of its sixteen statements.
func TestABatchGoesToAServerAndBackAFewTimes(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB, testenv.Options) *testenv.Server{
		"PostgreSQL": testenv.StartPostgres, "MariaDB": testenv.StartMariaDB,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, proxy := through(t, start(t, testenv.Options{}))
			c := openCounter(t, url)
			if _, _, err := c.place(wishOf()); err != nil { // numbers are granted, statements prepared
				t.Fatal(err)
			}
			const way = 100 * time.Millisecond
			proxy.Delay(way)
			_, took, err := c.place(wishOf())
			if err != nil || took < 2*way || took > 8*2*way {
				t.Errorf("it took %v (%v) where there and back takes %v", took, err, 2*way)
			}
			proxy.Delay(0)
		})
	}
}
