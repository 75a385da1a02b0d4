package sqlstore

import (
	"context"
	"database/sql"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// A list of orders of one status is found by an index, whatever the planner thinks of it: of a rare one it would go through
// all orders.
func TestOrdersOfAStatusAreFoundByAnIndex(t *testing.T) {
	s := openPlanned(t, 1000)
	for _, c := range []struct {
		filter checkout.OrderFilter
		index  string
	}{
		{checkout.OrderFilter{Status: order.Refunded, Limit: 50}, "orders_status"},
		{checkout.OrderFilter{Status: order.Paid, Limit: 50, Before: 202611200000000007}, "orders_status"},
		{checkout.OrderFilter{Status: order.Expired, Limit: 50, CreatedAfter: time.UnixMilli(1)}, "orders_status"},
		{checkout.OrderFilter{Status: order.Pending, Limit: 50}, "orders_due"},
		{checkout.OrderFilter{Status: order.Pending, Limit: 50, Before: 202611200000000007, CreatedAfter: time.UnixMilli(1)}, "orders_due"},
		{checkout.OrderFilter{Status: order.Paid, UserID: "u-1", Limit: 50}, "orders_user"},
		{checkout.OrderFilter{CreatedAfter: time.UnixMilli(1), Limit: 50}, "INTEGER PRIMARY KEY (rowid>?)"},
	} {
		text, args := s.dialect.ordersBy(c.filter)
		plan := planOf(t, s, text, args...)
		if !strings.Contains(plan, c.index) || strings.Contains(plan, "SCAN orders\n") {
			t.Errorf("%+v: does not use %s:\n\t%s", c.filter, c.index, plan)
		}
	}
}

// After a rush there may be hundreds of thousands of pending orders, all of them the newest: then a page does not go through them all.
func TestAPageOfPendingOrdersIsLookedForAmongTheNewestFirst(t *testing.T) {
	const n, limit = limits.OrdersScanned + 1000, 50
	s := openPlanned(t, n)
	var asked []string
	s.watched = func(_ context.Context, _ explainer, query string, _ []any) {
		if strings.Contains(query, "FROM orders") {
			asked = append(asked, query)
		}
	}
	number := func(k int) order.Number { return order.Number(202611200000000000 + k) }
	list := func(f checkout.OrderFilter) (found []order.Number) {
		t.Helper()
		asked = nil
		f.Status, f.Limit = order.Pending, limit
		orders, err := s.Orders(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range orders {
			found = append(found, o.Number)
		}
		return found
	}
	wants := func(about string, found []order.Number, first, last order.Number, queries int) {
		t.Helper()
		if len(found) != limit || found[0] != first || found[limit-1] != last || len(asked) != queries {
			t.Errorf("%s: got %v by %d queries, want from %d to %d by %d", about, found, len(asked), first, last, queries)
		}
	}
	wants("all are pending", list(checkout.OrderFilter{}), number(n), number(n-limit+1), 1)
	wants("before one", list(checkout.OrderFilter{Before: number(500)}), number(499), number(500-limit), 1)
	s.mustExec(t, `UPDATE orders SET status = 'expired', closed_at = 2 WHERE order_no > ?`, int64(number(n-limits.OrdersScanned+10)))
	wants("of the newest few are", list(checkout.OrderFilter{}), number(n-limits.OrdersScanned+10), number(n-limits.OrdersScanned+11-limit), 2)
	if found := list(checkout.OrderFilter{CreatedAfter: time.UnixMilli(1)}); len(found) > 0 {
		t.Errorf("created after the last: got %v, want none", found)
	}
}

// The two walks over a user's orders are to use the index on users, whatever the planner thinks of it.
func TestAUsersOrdersAreFoundByTheirIndex(t *testing.T) {
	const n = 20_000
	s := openPlanned(t, n)
	with, events := s.dialect.eventsOfUser()
	_, orders := s.dialect.orders("= ?")
	for _, q := range []struct {
		name, text string
		args       []any
	}{
		{
			"events of a user", with + `SELECT ` + eventColumns + ` FROM ` + events + ` WHERE l.position > ? ORDER BY l.position LIMIT ?`,
			[]any{int64(math.MaxInt64), int64(0), "u-1", 0, 50},
		},
		{"units of some users", s.dialect.unitsInOrders("IN (?, ?)"), []any{int64(math.MaxInt64), int64(0), "u-1", "u-2", "a"}},
		{
			"orders of a user", with + `SELECT ` + orderColumns + ` FROM ` + orders + ` ORDER BY order_no DESC LIMIT ?`,
			[]any{int64(math.MaxInt64), int64(0), "u-1", 50},
		},
	} {
		plan := planOf(t, s, q.text, q.args...)
		at := time.Now()
		rows, err := s.query(t.Context(), q.text, q.args...)
		if err := scan(rows, err, func(*sql.Rows) error { return nil }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(at)
		t.Logf("%s, %d orders: %v", q.name, n, took)
		if !strings.Contains(plan, "orders_user") || strings.Contains(plan, "SCAN e") || strings.Contains(plan, "SCAN l") {
			t.Errorf("%s: does not use orders_user (%v):\n\t%s", q.name, took, plan)
		}
	}
}

// openPlanned opens a record with n orders of one line.
func openPlanned(t *testing.T, n int) *Store {
	t.Helper()
	s, err := Open(t.Context(), "sqlite:"+t.TempDir()+"/p.db", Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	series := `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) `
	for _, fill := range []string{
		`INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, close_reason, paid_late, reminded, version, events, metadata) ` +
			series + `SELECT 202611200000000000 + i, 'u-' || i, 'pending', 'CNY', 1, 1, 2, '', 0, 0, 1, 1, '' FROM n`,
		`INSERT INTO payments (payment_id, order_no, provider, status, amount, currency, created_at) ` +
			series + `SELECT 'pay-' || i, 202611200000000000 + i, 'sandbox', 'pending', 1, 'CNY', 1 FROM n`,
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
	return s
}

func planOf(t *testing.T, s *Store, text string, args ...any) string {
	t.Helper()
	var plan []string
	rows, err := s.query(t.Context(), `EXPLAIN QUERY PLAN `+text, args...)
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
	return strings.Join(plan, "\n\t") + "\n"
}
