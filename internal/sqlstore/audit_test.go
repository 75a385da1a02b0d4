package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// life is a record in which everything has happened once, as bytes of its file.
type life struct {
	file   []byte
	orders map[string]order.Number // by what became of them
	now    time.Time
}

var lived = sync.OnceValues(func() (*life, error) {
	dir, err := os.MkdirTemp("", "holdfast-audit-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	path := filepath.Join(dir, "lived.db")
	v, err := live("sqlite:" + path)
	if err != nil {
		return nil, err
	}
	v.file, err = os.ReadFile(path)
	return v, err
})

// live lets orders be placed, paid, paid late, paid twice, cancelled, paid after that, expired, fulfilled, reminded; of one line
// and of two; of products with a limit, without, and with one that was set later.
func live(url string) (*life, error) {
	ctx := context.Background()
	clock := conform.NewClock(time.Date(2026, 11, 20, 23, 0, 0, 0, time.UTC))
	s, err := sqlstore.Open(ctx, url, sqlstore.Options{Clock: clock.Now, Degraded: true})
	if err != nil {
		return nil, err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	d := liver{l: ledger.New(s, ledger.Options{}), orders: map[string]order.Number{}}
	// One that more than 9 999 999 a day need.
	tx, err := s.Begin(ctx)
	if err != nil {
		return nil, err
	}
	_, err1 := tx.GrantNumbers(ctx, order.DayOf(clock.Now()), 9_999_993)
	d.must(err1, tx.Commit(ctx))

	for _, id := range []product.ID{"plain", "other", "limited", "later", "idle"} {
		p := ledger.PutProduct{ID: id, Title: is("T"), Price: is(money.Money{Amount: 500, Currency: "CNY"})}
		if id == "limited" {
			p.MaxPerUser = is(int64(9))
		}
		_, err := ledger.Submit(ctx, d.l, p)
		d.must(err)
		if id != "idle" {
			_, err = ledger.Submit(ctx, d.l, ledger.AdjustStock{ProductID: id, Delta: 50, Reason: "delivery", Ref: "PO-1"})
			d.must(err)
			_, err = ledger.Submit(ctx, d.l, ledger.AdjustStock{ProductID: id, Delta: -2, Reason: "broken"})
			d.must(err)
		}
	}
	for _, name := range []string{"cancelled", "late", "expired", "tie", "paid", "duplicate", "fulfilled", "reminded"} {
		d.place(name, "u-"+user.ID(name), "plain", "limited")
	}
	d.place("before", "u-later", "later")
	_, err = ledger.Submit(ctx, d.l, ledger.PutProduct{ID: "later", MaxPerUser: is(int64(7))})
	d.must(err)
	d.place("after", "u-later", "later", "plain")
	d.payment("paid")
	d.payment("late")
	clock.Step(time.Second)
	for _, name := range []string{"paid", "duplicate", "fulfilled", "before"} {
		d.pay(name, "first")
	}
	_, err = ledger.Submit(ctx, d.l, ledger.Cancel{Number: d.orders["cancelled"], Reason: "changed my mind"})
	d.must(err)
	_, err = ledger.Submit(ctx, d.l, ledger.Fulfil{Number: d.orders["fulfilled"]})
	d.must(err)
	_, err = ledger.Submit(ctx, d.l, ledger.Remind{Number: d.orders["reminded"], Lead: 5 * time.Minute})
	d.must(err)
	clock.Step(time.Hour) // another day
	d.pay("tie", "first")
	for _, name := range []string{"late", "expired", "reminded", "after"} {
		_, err = ledger.Submit(ctx, d.l, ledger.Expire{Number: d.orders[name]})
		d.must(err)
	}
	d.pay("late", "late")
	d.pay("duplicate", "second")
	d.place("pending", "u-pending", "plain", "limited")
	d.place("next", "u-next", "other")
	d.payment("pending")
	leases, err1 := s.LeaseShards(ctx, "relay", time.Minute)
	_, err2 := s.Relay(ctx, leases, 8) // others wait
	d.must(err1, err2, d.l.Close(ctx), s.Close())
	return &life{orders: d.orders, now: clock.Now()}, d.err
}

// liver keeps the first thing that went wrong.
type liver struct {
	l      *ledger.Ledger
	orders map[string]order.Number
	keys   byte
	err    error
}

func (d *liver) must(errs ...error) { d.err = errors.Join(append([]error{d.err}, errs...)...) }

func (d *liver) place(name string, u user.ID, products ...product.ID) {
	d.keys++
	c := ledger.Place{Key: ledger.Key{d.keys}, UserID: u, Metadata: []byte(`{}`)}
	for _, id := range products {
		c.Lines = append(c.Lines, ledger.PlaceLine{ProductID: id, Quantity: 2})
	}
	placed, err := ledger.Submit(context.Background(), d.l, c)
	d.must(err)
	d.orders[name] = placed.Number
}

func (d *liver) payment(name string) {
	_, err := ledger.Submit(context.Background(), d.l,
		ledger.CreatePayment{Number: d.orders[name], Provider: "sandbox", PaymentID: "pay-" + name + "-open"})
	d.must(err)
}

func (d *liver) pay(name, how string) {
	amount := money.Money{Amount: 2000, Currency: "CNY"}
	if name == "before" {
		amount.Amount = 1000
	}
	_, err := ledger.Submit(context.Background(), d.l, ledger.Pay{PaymentID: "pay-" + name + "-" + how, Notice: payment.Notice{
		Provider: "sandbox", OrderNumber: d.orders[name], TransactionID: "t-" + name + "-" + how, Amount: amount, Succeeded: true,
	}})
	d.must(err)
}

// fill puts numbers of orders in place of $name, as the record keeps them, and of #name, as people see them.
func (v *life) fill(text string) string {
	for name, no := range v.orders {
		text = strings.ReplaceAll(text, "$"+name, fmt.Sprint(int64(no)))
		text = strings.ReplaceAll(text, "#"+name, no.String())
	}
	return text
}

// open opens a copy of the record.
func (v *life) open(t *testing.T, opt sqlstore.Options, plants ...string) *sqlstore.Store {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.db")
	if err := os.WriteFile(path, v.file, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range plants {
		plant(t, path, `PRAGMA ignore_check_constraints = ON; `+v.fill(p))
	}
	opt.Clock = func() time.Time { return v.now }
	s, err := sqlstore.Open(t.Context(), "sqlite:"+path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func plant(t *testing.T, path, text string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), text)
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatalf("plant: %v", err)
	}
}

// audited plants something in a copy of the record and audits it.
func (v *life) audited(t *testing.T, plants ...string) audit.Report {
	t.Helper()
	report, err := v.open(t, sqlstore.Options{ReadOnly: true}, plants...).Audit(t.Context(), sqlstore.AuditOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// offenders are the samples of every check that failed.
func offenders(r audit.Report) map[string][]string {
	found := map[string][]string{}
	for _, c := range r.Checks {
		if c.Violations > 0 {
			found[c.ID] = c.Samples
		}
	}
	return found
}

func TestACleanRecordIsClean(t *testing.T) {
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	report := v.audited(t)
	if diff := cmp.Diff(map[string][]string{}, offenders(report)); diff != "" || !report.Clean || !report.CheckedAt.Equal(v.now) {
		t.Errorf("clean %v at %s, violations:\n%s", report.Clean, report.CheckedAt, diff)
	}
	var ids []string
	for _, c := range report.Checks {
		ids = append(ids, c.ID)
		if c.Name == "" {
			t.Errorf("%s has no name", c.ID)
		}
	}
	if want := []string{"V1", "V2", "V3", "V4", "V5", "V6", "V7", "V8", "V9", "V10", "V11"}; !slices.Equal(ids, want) {
		t.Errorf("checks are %v, want %v", ids, want)
	}
}

// rebuilt makes a table anew without its keys and generated columns, so that anything can be written into it.
func rebuilt(table string) string {
	return "CREATE TABLE rebuilt AS SELECT * FROM " + table + "; DROP TABLE " + table + "; ALTER TABLE rebuilt RENAME TO " + table + "; "
}

// waits lets every event wait for the log.
const waits = `; DELETE FROM event_log; DELETE FROM outbox_waiting; UPDATE log_head SET position = 0;
	INSERT INTO outbox_waiting (shard, event_id) SELECT 0, id FROM outbox`

const insertEvent = `INSERT INTO outbox (subject_kind, subject, sequence, type, at, data) VALUES `

// Each row is a violation in an otherwise clean record. Where one lie breaks two rules, both must say so.
var planted = []struct {
	story string
	plant string
	want  map[string][]string
}{
	// V1: what was received is available, held or sold.
	{
		"a delivery that calls itself a release",
		`UPDATE stock_ledger SET kind = 'released' WHERE product_id = 'other' AND version = 1`,
		map[string][]string{"V1": {"other"}},
	},
	{
		"an order's hold that calls itself a delivery",
		`UPDATE stock_ledger SET kind = 'received' WHERE product_id = 'plain' AND order_no = $pending`,
		map[string][]string{"V1": {"plain"}},
	},
	{
		"units that are available and not there",
		rebuilt("stock") + `UPDATE stock SET available = available + 1 WHERE product_id = 'limited'`,
		map[string][]string{"V1": {"limited"}},
	},
	{"a product without stock", `DELETE FROM stock WHERE product_id = 'idle'`, map[string][]string{"V1": {"idle"}}},
	{"stock without a product", `DELETE FROM products WHERE product_id = 'other'`, map[string][]string{"V1": {"other"}}},
	{
		"units from nowhere",
		`UPDATE stock SET received = received + 5 WHERE product_id = 'plain'`,
		map[string][]string{"V1": {"plain"}, "V10": {"plain"}},
	},
	{
		"fewer than none",
		`UPDATE stock_ledger SET available = -3 WHERE product_id = 'other' AND version = 1;
		UPDATE stock SET received = received - 53 WHERE product_id = 'other'`,
		map[string][]string{"V1": {"other"}, "V10": {"other"}},
	},

	// V2: held and sold are the units in orders.
	{
		"a pending order of something else",
		`UPDATE order_lines SET product_id = 'other' WHERE order_no = $pending AND product_id = 'plain'`,
		map[string][]string{"V2": {"other", "plain"}},
	},
	{
		"a paid order of something else",
		`UPDATE order_lines SET product_id = 'other' WHERE order_no = $paid AND product_id = 'plain'`,
		map[string][]string{"V2": {"other", "plain"}},
	},
	{
		"a fulfilled order of something that does not exist",
		`UPDATE order_lines SET product_id = 'nothing' WHERE order_no = $fulfilled AND product_id = 'plain'`,
		map[string][]string{"V2": {"nothing", "plain"}},
	},
	{
		"units held for nobody",
		`UPDATE stock SET held = held + 1 WHERE product_id = 'other'`,
		map[string][]string{"V2": {"other"}, "V10": {"other"}},
	},
	{
		"units sold to nobody",
		`UPDATE stock SET sold = sold + 1 WHERE product_id = 'other'`,
		map[string][]string{"V2": {"other"}, "V10": {"other"}},
	},

	// V3: one number, one key, one order.
	{
		"an order with two keys",
		`INSERT INTO idempotency_keys (key, fingerprint, order_no) VALUES (randomblob(16), randomblob(16), $next)`,
		map[string][]string{"V3": {"#next"}},
	},
	{
		"a key without an order",
		`INSERT INTO idempotency_keys (key, fingerprint, order_no) VALUES (randomblob(16), randomblob(16), $next + 1)`,
		map[string][]string{"V3": {"202611210000003"}},
	},
	{
		"a key with two orders",
		rebuilt("idempotency_keys") + `UPDATE idempotency_keys SET key = (SELECT key FROM idempotency_keys WHERE order_no = $paid)
			WHERE order_no = $next`,
		map[string][]string{"V3": {"#paid"}},
	},
	{
		"a number with two orders",
		rebuilt("orders") + `INSERT INTO orders SELECT * FROM orders WHERE order_no = $paid`,
		map[string][]string{"V3": {"#paid"}},
	},

	// V4: an order's life.
	{"a step left out", `UPDATE order_transitions SET seq = 3 WHERE order_no = $paid AND seq = 2`, map[string][]string{"V4": {"#paid"}}},
	{
		"a life that begins in the middle",
		`UPDATE order_transitions SET seq = seq + 1 WHERE order_no = $paid AND seq = 2;
		UPDATE order_transitions SET seq = seq + 1 WHERE order_no = $paid AND seq = 1`,
		map[string][]string{"V4": {"#paid"}},
	},
	{
		"an illegal step",
		`UPDATE order_transitions SET from_status = 'pending' WHERE order_no = $fulfilled AND seq = 3`,
		map[string][]string{"V4": {"#fulfilled"}},
	},
	{
		"a step that does not follow",
		`UPDATE order_transitions SET from_status = 'paid' WHERE order_no = $cancelled AND seq = 2`,
		map[string][]string{"V4": {"#cancelled"}},
	},
	{
		"a step more than was taken",
		`UPDATE orders SET version = version + 1 WHERE order_no = $pending`,
		map[string][]string{"V4": {"#pending"}},
	},
	{
		"an order that is not where its life ended",
		`UPDATE orders SET status = 'fulfilled' WHERE order_no = $paid`,
		map[string][]string{"V4": {"#paid"}},
	},
	{
		"paid and then cancelled",
		`INSERT INTO order_transitions VALUES ($paid, 3, 'paid', 'cancelled', '', 3, 0);` + insertEvent + `('order', '#paid', 3,
			'order.cancelled', 0, ''); UPDATE orders SET events = 3, version = 3 WHERE order_no = $paid` + waits,
		map[string][]string{"V4": {"#paid"}},
	},
	{
		"a life without an order",
		`INSERT INTO order_transitions VALUES ($next + 1, 1, '', 'pending', '', 1, 0)`,
		map[string][]string{"V4": {"202611210000003"}, "V8": {"202611210000003"}},
	},
	{"a status nobody knows", `UPDATE orders SET status = 'lost' WHERE order_no = $expired`, map[string][]string{"V4": {"#expired"}}},

	// V5: paid orders have their money.
	{
		"too little money",
		`UPDATE payments SET amount = amount - 1 WHERE order_no = $paid AND status = 'succeeded'`,
		map[string][]string{"V5": {"#paid"}},
	},
	{
		"other money",
		`UPDATE payments SET currency = 'USD' WHERE order_no = $fulfilled`,
		map[string][]string{"V5": {"#fulfilled"}},
	},
	{"no money", `DELETE FROM payments WHERE order_no = $tie`, map[string][]string{"V5": {"#tie"}}},
	{
		"money that never arrived",
		`UPDATE payments SET status = 'failed' WHERE order_no = $before`,
		map[string][]string{"V5": {"#before"}},
	},
	{
		"money for an order that still waits",
		`UPDATE payments SET status = 'succeeded', transaction_id = 'x', paid_at = 0 WHERE order_no = $pending`,
		map[string][]string{"V5": {"#pending"}},
	},

	// V6: money that must go back.
	{"late money kept", `DELETE FROM refunds WHERE order_no = $late`, map[string][]string{"V6": {"pay-late-late"}}},
	{"a second payment kept", `DELETE FROM refunds WHERE order_no = $duplicate`, map[string][]string{"V6": {"pay-duplicate-second"}}},
	{
		"half of it goes back",
		`UPDATE refunds SET amount = amount / 2 WHERE order_no = $late`,
		map[string][]string{"V6": {"pay-late-late"}},
	},
	{
		"other money goes back",
		`UPDATE refunds SET currency = 'USD' WHERE order_no = $late`,
		map[string][]string{"V6": {"pay-late-late"}},
	},
	{
		"it goes back twice",
		rebuilt("refunds") + `INSERT INTO refunds SELECT * FROM refunds WHERE order_no = $late`,
		map[string][]string{"V6": {"pay-late-late"}},
	},
	{
		"the money that paid goes back",
		`INSERT INTO refunds VALUES ('re-x', 'pay-paid-open', $paid, 2000, 'CNY', 'duplicate', 'due', 0)`,
		map[string][]string{"V6": {"pay-paid-open"}},
	},
	{
		"the first payment goes back instead of the second",
		`UPDATE refunds SET payment_id = 'pay-duplicate-first' WHERE order_no = $duplicate`,
		map[string][]string{"V6": {"pay-duplicate-first", "pay-duplicate-second"}},
	},
	{
		"money goes back that never came",
		`INSERT INTO refunds VALUES ('re-x', 'pay-late-open', $late, 2000, 'CNY', 'late', 'due', 0)`,
		map[string][]string{"V6": {"pay-late-open"}},
	},
	{
		"a refund of nothing",
		`INSERT INTO refunds VALUES ('re-x', 'pay-x', $late, 2000, 'CNY', 'late', 'due', 0)`,
		map[string][]string{"V6": {"pay-x"}},
	},
	{
		"money without an order",
		`INSERT INTO payments VALUES ('pay-x', $next + 1, 'sandbox', 'succeeded', 1, 'CNY', 'x', 0, 0)`,
		map[string][]string{"V6": {"pay-x"}},
	},

	// V7: never early, never long overdue.
	{"expired early", `UPDATE orders SET closed_at = pay_by - 1 WHERE order_no = $expired`, map[string][]string{"V7": {"#expired"}}},
	{"expired at no time", `UPDATE orders SET closed_at = NULL WHERE order_no = $expired`, map[string][]string{"V7": {"#expired"}}},
	{
		"pending long past its time",
		`UPDATE orders SET pay_by = pay_by - 30 * 60 * 1000 - 60 * 1000 - 1 WHERE order_no = $next`,
		map[string][]string{"V7": {"#next"}},
	},
	{"pending as late as may be", `UPDATE orders SET pay_by = pay_by - 30 * 60 * 1000 - 60 * 1000 WHERE order_no = $next`, map[string][]string{}},

	// V8: everything is told.
	{
		"the last event left out",
		`DELETE FROM outbox WHERE subject = '#duplicate' AND sequence = 3` + waits,
		map[string][]string{"V8": {"#duplicate"}},
	},
	{
		"an event left out",
		`DELETE FROM outbox WHERE subject = '#duplicate' AND sequence = 2` + waits,
		map[string][]string{"V8": {"#duplicate"}},
	},
	{
		"nothing told at all",
		`DELETE FROM outbox WHERE subject = '#pending'` + waits,
		map[string][]string{"V8": {"#pending"}},
	},
	{
		"an order that says it told more",
		`UPDATE orders SET events = events + 1 WHERE order_no = $pending`,
		map[string][]string{"V8": {"#pending"}},
	},
	{
		"an event told twice, and one not",
		`DROP INDEX outbox_subject; UPDATE outbox SET sequence = 2 WHERE subject = '#late' AND sequence = 3`,
		map[string][]string{"V8": {"#late"}},
	},
	{
		"told as something else",
		`UPDATE outbox SET type = 'order.cancelled' WHERE subject = '#expired' AND sequence = 2`,
		map[string][]string{"V8": {"#expired"}},
	},
	{
		"a step told that was not taken",
		`UPDATE outbox SET type = 'order.paid' WHERE subject = '#late' AND type = 'payment.late'`,
		map[string][]string{"V8": {"#late"}},
	},
	{
		"a step that names another event",
		`UPDATE order_transitions SET event_sequence = 1 WHERE order_no = $paid AND seq = 2`,
		map[string][]string{"V8": {"#paid"}},
	},
	{
		"a long number untold",
		`DELETE FROM outbox WHERE subject = '2026112010000001' AND sequence = 1` + waits,
		map[string][]string{"V8": {"2026112010000001"}},
	},
	{
		"events of an order that is not there",
		insertEvent + `('order', '202611210000003', 1, 'order.placed', 0, '')` + waits,
		map[string][]string{"V8": {"202611210000003"}},
	},
	{"events of what is no order", insertEvent + `('order', 'x', 1, 'order.placed', 0, '')` + waits, map[string][]string{"V8": {"x"}}},
	{
		"the same number in another spelling",
		`UPDATE outbox SET subject = '2026112100000001' WHERE subject = '202611210000001'`,
		map[string][]string{"V8": {"#pending", "2026112100000001"}},
	},
	{
		"a product's event left out",
		`DELETE FROM outbox WHERE subject = 'other' AND sequence = 2` + waits,
		map[string][]string{"V8": {"other"}},
	},
	{
		"a product's last event left out",
		`DELETE FROM outbox WHERE subject = 'other' AND sequence = (SELECT events FROM stock WHERE product_id = 'other')` + waits,
		map[string][]string{"V8": {"other"}},
	},
	{
		"a product that says it told more",
		`UPDATE stock SET events = events + 1 WHERE product_id = 'idle'`,
		map[string][]string{"V8": {"idle"}},
	},
	{
		"events of a product that is not there",
		insertEvent + `('product', 'x', 1, 'stock.changed', 0, '')` + waits,
		map[string][]string{"V8": {"x"}},
	},

	{
		"an event that is neither in the log nor waits for it",
		`DELETE FROM outbox_waiting WHERE event_id = (SELECT id FROM outbox WHERE subject = '#pending')`,
		map[string][]string{"V8": {"order:#pending:1"}},
	},
	{
		"an event in the log that still waits",
		`INSERT INTO event_log SELECT (SELECT position + 1 FROM log_head), id FROM outbox WHERE subject = '#pending';
		UPDATE log_head SET position = position + 1`,
		map[string][]string{"V8": {"order:#pending:1"}},
	},
	{
		"something waits that is no event",
		`UPDATE outbox_waiting SET event_id = 1000 WHERE event_id = (SELECT id FROM outbox WHERE subject = '#pending')`,
		map[string][]string{"V8": {"event 1000", "order:#pending:1"}},
	},
	{
		"a hole in the log",
		`UPDATE event_log SET position = position + 1 WHERE position = 8; UPDATE log_head SET position = position + 1`,
		map[string][]string{"V8": {"log: 8 events from 1 to 9, head 9"}},
	},
	{
		"a log that is longer than its head says",
		`UPDATE log_head SET position = position - 1`,
		map[string][]string{"V8": {"log: 8 events from 1 to 8, head 7"}},
	},

	// V9: totals are sums of lines.
	{
		"a total that is too high",
		`UPDATE orders SET total_amount = total_amount + 1 WHERE order_no = $pending`,
		map[string][]string{"V9": {"#pending"}},
	},
	{
		"a line that became cheaper",
		`UPDATE order_lines SET unit_price = unit_price - 1 WHERE order_no = $paid AND line = 2`,
		map[string][]string{"V9": {"#paid"}},
	},
	{"an order without lines", `DELETE FROM order_lines WHERE order_no = $cancelled`, map[string][]string{"V9": {"#cancelled"}}},
	{
		"a line without an order",
		`INSERT INTO order_lines VALUES ($next + 1, 1, 'other', 'T', 1, 1)`,
		map[string][]string{"V9": {"202611210000003"}},
	},
	{
		"a line so dear that the sum begins anew",
		`UPDATE order_lines SET unit_price = 9223372036854775807 WHERE order_no = $expired AND line = 1`,
		map[string][]string{"V9": {"#expired"}},
	},

	// V10: the stock ledger replayed.
	{
		"an entry left out",
		`DELETE FROM stock_ledger WHERE order_no = $expired AND product_id = 'plain'`,
		map[string][]string{"V10": {"plain"}},
	},
	{
		"a version given twice",
		`UPDATE stock_ledger SET version = version - 1 WHERE order_no = $pending AND product_id = 'plain'`,
		map[string][]string{"V10": {"plain"}},
	},
	{
		"a version that was not written",
		`UPDATE stock SET version = version + 1 WHERE product_id = 'other'`,
		map[string][]string{"V10": {"other"}},
	},
	{
		"sold before it was delivered",
		`UPDATE stock_ledger SET id = -id, version = version + 1 WHERE product_id = 'other' AND version = 1;
		UPDATE stock_ledger SET version = 1 WHERE product_id = 'other' AND id > 0 AND version = 2;
		UPDATE stock_ledger SET id = (SELECT MAX(id) + 1 FROM stock_ledger) WHERE id < 0;
		UPDATE stock_ledger SET id = id + 1000, version = 3 WHERE order_no = $next`,
		map[string][]string{"V10": {"other"}},
	},
	{
		"a sale larger than its order",
		`UPDATE stock_ledger SET held = held - 1, sold = sold + 1 WHERE product_id = 'plain' AND kind = 'sold' AND order_no = $paid`,
		map[string][]string{"V10": {"plain"}},
	},
	{
		"entries of a product that is not there",
		`INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, at) VALUES ('x', 1, 'received', 1, 0, 0, 0)`,
		map[string][]string{"V10": {"x"}},
	},

	// V11: units per user.
	{
		"a counter that is too high",
		`UPDATE user_units SET units = units + 1 WHERE user_id = 'u-paid'`,
		map[string][]string{"V11": {"limited/u-paid"}},
	},
	{
		"a counter that forgot",
		`UPDATE user_units SET units = 0 WHERE user_id = 'u-later'`,
		map[string][]string{"V11": {"later/u-later"}},
	},
	{
		"a counter of someone who bought nothing",
		`INSERT INTO user_units VALUES ('limited', 'u-nobody', 1)`,
		map[string][]string{"V11": {"limited/u-nobody"}},
	},
	{
		"a counter that is missing",
		`DELETE FROM user_units WHERE user_id = 'u-paid' AND product_id = 'limited'`,
		map[string][]string{"V11": {"limited/u-paid"}},
	},
	{
		"a counter of a product that counts nobody",
		`INSERT INTO user_units VALUES ('plain', 'u-paid', 1)`,
		map[string][]string{"V11": {"plain/u-paid"}},
	},
}

func TestEachCheckFindsWhatBreaksItAndNothingElse(t *testing.T) {
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	findsEach(t, v, func(t *testing.T, plant string) audit.Report {
		t.Helper()
		t.Parallel()
		return v.audited(t, plant)
	})
}

func findsEach(t *testing.T, v *life, audited func(t *testing.T, plant string) audit.Report) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range planted {
		for id := range c.want {
			seen[id] = seen[id] || len(c.want) == 1
		}
		t.Run(c.story, func(t *testing.T) {
			want := map[string][]string{}
			for id, samples := range c.want {
				for _, s := range samples {
					want[id] = append(want[id], v.fill(s))
				}
				slices.Sort(want[id])
			}
			report := audited(t, c.plant)
			got := offenders(report)
			for id := range got {
				slices.Sort(got[id])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
			if report.Clean != (len(want) == 0) {
				t.Errorf("clean is %v", report.Clean)
			}
		})
	}
	for i := 1; i <= 11; i++ {
		if id := fmt.Sprint("V", i); !seen[id] {
			t.Errorf("no planted violation makes exactly %s fail", id)
		}
	}
}

func TestManyViolationsAreCountedAndSomeNamed(t *testing.T) {
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	report := v.audited(t, `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50)
		INSERT INTO order_lines SELECT i, 1, 'other', 'T', 1, 1 FROM n`)
	if c := report.Checks[8]; c.ID != "V9" || c.Violations != 50 || len(c.Samples) != audit.SamplesMax {
		t.Errorf("got %+v, want 50 violations of V9 with %d samples", c, audit.SamplesMax)
	}
}

func openLived(t *testing.T) *sqlstore.Store {
	t.Helper()
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	return v.open(t, sqlstore.Options{})
}

// While the audit reads, the desk goes on. Read without a snapshot, an order placed between two steps has stock held for nobody.
func TestAnAuditSeesOneMomentOfALivingRecord(t *testing.T) {
	s := openLived(t)
	l := ledger.New(s, ledger.Options{})
	defer l.Close(context.Background()) //nolint:errcheck // no context to end it
	var steps []string
	place := func(done, total int, about string) {
		steps = append(steps, fmt.Sprintf("%d/%d %s", done, total, about))
		_, err := ledger.Submit(t.Context(), l, ledger.Place{
			Key: ledger.Key{99, byte(done)}, UserID: "u-meanwhile", Metadata: []byte(`{}`),
			Lines: []ledger.PlaceLine{{ProductID: "limited", Quantity: 1}},
		})
		if err != nil {
			t.Error(err)
		}
	}
	for range 2 {
		report, err := s.Audit(t.Context(), sqlstore.AuditOptions{Progress: place})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(map[string][]string{}, offenders(report)); diff != "" {
			t.Errorf("violations:\n%s", diff)
		}
		place = func(int, int, string) {}
	}
	want := []string{
		"0/7 products", "1/7 counters", "2/7 keys", "3/7 stock ledger", "4/7 stock events", "5/7 event log", "6/7 orders", "7/7 ",
	}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Errorf("progress: want (-), got (+):\n%s", diff)
	}
}

func TestAnAuditEndsWithItsContextAndLeavesTheRecordUsable(t *testing.T) {
	s := openLived(t)
	for range 10 { // more often than there are connections
		ctx, cancel := context.WithCancel(t.Context())
		_, err := s.Audit(ctx, sqlstore.AuditOptions{Progress: func(done, _ int, _ string) {
			if done == 6 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled: got %v", err)
		}
	}
	if report, err := s.Audit(t.Context(), sqlstore.AuditOptions{}); err != nil || !report.Clean {
		t.Errorf("afterwards: %v, clean %v", err, report.Clean)
	}
}

func TestHowLateAnOrderMayBeIsForTheCallerToSay(t *testing.T) {
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	late := life{v.file, v.orders, v.now.Add(31 * time.Minute)}
	s := late.open(t, sqlstore.Options{})
	for _, c := range []struct {
		lateBy time.Duration
		want   map[string][]string
	}{
		{0, map[string][]string{}}, // a minute exactly
		{time.Minute - time.Millisecond, map[string][]string{"V7": {v.fill("#pending"), v.fill("#next")}}},
		{time.Hour, map[string][]string{}},
	} {
		report, err := s.Audit(t.Context(), sqlstore.AuditOptions{LateBy: c.lateBy})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, offenders(report)); diff != "" {
			t.Errorf("late by %s: want (-), got (+):\n%s", c.lateBy, diff)
		}
	}
}
