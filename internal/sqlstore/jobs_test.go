package sqlstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestAJobOfADayIsDoneByOneOfAllProcesses(t *testing.T) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(*testing.T) string { return "sqlite::memory:" },
		"postgres": func(t *testing.T) string { t.Helper(); return testenv.PostgresURL(t) },
		"mariadb":  func(t *testing.T) string { t.Helper(); return testenv.MariaDBURL(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 20, 4, 0, 0, 0, time.UTC)
			store, err := sqlstore.Open(t.Context(), url(t), sqlstore.Options{Clock: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = store.Close() })
			if _, err := store.Migrate(t.Context()); err != nil {
				t.Fatal(err)
			}
			wants := func(what, holder string, claimed, done bool) {
				t.Helper()
				c, d, err := store.ClaimJob(t.Context(), "make_numbers", 20261121, holder, time.Minute)
				if err != nil || c != claimed || d != done {
					t.Errorf("%s: claimed %v, done %v, %v; want %v, %v", what, c, d, err, claimed, done)
				}
			}
			finish := func(holder string) {
				t.Helper()
				if err := store.FinishJob(t.Context(), "make_numbers", 20261121, holder); err != nil {
					t.Fatal(err)
				}
			}
			wants("the first", "a", true, false)
			wants("another", "b", false, false)
			now = now.Add(2 * time.Minute)
			wants("another, after the first died", "b", true, false)
			finish("a") // it was not dead, but late
			wants("a third, while it is claimed", "c", false, false)
			finish("b")
			now = now.Add(time.Hour)
			wants("after it was done", "c", false, true)

			var all sync.WaitGroup
			var claims atomic.Int64
			for i := range 8 {
				all.Go(func() {
					claimed, _, err := store.ClaimJob(t.Context(), "make_numbers", 20261122, fmt.Sprint(i), time.Minute)
					if err != nil {
						t.Error(err)
					}
					if claimed {
						claims.Add(1)
					}
				})
			}
			all.Wait()
			if claims.Load() != 1 {
				t.Errorf("%d of 8 have the job, want one", claims.Load())
			}
			first, err := store.GrantAhead(t.Context(), 20261122, 500)
			second, err2 := store.GrantAhead(t.Context(), 20261122, 500)
			if first != 1 || second != 501 || err != nil || err2 != nil {
				t.Errorf("granted from %d and from %d on, %v, %v; want 1 and 501", first, second, err, err2)
			}
		})
	}
}
