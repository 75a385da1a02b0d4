package sqlstore_test

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Another program holds the database. Whoever waits for its lock in vain waits for all behind him: one after the other they
// would be told after two seconds, after four, after six.
func TestALockHeldByAnotherProgramIsToldToAllAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "held.db")
	s := openRecord(t, "sqlite:"+path, time.Now).Store
	l := newRoad(t, s)
	other, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close() //nolint:errcheck // it wrote nothing
	other.SetMaxOpenConns(1)
	do := func(text string) {
		if _, err := other.ExecContext(t.Context(), text); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}

	const writers, waits = 8, 1500 * time.Millisecond // how long one of them waits
	do(`BEGIN IMMEDIATE`)
	begin := time.Now()
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			err := s.TouchKey(t.Context(), fmt.Sprint("k", i), time.Now())
			if i == 0 {
				_, err = ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "plain", Delta: 1})
			}
			if !errors.Is(err, fault.ErrUnavailable) {
				t.Errorf("writer %d: got %v, want unavailable", i, err)
			}
		})
	}
	wg.Wait()
	if took := time.Since(begin); took > 4*waits {
		t.Errorf("%d writers were told after %v, want hardly longer than one waits, %v", writers, took, waits)
	}
	do(`ROLLBACK`)

	// Who gets the lock is patient again: a lock that is held for a moment is waited for.
	if _, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "plain", Delta: 1}); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	do(`BEGIN IMMEDIATE`)
	released := time.AfterFunc(waits/4, func() { do(`ROLLBACK`) })
	defer released.Stop()
	if _, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "plain", Delta: 1}); err != nil {
		t.Errorf("with a lock that is held for a moment: %v", err)
	}
}
