package sqlstore

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/stock"
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
	intoProducts = into(`products`, `product_id text, title text, price_amount int, currency text, max_per_user int, pay_window_ms int,
		on_sale_from int?, on_sale_until int?, active int, counts_users int, version int, created_at int, updated_at int`)
	setProducts = setting(`products`, `title text, price_amount int, currency text, max_per_user int, pay_window_ms int, on_sale_from int?,
		on_sale_until int?, active int, counts_users int, version int, updated_at int,
		quarantine text, quarantined_at int?, released text`, `product_id text`, ``, ``)
	intoStock   = into(`stock`, `product_id text, received int, held int, sold int, version int, events int`)
	setStock    = setting(`stock`, `received int, held int, sold int, version int, events int`, `product_id text`, `version int`, ``)
	intoEntries = into(`stock_ledger`, `product_id text, version int, kind text, available int, held int, sold int, order_no int?,
		reason text?, ref text?, at int`)
	intoMoves  = into(`stock_ledger`, `product_id text, version int, kind text, available int, held int, sold int, order_no int, at int`)
	intoOrders = into(`orders`, `order_no int, user_id text, currency text, total_amount int, created_at int, pay_by int, metadata text`).
			with(`status, close_reason, paid_late, reminded, version, events`, `'pending', '', 0, 0, 1, 1`)
	setOrders = setting(`orders`, `status text, paid_at int?, closed_at int?, close_reason text, paid_late int, reminded int, version int,
		events int`, `order_no int`, `events int`, ``)
	intoLines       = into(`order_lines`, `order_no int, line int, product_id text, title text, quantity int, unit_price int`)
	intoTransitions = into(`order_transitions`, `order_no int, seq int, from_status text, to_status text, reason text, event_sequence int, at int`)
	intoPayments    = into(`payments`, `payment_id text, order_no int, provider text, status text, amount int, currency text,
		transaction_id text?, created_at int, paid_at int?`)
	setPayments = setting(`payments`, `status text, transaction_id text?, paid_at int?`, `payment_id text`, ``, `t.status <> 'succeeded'`)
	intoRefunds = into(`refunds`, `refund_id text, payment_id text, order_no int, amount int, currency text, reason text, status text,
		created_at int`)
	intoUsers = into(`users`, `user_id text, name text, phone text, email text, address text, metadata text, version int, created_at int,
		updated_at int`)
	setUsers = setting(`users`, `name text, phone text, email text, address text, metadata text, version int, updated_at int`,
		`user_id text`, ``, ``)
	intoBuyers = into(`buyers`, `user_id text, recent text, version int, at int`)
	setBuyers  = setting(`buyers`, `recent text, version int, at int`, `user_id text`, `version int`, ``)
	intoUnits  = into(`user_units`, `product_id text, user_id text, units int`).
			or(`ON CONFLICT (product_id, user_id) DO UPDATE SET units = excluded.units`)
	intoKeys = into(`idempotency_keys`, `key bytes, fingerprint bytes, order_no int`)
)

func (t *tx) saveProducts(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, &intoProducts, len(c.NewProducts), func(a []any, i int) []any {
		p := c.NewProducts[i]
		return append(a, string(p.ID), p.Title, p.Price.Amount, p.Price.Currency, p.MaxPerUser, p.PayWindow.Milliseconds(),
			msOrNull(p.OnSaleFrom), msOrNull(p.OnSaleUntil), bit(p.Active), int64(p.Counting), p.Version, ms(p.CreatedAt), ms(p.UpdatedAt))
	})
	if err != nil {
		return err
	}
	return t.update(ctx, &setProducts, len(c.Products), func(a []any, i int) []any {
		p := c.Products[i]
		return append(a, p.Title, p.Price.Amount, p.Price.Currency, p.MaxPerUser, p.PayWindow.Milliseconds(), msOrNull(p.OnSaleFrom),
			msOrNull(p.OnSaleUntil), bit(p.Active), int64(p.Counting), p.Version, ms(p.UpdatedAt),
			p.Quarantine, msOrNull(p.QuarantinedAt), p.Released, string(p.ID))
	})
}

func (t *tx) saveStock(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, &intoStock, len(c.NewStock), func(a []any, i int) []any {
		s := c.NewStock[i]
		return append(a, string(s.ProductID), s.Received, s.Held, s.Sold, s.Version, s.Events)
	})
	if err != nil {
		return err
	}
	return t.update(ctx, &setStock, len(c.Stock), func(a []any, i int) []any {
		s := &c.Stock[i]
		return append(a, s.Received, s.Held, s.Sold, s.Version, s.Events, string(s.ProductID), s.Was)
	})
}

// saveEntries writes what happened to stock. Mostly that is orders only: what is NULL in all rows is not bound, or paid for, then.
func (t *tx) saveEntries(ctx context.Context, c *ledger.Changes) error {
	if !slices.ContainsFunc(c.Entries, func(e stock.Entry) bool { return e.OrderNo == 0 || e.Reason != "" || e.Ref != "" }) {
		return t.insert(ctx, &intoMoves, len(c.Entries), func(a []any, i int) []any {
			e := &c.Entries[i]
			return append(a, string(e.ProductID), e.Version, string(e.Kind), e.Available, e.Held, e.Sold, e.OrderNo, ms(e.At))
		})
	}
	return t.insert(ctx, &intoEntries, len(c.Entries), func(a []any, i int) []any {
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
	err := t.insert(ctx, &intoOrders, len(c.NewOrders), func(a []any, i int) []any {
		o := c.NewOrders[i]
		return append(a, int64(o.Number), string(o.UserID), o.Total.Currency, o.Total.Amount, ms(o.CreatedAt), ms(o.PayBy), string(o.Metadata))
	})
	if err != nil {
		return err
	}
	err = t.insert(ctx, &intoLines, len(lines), func(a []any, i int) []any {
		o := c.NewOrders[lines[i].order]
		l := &o.Lines[lines[i].line]
		return append(a, int64(o.Number), int64(lines[i].line)+1, string(l.ProductID), l.Title, l.Quantity, l.UnitPrice)
	})
	if err != nil {
		return err
	}
	return t.saveFirstSteps(ctx, c.NewOrders)
}

const firstStepsText = `INSERT INTO order_transitions (order_no, seq, from_status, to_status, reason, event_sequence, at)
	SELECT order_no, 1, '', 'pending', '', 1, created_at FROM orders WHERE order_no >= ? AND order_no <= ?`

// saveFirstSteps writes the first transitions of orders that were written. Their numbers come in stretches, of which nobody else has one.
func (t *tx) saveFirstSteps(ctx context.Context, orders []*order.Order) error {
	for len(orders) > 0 {
		n := 1
		for n < len(orders) && orders[n].Number == orders[n-1].Number+1 {
			n++
		}
		err := t.later(ctx, statement{query: t.s.spelt(firstStepsText), args: []any{int64(orders[0].Number), int64(orders[n-1].Number)}, rows: n})
		if err != nil {
			return err
		}
		orders = orders[n:]
	}
	return nil
}

func (t *tx) saveOrders(ctx context.Context, c *ledger.Changes) error {
	return t.update(ctx, &setOrders, len(c.Orders), func(a []any, i int) []any {
		o := &c.Orders[i]
		return append(a, string(o.Status), msOrNull(o.PaidAt), msOrNull(o.ClosedAt), o.CloseReason, bit(o.PaidLate), bit(o.Reminded),
			o.Version, o.Events, int64(o.Number), o.Had)
	})
}

func (t *tx) saveTransitions(ctx context.Context, c *ledger.Changes) error {
	return t.insert(ctx, &intoTransitions, len(c.Transitions), func(a []any, i int) []any {
		tr := &c.Transitions[i]
		return append(a, int64(tr.Number), tr.Seq, string(tr.From), string(tr.To), tr.Reason, tr.EventSequence, ms(tr.At))
	})
}

func (t *tx) savePayments(ctx context.Context, c *ledger.Changes) error {
	sort.Slice(c.NewPayments, func(i, k int) bool { return c.NewPayments[i].ID < c.NewPayments[k].ID })
	err := t.insert(ctx, &intoPayments, len(c.NewPayments), func(a []any, i int) []any {
		p := c.NewPayments[i]
		return append(a, p.ID, int64(p.OrderNumber), p.Provider, string(p.Status), p.Amount.Amount, p.Amount.Currency,
			textOrNull(p.TransactionID), ms(p.CreatedAt), msOrNull(p.PaidAt))
	})
	if err != nil {
		return err
	}
	err = t.update(ctx, &setPayments, len(c.Payments), func(a []any, i int) []any {
		p := c.Payments[i]
		return append(a, string(p.Status), textOrNull(p.TransactionID), msOrNull(p.PaidAt), p.ID)
	})
	if err != nil {
		return err
	}
	return t.insert(ctx, &intoRefunds, len(c.Refunds), func(a []any, i int) []any {
		r := c.Refunds[i]
		return append(a, r.ID, r.PaymentID, int64(r.OrderNumber), r.Amount.Amount, r.Amount.Currency, r.Reason, r.Status, ms(r.CreatedAt))
	})
}

func (t *tx) saveUsers(ctx context.Context, c *ledger.Changes) error {
	err := t.insert(ctx, &intoUsers, len(c.NewUsers), func(a []any, i int) []any {
		u := c.NewUsers[i]
		return append(a, string(u.ID), u.Name, u.Phone, u.Email, u.Address, string(u.Metadata), u.Version, ms(u.CreatedAt), ms(u.UpdatedAt))
	})
	if err != nil {
		return err
	}
	return t.update(ctx, &setUsers, len(c.Users), func(a []any, i int) []any {
		u := c.Users[i]
		return append(a, u.Name, u.Phone, u.Email, u.Address, string(u.Metadata), u.Version, ms(u.UpdatedAt), string(u.ID))
	})
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
	return t.insert(ctx, &intoUnits, len(buyers), func(a []any, i int) []any {
		return append(a, string(buyers[i].ProductID), string(buyers[i].UserID), c.Units[buyers[i]])
	})
}

// saveHistories writes which orders the guards are to look at. Another process that has placed an order of the same user meanwhile is
// seen by the row: a new one collides, an old one is not as it was loaded; either way the batch is run again, and counts that order.
func (t *tx) saveHistories(ctx context.Context, c *ledger.Changes) error {
	var fresh, known []user.ID
	for _, id := range slices.Sorted(maps.Keys(c.Histories)) {
		if c.Histories[id].Was == 0 {
			fresh = append(fresh, id)
		} else {
			known = append(known, id)
		}
	}
	err := t.insert(ctx, &intoBuyers, len(fresh), func(a []any, i int) []any {
		return append(a, string(fresh[i]), numbersText(c.Histories[fresh[i]].Orders), int64(1), ms(c.Now))
	})
	if err != nil {
		return err
	}
	return t.update(ctx, &setBuyers, len(known), func(a []any, i int) []any {
		h := c.Histories[known[i]]
		return append(a, numbersText(h.Orders), h.Was+1, ms(c.Now), string(known[i]), h.Was)
	})
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
	return t.insert(ctx, &intoKeys, len(keys), func(a []any, i int) []any {
		answered := c.Keys[keys[i]]
		return append(a, append([]byte(nil), keys[i][:]...), append([]byte(nil), answered.Fingerprint[:]...), int64(answered.Number))
	})
}

// saveEvents writes events in the order in which they happened: a subject's rows are locked, so that whoever writes of it next has
// higher ids.
func (t *tx) saveEvents(ctx context.Context, c *ledger.Changes) error {
	if len(c.Events) == 0 {
		return nil
	}
	return t.s.dialect.events(ctx, t, c.Events)
}
