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
	historyDays     = 100        // the last one is yesterday
	historyTold     = 8          // of these, the last ones, the events are kept: event_retention is 7 days at least
	historyKeyed    = 5          // and of these the idempotency keys
	historyPending  = 3000       // of its last orders that still wait, at most: fewer than the auditor's window adds up
	historyProducts = 10_007     // a prime, so that products and states of orders are mixed; the last historyPending are of different ones
	historyUsers    = 1_000_000  // who order now and then
	historyRegulars = 101        // and those who do all the time: every tenth order is one of theirs
	historyUnits    = 10_000_000 // of each product
	ordersMax       = historyDays * seriesMax
)

// past is a record's past as the desk leaves it: orders of every status, the last ones still pending, with lines, steps, payments,
// refunds and all that the stock did; the keys and the events of its last days, as what is older was forgotten. It is made in the
// database, by counting, and it passes the audit.
type past struct {
	dialect *dialect
	orders  int
	last    time.Time // its last day
	took    time.Duration
}

func newPast(d *dialect, orders int, now time.Time) *past {
	return &past{dialect: d, orders: orders, last: now.UTC().AddDate(0, 0, -1).Truncate(24 * time.Hour)}
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
	before := n * p.orders / historyDays
	return pastDay{start, date, before, (n+1)*p.orders/historyDays - before}
}

// number is that of the k-th order, from 0.
func (p *past) number(k int) string {
	d := p.day(((k+1)*historyDays - 1) / p.orders)
	return fmt.Sprintf("%d%07d", d.date, k-d.before+1)
}

// pending is how many of its last orders wait to be paid.
func (p *past) pending() int { return min(historyPending, p.orders/historyDays) }

// user is that of the k-th order, from 0.
func (p *past) user(k int) string {
	if k%10 == 3 {
		return p.regular(k)
	}
	return fmt.Sprintf("u-%d", k*7919%historyUsers)
}

// regular is one of those who order all the time.
func (p *past) regular(k int) string { return fmt.Sprintf("regular-%d", k%historyRegulars) }

// The statements of a past. {k} is an order's place in all of it, from 0; the k-th is of product k % 10007, of which it is the
// k / 10007-th; (k - k % 10007) / 10007 is a whole number on databases that divide otherwise, too. Each entry of the stock ledger
// has its event, of the same number.
const (
	pastProducts = `INSERT INTO products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, active, counts_users,
	    version, created_at, updated_at) SELECT CONCAT('history-', i - 1), 'Ticket', {price}, '{currency}', 0, 0, 1, 0, 1, {begin}, {begin} FROM {series}`
	pastDeliveries = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, reason, ref, at)
	    SELECT product_id, 1, 'received', {units}, 0, 0, 'restock', 'history', {begin} FROM products ORDER BY product_id`
	pastStock = `INSERT INTO stock (product_id, received, held, sold, version, events)
	    SELECT product_id, {units}, SUM(held), SUM(sold), COUNT(*), COUNT(*) FROM stock_ledger GROUP BY product_id`
	pastHead = `UPDATE log_head SET position = (SELECT SUM(events) FROM orders) + (SELECT SUM(events) FROM stock)`
	pastLost = `UPDATE log_head SET pruned = position - (SELECT COUNT(*) FROM outbox), pruned_before = {kept}`
	pastLog  = `INSERT INTO event_log (position, event_id)
	    SELECT (SELECT pruned FROM log_head) + ROW_NUMBER() OVER (ORDER BY id), id FROM outbox ORDER BY id`

	pastNumbers = `INSERT INTO number_days (day, next, used) VALUES ({date}, {orders} + 1, {used})`
	//nolint:dupword // an order has as many events as versions: steps, twice
	pastOrders = `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at,
	    close_reason, paid_late, reminded, version, events, metadata)
	    SELECT {day} + i, CASE WHEN k % 10 = 3 THEN CONCAT('regular-', k % {regulars}) ELSE CONCAT('u-', k * 7919 % {users}) END,
	        status, '{currency}', {price}, at, at + CASE WHEN status = 'pending' THEN 2592000000 ELSE 1800000 END,
	        CASE WHEN status IN ('paid', 'fulfilled', 'refunded') THEN at + 60000 END,
	        CASE WHEN status = 'cancelled' THEN at + 30000 WHEN status = 'expired' THEN at + 1800005
	            WHEN status IN ('fulfilled', 'refunded') THEN at + 3600000 END,
	        '', 0, 0, steps, steps, '{}'
	    FROM (SELECT i, k, at, status, CASE WHEN status = 'pending' THEN 1 WHEN status IN ('fulfilled', 'refunded') THEN 3 ELSE 2 END AS steps
	        FROM (SELECT i, k, {start} + i * {step} AS at, CASE WHEN k >= {settled} THEN 'pending' WHEN k % 1000 = 999 THEN 'refunded'
	            WHEN k % 20 = 0 THEN 'cancelled' WHEN k % 20 < 6 THEN 'expired' WHEN k % 20 < 13 THEN 'paid' ELSE 'fulfilled' END AS status
	            FROM (SELECT i, {before} + i - 1 AS k FROM {series}) AS counted) AS decided) AS o
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
	pastRefunds = `INSERT INTO refunds (refund_id, payment_id, order_no, amount, currency, reason, status, created_at)
	    SELECT CONCAT('back-', order_no), CONCAT('history-', order_no), order_no, total_amount, currency, 'asked for', 'succeeded', closed_at
	    FROM orders o WHERE {today} AND status = 'refunded' ORDER BY order_no`
	pastEntries = `INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at)
	    SELECT CONCAT('history-', {k} % {products}), 2 * ({k} - {k} % {products}) / {products} + 1 + step,
	        CASE WHEN step = 1 THEN 'held' WHEN paid_at IS NULL THEN 'released' ELSE 'sold' END,
	        CASE WHEN step = 1 THEN -1 WHEN paid_at IS NULL THEN 1 ELSE 0 END, CASE WHEN step = 1 THEN 1 ELSE -1 END,
	        CASE WHEN step = 1 OR paid_at IS NULL THEN 0 ELSE 1 END, order_no,
	        CASE WHEN step = 1 THEN created_at ELSE COALESCE(paid_at, closed_at) END
	    FROM orders o CROSS JOIN (SELECT 1 AS step UNION ALL SELECT 2) AS steps
	    WHERE {today} AND step <= version ORDER BY order_no, step`
	pastKeys = `INSERT INTO idempotency_keys ({keyname}, fingerprint, order_no)
	    SELECT {hash}, {hash}, order_no FROM orders o WHERE {today} ORDER BY order_no`

	// An event's data is as long as a real one's.
	pastEvents = `INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data)
	    SELECT {event}, 'order', {number}, t.seq, CASE t.to_status WHEN 'pending' THEN 'order.placed' ELSE CONCAT('order.', t.to_status) END, t.at,
	        CONCAT('{"order_no":"', {number}, '","user_id":"', o.user_id, '","status":"', t.to_status, '","lines":[{"product_id":"history-',
	            {k} % {products}, '","title":"Ticket","quantity":1,"unit_price":{"amount":{price},"currency":"{currency}"}}],',
	            '"total":{"amount":{price},"currency":"{currency}"},"created_at":"2026-01-01T00:00:00.000Z","pay_by":"2026-01-01T00:30:00.000Z",',
	            '"seconds_left":0,"paid_at":null,"closed_at":null,"close_reason":null,"paid_late":false,"version":', t.seq, ',"metadata":{}}')
	    FROM orders o JOIN order_transitions t ON t.order_no = o.order_no WHERE {today} ORDER BY o.order_no, t.seq`
	pastStockEvents = `INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data)
	    SELECT {event}, 'product', CONCAT('history-', {k} % {products}), 2 * ({k} - {k} % {products}) / {products} + 1 + step, 'stock.changed',
	        CASE WHEN step = 1 THEN created_at ELSE COALESCE(paid_at, closed_at) END,
	        CONCAT('{"product_id":"history-', {k} % {products}, '","received":{units},"available":0,"held":0,"sold":0,"version":0}')
	    FROM orders o CROSS JOIN (SELECT 1 AS step UNION ALL SELECT 2) AS steps
	    WHERE {today} AND step <= version ORDER BY order_no, step`
)

// load fills an empty record, a day a transaction, and tells how far it is.
func (p *past) load(ctx context.Context, db *sql.DB, progress func(orders int)) error {
	began := time.Now()
	all := p.words(
		"{begin}", fmt.Sprint(p.day(0).start.UnixMilli()), "{kept}", fmt.Sprint(p.day(historyDays-historyTold).start.UnixMilli()),
	)
	if err := p.run(ctx, db, all, historyProducts, pastProducts, pastDeliveries); err != nil {
		return err
	}
	for n := range historyDays {
		d := p.day(n)
		if d.orders == 0 {
			continue
		}
		progress(d.before)
		statements := []string{pastNumbers, pastOrders, pastLines, pastSteps, pastPayments, pastRefunds, pastEntries}
		if n >= historyDays-historyTold {
			statements = append(statements, pastEvents, pastStockEvents)
		}
		if n >= historyDays-historyKeyed {
			statements = append(statements, pastKeys)
		}
		if err := p.run(ctx, db, p.wordsOf(d), d.orders, statements...); err != nil {
			return err
		}
	}
	progress(p.orders)
	if err := p.run(ctx, db, all, 0, pastStock, pastHead, pastLost, pastLog); err != nil {
		return err
	}
	if err := p.dialect.settled(ctx, db); err != nil {
		return err
	}
	p.took = time.Since(began)
	return nil
}

// words are what stands in all statements, and some more.
func (p *past) words(more ...string) *strings.Replacer {
	return strings.NewReplacer(append(more,
		"{price}", fmt.Sprint(price), "{currency}", currency, "{units}", fmt.Sprint(historyUnits),
		"{users}", fmt.Sprint(historyUsers), "{regulars}", fmt.Sprint(historyRegulars), "{products}", fmt.Sprint(historyProducts),
		"{series}", p.dialect.series, "{event}", p.dialect.eventID, "{hash}", p.dialect.hash, "{keyname}", p.dialect.keyName,
	)...)
}

// wordsOf are what stands in the statements of a day.
func (p *past) wordsOf(d pastDay) *strings.Replacer {
	day := d.date * 10_000_000_000
	used := "NULL" // a day is counted when it is over everywhere on earth
	if d.before+d.orders < p.orders {
		used = fmt.Sprint(d.orders)
	}
	return p.words(
		"{date}", fmt.Sprint(d.date), "{orders}", fmt.Sprint(d.orders), "{day}", fmt.Sprint(day), "{before}", fmt.Sprint(d.before),
		"{start}", fmt.Sprint(d.start.UnixMilli()), "{step}", fmt.Sprint(max(1, (20*time.Hour).Milliseconds()/int64(d.orders))),
		"{used}", used, "{settled}", fmt.Sprint(p.orders-p.pending()),
		"{k}", fmt.Sprintf("(o.order_no - %d)", day+1-int64(d.before)),
		"{number}", fmt.Sprintf("CONCAT('%d', SUBSTR(CONCAT(10000000 + o.order_no - %d, ''), 2))", d.date, day),
		"{today}", fmt.Sprintf("o.order_no > %d AND o.order_no <= %d", day, day+int64(d.orders)),
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
