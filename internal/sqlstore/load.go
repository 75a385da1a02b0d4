package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Load reads what a batch wants in the global order of locks: order lines first, unlocked, for they never change and name
// the products; then stock by product, orders by number, users by id; then the keys, each in a statement of its own, so that
// whoever waited for a lock sees what its holder wrote; the clock after all locks. (SQLite's one writer holds every lock from the
// start; the order is kept because it is the same road for all databases.) What follows from what was found is read at the end.
//
// ErrUnclaimed is said also when the id may have been written, but nothing was heard of that: MySQL's driver tells of a claim with the
// first rows that come behind it. Nothing is wrong with that, for this transaction is over, and the id is asked for again.
func (t *tx) Load(ctx context.Context, want *ledger.Want) (*ledger.Rows, error) {
	rows, err := t.load(ctx, want)
	switch {
	case err == nil || t.claimed:
		return rows, err
	case errors.Is(err, ledger.ErrDuplicate):
		return nil, ledger.ErrCommitted
	}
	return nil, fmt.Errorf("%w: %w", ledger.ErrUnclaimed, err)
}

func (t *tx) load(ctx context.Context, want *ledger.Want) (*ledger.Rows, error) {
	rows := &ledger.Rows{
		Products:     make(map[product.ID]*product.Product, len(want.Products)),
		Stock:        make(map[product.ID]*stock.Stock, len(want.Products)),
		Orders:       make(map[order.Number]*order.Order, len(want.Orders)),
		Payments:     map[order.Number][]*payment.Payment{},
		Users:        map[user.ID]*user.User{},
		Keys:         make(map[ledger.Key]ledger.Answered, len(want.Keys)),
		Refs:         map[ledger.Ref]bool{},
		Transactions: map[ledger.Transaction]*payment.Payment{},
		Units:        map[ledger.Buyer]int64{},
		Histories:    map[user.ID]*ledger.History{},
	}
	orders := sorted(want.Orders)
	lines, err := loadLines(ctx, t, orders)
	if err == nil && len(orders) > 0 {
		err = t.flush(ctx)
	}
	if err != nil {
		return nil, err
	}
	products := want.Products
	for _, of := range lines {
		for i := range of {
			products = append(products, of[i].ProductID)
		}
	}
	steps := []func() error{
		func() error { return t.loadProducts(ctx, sorted(products), rows) },
		func() error { return t.loadOrders(ctx, orders, lines, rows) },
		func() error { return t.loadUsers(ctx, sorted(want.Users), rows) },
		func() error { return t.loadHistories(ctx, want, rows) },
		func() error { return t.loadKeys(ctx, want.Keys, rows) },
		func() error { return t.loadRefs(ctx, want.Refs, rows) },
		func() error { return t.loadPayments(ctx, orders, want.Transactions, rows) },
		func() error { return t.lookAtTheClock(ctx, rows) },
		func() error { return t.flush(ctx) },
		func() error { return t.loadAnswers(ctx, rows) },
		func() error { return t.loadUnits(ctx, want, rows) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

func (t *tx) lookAtTheClock(ctx context.Context, into *ledger.Rows) error {
	if t.s.clock != nil {
		into.Now = at(ms(t.s.clock()))
		return nil
	}
	return t.look(ctx, `SELECT `+t.s.dialect.now, nil, func(r scanner) error {
		var now int64
		err := r.Scan(&now)
		into.Now = at(now)
		return err
	})
}

// sorted gives each value once, in ascending order, leaving the original as it is.
func sorted[T product.ID | order.Number | user.ID](values []T) []T {
	if len(values) == 0 {
		return nil
	}
	seen := make(map[T]struct{}, len(values))
	unique := make([]T, 0, len(values))
	for _, v := range values {
		if _, ok := seen[v]; !ok {
			seen[v] = struct{}{}
			unique = append(unique, v)
		}
	}
	sort.Slice(unique, func(i, k int) bool { return unique[i] < unique[k] })
	return unique
}

func text[T ~string](v T) string   { return string(v) }
func orderNo[T ~int64](v T) int64  { return int64(v) }
func keyBytes(k ledger.Key) []byte { return k[:] }

const (
	productColumns = `p.product_id, p.title, p.price_amount, p.currency, p.max_per_user, p.pay_window_ms, p.on_sale_from, p.on_sale_until,
	p.active, p.counts_users, p.version, p.created_at, p.updated_at, p.quarantine, p.quarantined_at, p.released`
	stockColumns = `s.product_id, s.received, s.held, s.sold, s.version, s.events`
)

// stockRow is where the columns of stock go.
func stockRow(s *stock.Stock) []any {
	return []any{&s.ProductID, &s.Received, &s.Held, &s.Sold, &s.Version, &s.Events}
}

// scanProduct reads a product, and what stands behind its columns.
func scanProduct(r scanner, more ...any) (*product.Product, error) {
	p := &product.Product{}
	var window, created, updated int64
	var from, until, quarantined sql.NullInt64
	var active int64
	err := r.Scan(append([]any{
		&p.ID, &p.Title, &p.Price.Amount, &p.Price.Currency, &p.MaxPerUser, &window, &from, &until, &active,
		&p.Counting, &p.Version, &created, &updated, &p.Quarantine, &quarantined, &p.Released,
	}, more...)...)
	p.PayWindow, p.Active = millis(window), active == 1
	p.OnSaleFrom, p.OnSaleUntil = atOrZero(from), atOrZero(until)
	p.CreatedAt, p.UpdatedAt, p.QuarantinedAt = at(created), at(updated), atOrZero(quarantined)
	return p, err
}

func lockStockText(d *dialect, in string) string {
	return `SELECT ` + stockColumns + ` FROM stock s WHERE s.product_id ` + in + ` ORDER BY s.product_id` + d.lock
}

func productsText(in string) string {
	return `SELECT ` + productColumns + ` FROM products p WHERE p.product_id ` + in
}

// loadProducts locks stock, and reads the products behind: whoever changes a product has locked its stock, too. One that was made
// between the two looks was not there yet.
func (t *tx) loadProducts(ctx context.Context, ids []product.ID, into *ledger.Rows) error {
	return lists(t, ids, text, func(in string, args []any) error {
		err := t.look(ctx, lockStockText(t.s.dialect, in), args, func(r scanner) error {
			s := &stock.Stock{}
			err := r.Scan(stockRow(s)...)
			into.Stock[s.ProductID] = s
			return err
		})
		if err != nil {
			return err
		}
		return t.look(ctx, productsText(in), args, func(r scanner) error {
			p, err := scanProduct(r)
			if into.Stock[p.ID] != nil {
				into.Products[p.ID] = p
			}
			return err
		})
	})
}

func loadLines(ctx context.Context, q querier, orders []order.Number) (map[order.Number][]order.Line, error) {
	lines := make(map[order.Number][]order.Line, len(orders))
	err := lists(q, orders, orderNo, func(in string, args []any) error {
		return q.look(ctx, `SELECT order_no, product_id, title, quantity, unit_price FROM order_lines
			WHERE order_no `+in+` ORDER BY order_no, line`, args, func(r scanner) error {
			var no order.Number
			var l order.Line
			err := r.Scan(&no, &l.ProductID, &l.Title, &l.Quantity, &l.UnitPrice)
			lines[no] = append(lines[no], l)
			return err
		})
	})
	return lines, err
}

const orderColumns = `order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at, close_reason,
	paid_late, reminded, version, events, metadata`

func scanOrder(r scanner) (*order.Order, error) {
	o := &order.Order{}
	var created, payBy, late, reminded int64
	var paid, closed sql.NullInt64
	err := r.Scan(&o.Number, &o.UserID, &o.Status, &o.Total.Currency, &o.Total.Amount, &created, &payBy, &paid, &closed,
		&o.CloseReason, &late, &reminded, &o.Version, &o.Events, &o.Metadata)
	o.CreatedAt, o.PayBy, o.PaidAt, o.ClosedAt = at(created), at(payBy), atOrZero(paid), atOrZero(closed)
	o.PaidLate, o.Reminded = late == 1, reminded == 1
	return o, err
}

// loadOrders reads orders as they are once they are locked.
func (t *tx) loadOrders(ctx context.Context, numbers []order.Number, lines map[order.Number][]order.Line, into *ledger.Rows) error {
	return t.readOrders(ctx, numbers, lines, t.s.dialect.lock, into.Orders)
}

// readOrders reads orders. One without lines was not there yet when the lines were read.
func (t *tx) readOrders(ctx context.Context, numbers []order.Number, lines map[order.Number][]order.Line, lock string,
	into map[order.Number]*order.Order,
) error {
	return lists(t, numbers, orderNo, func(in string, args []any) error {
		return t.look(ctx, `SELECT `+orderColumns+` FROM orders WHERE order_no `+in+` ORDER BY order_no`+lock, args, func(r scanner) error {
			o, err := scanOrder(r)
			if o.Lines = lines[o.Number]; len(o.Lines) > 0 {
				into[o.Number] = o
			}
			return err
		})
	})
}

const userColumns = `user_id, name, phone, email, address, metadata, version, created_at, updated_at`

func scanUser(r scanner) (*user.User, error) {
	u := &user.User{}
	var created, updated int64
	err := r.Scan(&u.ID, &u.Name, &u.Phone, &u.Email, &u.Address, &u.Metadata, &u.Version, &created, &updated)
	u.CreatedAt, u.UpdatedAt = at(created), at(updated)
	return u, err
}

func lockUsersText(d *dialect, in string) string {
	return `SELECT ` + userColumns + ` FROM users WHERE user_id ` + in + ` ORDER BY user_id` + d.lock
}

func (t *tx) loadUsers(ctx context.Context, ids []user.ID, into *ledger.Rows) error {
	return lists(t, ids, text, func(in string, args []any) error {
		return t.look(ctx, lockUsersText(t.s.dialect, in), args, func(r scanner) error {
			u, err := scanUser(r)
			into.Users[u.ID] = u
			return err
		})
	})
}

func lockBuyersText(d *dialect, in string) string {
	return `SELECT user_id, recent, version FROM buyers WHERE user_id ` + in + ` ORDER BY user_id` + d.lock
}

// loadHistories locks and reads which orders the guards look at, and then those orders as they are, unlocked, for orders come before
// users in the order of locks: who is about to end one of them may be a moment ahead, but none that is over comes back.
func (t *tx) loadHistories(ctx context.Context, want *ledger.Want, into *ledger.Rows) error {
	if !want.Guarded {
		return nil
	}
	if err := t.flush(ctx); err != nil { // whose orders they are
		return err
	}
	users := want.Histories
	for _, o := range into.Orders {
		users = append(users, o.UserID)
	}
	users = sorted(users)
	for _, id := range users {
		into.Histories[id] = &ledger.History{}
	}
	recent := map[order.Number]user.ID{}
	err := lists(t, users, text, func(in string, args []any) error {
		return t.look(ctx, lockBuyersText(t.s.dialect, in), args, func(r scanner) error {
			var id user.ID
			var numbers string
			var version int64
			if err := r.Scan(&id, &numbers, &version); err != nil {
				return err
			}
			into.Histories[id].Version = version
			for word := range strings.FieldsSeq(numbers) {
				no, err := order.ParseNumber(word)
				if err != nil {
					return err
				}
				recent[no] = id
			}
			return nil
		})
	})
	if err == nil {
		err = t.flush(ctx)
	}
	if err != nil || len(recent) == 0 {
		return err
	}
	numbers := slices.Sorted(maps.Keys(recent)) // and so they come by age
	lines, err := loadLines(ctx, t, numbers)
	if err == nil {
		err = t.flush(ctx)
	}
	if err != nil {
		return err
	}
	orders := make(map[order.Number]*order.Order, len(numbers))
	if err := t.readOrders(ctx, numbers, lines, "", orders); err != nil {
		return err
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	for _, no := range numbers {
		if o := orders[no]; o != nil {
			h := into.Histories[recent[no]]
			h.Orders = append(h.Orders, o)
		}
	}
	return nil
}

// loadKeys finds which keys were used.
func (t *tx) loadKeys(ctx context.Context, keys []ledger.Key, into *ledger.Rows) error {
	return lists(t, keys, keyBytes, func(in string, args []any) error {
		return t.look(ctx, `SELECT key, fingerprint, order_no FROM idempotency_keys WHERE key `+in, args, func(r scanner) error {
			key, answered, err := scanKey(r)
			into.Keys[key] = answered
			return err
		})
	})
}

// loadAnswers finds the bytes that the used keys were answered with.
func (t *tx) loadAnswers(ctx context.Context, into *ledger.Rows) error {
	if len(into.Keys) == 0 {
		return nil
	}
	used := make(map[order.Number]ledger.Key, len(into.Keys))
	for key, answered := range into.Keys {
		used[answered.Number] = key
	}
	bodies, err := firstEvents(ctx, t, used)
	if err == nil {
		err = t.flush(ctx)
	}
	for no, body := range bodies {
		answered := into.Keys[used[no]]
		answered.Body = body
		into.Keys[used[no]] = answered
	}
	return err
}

func scanKey(r scanner) (key ledger.Key, answered ledger.Answered, err error) {
	var k, f []byte
	err = r.Scan(&k, &f, &answered.Number)
	copy(key[:], k)
	copy(answered.Fingerprint[:], f)
	return key, answered, err
}

// firstEvents reads the data of the orders' first events: the bytes that their buyers were answered with.
func firstEvents[V any](ctx context.Context, q querier, orders map[order.Number]V) (map[order.Number][]byte, error) {
	numbers := make([]order.Number, 0, len(orders))
	for no := range orders {
		numbers = append(numbers, no)
	}
	bodies := make(map[order.Number][]byte, len(orders))
	err := lists(q, numbers, order.Number.String, func(in string, args []any) error {
		return q.look(ctx, `SELECT subject, data FROM outbox
			WHERE subject_kind = 'order' AND sequence = 1 AND subject `+in, args, func(r scanner) error {
			var subject string
			var data []byte
			if err := r.Scan(&subject, &data); err != nil {
				return err
			}
			no, err := order.ParseNumber(subject)
			bodies[no] = data
			return err
		})
	})
	return bodies, err
}

func (t *tx) loadRefs(ctx context.Context, refs []ledger.Ref, into *ledger.Rows) error {
	for _, ref := range refs {
		err := t.look(ctx, `SELECT 1 FROM stock_ledger WHERE product_id = ? AND ref = ?`, []any{string(ref.ProductID), ref.Ref}, func(scanner) error {
			into.Refs[ref] = true
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const paymentColumns = `payment_id, order_no, provider, status, amount, currency, transaction_id, created_at, paid_at`

func scanPayment(r scanner) (*payment.Payment, error) {
	p := &payment.Payment{}
	var m money.Money
	var transaction sql.NullString
	var created int64
	var paid sql.NullInt64
	err := r.Scan(&p.ID, &p.OrderNumber, &p.Provider, &p.Status, &m.Amount, &m.Currency, &transaction, &created, &paid)
	p.Amount, p.TransactionID, p.CreatedAt, p.PaidAt = m, transaction.String, at(created), atOrZero(paid)
	return p, err
}

// loadPayments reads the payments of the orders, and those that carry the transactions, one object each.
func (t *tx) loadPayments(ctx context.Context, orders []order.Number, transactions []ledger.Transaction, into *ledger.Rows) error {
	err := lists(t, orders, orderNo, func(in string, args []any) error {
		return t.look(ctx, `SELECT `+paymentColumns+` FROM payments WHERE order_no `+in+` ORDER BY payment_id`, args, func(r scanner) error {
			p, err := scanPayment(r)
			into.Payments[p.OrderNumber] = append(into.Payments[p.OrderNumber], p)
			return err
		})
	})
	if err != nil {
		return err
	}
	for _, transaction := range transactions {
		err := t.look(ctx, `SELECT `+paymentColumns+` FROM payments WHERE provider = ? AND transaction_id = ?`,
			[]any{transaction.Provider, transaction.ID}, func(r scanner) error {
				p, err := scanPayment(r)
				into.Transactions[transaction] = p
				return err
			})
		if err != nil {
			return err
		}
	}
	return nil
}

// loadUnits reads the counters of the wanted buyers and of the loaded orders' buyers, for products that count or may begin to.
// A counter that is missing of a product that has not always counted is worked out from the user's orders.
func (t *tx) loadUnits(ctx context.Context, want *ledger.Want, into *ledger.Rows) error {
	buyers := want.Buyers
	for _, o := range into.Orders {
		for i := range o.Lines {
			buyers = append(buyers, ledger.Buyer{ProductID: o.Lines[i].ProductID, UserID: o.UserID})
		}
	}
	counted := map[product.ID][]user.ID{}
	for _, b := range buyers {
		p := into.Products[b.ProductID]
		if p == nil || p.Counting == product.NotCounted && !slices.Contains(want.Limited, b.ProductID) {
			continue
		}
		counted[p.ID] = append(counted[p.ID], b.UserID)
	}
	for id, users := range counted {
		if err := t.readUnits(ctx, id, sorted(users), into); err != nil {
			return err
		}
	}
	if err := t.flush(ctx); err != nil {
		return err
	}
	for id, users := range counted {
		p := into.Products[id]
		users = slices.DeleteFunc(sorted(users), func(u user.ID) bool {
			_, known := into.Units[ledger.Buyer{ProductID: id, UserID: u}]
			return known
		})
		for _, u := range users {
			into.Units[ledger.Buyer{ProductID: id, UserID: u}] = 0
		}
		if p.Counting == product.CountedAll {
			continue
		}
		if err := t.workOutUnits(ctx, p, users, into); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) readUnits(ctx context.Context, id product.ID, users []user.ID, into *ledger.Rows) error {
	return lists(t, users, text, func(in string, args []any) error {
		return t.look(ctx, `SELECT user_id, units FROM user_units WHERE product_id = ? AND user_id `+in, append([]any{string(id)}, args...),
			func(r scanner) error {
				b := ledger.Buyer{ProductID: id}
				var units int64
				err := r.Scan(&b.UserID, &units)
				into.Units[b] = units
				return err
			})
	})
}

// workOutUnits sums up the units of a product in the orders that some users placed since it was created.
func (t *tx) workOutUnits(ctx context.Context, p *product.Product, users []user.ID, into *ledger.Rows) error {
	for _, u := range users {
		into.WorkedOut = append(into.WorkedOut, ledger.Buyer{ProductID: p.ID, UserID: u})
	}
	first := order.NumberOf(order.DayOf(p.CreatedAt.AddDate(0, 0, -1)), 0) // a day early: the desk's days are not UTC's
	return lists(t, users, text, func(in string, args []any) error {
		rows, err := t.query(ctx, t.s.dialect.unitsInOrders(in), append(append([]any{int64(math.MaxInt64), int64(first)}, args...), string(p.ID))...)
		return scan(rows, err, func(r *sql.Rows) error {
			b := ledger.Buyer{ProductID: p.ID}
			var units int64
			err := r.Scan(&b.UserID, &units)
			into.Units[b] = units
			return err
		})
	})
}

func (d *dialect) unitsInOrders(users string) string {
	with, from := d.orders(users)
	return with + `SELECT orders.user_id, SUM(l.quantity) FROM ` + from + `
		` + d.join + ` order_lines l ON l.order_no = orders.order_no AND l.product_id = ?
		WHERE orders.status IN ('pending', 'paid', 'fulfilled') GROUP BY orders.user_id`
}
