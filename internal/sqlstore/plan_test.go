package sqlstore

import (
	"database/sql"
	"math"
	"strings"
	"testing"
	"time"
)

// The walks over a user's orders are to use the index on users, whatever the planner thinks of it.
func TestAUsersOrdersAreFoundByTheirIndex(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+t.TempDir()+"/p.db", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	const n = 20_000
	series := `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) `
	for _, fill := range []string{
		`INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, close_reason, paid_late, reminded, version, events, metadata) ` +
			series + `SELECT 202611200000000000 + i, 'u-' || i, 'pending', 'CNY', 1, 1, 2, '', 0, 0, 1, 1, '' FROM n`,
		`INSERT INTO order_lines (order_no, line, product_id, title, quantity, unit_price) ` +
			series + `SELECT 202611200000000000 + i, 1, 'a', 'T', 1, 1 FROM n`,
		`INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data) ` +
			series + `SELECT i, 'order', '20261120' || printf('%07d', i), 1, 'order.placed', 1, '{}' FROM n`,
		`INSERT INTO event_log (position, event_id) ` + series + `SELECT i, i FROM n`,
	} {
		if _, err := s.exec(t.Context(), fill, n); err != nil {
			t.Fatal(err)
		}
	}
	for _, q := range []struct {
		name, text string
		args       []any
	}{
		{
			"events of a user", segments + ` SELECT ` + eventColumns + ` FROM ` + eventsOfUser + ` WHERE l.position > ? ORDER BY l.position LIMIT ?`,
			[]any{int64(math.MaxInt64), int64(0), "u-1", 0, 50},
		},
		{"units of some users", unitsInOrdersOf("(?, ?)"), []any{int64(math.MaxInt64), int64(0), "u-1", "u-2", "a"}},
		{
			"orders of a user", segments + ` SELECT ` + orderColumns + ` FROM ` + ordersOfUser + ` ORDER BY order_no DESC LIMIT ?`,
			[]any{int64(math.MaxInt64), int64(0), "u-1", 50},
		},
	} {
		var plan []string
		rows, err := s.query(t.Context(), `EXPLAIN QUERY PLAN `+q.text, q.args...)
		err = scan(rows, err, func(r *sql.Rows) error {
			var a, b, c int
			var step string
			err := r.Scan(&a, &b, &c, &step)
			plan = append(plan, step)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		at := time.Now()
		rows, err = s.query(t.Context(), q.text, q.args...)
		if err := scan(rows, err, func(*sql.Rows) error { return nil }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(at)
		t.Logf("%s, %d orders: %v", q.name, n, took)
		if whole := strings.Join(plan, "\n"); !strings.Contains(whole, "orders_user") ||
			strings.Contains(whole, "SCAN e") || strings.Contains(whole, "SCAN l") {
			t.Errorf("%s: does not use orders_user (%v):\n\t%s", q.name, took, strings.Join(plan, "\n\t"))
		}
	}
}
