package sqlstore

import (
	"database/sql"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// Looks go by their indexes, whatever the planner thinks of them, and none sorts what an index has in order.
func TestMariaDBLooksByItsIndexes(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	fillMariaDB(t, s)
	filter := func(f checkout.OrderFilter) (string, []any) {
		f.Limit = 50
		return s.dialect.ordersBy(f)
	}
	with, events := s.dialect.eventsOfUser()
	for _, c := range []struct {
		about, plan string // type and key of each table
		look        func() (string, []any)
	}{
		{"refunded orders", "orders ref orders_status", func() (string, []any) { return filter(checkout.OrderFilter{Status: order.Refunded}) }},
		{"paid orders before one", "orders range orders_status", func() (string, []any) {
			return filter(checkout.OrderFilter{Status: order.Paid, Before: 202611200000000007})
		}},
		{"pending orders", "orders ref orders_status", func() (string, []any) { return filter(checkout.OrderFilter{Status: order.Pending}) }},
		{"pending orders of lately", "orders range orders_status", func() (string, []any) {
			return filter(checkout.OrderFilter{Status: order.Pending, CreatedAfter: time.UnixMilli(1)})
		}},
		{"orders of a user", "orders range orders_user", func() (string, []any) { return filter(checkout.OrderFilter{UserID: "u-1"}) }},
		{"paid orders of a user", "orders range orders_user", func() (string, []any) {
			return filter(checkout.OrderFilter{UserID: "u-1", Status: order.Paid})
		}},
		{"orders of lately", "orders range PRIMARY", func() (string, []any) { return filter(checkout.OrderFilter{CreatedAfter: time.UnixMilli(1)}) }},
		{"what is due", "orders range orders_due", func() (string, []any) {
			return dueText(``), []any{int64(1), int64(1000), int64(1), int64(1), 100}
		}},
		{"what is due and not reminded of", "orders range orders_due", func() (string, []any) {
			return dueText(`AND reminded = 0`), []any{int64(1), int64(1000), int64(1), int64(1), 100}
		}},
		{"units of some users", "orders range orders_user, l ref PRIMARY", func() (string, []any) {
			return s.dialect.unitsInOrders("IN (?, ?)"), []any{int64(math.MaxInt64), int64(0), "u-1", "u-2", "a"}
		}},
		{"events of a user", "orders range orders_user, e ref outbox_subject, l eq_ref event_log_event", func() (string, []any) {
			return with + `SELECT ` + eventColumns + ` FROM ` + events + ` WHERE l.position > ? ORDER BY l.position LIMIT ?`,
				[]any{int64(math.MaxInt64), int64(0), "u-1", 0, 50}
		}},
	} {
		text, args := c.look()
		plan, extra := planMariaDB(t, s, text, args...)
		if plan != c.plan {
			t.Errorf("%s: got %s, want %s", c.about, plan, c.plan)
		}
		if strings.Contains(extra, "filesort") && !strings.Contains(text, "l.position") && !strings.Contains(text, "GROUP BY") {
			t.Errorf("%s: sorts: %s", c.about, extra)
		}
	}
}

// Locking looks pass only what they ask for, in the order of its keys: a small table is not read whole.
func TestMariaDBLocksByThePrimaryKeyOnly(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	for n := 1; n <= 5; n++ {
		s.mustExec(t, `INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active, counts_users, version, created_at, updated_at)
			VALUES (?, 't', 1, 'CNY', 0, 0, 1, 0, 1, 1, 1)`, fmt.Sprint("p", n))
		s.mustExec(t, `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES (?, 1, 0, 0, 1, 1)`, fmt.Sprint("p", n))
		s.mustExec(t, `INSERT INTO users (user_id, name, phone, email, address, metadata, version, created_at, updated_at)
			VALUES (?, '', '', '', '', '', 1, 1, 1)`, fmt.Sprint("p", n))
	}
	s.mustExec(t, `INSERT INTO buyers (user_id, recent, version, at) SELECT user_id, '', 1, 1 FROM users`)
	s.mustExec(t, `ANALYZE TABLE products, stock, users, buyers`)
	ask := func(n int) (in string, args []any) {
		for i := range n {
			args = append(args, fmt.Sprint("p", i+1))
		}
		return "IN (" + marks(n) + ")", args
	}
	for _, n := range []int{1, 2, 4, 8, 512} {
		in, args := ask(n)
		want := "s range PRIMARY"
		if n == 1 {
			want = "s const PRIMARY"
		}
		if plan, extra := planMariaDB(t, s, lockStockText(s.dialect, in), args...); plan != want || strings.Contains(extra, "sort") {
			t.Errorf("stock of %d products: got %s (%s), want %s", n, plan, extra, want)
		}
		want = strings.ReplaceAll(want, "s ", "users ")
		if plan, extra := planMariaDB(t, s, lockUsersText(s.dialect, in), args...); plan != want || strings.Contains(extra, "sort") {
			t.Errorf("%d users: got %s (%s), want %s", n, plan, extra, want)
		}
		want = strings.ReplaceAll(want, "users ", "buyers ")
		if plan, extra := planMariaDB(t, s, lockBuyersText(s.dialect, in), args...); plan != want || strings.Contains(extra, "sort") {
			t.Errorf("%d buyers: got %s (%s), want %s", n, plan, extra, want)
		}
	}
	for _, c := range []struct{ about, query, want string }{
		{"a sub-select's rows", `DELETE FROM ledger_batches WHERE batch_id IN
			(SELECT batch_id FROM (SELECT batch_id FROM ledger_batches WHERE at < 5 ORDER BY at LIMIT 10) AS old)`, "ledger_batches eq_ref PRIMARY"},
		{"relayed events", stopWaitingText, "outbox_waiting eq_ref PRIMARY"},
	} {
		var args []any
		for i := range strings.Count(c.query, "?") {
			args = append(args, int64(1+8*i))
		}
		if plan, _ := planMariaDB(t, s, c.query, args...); !strings.HasSuffix(plan, c.want) && !strings.Contains(plan, c.want+",") {
			t.Errorf("%s: got %s, want %s", c.about, plan, c.want)
		}
	}
	// Changed rows come first, and what they are to be is looked up by their keys.
	for _, n := range []int{2, 8, mysqlRowsMax} {
		var args []any
		for i := range n {
			args = append(args, int64(1), int64(0), int64(0), int64(2), int64(2), fmt.Sprint("p", i), int64(1))
		}
		query, args := setStock.rowsMySQL(n, args)
		plan, _ := planMariaDB(t, s, query, args...)
		if !regexp.MustCompile(`^t range PRIMARY, <derived2> ref \S*key0`).MatchString(plan) {
			t.Errorf("%d changed rows: got %.200s", n, plan)
		}
	}
}

func openMariaDB(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testenv.MariaDBURL(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *Store) mustExec(t *testing.T, query string, args ...any) {
	t.Helper()
	if _, err := s.exec(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

// fillMariaDB writes ten thousand orders of one line and one event, one in a hundred of them not pending.
func fillMariaDB(t *testing.T, s *Store) {
	t.Helper()
	s.mustExec(t, `CREATE TABLE n (i BIGINT NOT NULL PRIMARY KEY)`)
	s.mustExec(t, `INSERT INTO n VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)`)
	s.mustExec(t, `INSERT INTO n SELECT a.i * 1000 + b.i * 100 + c.i * 10 + d.i FROM n a, n b, n c, n d WHERE a.i + b.i + c.i > 0`)
	for _, fill := range []string{
		`INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, close_reason, paid_late, reminded, version, events, metadata)
			SELECT 202611200000000000 + i, CONCAT('u-', i), CASE WHEN i % 100 = 1 THEN 'paid' ELSE 'pending' END, 'CNY', 1, 1, 2 + i,
			CASE WHEN i % 100 = 1 THEN 3 END, '', 0, 0, 1, 1, '' FROM n`,
		`INSERT INTO payments (payment_id, order_no, provider, status, amount, currency, created_at)
			SELECT CONCAT('pay-', i), 202611200000000000 + i, 'sandbox', 'pending', 1, 'CNY', 1 FROM n`,
		`INSERT INTO refunds (refund_id, payment_id, order_no, amount, currency, reason, status, created_at)
			SELECT CONCAT('back-', i), CONCAT('pay-', i), 202611200000000000 + i, 1, 'CNY', '', 'due', 2 FROM n`,
		`INSERT INTO order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)
			SELECT 202611200000000000 + i, 1, '', 'pending', '', 1, 1 FROM n`,
		`INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active, counts_users, version, created_at, updated_at)
			SELECT CONCAT('p-', i), 't', 1, 'CNY', 0, 0, 1, 0, 1, 1, 1 FROM n`,
		`INSERT INTO stock (product_id, received, held, sold, version, events) SELECT product_id, 1, 0, 0, 1, 1 FROM products`,
		`INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
			SELECT CONCAT('p-', i), 1, 'held', -1, 1, 0, 202611200000000000 + i, 1 FROM n`,
		`INSERT INTO order_lines (order_no, line, product_id, title, quantity, unit_price) SELECT 202611200000000000 + i, 1, 'a', 'T', 1, 1 FROM n`,
		`INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data)
			SELECT i + 1, 'order', CONCAT('20261120', LPAD(i, 7, '0')), 1, 'order.placed', 1, '{}' FROM n`,
		`INSERT INTO event_log (position, event_id) SELECT i + 1, i + 1 FROM n`,
		`ANALYZE TABLE orders, order_lines, order_transitions, payments, refunds, products, stock, stock_ledger, outbox, event_log`,
	} {
		s.mustExec(t, fill)
	}
}

// planMariaDB asks how a query would be run: type and key of each table in the order in which they are read, and what else is said.
func planMariaDB(t *testing.T, s *Store, text string, args ...any) (plan, extra string) {
	t.Helper()
	var tables, said []string
	one, err := s.writer.take(t.Context()) // locking looks are refused where nothing can be written
	if err != nil {
		t.Fatal(err)
	}
	defer one.give()
	explain := `EXPLAIN `
	if testenv.OnMySQL() {
		explain = `EXPLAIN FORMAT=TRADITIONAL ` // it would draw a tree
	}
	found, err := one.query(t.Context(), explain+s.spelt(text), args...)
	err = scan(found, err, func(r *sql.Rows) error {
		columns, err := r.Columns() // MySQL has more of them
		if err != nil {
			return err
		}
		values, into := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		err = r.Scan(into...)
		of := func(name string) string { return values[slices.Index(columns, name)].String }
		tables = append(tables, strings.Join([]string{of("table"), of("type"), of("key")}, " "))
		said = append(said, of("Extra"))
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return strings.Join(slices.DeleteFunc(tables, func(s string) bool { return strings.TrimSpace(s) == "" }), ", "), strings.Join(said, "; ")
}
