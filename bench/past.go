package bench

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"time"
)

const (
	historyDays     = 10
	historyAge      = 100 * 24 * time.Hour // of its last day: its events have been forgotten, as they are after 90 days
	historyProducts = 1009                 // a prime, so that products and states of orders are mixed
	historyUsers    = 1_000_000
	historyUnits    = 1_000_000_000 // of each product
	ordersMax       = historyDays * seriesMax
)

// past is orders that are long over, on days of their own, as the record keeps them: with lines, steps, payments and all that the
// stock did, without idempotency keys and events. It is made in the database, by counting, and it passes the audit.
type past struct {
	dialect *dialect
	orders  int
	perDay  int
	last    time.Time // its last day
	took    time.Duration
}

func newPast(d *dialect, orders int, now time.Time) *past {
	return &past{
		dialect: d, orders: orders, perDay: (orders + historyDays - 1) / historyDays,
		last: now.UTC().Add(-historyAge).Truncate(24 * time.Hour),
	}
}

// pastDay is one day of it.
type pastDay struct {
	start  time.Time
	date   int64 // yyyymmdd
	before int   // orders of the days before
	orders int
}

func (p *past) day(n int) pastDay {
	start := p.last.AddDate(0, 0, n-historyDays+1)
	date, _ := strconv.ParseInt(start.Format("20060102"), 10, 64)
	before := min(n*p.perDay, p.orders)
	return pastDay{start, date, before, min(p.perDay, p.orders-before)}
}

// number is that of the k-th order, from 0.
func (p *past) number(k int) string {
	return fmt.Sprintf("%d%07d", p.day(k/p.perDay).date, k%p.perDay+1)
}

func (p *past) user(k int) string { return fmt.Sprintf("u-%d", k*7919%historyUsers) }

// The statements of a past. {k} is an order's place in all of it, from 0; the k-th is of product k % 1009, of which it is the
// k / 1009-th; (k - k % 1009) / 1009 is a whole number on databases that divide otherwise, too.
const (
	pastProducts = `INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active, counts_users,
	    version, created_at, updated_at) SELECT CONCAT('history-', i - 1), 'Ticket', {price}, '{currency}', 0, 0, 1, 0, 1, {begin}, {begin} FROM {series}`
	pastDeliveries = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, reason, ref, at)
	    SELECT product_id, 1, 'received', {units}, 0, 0, 'restock', 'history', {begin} FROM products ORDER BY product_id`
	pastStock = `INSERT INTO stock (product_id, received, held, sold, version, events)
	    SELECT product_id, {units}, 0, SUM(sold), COUNT(*), 1 FROM stock_ledger GROUP BY product_id`
	pastLog = `UPDATE log_head SET position = (SELECT SUM(events) FROM orders) + (SELECT COUNT(*) FROM stock),
	    pruned = (SELECT SUM(events) FROM orders) + (SELECT COUNT(*) FROM stock), pruned_before = {end}`

	pastNumbers = `INSERT INTO number_days (day, next) VALUES ({date}, {orders} + 1)`
	pastOrders  = `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at,
	    close_reason, paid_late, reminded, version, events, metadata)
	    SELECT {day} + i, CONCAT('u-', k * 7919 % {users}), status, '{currency}', {price}, at, at + 1800000,
	        CASE WHEN status IN ('paid', 'fulfilled') THEN at + 60000 END,
	        CASE status WHEN 'cancelled' THEN at + 30000 WHEN 'expired' THEN at + 1800005 WHEN 'fulfilled' THEN at + 3600000 END,
	        '', 0, 0, CASE status WHEN 'fulfilled' THEN 3 ELSE 2 END, CASE status WHEN 'fulfilled' THEN 3 ELSE 2 END, '{}'
	    FROM (SELECT i, {before} + i - 1 AS k, {start} + i * {step} AS at, CASE WHEN ({before} + i) % 20 = 0 THEN 'cancelled'
	        WHEN ({before} + i) % 20 < 6 THEN 'expired' WHEN ({before} + i) % 20 < 13 THEN 'paid' ELSE 'fulfilled' END AS status FROM {series}) AS o
	    ORDER BY i`
	pastLines = `INSERT INTO order_lines (order_no, line, product_id, title, quantity, unit_price)
	    SELECT order_no, 0, CONCAT('history-', {k} % {products}), 'Ticket', 1, {price} FROM orders o WHERE {today} ORDER BY order_no`
	pastSteps = `INSERT INTO order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)
	    SELECT order_no, step, CASE step WHEN 1 THEN '' WHEN 2 THEN 'pending' ELSE 'paid' END,
	        CASE WHEN step = 1 THEN 'pending' WHEN step = 2 AND paid_at IS NOT NULL THEN 'paid' ELSE status END, '', step,
	        CASE step WHEN 1 THEN created_at WHEN 2 THEN COALESCE(paid_at, closed_at) ELSE closed_at END
	    FROM orders o CROSS JOIN (SELECT 1 AS step UNION ALL SELECT 2 UNION ALL SELECT 3) AS steps
	    WHERE {today} AND step <= version ORDER BY order_no, step`
	pastPayments = `INSERT INTO payments (payment_id, order_no, provider, status, amount, currency, transaction_id, created_at, paid_at)
	    SELECT CONCAT('history-', order_no), order_no, 'sandbox', 'succeeded', total_amount, currency, CONCAT('t-', order_no), created_at, paid_at
	    FROM orders o WHERE {today} AND paid_at IS NOT NULL ORDER BY order_no`
	pastEntries = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
	    SELECT CONCAT('history-', {k} % {products}), 2 * ({k} - {k} % {products}) / {products} + 1 + step,
	        CASE WHEN step = 1 THEN 'held' WHEN paid_at IS NULL THEN 'released' ELSE 'sold' END,
	        CASE WHEN step = 1 THEN -1 WHEN paid_at IS NULL THEN 1 ELSE 0 END, CASE WHEN step = 1 THEN 1 ELSE -1 END,
	        CASE WHEN step = 1 OR paid_at IS NULL THEN 0 ELSE 1 END, order_no,
	        CASE WHEN step = 1 THEN created_at ELSE COALESCE(paid_at, closed_at) END
	    FROM orders o CROSS JOIN (SELECT 1 AS step UNION ALL SELECT 2) AS steps WHERE {today} ORDER BY order_no, step`
)

// load fills an empty record, a day a transaction, and tells how far it is.
func (p *past) load(ctx context.Context, db *sql.DB, progress func(orders int)) error {
	began := time.Now()
	first, last := p.day(0), p.day(historyDays-1)
	all := strings.NewReplacer(
		"{price}", fmt.Sprint(price), "{currency}", currency, "{units}", fmt.Sprint(historyUnits),
		"{begin}", fmt.Sprint(first.start.UnixMilli()), "{end}", fmt.Sprint(last.start.AddDate(0, 0, 2).UnixMilli()),
		"{series}", p.dialect.series,
	)
	if err := p.run(ctx, db, all, historyProducts, pastProducts, pastDeliveries); err != nil {
		return err
	}
	for n := range historyDays {
		d := p.day(n)
		progress(d.before)
		if err := p.run(ctx, db, p.wordsOf(d), d.orders, pastNumbers, pastOrders, pastLines, pastSteps, pastPayments, pastEntries); err != nil {
			return err
		}
	}
	progress(p.orders)
	if err := p.run(ctx, db, all, 0, pastStock, pastLog); err != nil {
		return err
	}
	for _, statement := range p.dialect.settle {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	p.took = time.Since(began)
	return nil
}

// wordsOf are what stands in the statements of a day.
func (p *past) wordsOf(d pastDay) *strings.Replacer {
	day := d.date * 10_000_000_000
	return strings.NewReplacer(
		"{date}", fmt.Sprint(d.date), "{orders}", fmt.Sprint(d.orders), "{day}", fmt.Sprint(day), "{before}", fmt.Sprint(d.before),
		"{start}", fmt.Sprint(d.start.UnixMilli()), "{step}", fmt.Sprint(max(1, (20*time.Hour).Milliseconds()/int64(p.perDay))),
		"{k}", fmt.Sprintf("(o.order_no - %d)", day+1-int64(d.before)),
		"{today}", fmt.Sprintf("o.order_no > %d AND o.order_no <= %d", day, day+int64(d.orders)),
		"{price}", fmt.Sprint(price), "{currency}", currency, "{users}", fmt.Sprint(historyUsers), "{products}", fmt.Sprint(historyProducts),
		"{series}", p.dialect.series,
	)
}

// run runs statements in one transaction. The one parameter that some have is how long the series is.
func (p *past) run(ctx context.Context, db *sql.DB, words *strings.Replacer, series int, statements ...string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, statement := range statements {
		text := p.dialect.placeholders(words.Replace(statement))
		var args []any
		if strings.Contains(statement, "{series}") {
			args = []any{series}
		}
		if _, err := tx.ExecContext(ctx, text, args...); err != nil {
			return fmt.Errorf("%.60s: %w", text, err)
		}
	}
	return tx.Commit()
}
