package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"sort"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// lateBy is how long past its pay_by an order may still be pending before the audit says so: expiry is late, not missing.
const lateBy = 60 * time.Second

// AuditOptions of an audit. The zero value of each is its default.
type AuditOptions struct {
	LateBy   time.Duration                       // how long past its pay_by an order may still be pending: 60 s
	Progress func(done, total int, about string) // told before each step, and when all are done
}

// The checks. Each holds at any instant a reader could look, and none relies on another.
type check int

const (
	v1 check = iota
	v2
	v3
	v4
	v5
	v6
	v7
	v8
	v9
	v10
	v11
	checks
)

var checkNames = [checks]string{
	v1:  "what was received is available, held or sold, and none of them is negative",
	v2:  "held are the units of pending orders, sold those of paid ones",
	v3:  "one order has a number, and one a key, which is kept as long as was promised",
	v4:  "every order's life is legal, without gaps, and ends where the order is",
	v5:  "paid orders have their money, and only they",
	v6:  "money that must go back is owed back exactly once, and no other",
	v7:  "no order expired early or is pending long past its time",
	v8:  "every step is told, events are numbered without gaps, each waits for the log or is in it, and only old ones are forgotten",
	v9:  "an order's total is the sum of its lines, and it has some",
	v10: "the stock ledger, replayed, is never negative and ends at the stock",
	v11: "units per user are those of the user's pending, paid and fulfilled orders",
}

// Audit runs all checks over one snapshot of the record. It reads every table in the order in which it lies on the disk or in
// an index, all that speaks of one order side by side, and keeps no more than a few sums per product and per counter of a
// user. Nobody waits for it, but while it runs the write-ahead log cannot start anew.
func (s *Store) Audit(ctx context.Context, opt AuditOptions) (audit.Report, error) {
	snap, err := s.snapshot(ctx, s.dialect.snapshot)
	if err != nil {
		return audit.Report{}, fmt.Errorf("audit: %w", err)
	}
	defer snap.end()
	return s.audit(ctx, snap, opt)
}

func (s *Store) audit(ctx context.Context, snap *snapshot, opt AuditOptions) (audit.Report, error) {
	setDefault(&opt.LateBy, lateBy)
	if opt.Progress == nil {
		opt.Progress = func(int, int, string) {}
	}
	now, err := s.now(ctx, snap)
	if err != nil {
		return audit.Report{}, fmt.Errorf("audit: %w", err)
	}
	a := auditor{snapshot: snap, now: now, shelves: map[product.ID]*shelf{}, buyers: map[ledger.Buyer]int64{}}
	a.late = a.now.Add(-opt.LateBy)
	if err := a.readHead(ctx); err != nil {
		return audit.Report{}, fmt.Errorf("audit: %w", err)
	}
	steps := []struct {
		about string
		run   func(context.Context) error
	}{
		{"products", a.readShelves},
		{"counters", a.readBuyers},
		{"keys", a.readKeys},
		{"stock ledger", a.replayStock},
		{"stock events", a.readStockEvents},
		{"event log", a.readLog},
		{"orders", a.readOrders},
	}
	for i, step := range steps {
		opt.Progress(i, len(steps), step.about)
		if err := step.run(ctx); err != nil {
			return audit.Report{}, fmt.Errorf("audit %s: %w", step.about, err)
		}
	}
	a.compareShelves()
	a.compareBuyers()
	a.compareForgotten()
	opt.Progress(len(steps), len(steps), "")
	return a.report(), nil
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// auditor is one audit: what it has found, and the sums it still has to compare.
type auditor struct {
	*snapshot
	now     time.Time
	late    time.Time // a pending order must not have to be paid by an earlier time
	found   [checks]audit.Check
	shelves map[product.ID]*shelf
	buyers  map[ledger.Buyer]int64 // units in the counter that no order has accounted for yet
	head    logHead
	missed  int64 // events that orders and products have told and the record no longer has
}

// violates notes an offender against a check.
func (a *auditor) violates(c check, id string) {
	f := &a.found[c]
	f.Violations++
	if len(f.Samples) < audit.SamplesMax {
		f.Samples = append(f.Samples, id)
	}
}

func (a *auditor) report() audit.Report {
	r := audit.Report{Clean: true, CheckedAt: a.now, Checks: a.found[:]}
	for i := range r.Checks {
		r.Checks[i].ID, r.Checks[i].Name = fmt.Sprintf("V%d", i+1), checkNames[i]
		r.Clean = r.Clean && r.Checks[i].Violations == 0
	}
	return r
}

// readBuyers loads the counters of units per user. readOrders takes from them what it finds in orders.
func (a *auditor) readBuyers(ctx context.Context) error {
	return a.each(ctx, `SELECT product_id, user_id, units FROM user_units ORDER BY product_id, user_id`, func(r *stream) {
		id := product.ID(r.text(0))
		if s := a.shelves[id]; s != nil {
			id = s.id // the same string for all of them
		}
		a.buyers[ledger.Buyer{ProductID: id, UserID: user.ID(r.text(1))}] = r.int(2)
	})
}

// compareBuyers is V11: nothing may be left of a counter.
func (a *auditor) compareBuyers() {
	var wrong []string
	for b, left := range a.buyers {
		if left != 0 {
			wrong = append(wrong, string(b.ProductID)+"/"+string(b.UserID))
		}
	}
	sort.Strings(wrong)
	for _, id := range wrong {
		a.violates(v11, id)
	}
}

// readKeys is the part of V3 that the orders do not show: the primary key is what makes it hold, and that no number which an
// order has can be granted again.
func (a *auditor) readKeys(ctx context.Context) error {
	err := a.each(ctx, `SELECT MAX(o.order_no) FROM number_days d JOIN orders o
		ON o.order_no >= d.day * 10000000000 + d.next AND o.order_no < (d.day + 1) * 10000000000 GROUP BY d.day ORDER BY d.day`,
		func(r *stream) { a.violates(v3, r.number().String()) })
	if err != nil {
		return err
	}
	return a.each(ctx, `SELECT MIN(order_no) FROM idempotency_keys GROUP BY key HAVING COUNT(*) > 1`, func(r *stream) {
		a.violates(v3, r.number().String())
	})
}

// snapshot is a connection inside a read-only transaction: what is committed after its first look is not seen.
type snapshot struct {
	s    *Store
	conn *sql.Conn
}

func (s *Store) snapshot(ctx context.Context, opened []string) (*snapshot, error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return nil, classify(err)
	}
	snap := &snapshot{s, conn}
	for _, begin := range opened {
		if _, err := conn.ExecContext(ctx, begin); err != nil {
			snap.end()
			return nil, classify(err)
		}
	}
	if err := snap.each(ctx, `SELECT position FROM log_head`, func(*stream) {}); err != nil {
		snap.end()
		return nil, err
	}
	return snap, nil
}

func (s *snapshot) speaks() *dialect { return s.s.dialect }

func (s *snapshot) query(ctx context.Context, query string, args ...any) (*rows, error) {
	s.s.statements.audits.Add(1)
	if s.s.watched != nil {
		s.s.watched(ctx, s.conn, query, args)
	}
	found, err := s.conn.QueryContext(ctx, s.s.spelt(query), args...) //nolint:rowserrcheck // whoever reads them does
	if err != nil {
		return nil, classify(err)
	}
	return &rows{found, func() {}}, nil
}

// end lets the snapshot go. A connection that cannot leave its transaction is thrown away.
func (s *snapshot) end() {
	if _, err := s.conn.ExecContext(context.Background(), `ROLLBACK`); err != nil {
		_ = s.conn.Raw(func(any) error { return driver.ErrBadConn })
	}
	_ = s.conn.Close()
}

// each calls do for every row of a query.
func (s *snapshot) each(ctx context.Context, query string, do func(*stream)) error {
	return s.some(ctx, do, query)
}

// stream reads a query's rows one by one, several streams side by side on one connection. Values are taken as the driver gives
// them: for millions of rows, converting into typed variables costs as much as reading.
type stream struct {
	values []any

	rows *rows // read as the database finds them; nil: they come some at a time, for a server's connection has one answer at once
	into []any
	page [][]any
	more func() ([][]any, error) // gets the next page; an empty one is the end
	end  func()                  // lets go what the pages come from; nil: there is nothing
}

// streamRows reads rows as the database finds them.
func streamRows(ctx context.Context, s *snapshot, query string, args ...any) (*stream, error) {
	found, err := s.query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	r := &stream{rows: found}
	columns, _ := found.Columns() // an error would be that they are closed
	r.values, r.into = room(len(columns))
	return r, nil
}

// room is for the values of a row, with where each goes.
func room(columns int) (values, into []any) {
	values, into = make([]any, columns), make([]any, columns)
	for i := range values {
		into[i] = &values[i]
	}
	return values, into
}

// pageOf reads all rows there are.
func pageOf(found *rows, err error) (page [][]any, _ error) {
	columns := 0
	err = scan(found, err, func(r *sql.Rows) error {
		if page == nil {
			all, _ := r.Columns() // an error would be that they are closed
			columns = len(all)
		}
		values, into := room(columns)
		page = append(page, values)
		return r.Scan(into...)
	})
	return page, err
}

func (r *stream) next() (more bool, err error) {
	if r.rows != nil {
		if !r.rows.Next() {
			return false, classify(r.rows.Err())
		}
		return true, r.rows.Scan(r.into...)
	}
	if len(r.page) == 0 {
		if r.page, err = r.more(); err != nil || len(r.page) == 0 {
			return false, err
		}
	}
	r.values, r.page = r.page[0], r.page[1:]
	return true, nil
}

func (r *stream) close() {
	if r.rows != nil {
		r.rows.close()
	}
	if r.end != nil {
		r.end()
	}
}

func (r *stream) text(i int) string {
	s, _ := r.named(i)
	return s
}

// named is a text, if it is one.
func (r *stream) named(i int) (text string, is bool) {
	switch v := r.values[i].(type) {
	case string:
		return v, true
	case []byte:
		return string(v), true
	}
	return "", false
}

// int is a number, or 0 for NULL.
func (r *stream) int(i int) int64 {
	switch v := r.values[i].(type) {
	case int64:
		return v
	case string: // a sum
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	case []byte: // a sum of MySQL
		n, _ := strconv.ParseInt(string(v), 10, 64)
		return n
	}
	return 0
}

// number is the first column: where an order is named, it comes first.
func (r *stream) number() order.Number { return order.Number(r.int(0)) }
