package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Save writes a batch's changes, table by table, in bulk. Rows under a key that another process may want to write
// at the same time come sorted by it, so that two processes wait for each other in one order.
func (t *tx) Save(ctx context.Context, c *ledger.Changes) error {
	steps := []func(context.Context, *ledger.Changes) error{
		t.saveProducts, t.saveStock, t.saveEntries,
		t.saveNewOrders, t.saveOrders, t.saveTransitions,
		t.savePayments, t.saveUsers, t.saveUnits, t.saveHistories, t.saveKeys, t.saveEvents,
	}
	for _, step := range steps {
		if err := step(ctx, c); err != nil {
			return err
		}
	}
	return nil
}

var (
	intoProducts = into(`products (product_id, title, price_amount, currency, max_per_user, pay_window_ms, on_sale_from,
		on_sale_until, active, counts_users, version, created_at, updated_at)`)
	intoStock   = into(`stock (product_id, received, held, sold, version, events)`)
	intoEntries = into(`stock_ledger (product_id, version, kind, available, held, sold, order_no, reason, ref, at)`)
	intoOrders  = into(`orders (order_no, user_id, currency, total_amount, created_at, pay_by, metadata,
		status, close_reason, paid_late, reminded, version, events)`, `(?, ?, ?, ?, ?, ?, ?, 'pending', '', 0, 0, 1, 1)`)
	intoLines      = into(`order_lines (order_no, line, product_id, title, quantity, unit_price)`)
	intoFirstSteps = into(`order_transitions (order_no, at, seq, from_status, to_status, reason, event_sequence)`,
		`(?, ?, 1, '', 'pending', '', 1)`)
	intoTransitions = into(`order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)`)
	intoPayments    = into(`payments (payment_id, order_no, provider, status, amount, currency, transaction_id, created_at, paid_at)`)
	intoRefunds     = into(`refunds (refund_id, payment_id, order_no, amount, currency, reason, status, created_at)`)
	intoUsers       = into(`users (user_id, name, phone, email, address, metadata, version, created_at, updated_at)`)
	intoBuyers      = into(`buyers (user_id, recent, version, at)`)
	intoKeys        = into(`idempotency_keys (key, fingerprint, order_no)`)
	intoOutbox      = into(`outbox (id, subject_kind, subject, sequence, type, at, data)`)
	intoWaiting     = into(`outbox_waiting (shard, event_id)`)
)

func (t *tx) saveProducts(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, intoProducts, len(c.NewProducts), func(a []any, i int) []any {
		p := c.NewProducts[i]
		return append(a, string(p.ID), p.Title, p.Price.Amount, p.Price.Currency, p.MaxPerUser, p.PayWindow.Milliseconds(),
			msOrNull(p.OnSaleFrom), msOrNull(p.OnSaleUntil), bit(p.Active), int64(p.Counting), p.Version, ms(p.CreatedAt), ms(p.UpdatedAt))
	})
	for _, p := range c.Products {
		if err != nil {
			return err
		}
		err = t.update(ctx, `UPDATE products SET title = ?, price_amount = ?, currency = ?, max_per_user = ?, pay_window_ms = ?,
			on_sale_from = ?, on_sale_until = ?, active = ?, counts_users = ?, version = ?, updated_at = ? WHERE product_id = ?`,
			p.Title, p.Price.Amount, p.Price.Currency, p.MaxPerUser, p.PayWindow.Milliseconds(), msOrNull(p.OnSaleFrom),
			msOrNull(p.OnSaleUntil), bit(p.Active), int64(p.Counting), p.Version, ms(p.UpdatedAt), string(p.ID))
	}
	return err
}

func (t *tx) saveStock(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, intoStock, len(c.NewStock), func(a []any, i int) []any {
		s := c.NewStock[i]
		return append(a, string(s.ProductID), s.Received, s.Held, s.Sold, s.Version, s.Events)
	})
	for _, s := range c.Stock {
		if err != nil {
			return err
		}
		err = t.update(ctx, `UPDATE stock SET received = ?, held = ?, sold = ?, version = ?, events = ?
			WHERE product_id = ? AND version = ?`,
			s.Received, s.Held, s.Sold, s.Version, s.Events, string(s.ProductID), s.Was)
	}
	return err
}

func (t *tx) saveEntries(ctx context.Context, c *ledger.Changes) error {
	return t.insert(ctx, intoEntries, len(c.Entries), func(a []any, i int) []any {
		e := &c.Entries[i]
		var no any
		if e.OrderNo != 0 {
			no = e.OrderNo
		}
		return append(a, string(e.ProductID), e.Version, string(e.Kind), e.Available, e.Held, e.Sold, no,
			textOrNull(e.Reason), textOrNull(e.Ref), ms(e.At))
	})
}

// saveNewOrders writes orders as they are placed, with their lines and their first transition. What is the same for all of them
// stands in the statements: a value that is not bound is not paid for.
func (t *tx) saveNewOrders(ctx context.Context, c *ledger.Changes) error {
	type place struct{ order, line int }
	var lines []place
	for i, o := range c.NewOrders {
		if o.Status != order.Pending || o.Version != 1 || o.Events != 1 {
			return fmt.Errorf("%w: order %s is not as orders are placed", ledger.ErrRefused, o.Number)
		}
		for k := range o.Lines {
			lines = append(lines, place{i, k})
		}
	}
	err := t.insert(ctx, intoOrders, len(c.NewOrders), func(a []any, i int) []any {
		o := c.NewOrders[i]
		return append(a, int64(o.Number), string(o.UserID), o.Total.Currency, o.Total.Amount, ms(o.CreatedAt), ms(o.PayBy), string(o.Metadata))
	})
	if err != nil {
		return err
	}
	err = t.insert(ctx, intoLines, len(lines), func(a []any, i int) []any {
		o := c.NewOrders[lines[i].order]
		l := &o.Lines[lines[i].line]
		return append(a, int64(o.Number), int64(lines[i].line)+1, string(l.ProductID), l.Title, l.Quantity, l.UnitPrice)
	})
	if err != nil {
		return err
	}
	return t.insert(ctx, intoFirstSteps, len(c.NewOrders), func(a []any, i int) []any {
		o := c.NewOrders[i]
		return append(a, int64(o.Number), ms(o.CreatedAt))
	})
}

func (t *tx) saveOrders(ctx context.Context, c *ledger.Changes) error {
	for _, o := range c.Orders {
		err := t.update(ctx, `UPDATE orders SET status = ?, paid_at = ?, closed_at = ?, close_reason = ?, paid_late = ?, reminded = ?,
			version = ?, events = ? WHERE order_no = ? AND events = ?`,
			string(o.Status), msOrNull(o.PaidAt), msOrNull(o.ClosedAt), o.CloseReason, bit(o.PaidLate), bit(o.Reminded),
			o.Version, o.Events, int64(o.Number), o.Had)
		if err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) saveTransitions(ctx context.Context, c *ledger.Changes) error {
	return t.insert(ctx, intoTransitions, len(c.Transitions), func(a []any, i int) []any {
		tr := &c.Transitions[i]
		return append(a, int64(tr.Number), tr.Seq, string(tr.From), string(tr.To), tr.Reason, tr.EventSequence, ms(tr.At))
	})
}

func (t *tx) savePayments(ctx context.Context, c *ledger.Changes) error {
	sort.Slice(c.NewPayments, func(i, k int) bool { return c.NewPayments[i].ID < c.NewPayments[k].ID })
	err := t.insert(ctx, intoPayments, len(c.NewPayments), func(a []any, i int) []any {
		p := c.NewPayments[i]
		return append(a, p.ID, int64(p.OrderNumber), p.Provider, string(p.Status), p.Amount.Amount, p.Amount.Currency,
			textOrNull(p.TransactionID), ms(p.CreatedAt), msOrNull(p.PaidAt))
	})
	for _, p := range c.Payments {
		if err != nil {
			return err
		}
		err = t.update(ctx, `UPDATE payments SET status = ?, transaction_id = ?, paid_at = ? WHERE payment_id = ? AND status <> 'succeeded'`,
			string(p.Status), textOrNull(p.TransactionID), msOrNull(p.PaidAt), p.ID)
	}
	if err != nil {
		return err
	}
	return t.insert(ctx, intoRefunds, len(c.Refunds), func(a []any, i int) []any {
		r := c.Refunds[i]
		return append(a, r.ID, r.PaymentID, int64(r.OrderNumber), r.Amount.Amount, r.Amount.Currency, r.Reason, r.Status, ms(r.CreatedAt))
	})
}

func (t *tx) saveUsers(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, intoUsers, len(c.NewUsers), func(a []any, i int) []any {
		u := c.NewUsers[i]
		return append(a, string(u.ID), u.Name, u.Phone, u.Email, u.Address, string(u.Metadata), u.Version, ms(u.CreatedAt), ms(u.UpdatedAt))
	})
	for _, u := range c.Users {
		if err != nil {
			return err
		}
		err = t.update(ctx, `UPDATE users SET name = ?, phone = ?, email = ?, address = ?, metadata = ?, version = ?, updated_at = ?
			WHERE user_id = ?`, u.Name, u.Phone, u.Email, u.Address, string(u.Metadata), u.Version, ms(u.UpdatedAt), string(u.ID))
	}
	return err
}

func (t *tx) saveUnits(ctx context.Context, c *ledger.Changes) error {
	buyers := make([]ledger.Buyer, 0, len(c.Units))
	for b := range c.Units {
		buyers = append(buyers, b)
	}
	sort.Slice(buyers, func(i, k int) bool {
		if buyers[i].ProductID != buyers[k].ProductID {
			return buyers[i].ProductID < buyers[k].ProductID
		}
		return buyers[i].UserID < buyers[k].UserID
	})
	for _, b := range buyers {
		_, err := t.exec(ctx, `INSERT INTO user_units (product_id, user_id, units) VALUES (?, ?, ?)
			ON CONFLICT (product_id, user_id) DO UPDATE SET units = excluded.units`, string(b.ProductID), string(b.UserID), c.Units[b])
		if err != nil {
			return err
		}
	}
	return nil
}

// saveHistories writes which orders the guards are to look at. Another process that has placed an order of the same user meanwhile is
// seen by the row: a new one collides, an old one is not as it was loaded; either way the batch is run again, and counts that order.
func (t *tx) saveHistories(ctx context.Context, c *ledger.Changes) error {
	var fresh []user.ID
	users := slices.Sorted(maps.Keys(c.Histories))
	for _, id := range users {
		if c.Histories[id].Was == 0 {
			fresh = append(fresh, id)
		}
	}
	err := t.insert(ctx, intoBuyers, len(fresh), func(a []any, i int) []any {
		return append(a, string(fresh[i]), numbersText(c.Histories[fresh[i]].Orders), 1, ms(c.Now))
	})
	for _, id := range users {
		h := c.Histories[id]
		if err != nil {
			return err
		}
		if h.Was > 0 {
			err = t.update(ctx, `UPDATE buyers SET recent = ?, version = ?, at = ? WHERE user_id = ? AND version = ?`,
				numbersText(h.Orders), h.Was+1, ms(c.Now), string(id), h.Was)
		}
	}
	return err
}

func numbersText(numbers []order.Number) string {
	words := make([]string, len(numbers))
	for i, no := range numbers {
		words[i] = no.String()
	}
	return strings.Join(words, " ")
}

func (t *tx) saveKeys(ctx context.Context, c *ledger.Changes) error {
	keys := make([]ledger.Key, 0, len(c.Keys))
	for k := range c.Keys {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, k int) bool { return bytes.Compare(keys[i][:], keys[k][:]) < 0 })
	return t.insert(ctx, intoKeys, len(keys), func(a []any, i int) []any {
		answered := c.Keys[keys[i]]
		return append(a, append([]byte(nil), keys[i][:]...), append([]byte(nil), answered.Fingerprint[:]...), int64(answered.Number))
	})
}

// saveEvents numbers the events on from the last one: SQLite has one writer, and the newest event is never thrown away.
func (t *tx) saveEvents(ctx context.Context, c *ledger.Changes) error {
	var last int64
	rows, err := t.query(ctx, `SELECT COALESCE(MAX(id), 0) FROM outbox`)
	if err := scan(rows, err, func(r *sql.Rows) error { return r.Scan(&last) }); err != nil {
		return err
	}
	err = t.insert(ctx, intoOutbox, len(c.Events), func(a []any, i int) []any {
		e := &c.Events[i]
		return append(a, last+1+int64(i), string(e.Subject.Kind), e.Subject.ID, e.Sequence, string(e.Type), ms(e.Time), string(e.Data))
	})
	if err != nil {
		return err
	}
	return t.insert(ctx, intoWaiting, len(c.Events), func(a []any, i int) []any {
		return append(a, int64(c.Events[i].Subject.Shard()), last+1+int64(i))
	})
}
