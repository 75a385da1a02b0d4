package bench

import (
	"database/sql"
	"fmt"
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
				{`SELECT COUNT(DISTINCT user_id) FROM orders`, 11_211},
				{`SELECT COUNT(*) FROM orders WHERE status = 'pending'`, 123},
				{`SELECT COUNT(*) FROM orders WHERE status = 'cancelled'`, 612},
				{`SELECT COUNT(*) FROM orders WHERE status = 'expired'`, 3056},
				{`SELECT COUNT(*) FROM orders WHERE status = 'refunded'`, 12},
				{`SELECT MIN(order_no) FROM orders`, 20260812_0000000001},
				{`SELECT MAX(order_no) FROM orders`, 20261119_0000000124},
				{`SELECT COUNT(*) FROM order_lines`, orders},
				{`SELECT COUNT(*) FROM order_transitions`, 28_844},
				{`SELECT COUNT(*) FROM payments`, 8_554},
				{`SELECT COUNT(*) FROM refunds`, 12},
				{`SELECT COUNT(*) FROM idempotency_keys`, 618},
				{`SELECT COUNT(*) FROM stock_ledger`, 34_574},
				{`SELECT SUM(version) FROM stock`, 34_574},
				{`SELECT SUM(sold) FROM stock`, 8_554},
				{`SELECT SUM(held) FROM stock`, 123},
				{`SELECT COUNT(*) FROM outbox`, 4_010},
				{`SELECT COUNT(DISTINCT subject) FROM outbox o JOIN event_log l ON l.event_id = o.id WHERE o.subject = '202611190000001'`, 1},
				{`SELECT pruned FROM log_head`, 59_408},
				{`SELECT position FROM log_head`, 63_418},
				{`SELECT MAX(position) FROM event_log`, 63_418},
				{`SELECT SUM(order_no % 1009 * (pay_by % 1013)) FROM orders`, 3_103_915_076},
			} {
				var got int64
				if err := db.QueryRowContext(t.Context(), c.what).Scan(&got); err != nil || got != c.want {
					t.Errorf("%s: got %d, %v, want %d", c.what, got, err, c.want)
				}
			}
		})
	}
}

// The number of every order is known without asking the database, at the edges of days too.
func TestThePlaceOfAnOrderTellsItsNumber(t *testing.T) {
	for _, orders := range []int{1, 7, 100, 101, 12_345} {
		past := newPast(onSQLite, orders, time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
		k := 0
		for n := range historyDays {
			d := past.day(n)
			for i := range d.orders {
				if got, want := past.number(k), fmt.Sprintf("%d%07d", d.date, i+1); got != want {
					t.Fatalf("%d orders: the number of the one at %d: got %s, want %s", orders, k, got, want)
				}
				k++
			}
		}
		if k != orders {
			t.Errorf("got %d orders, want %d", k, orders)
		}
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
