package sqlstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// Limits of one look. Together they keep it well below 100 ms, whatever lies behind it.
const (
	windowEntries  = 2500  // of the stock ledger
	windowEvents   = 400   // and as many orders at most
	windowProducts = 400   // compared because something had happened to them
	windowRound    = 100   // compared because it was their turn
	windowPending  = 5000  // orders whose lines are summed up; with more pending, held units are not compared with them
	windowSettles  = 10000 // milliseconds after which no transaction can come in below an id that was seen, where several write
)

// Window is an audit that goes along with the desk, a small look at a time. Each look is one snapshot, so nothing that is under
// way can be taken for a mistake.
//
// It replays the stock ledger from its first entry on, once after each start, and then whatever comes; whenever it has come to
// the end, it compares what it has replayed with the stock of the products that have moved, and in turn with everybody else's (V1, V10), and
// the units held with those of pending orders (V2). It reads the outbox on from where it stood at the start and judges each
// order something has happened to (V4 to V9). What needs all orders of all time is left to the whole audit: sold units against
// orders (the half of V2), V3, V11, and whether every event came into the log.
type Window struct {
	s       *Store
	settles int64

	tallies map[product.ID]*tally
	entry   int64 // of the stock ledger, up to which everything was replayed and nothing can come in any more
	ahead   int64 // up to which it was read beyond that; below entry: it is to be read from entry on
	moved   map[product.ID]bool
	turn    product.ID // up to which the round of all products has come
	event   int64      // of the outbox, up to which everything was looked at; below 0: not begun
}

// tally is what the stock ledger, as far as it was replayed, says of one product.
type tally struct {
	replayed  stock.Stock
	delivered int64
	misplayed bool
	misfit    bool
}

// Window begins an audit that goes along with the desk.
func (s *Store) Window() *Window {
	w := &Window{s: s, tallies: map[product.ID]*tally{}, moved: map[product.ID]bool{}, event: -1}
	if s.Shared() {
		w.settles = windowSettles
	}
	return w
}

// Look takes one step. The products in again are compared too, if any are.
func (w *Window) Look(ctx context.Context, again []string) (audit.Look, error) {
	began := time.Now()
	snap, err := w.s.snapshot(ctx, w.s.dialect.window)
	if err != nil {
		return audit.Look{}, fmt.Errorf("look: %w", err)
	}
	defer snap.end()
	now, err := w.s.now(ctx, snap)
	if err != nil {
		return audit.Look{}, fmt.Errorf("look: %w", err)
	}
	l := look{w: w, auditor: auditor{snapshot: snap, now: now, late: now.Add(-lateBy), shelves: map[product.ID]*shelf{}}}
	l.out.At = now
	for _, step := range []func(context.Context) error{
		l.readHead, l.replay, func(ctx context.Context) error { return l.compare(ctx, again) }, l.judgeChanged, l.findLate, l.countQuarantined,
	} {
		if err := step(ctx); err != nil {
			return audit.Look{}, fmt.Errorf("look: %w", err)
		}
	}
	l.out.Checks, l.out.Took = l.report().Checks, time.Since(began)
	return l.out, nil
}

// look is one step of a window.
type look struct {
	auditor
	w   *Window
	out audit.Look

	atEnd bool // of the stock ledger
	held  map[product.ID]int64
}

// replay goes on with the stock ledger. Where several processes write, ids do not come in order: what is younger than any
// transaction lasts is read again once the end was reached, which may take several looks, and its versions tell what was replayed
// already. What misses its predecessor waits for that, which came in behind the last look: only what is older is out of order.
func (l *look) replay(ctx context.Context) error {
	settled, n, from := l.w.ahead <= l.w.entry, 0, max(l.w.entry, l.w.ahead)
	err := l.some(ctx, func(r *stream) {
		n++
		from = r.int(0)
		if settled = settled && l.settled(r.int(7)); settled {
			l.w.entry = from
		}
		id := product.ID(r.text(1))
		t := l.w.tallies[id]
		if t == nil {
			t = &tally{}
			l.w.tallies[id] = t
		}
		e := stock.Entry{Version: r.int(2), Kind: stock.Kind(r.text(3)), Available: r.int(4), Held: r.int(5), Sold: r.int(6)}
		if e.Version <= t.replayed.Version && l.w.settles > 0 || e.Version > t.replayed.Version+1 && !settled {
			return
		}
		t.replay(&e)
		l.out.Entries++
		l.w.moved[id] = true
	}, `SELECT id, product_id, version, kind, available, held, sold, at FROM stock_ledger WHERE id > ? ORDER BY id LIMIT ?`,
		from, windowEntries)
	l.atEnd, l.w.ahead = n < windowEntries, from
	if l.atEnd {
		l.w.ahead = 0
	}
	l.out.More = !l.atEnd
	return err
}

// settled reports whether nothing can come in any more below the id of what was written at a time. A time that is still to come is of
// a clock that was set back since.
func (l *look) settled(at int64) bool {
	now := ms(l.now)
	return at <= now-l.w.settles || at > now
}

func (t *tally) replay(e *stock.Entry) {
	s := shelf{replayed: t.replayed, received: t.delivered, misplayed: t.misplayed, misfit: t.misfit}
	s.replay(e)
	t.replayed, t.delivered, t.misplayed, t.misfit = s.replayed, s.received, s.misplayed, s.misfit
}

// compare compares what was replayed with the stock, of the products that have moved, of those that are asked for, and of the next
// ones in the round.
func (l *look) compare(ctx context.Context, again []string) error {
	if !l.atEnd {
		return nil
	}
	l.out.Compared = true
	if err := l.sumPending(ctx); err != nil {
		return err
	}
	ids := make([]product.ID, 0, len(again)+windowProducts)
	for _, id := range again {
		ids = append(ids, product.ID(id))
	}
	for id := range l.w.moved {
		if len(ids) == cap(ids) {
			l.out.More = true
			break
		}
		ids = append(ids, id)
		delete(l.w.moved, id)
	}
	seen := map[product.ID]bool{}
	row := func(r *stream) {
		id := product.ID(r.text(0))
		if seen[id] {
			return
		}
		seen[id] = true
		l.compareRow(stock.Stock{ProductID: id, Received: r.int(1), Held: r.int(3), Sold: r.int(4), Version: r.int(5)}, r.int(2))
	}
	const rows = `SELECT product_id, received, available, held, sold, version FROM stock WHERE product_id `
	slices.Sort(ids)
	err := lists(l.snapshot, ids, text, func(in string, args []any) error { return l.some(ctx, row, rows+in, args...) })
	if err != nil {
		return err
	}
	for _, id := range ids {
		if t := l.w.tallies[id]; t != nil && !seen[id] {
			l.wrong(v1, id, "it has moved and has no stock")
			seen[id] = true
		}
	}
	turn, n := l.w.turn, 0
	err = l.some(ctx, func(r *stream) {
		row(r)
		turn, n = product.ID(r.text(0)), n+1
	}, rows+`> ? ORDER BY product_id LIMIT ?`, string(l.w.turn), windowRound)
	if n < windowRound {
		turn = ""
	}
	l.w.turn = turn
	l.out.Products = len(seen)
	slices.SortFunc(l.out.Wrong, func(a, b audit.Wrong) int { return cmp.Compare(a.ProductID, b.ProductID) })
	return err
}

// sumPending adds up the units that pending orders hold, if there are not too many of these.
func (l *look) sumPending(ctx context.Context) error {
	const pending = `(SELECT order_no FROM orders WHERE status = 'pending' LIMIT ?)`
	n := int64(0)
	err := l.some(ctx, func(r *stream) { n = r.int(0) }, `SELECT COUNT(*) FROM `+pending+` AS few`, windowPending+1)
	if err != nil || n > windowPending {
		return err
	}
	l.held = map[product.ID]int64{}
	return l.some(ctx, func(r *stream) { l.held[product.ID(r.text(0))] = r.int(1) },
		`SELECT l.product_id, SUM(l.quantity) FROM `+pending+` AS o JOIN order_lines l ON l.order_no = o.order_no GROUP BY l.product_id`,
		windowPending+1)
}

// compareRow is V10, V1 and the first half of V2 for one product. The first that does not hold names the reason.
func (l *look) compareRow(is stock.Stock, available int64) {
	t := l.w.tallies[is.ProductID]
	if t == nil {
		t = &tally{}
	}
	ends := &t.replayed
	differs := differences("received", is.Received-ends.Received, "held", is.Held-ends.Held, "sold", is.Sold-ends.Sold,
		"versions", is.Version-ends.Version)
	switch {
	case t.misplayed:
		l.wrong(v10, is.ProductID, "entries of the stock ledger are missing, out of order or below zero")
	case differs != "":
		l.wrong(v10, is.ProductID, "beyond the stock ledger: "+differs)
	}
	switch {
	case t.misfit:
		l.wrong(v1, is.ProductID, "an entry of the stock ledger moves units otherwise than its kind says")
	case available != is.Available() || available < 0 || is.Held < 0 || is.Sold < 0:
		l.wrong(v1, is.ProductID, "available is not what is left, or something is below zero")
	case is.Received != t.delivered:
		l.wrong(v1, is.ProductID, "beyond deliveries: "+differences("received", is.Received-t.delivered))
	}
	if l.held != nil && is.Held != l.held[is.ProductID] {
		l.wrong(v2, is.ProductID, "beyond pending orders: "+differences("held", is.Held-l.held[is.ProductID]))
	}
}

// differences names those that are not zero: "held +1, sold -1". It takes names and numbers in turn.
func differences(pairs ...any) string {
	var all []string
	for i := 0; i+1 < len(pairs); i += 2 {
		if n, _ := pairs[i+1].(int64); n != 0 {
			all = append(all, fmt.Sprintf("%s %+d", pairs[i], n))
		}
	}
	return strings.Join(all, ", ")
}

func (l *look) wrong(c check, id product.ID, reason string) {
	l.violates(c, string(id))
	if n := len(l.out.Wrong); n > 0 && l.out.Wrong[n-1].ProductID == string(id) {
		return // the first reason stands
	}
	l.out.Wrong = append(l.out.Wrong, audit.Wrong{ProductID: string(id), Reason: fmt.Sprintf("V%d: %s", c+1, reason)})
}

// judgeChanged judges the orders of the next events.
func (l *look) judgeChanged(ctx context.Context) error {
	if l.w.event < 0 {
		return l.some(ctx, func(r *stream) { l.w.event = r.int(0) }, `SELECT COALESCE(MAX(id), 0) FROM outbox`)
	}
	var orders []order.Number
	n, oldest, settled := 0, int64(0), true
	err := l.some(ctx, func(r *stream) {
		n++
		if settled = settled && l.settled(r.int(3)); !settled || n > windowEvents {
			if oldest == 0 {
				oldest = r.int(3)
			}
			return
		}
		l.w.event = r.int(0)
		if no, err := order.ParseNumber(r.text(2)); r.text(1) == "order" && err == nil {
			orders = append(orders, no)
		}
	}, `SELECT id, subject_kind, subject, at FROM outbox WHERE id > ? ORDER BY id LIMIT ?`, l.w.event, windowEvents+1)
	if err != nil {
		return err
	}
	if oldest > 0 {
		l.out.Behind = l.now.Sub(at(oldest))
	}
	l.out.More = l.out.More || settled && n > windowEvents
	orders = sorted(orders)
	l.out.Orders = len(orders)
	return l.judgeSome(ctx, orders)
}

// judgeSome reads all that is said of some orders, and judges them. Keys are not looked for: no index finds them by their order.
func (l *look) judgeSome(ctx context.Context, orders []order.Number) error {
	stories := make(map[order.Number]*story, len(orders))
	payments := make([]string, 0, len(orders))
	for _, no := range orders {
		stories[no] = &story{no: no, keys: 1}
	}
	of := func(read func(*story, *stream)) func(*stream) {
		return func(r *stream) {
			if s := stories[r.number()]; s != nil {
				read(s, r)
			}
		}
	}
	subject := func(no order.Number) string { return no.String() }
	for _, c := range []struct {
		query, sort string
		read        func(*stream)
	}{
		{query: `SELECT order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at, closed_at, version, events
			FROM orders WHERE order_no `, read: of((*story).readOrder)},
		{query: `SELECT order_no, product_id, quantity, unit_price FROM order_lines WHERE order_no `, read: of((*story).readLine)},
		{query: `SELECT order_no, seq, from_status, to_status, event_sequence, at FROM order_transitions WHERE order_no `, sort: ` ORDER BY order_no, seq`, read: of((*story).readTransition)},
		{query: `SELECT order_no, payment_id, status, amount, currency, paid_at FROM payments WHERE order_no `, read: of(func(s *story, r *stream) {
			s.readPayment(r)
			payments = append(payments, r.text(1))
		})},
	} {
		err := lists(l.snapshot, orders, orderNo, func(in string, args []any) error { return l.some(ctx, c.read, c.query+in+c.sort, args...) })
		if err != nil {
			return err
		}
	}
	slices.Sort(payments)
	err := lists(l.snapshot, payments, func(id string) string { return id }, func(in string, args []any) error {
		return l.some(ctx, of((*story).readRefund), `SELECT order_no, payment_id, amount, currency, created_at, reason FROM refunds WHERE payment_id `+in, args...)
	})
	if err != nil {
		return err
	}
	err = lists(l.snapshot, orders, subject, func(in string, args []any) error {
		return l.some(ctx, func(r *stream) {
			if no, err := order.ParseNumber(r.text(0)); err == nil && stories[no] != nil {
				stories[no].readEvent(r)
			}
		}, `SELECT subject, sequence, type FROM outbox WHERE subject_kind = 'order' AND subject `+in+` ORDER BY subject, sequence`, args...)
	})
	if err != nil {
		return err
	}
	for _, no := range orders {
		l.judge(stories[no])
	}
	return nil
}

// findLate is the half of V7 that no event tells of: orders that nobody has expired.
func (l *look) findLate(ctx context.Context) error {
	return l.some(ctx, func(r *stream) { l.violates(v7, r.number().String()) },
		`SELECT order_no FROM orders WHERE status = 'pending' AND pay_by < ? ORDER BY pay_by LIMIT ?`, ms(l.late), audit.SamplesMax)
}

func (l *look) countQuarantined(ctx context.Context) error {
	return l.some(ctx, func(r *stream) { l.out.Quarantined = r.int(0) }, `SELECT COUNT(*) FROM products WHERE quarantined_at IS NOT NULL`)
}

// some calls do for every row of a query that gives few.
func (s *snapshot) some(ctx context.Context, do func(*stream), query string, args ...any) error {
	r, err := streamRows(ctx, s, query, args...)
	if err != nil {
		return err
	}
	defer r.close()
	for {
		more, err := r.next()
		if err != nil || !more {
			return err
		}
		do(r)
	}
}
