package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// missing makes "no row" a fault that names the thing.
func missing(err error, thing string) error {
	if errors.Is(err, sql.ErrNoRows) {
		return fault.ErrNotFound.Detailf("There is no such %s.", thing)
	}
	return fmt.Errorf("look up %s: %w", thing, classify(err))
}

// Order reads one order with its lines.
func (s *Store) Order(ctx context.Context, no order.Number) (*order.Order, error) {
	o, err := scanOrder(s.queryRow(ctx, `SELECT `+orderColumns+` FROM orders WHERE order_no = ?`, int64(no)))
	if err != nil {
		return nil, missing(err, "order")
	}
	lines, err := loadLines(ctx, s, []order.Number{no})
	if err != nil {
		return nil, fmt.Errorf("look up order: %w", err)
	}
	o.Lines = lines[no]
	return o, nil
}

// Orders reads the orders that a filter chooses, newest first, with their lines.
func (s *Store) Orders(ctx context.Context, f checkout.OrderFilter) ([]*order.Order, error) {
	found, err := s.ordersBy(ctx, f)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	numbers := make([]order.Number, len(found))
	for i, o := range found {
		numbers[i] = o.Number
	}
	lines, err := loadLines(ctx, s, numbers)
	if err != nil {
		return nil, fmt.Errorf("list orders: %w", err)
	}
	for _, o := range found {
		o.Lines = lines[o.Number]
	}
	return found, nil
}

// ordersBy reads the orders that a filter chooses, without their lines.
func (s *Store) ordersBy(ctx context.Context, f checkout.OrderFilter) ([]*order.Order, error) {
	if s.dialect.findsPending(f) {
		text, args := newestPending(f)
		if found, err := s.ordersOf(ctx, text, args); err != nil || len(found) == f.Limit {
			return found, err
		}
	}
	text, args := s.dialect.ordersBy(f)
	return s.ordersOf(ctx, text, args)
}

func (s *Store) ordersOf(ctx context.Context, text string, args []any) (found []*order.Order, err error) {
	rows, err := s.query(ctx, text, args...)
	err = scan(rows, err, func(r *sql.Rows) error {
		o, err := scanOrder(r)
		found = append(found, o)
		return err
	})
	return found, err
}

// OrdersEnd settles how far a page of a list looks, before it does: the number of the last order that it looks at, 0 when that is the
// list's last one. Where an index finds what a filter wants, and nothing else, that is as far as need be; otherwise few of those
// that it goes through may be wanted.
func (s *Store) OrdersEnd(ctx context.Context, f checkout.OrderFilter) (order.Number, error) {
	most := limits.OrdersScanned
	switch {
	case f.UserID != "" && (f.Status != "" || !f.CreatedAfter.IsZero()):
		most = limits.UserOrdersScanned // they lie far apart
	case f.UserID != "" || f.CreatedAfter.IsZero():
		return 0, nil
	case s.dialect.findsPending(f):
		return 0, nil // the query goes through all of them, whatever it wants
	}
	var looked int
	var last order.Number
	text, args := s.dialect.endBy(f, most)
	if err := s.queryRow(ctx, text, args...).Scan(&looked, &last); err != nil {
		return 0, fmt.Errorf("list orders: %w", classify(err))
	}
	if looked < most {
		return 0, nil
	}
	return last, nil
}

// among is what an index finds of a filter: a source of rows by the name of orders, and how they come newest first.
type among struct {
	with, from, newestFirst string
	where
}

// among goes by the index on users, by that on statuses, or by the numbers.
func (d *dialect) among(f checkout.OrderFilter) (a among) {
	until := max(int64(f.Until), 0)
	if !f.CreatedAfter.IsZero() {
		// A day's numbers are given on that day somewhere on earth, or later: lower ones are older, and need not be looked at.
		until = max(until, int64(order.NumberOf(order.DayOf(f.CreatedAfter.UTC().AddDate(0, 0, -1)), 0)))
	}
	if f.UserID != "" {
		before := int64(f.Before)
		if before == 0 {
			before = math.MaxInt64
		}
		a.with, a.from, a.newestFirst, a.args = d.ofUser(string(f.UserID), before, until)
		return a
	}
	a.from, a.newestFirst = `orders`, `order_no DESC`
	switch {
	case f.Status != "" && d.everyStatus:
		a.from += d.indexedBy("orders_status")
		a.and(`status = ?`, string(f.Status))
	case slices.Contains(order.Statuses(), f.Status):
		// In the text, not bound: a plan that is kept for all statuses would go through all orders for a rare one.
		a.and(`status = '` + string(f.Status) + `' AND status <> 'pending'`) // as the index says it
	case f.Status != "":
		a.and(`status = ? AND status <> 'pending'`, string(f.Status))
	}
	a.between(f.Before, until)
	return a
}

func (w *where) between(before order.Number, until int64) {
	if before != 0 {
		w.and(`order_no < ?`, int64(before))
	}
	if until != 0 {
		w.and(`order_no >= ?`, until)
	}
}

// findsPending reports whether a filter wants pending orders where no index has them by their numbers. All of them are found by that of
// deadlines: few, or, after a rush, so many that the newest orders are looked at first.
func (d *dialect) findsPending(f checkout.OrderFilter) bool {
	return f.Status == order.Pending && f.UserID == "" && !d.everyStatus
}

// newestPending is the query of such a filter among the newest orders only.
func newestPending(f checkout.OrderFilter) (text string, args []any) {
	var before, wanted where
	before.between(cmp.Or(f.Before, math.MaxInt64), int64(f.Until)) // a bound, so that no plan says that all are read
	wanted.and(`status = 'pending'`)
	if !f.CreatedAfter.IsZero() {
		wanted.and(`created_at > ?`, ms(f.CreatedAfter))
	}
	args = append(append(before.args, limits.OrdersScanned), append(wanted.args, f.Limit)...)
	return `SELECT ` + orderColumns + ` FROM (SELECT ` + orderColumns + ` FROM orders` + before.text() +
		` ORDER BY order_no DESC LIMIT ?) AS newest` + wanted.text() + ` ORDER BY order_no DESC LIMIT ?`, args
}

// ordersBy is the query of a filter.
func (d *dialect) ordersBy(f checkout.OrderFilter) (text string, args []any) {
	a := d.among(f)
	pending := d.findsPending(f)
	if pending {
		a.where = where{}
		a.and(`status = 'pending'`)
		a.between(f.Before, int64(f.Until))
	}
	if !f.CreatedAfter.IsZero() {
		a.and(`created_at > ?`, ms(f.CreatedAfter))
	}
	if f.UserID != "" && f.Status != "" {
		a.and(`COALESCE(status, '') = ?`, string(f.Status)) // not by the index on statuses, of which he has few
	}
	newest := ` ORDER BY ` + a.newestFirst + ` LIMIT ?`
	a.args = append(a.args, f.Limit)
	if pending {
		return `SELECT ` + orderColumns + ` FROM orders WHERE order_no IN
			(SELECT order_no FROM orders` + d.indexedBy("orders_due") + a.text() + newest + `)` + newest, append(a.args, f.Limit)
	}
	return a.with + `SELECT ` + orderColumns + ` FROM ` + a.from + a.text() + newest, a.args
}

// endBy goes through some of what an index finds of a filter, and gives how many there are and the last one's number.
func (d *dialect) endBy(f checkout.OrderFilter, most int) (text string, args []any) {
	a := d.among(f)
	return a.with + `SELECT COUNT(*), COALESCE(MIN(order_no), 0) FROM (SELECT order_no FROM ` + a.from + a.text() +
		` ORDER BY ` + a.newestFirst + ` LIMIT ?) AS looked`, append(a.args, most)
}

// where collects conditions.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) text() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// Shelf reads one product with its stock, in one statement.
func (s *Store) Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error) {
	found, err := s.shelves(ctx, `WHERE p.product_id = ?`, string(id))
	if err == nil && len(found) == 0 {
		return checkout.Shelf{}, missing(sql.ErrNoRows, "product")
	}
	if err != nil {
		return checkout.Shelf{}, err
	}
	return found[0], nil
}

// Shelves reads products by id, from the one after the given.
func (s *Store) Shelves(ctx context.Context, after product.ID, limit int) ([]checkout.Shelf, error) {
	return s.shelves(ctx, `WHERE p.product_id > ? ORDER BY p.product_id LIMIT ?`, string(after), limit)
}

func (s *Store) shelves(ctx context.Context, which string, args ...any) ([]checkout.Shelf, error) {
	var found []checkout.Shelf
	rows, err := s.query(ctx, `SELECT `+productColumns+`, `+stockColumns+` FROM products p JOIN stock s ON s.product_id = p.product_id `+which, args...)
	err = scan(rows, err, func(r *sql.Rows) error {
		st := &stock.Stock{}
		p, err := scanProduct(r, stockRow(st)...)
		found = append(found, checkout.Shelf{Product: p, Stock: st})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up products: %w", err)
	}
	return found, nil
}

// User reads one user.
func (s *Store) User(ctx context.Context, id user.ID) (*user.User, error) {
	u, err := scanUser(s.queryRow(ctx, `SELECT `+userColumns+` FROM users WHERE user_id = ?`, string(id)))
	if err != nil {
		return nil, missing(err, "user")
	}
	return u, nil
}

// Payment reads one payment.
func (s *Store) Payment(ctx context.Context, id string) (*payment.Payment, error) {
	p, err := scanPayment(s.queryRow(ctx, `SELECT `+paymentColumns+` FROM payments WHERE payment_id = ?`, id))
	if err != nil {
		return nil, missing(err, "payment")
	}
	return p, nil
}

// PaymentsOf reads the payments of an order, oldest first.
func (s *Store) PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error) {
	var found []*payment.Payment
	rows, err := s.query(ctx, `SELECT `+paymentColumns+` FROM payments WHERE order_no = ? ORDER BY created_at, payment_id`, int64(no))
	err = scan(rows, err, func(r *sql.Rows) error {
		p, err := scanPayment(r)
		found = append(found, p)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list payments: %w", err)
	}
	return found, nil
}

// NumberDays reads the days before one on which numbers were granted, newest first. The orders of a day that is over were counted; those
// of the others are counted now.
func (s *Store) NumberDays(ctx context.Context, before order.Day, limit int) ([]checkout.NumberDay, error) {
	var found []checkout.NumberDay
	var used []sql.NullInt64
	rows, err := s.query(ctx, `SELECT day, next - 1, used FROM number_days WHERE day < ? ORDER BY day DESC LIMIT ?`, int64(before), limit)
	err = scan(rows, err, func(r *sql.Rows) error {
		var n checkout.NumberDay
		var counted sql.NullInt64
		err := r.Scan(&n.Day, &n.Granted, &counted)
		found, used = append(found, n), append(used, counted)
		return err
	})
	// Each day for itself: MariaDB goes through all orders for bounds that come from another row.
	for i := 0; i < len(found) && err == nil; i++ {
		n := &found[i]
		n.Last, err = s.lastNumber(ctx, n.Day)
		if n.Used = used[i].Int64; err == nil && !used[i].Valid {
			n.Used, err = s.usedNumbers(ctx, n.Day, n.Last)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list numbers: %w", err)
	}
	return found, nil
}

// lastNumber is the last of a day's numbers that an order has, or 0.
func (s *Store) lastNumber(ctx context.Context, day order.Day) (last order.Number, err error) {
	err = s.queryRow(ctx, `SELECT COALESCE(MAX(order_no), 0) FROM orders WHERE order_no > ? AND order_no < ?`,
		int64(order.NumberOf(day, 0)), int64(order.NumberOf(day+1, 0))).Scan(&last)
	return last, err
}

// Numbers are counted so many at a time, and of so many such pieces it is known that orders have them all.
const (
	numbersPiece  = 10_000
	numbersPieces = 4096
)

// usedPieces are the pieces of numbers, by the first of each, of which orders have all: as no order goes away, nobody has to count
// these again.
type usedPieces struct {
	mu    sync.Mutex
	all   map[order.Number]bool
	ahead order.Number // pieces before it were counted ahead, or then lacked orders
}

func (u *usedPieces) has(first order.Number) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.all[first]
}

func (u *usedPieces) add(first order.Number) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.all == nil || len(u.all) == numbersPieces {
		u.all = map[order.Number]bool{} // of days long gone, most of them
	}
	u.all[first] = true
}

// next gives the first of the next piece of a day's numbers to be counted ahead. The last whole one is left for later: several desks use the
// numbers of a piece up one after another.
func (u *usedPieces) next(day order.Day, last order.Number) (first order.Number, ok bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	first = max(u.ahead, order.NumberOf(day, 1))
	for u.all[first] {
		first += numbersPiece
	}
	return first, first+2*numbersPiece <= last
}

// past takes note that a piece was counted ahead.
func (u *usedPieces) past(first order.Number) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ahead = max(u.ahead, first+numbersPiece)
}

// usedNumbers is how many of a day's numbers orders have, up to the last one that one has.
func (s *Store) usedNumbers(ctx context.Context, day order.Day, last order.Number) (used int64, err error) {
	for first := order.NumberOf(day, 1); first <= last; first += numbersPiece {
		n := int64(numbersPiece)
		if !s.used.has(first) {
			if n, err = s.countPiece(ctx, first); err != nil {
				return 0, err
			}
		}
		used += n
	}
	return used, nil
}

// countPiece is how many numbers of a piece orders have.
func (s *Store) countPiece(ctx context.Context, first order.Number) (n int64, err error) {
	err = s.queryRow(ctx, `SELECT COUNT(*) FROM orders WHERE order_no >= ? AND order_no < ?`, int64(first), int64(first+numbersPiece)).Scan(&n)
	if err == nil && n == numbersPiece {
		s.used.add(first)
	}
	return n, err
}

// CountAhead counts a piece of a day's numbers that orders may have all of by now, once, so that who asks for what became of the day's
// numbers finds few left to count. more: there may be further ones.
func (s *Store) CountAhead(ctx context.Context, day order.Day) (more bool, err error) {
	last, err := s.lastNumber(ctx, day)
	if err == nil {
		first, ok := s.used.next(day, last)
		if !ok {
			return false, nil
		}
		_, err = s.countPiece(ctx, first)
		if err == nil {
			s.used.past(first)
		}
	}
	if err != nil {
		return false, fmt.Errorf("count numbers ahead: %w", classify(err))
	}
	return true, nil
}

// CountDay counts the orders of the newest day before one of which they were not counted, so that nobody has to again. It reports
// whether there was such a day. It may run twice: a day whose numbers were asked for again meanwhile is left for the next time.
func (s *Store) CountDay(ctx context.Context, before order.Day) (counted bool, err error) {
	var day, next, used int64
	err = s.queryRow(ctx, `SELECT day, next FROM number_days WHERE used IS NULL AND day < ? ORDER BY day DESC LIMIT 1`, int64(before)).Scan(&day, &next)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err == nil {
		used, err = s.usedNumbers(ctx, order.Day(day), order.NumberOf(order.Day(day), next-1))
	}
	if err == nil {
		_, err = s.exec(ctx, `UPDATE number_days SET used = ? WHERE day = ? AND next = ?`, used, day, next)
	}
	if err != nil {
		return false, fmt.Errorf("count the numbers of a day: %w", classify(err))
	}
	return true, nil
}

const eventColumns = `e.type, e.subject_kind, e.subject, e.sequence, e.at, e.data, l.position`

// eventsOfUser is a source of rows: the events of one user's orders, in the log. An event is of a number as people see it.
func (d *dialect) eventsOfUser() (with, source string) {
	with, source = d.orders("= ?")
	return with, source + `
		` + d.join + ` outbox e ON e.subject_kind = 'order' AND e.subject = ` + d.numberText + `
		` + d.join + ` event_log l ON l.event_id = e.id`
}

// Events reads the log in its order, from what is kept of it. The subject's own index serves the events of one order; those of
// one user cost a step in the index on users for every segment of orders, and then his own events; with types a caller bounds
// the look by Until.
func (s *Store) Events(ctx context.Context, f checkout.EventFilter) ([]event.Event, error) {
	var w where
	with, from := ``, `event_log l JOIN outbox e ON e.id = l.event_id`
	if f.UserID != "" {
		with, from = s.dialect.eventsOfUser()
		w.args = []any{int64(math.MaxInt64), int64(0), string(f.UserID)}
	}
	if f.OrderNo != 0 {
		w.and(`e.subject_kind = 'order' AND e.subject = ?`, f.OrderNo.String())
	}
	w.and(`l.position > ?`, f.After)
	if f.Until != 0 {
		w.and(`l.position <= ?`, f.Until)
	}
	if len(f.Types) > 0 {
		types := make([]any, len(f.Types))
		for i, t := range f.Types {
			types[i] = string(t)
		}
		w.and(`e.type IN (`+marks(len(f.Types))+`)`, types...)
	}
	text := with + `SELECT ` + eventColumns + ` FROM ` + from + w.text() + ` ORDER BY l.position LIMIT ?`
	var found []event.Event
	rows, err := s.query(ctx, text, append(w.args, f.Limit)...)
	err = scan(rows, err, func(r *sql.Rows) error {
		var e event.Event
		var ms int64
		err := r.Scan(&e.Type, &e.Subject.Kind, &e.Subject.ID, &e.Sequence, &ms, &e.Data, &e.Position)
		e.Time = at(ms)
		found = append(found, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	if f.Anew {
		return found, nil
	}
	// Looked at afterwards: what is forgotten from now on was read.
	start, err := s.LogStart(ctx)
	if err != nil {
		return nil, err
	}
	if start > f.After {
		return nil, fault.ErrEventsPruned.With("earliest_position", start+1)
	}
	return found, nil
}

// LogStart is the position behind which the log begins: of the last event that is no longer kept, 0 when all are.
func (s *Store) LogStart(ctx context.Context) (position int64, err error) {
	if err := s.queryRow(ctx, `SELECT pruned FROM log_head WHERE id = 1`).Scan(&position); err != nil {
		return 0, fmt.Errorf("find the log's beginning: %w", classify(err))
	}
	return position, nil
}

// LogEnd is the position of the last event in the log, 0 while it is empty. No event appears at or before it later.
func (s *Store) LogEnd(ctx context.Context) (position int64, err error) {
	if err := s.queryRow(ctx, `SELECT position FROM log_head WHERE id = 1`).Scan(&position); err != nil {
		return 0, fmt.Errorf("find the log's end: %w", classify(err))
	}
	return position, nil
}

// UsedKeys calls each with every idempotency key that was used for an order from a number on.
func (s *Store) UsedKeys(ctx context.Context, from order.Number, each func(ledger.Key)) error {
	rows, err := s.query(ctx, `SELECT key FROM idempotency_keys WHERE order_no >= ?`, int64(from))
	err = scan(rows, err, func(r *sql.Rows) error {
		var k sql.RawBytes
		if err := r.Scan(&k); err != nil {
			return err
		}
		each(ledger.Key(k))
		return nil
	})
	if err != nil {
		return fmt.Errorf("read used keys: %w", err)
	}
	return nil
}
