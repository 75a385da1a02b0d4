package sqlstore

import (
	"database/sql"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// Looks go by their indexes in the plan that is kept for all arguments, before the database knows anything of its tables and when
// it knows all.
func TestPostgreSQLLooksByItsIndexes(t *testing.T) {
	t.Parallel()
	s := openPostgres(t)
	d := &postgresDialect
	filter := func(f checkout.OrderFilter) string {
		f.Limit = 50
		text, _ := d.ordersBy(f)
		return text
	}
	with, events := d.eventsOfUser()
	for _, known := range []bool{false, true} {
		if known {
			fillPostgres(t, s)
		}
		for _, c := range []struct{ about, query, want string }{
			{"refunded orders", filter(checkout.OrderFilter{Status: order.Refunded}), "orders_status"},
			{"refunded orders before one", filter(checkout.OrderFilter{Status: order.Refunded, Before: 7}), "orders_status"},
			{"orders of a user", filter(checkout.OrderFilter{UserID: "u-1"}), "orders_user"},
			{"paid orders of a user", filter(checkout.OrderFilter{UserID: "u-1", Status: order.Paid, Before: 7}), "orders_user"},
			{"orders of lately", filter(checkout.OrderFilter{CreatedAfter: time.UnixMilli(1)}), "orders_pkey"},
			{"what is due", dueText(``), "orders_due"},
			{"what is due and not reminded of", dueText(`AND reminded = 0`), "orders_due"},
			{"units of some users", d.unitsInOrders(" = ANY (?)"), "orders_user, order_lines_pkey"},
			{
				"events of a user", with + `SELECT ` + eventColumns + ` FROM ` + events + ` WHERE l.position > ? ORDER BY l.position LIMIT ?`,
				"orders_user, outbox_subject, event_log_event_id_key",
			},
			{"stock to be locked", lockStockText(d, " = ANY (?)"), "stock_pkey"},
			{"products of stock", productsText(" = ANY (?)"), "products_pkey"},
			{"users to be locked", lockUsersText(d, " = ANY (?)"), "users_pkey"},
			{"buyers to be locked", lockBuyersText(d, " = ANY (?)"), "buyers_pkey"},
			{"changed buyers", setBuyers.fromArrays, "buyers_pkey"},
			{"a buyer's session", `SELECT ` + sessionColumns + ` FROM sessions WHERE hash = ? AND idle_at > ?`, "sessions_hash_key"},
			{"a buyer's sessions", `DELETE FROM sessions WHERE user_id = ?`, "sessions_user"},
			{"lines", `SELECT line FROM order_lines WHERE order_no = ANY (?) ORDER BY order_no, line`, "order_lines_pkey"},
			{"keys", `SELECT order_no FROM idempotency_keys WHERE key = ANY (?)`, "idempotency_keys_pkey"},
			{"changed stock", setStock.fromArrays, "stock_pkey"},
			{"changed orders", setOrders.fromArrays, "orders_pkey"},
		} {
			plan := planPostgres(t, s, c.query)
			for _, index := range strings.Split(c.want, ", ") {
				if !strings.Contains(plan, index) {
					t.Errorf("%s (known: %v): does not use %s:\n%s", c.about, known, index, plan)
				}
			}
			if strings.Contains(plan, "Seq Scan") {
				t.Errorf("%s (known: %v): reads a whole table:\n%s", c.about, known, plan)
			}
		}
	}
}

func openPostgres(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testenv.PostgresURL(t), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// fillPostgres fills the record with orders most of which are paid and whose users are many.
func fillPostgres(t *testing.T, s *Store) {
	t.Helper()
	const series = ` FROM generate_series(1, 50000) AS i`
	for _, fill := range []string{
		`INSERT INTO products SELECT 'p-' || i, 'T', 1, 'CNY', 0, 0, 1, 2, 1, 0, 1, 1, 1 FROM generate_series(1, 2000) AS i`,
		`INSERT INTO stock (product_id, received, held, sold, version, events) SELECT product_id, 1, 0, 0, 1, 1 FROM products`,
		`INSERT INTO users SELECT 'u-' || i, '', '', '', '', '', 1, 1, 1 FROM generate_series(1, 2000) AS i`,
		`INSERT INTO buyers SELECT 'u-' || i, '', 1, 1 FROM generate_series(1, 2000) AS i`,
		`INSERT INTO sessions SELECT 's-' || i, 'u-' || i, sha256(i::text::bytea), 1, 2, 3 FROM generate_series(1, 2000) AS i`,
		`INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at, close_reason, paid_late,
			reminded, version, events, metadata) SELECT 202611200000000000 + i, 'u-' || i % 7919,
			CASE WHEN i % 1000 = 0 THEN 'pending' WHEN i % 5000 = 1 THEN 'refunded' ELSE 'paid' END, 'CNY', 1, 1, 1 + i,
			CASE WHEN i % 1000 = 0 THEN NULL ELSE 2 END, CASE WHEN i % 5000 = 1 AND i % 1000 <> 0 THEN 3 END, '', 0, 0, 1, 1, ''` + series,
		`INSERT INTO payments SELECT 'pay-' || i, 202611200000000000 + i, 'sandbox', 'succeeded', 1, 'CNY', 't-' || i, 1, 2` + series,
		`INSERT INTO refunds SELECT 'back-' || i, 'pay-' || i, 202611200000000000 + i, 1, 'CNY', '', 'due', 2 FROM generate_series(1, 2000) AS i`,
		`INSERT INTO order_transitions SELECT 202611200000000000 + i, 1, '', 'pending', '', 1, 1` + series,
		`INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
			SELECT 'p-' || i % 2000, 1, 'held', -1, 1, 0, 202611200000000000 + i, 1` + series,
		`INSERT INTO order_lines SELECT 202611200000000000 + i, 1, 'p-' || i % 2000, 'T', 1, 1` + series,
		`INSERT INTO idempotency_keys SELECT decode(md5(i::text), 'hex'), decode(md5(i::text), 'hex'), 202611200000000000 + i` + series,
		`INSERT INTO outbox SELECT i, 'order', '20261120' || to_char(i, 'FM0000000'), 1, 'order.placed', 1, '{}'` + series,
		`INSERT INTO event_log SELECT i, i` + series,
		`ANALYZE`,
	} {
		if _, err := s.patient.ExecContext(t.Context(), fill); err != nil {
			t.Fatal(err)
		}
	}
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// planPostgres is the plan that serves whatever arguments come, on a connection as the desk has them.
func planPostgres(t *testing.T, s *Store, query string) string {
	t.Helper()
	conn, err := s.read.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // a test
	text := s.spelt(query)
	nulls := strings.TrimSuffix(strings.Repeat("NULL,", len(parameter.FindAllString(text, -1))), ",")
	for _, before := range []string{`SET plan_cache_mode = force_generic_plan`, `PREPARE planned AS ` + text} {
		if _, err := conn.ExecContext(t.Context(), before); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	found, err := conn.QueryContext(t.Context(), fmt.Sprintf(`EXPLAIN EXECUTE planned(%s)`, nulls)) //nolint:rowserrcheck // scan does
	var plan []string
	err = scan(&rows{found, func() {}}, err, func(r *sql.Rows) error {
		var line string
		err := r.Scan(&line)
		plan = append(plan, line)
		return err
	})
	if err == nil {
		_, err = conn.ExecContext(t.Context(), `DEALLOCATE planned`)
	}
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(plan, "\n")
}
