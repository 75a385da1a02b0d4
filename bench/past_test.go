package bench

import (
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/pressly/goose/v3"
)

// A past is made in each database by its own arithmetic: the same rows must come of it.
func TestAPastIsTheSameOnEachDatabase(t *testing.T) {
	const orders = 12_345
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for _, r := range rivals {
		if r.scenario != rowLockScenario {
			continue
		}
		t.Run(r.on.title, func(t *testing.T) {
			db := migrated(t, r)
			past := newPast(r.on, orders, now)
			if err := past.load(t.Context(), db, func(int) {}); err != nil {
				t.Fatal(err)
			}
			for _, c := range []struct {
				what string
				want int64
			}{
				{`SELECT COUNT(*) FROM orders`, orders},
				{`SELECT COUNT(DISTINCT user_id) FROM orders`, orders},
				{`SELECT COUNT(*) FROM orders WHERE status = 'cancelled'`, orders / 20},
				{`SELECT MIN(order_no) FROM orders`, 20260803_0000000001},
				{`SELECT MAX(order_no) FROM orders`, 20260812_0000001230},
				{`SELECT COUNT(*) FROM order_lines`, orders},
				{`SELECT COUNT(*) FROM order_transitions`, 29_009},
				{`SELECT COUNT(*) FROM payments`, 8_638},
				{`SELECT COUNT(*) FROM stock_ledger`, historyProducts + 2*orders},
				{`SELECT SUM(version) FROM stock`, historyProducts + 2*orders},
				{`SELECT SUM(sold) FROM stock`, 8_638},
				{`SELECT SUM(held) FROM stock`, 0},
				{`SELECT MAX(version) FROM stock_ledger`, 27},
				{`SELECT pruned FROM log_head`, 29_009 + historyProducts},
				{`SELECT SUM(order_no % 1009 * (pay_by % 1013)) FROM orders`, 3_136_295_578},
			} {
				var got int64
				if err := db.QueryRowContext(t.Context(), c.what).Scan(&got); err != nil || got != c.want {
					t.Errorf("%s: got %d, %v, want %d", c.what, got, err, c.want)
				}
			}
		})
	}
}

// migrated is a database with Holdfast's own tables.
func migrated(t *testing.T, r rivalOn) *sql.DB {
	t.Helper()
	db, _, err := openDatabase(t.Context(), r.database(t), 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	speaks := map[*dialect]goose.Dialect{onSQLite: goose.DialectSQLite3, onPostgres: goose.DialectPostgres, onMySQL: goose.DialectMySQL}
	migrations, err := goose.NewProvider(speaks[r.on], db, os.DirFS("../internal/sqlstore/migrations/"+r.on.folder))
	if err != nil {
		t.Fatal(err)
	}
	if done, err := migrations.Up(t.Context()); err != nil || len(done) == 0 {
		t.Fatalf("%d migrations, %v", len(done), err)
	}
	return db
}
