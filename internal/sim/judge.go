package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

const (
	believedMax  = 5 * time.Second  // how long units may be for sale while a buyer is refused, when nothing is wrong
	clocksSettle = 40 * time.Second // until expiry goes on after a clock that jumped
)

// history is what clients asked for and were told.
type history struct {
	wishes      []*wish
	placed      []order.Number // answered 201
	notices     []*notice
	adjustments []*adjustment
	ends        []end
	inspected   []order.Number // placed when nothing was wrong any more, and left alone
	read        int64          // of the log
}

// end is a status that somebody was told an order has reached for good.
type end struct {
	number order.Number
	status order.Status
}

// keyOf is the ledger's name of an idempotency key.
func keyOf(key string) ledger.Key {
	sum := sha256.Sum256([]byte(string(checkout.Merchant) + "\x00" + key))
	return ledger.Key(sum[:16])
}

// open puts the products on sale and lets the clients in.
func (w *world) open(r *rand.Rand) {
	w.shop.limits = map[product.ID]int64{}
	now := w.now()
	for i := range 1 + r.IntN(3) {
		id := product.ID(fmt.Sprintf("sku-%d", i))
		p := product.Product{
			ID: id, Title: "Ticket", Price: money.Money{Amount: 1000 + int64(i), Currency: "CNY"}, Active: true,
			PayWindow: time.Duration(1+r.IntN(5)) * time.Second, Version: 1, CreatedAt: now, UpdatedAt: now,
		}
		if r.IntN(2) == 0 {
			p.MaxPerUser, p.Counting = 1+r.Int64N(3), product.CountedAll
			w.shop.limits[id] = p.MaxPerUser
		}
		w.shop.products = append(w.shop.products, id)
		w.stock(&p, 1+r.Int64N(8))
	}
	users := 1 + r.IntN(3)
	for i := range 2 + r.IntN(4) {
		b := &buyer{client: w.client(fmt.Sprintf("b%d", i)), user: user.ID(fmt.Sprintf("u%d", r.IntN(users))), seen: map[order.Number]int64{}}
		deeds := 4 + r.IntN(12)
		w.playing++
		b.start(func() { b.play(deeds) })
	}
	m, deeds := w.client("m"), 3+r.IntN(10)
	w.playing++
	m.start(func() { m.merchant(deeds) })
	reader := w.client("reader")
	w.actors.Go(func() { reader.follow() })
}

func (w *world) now() time.Time { return w.store.now() }

// stock writes a product and its first delivery into the record, as a ledger would have.
func (w *world) stock(p *product.Product, units int64) {
	t := &tx{s: w.store, saved: firstDelivery(p, units, w.now()), firstEvent: w.store.lastEvent + 1}
	w.store.lastEvent += int64(len(t.saved.Events))
	w.store.apply(t)
}

// firstDelivery is a product with units, in one step.
func firstDelivery(p *product.Product, units int64, now time.Time) *ledger.Changes {
	s := &stock.Stock{ProductID: p.ID}
	entry, _ := s.Receive(units)
	entry.At = now
	s.Events++
	return &ledger.Changes{
		Now: now, NewProducts: []*product.Product{p}, NewStock: []*stock.Stock{s}, Entries: []stock.Entry{entry},
		Events: []event.Event{{
			Type: event.StockChanged, Subject: event.Subject{Kind: event.Product, ID: string(p.ID)}, Sequence: 1, Time: now,
			Data: s.AppendJSON(nil),
		}},
	}
}

// follow reads the log as a subscriber does, and watches that it tells each subject's story in order and without gaps.
func (c *client) follow() {
	v := &view{s: c.w.store}
	told := map[event.Subject]int64{}
	for {
		c.sleep(800 * time.Millisecond)
		page, err := v.Events(c.ctx, checkout.EventFilter{After: c.w.history.read, Limit: 1 + c.rand.IntN(50)})
		if err != nil {
			continue
		}
		for i := range page {
			e := &page[i]
			if e.Sequence != told[e.Subject]+1 {
				c.w.violated("I14: event %d of %s came after %d", e.Sequence, e.Subject.ID, told[e.Subject])
			}
			told[e.Subject] = e.Sequence
			c.w.history.read = e.Position
		}
	}
}

// inspect has a buyer at every process buy one of each product, when nothing is wrong any more: whatever is on the shelf must
// be for sale, must be reminded of and must come back in time.
func (w *world) inspect() {
	wait := time.Second
	if w.jumped {
		wait = clocksSettle
	}
	for _, p := range w.slots {
		if p.dead.Load() {
			wait = max(wait, bootMax+time.Second)
		}
	}
	for slot := range w.slots {
		c := w.client(fmt.Sprintf("i%d", slot))
		c.start(func() {
			c.w.bus.sleep(nil, c.name, wait)
			for _, id := range w.shop.products {
				c.inspect(slot, id)
			}
		})
	}
}

func (c *client) inspect(slot int, id product.ID) {
	want := &wish{order: checkout.Order{
		Scope: checkout.Merchant, IdempotencyKey: fmt.Sprintf("%s-%s", c.name, id), UserID: user.ID(c.name),
		Lines: []checkout.Line{{ProductID: id, Quantity: 1}}, Metadata: []byte(`{}`),
	}}
	c.w.history.wishes = append(c.w.history.wishes, want)
	refusedSince := time.Time{}
	for {
		err := c.place(c.w.slots[slot], want)
		if c.verdictOf(err) == accepted {
			c.w.history.inspected = append(c.w.history.inspected, want.number)
			return
		}
		now, p := c.w.clock(), c.w.store.products[id]
		st := c.w.store.stock[id]
		switch {
		case st.Available() < 1 || !p.OnSale(now):
			return
		case refusedSince.IsZero():
			refusedSince = now
		case now.Sub(refusedSince) > believedMax:
			c.w.violated("EV: %d units of %s are for sale, and a buyer is told %v for %s", st.Available(), id, err, now.Sub(refusedSince))
			return
		}
		c.sleep(retryPause)
	}
}

// judge compares what clients were told with what is in the record, once all is settled.
func (w *world) judge() {
	w.judgeWishes()
	w.judgeMoney()
	w.judgeStock()
	for _, e := range w.history.ends {
		o := w.store.orders[e.number]
		if o.Status != e.status {
			w.violated("order %s was told to be %s, and is %s", e.number, e.status, o.Status)
		}
	}
	for _, no := range w.history.inspected {
		w.judgeInspected(no)
	}
}

func (w *world) judgeWishes() {
	answered, unsure := map[string]*wish{}, map[string]bool{}
	for _, want := range w.history.wishes {
		key := want.order.IdempotencyKey
		unsure[key] = unsure[key] || want.unsure
		if !want.answered {
			continue
		}
		if other := answered[key]; other != nil && other.number != want.number {
			w.violated("I5: key %s has orders %s and %s", key, other.number, want.number)
		}
		answered[key] = want
		o, there := w.store.orders[want.number]
		used := w.store.keys[keyOf(key)]
		switch {
		case !there || used.Number != want.number:
			w.violated("I3: order %s was answered 201 for key %s, which has order %q", want.number, key, used.Number)
		case !bytes.Equal(w.store.body(want.number), want.body):
			w.violated("I3: order %s was answered\n%s\nand is\n%s", want.number, want.body, w.store.body(want.number))
		case o.UserID != want.order.UserID || !sameUnits(o.Lines, want.order.Lines):
			w.violated("I3: order %s has lines %v, wanted were %v", want.number, o.Lines, want.order.Lines)
		}
	}
	for _, want := range w.history.wishes {
		key := want.order.IdempotencyKey
		if used, there := w.store.keys[keyOf(key)]; there && answered[key] == nil && !unsure[key] {
			w.violated("I4: key %s was refused each time, and has order %s", key, used.Number)
		}
	}
}

func sameUnits(got []order.Line, want []checkout.Line) bool {
	units := map[product.ID]int64{}
	for _, l := range want {
		units[l.ProductID] += l.Quantity
	}
	for i := range got {
		units[got[i].ProductID] -= got[i].Quantity
	}
	for _, n := range units {
		if n != 0 {
			return false
		}
	}
	return true
}

func (w *world) judgeMoney() {
	payer := map[order.Number]string{}
	for _, n := range w.history.notices {
		id, counted := w.store.money[ledger.Transaction{Provider: provider, ID: n.TransactionID}]
		p := w.store.payments[id]
		switch {
		case n.outcome == "":
			continue
		case !n.right:
			w.violated("I7: notice %s of %v was taken for order %s", n.name, n.Amount, n.OrderNumber)
		case !counted || p.OrderNumber != n.OrderNumber || n.Succeeded && p.Status != payment.Succeeded:
			w.violated("I9: notice %s was answered %s, and the record has %+v", n.name, n.outcome, p)
		case n.paid && payer[n.OrderNumber] != "" && payer[n.OrderNumber] != n.TransactionID:
			w.violated("I9: order %s was paid by %s and by %s", n.OrderNumber, payer[n.OrderNumber], n.TransactionID)
		case n.paid:
			payer[n.OrderNumber] = n.TransactionID
			if o := w.store.orders[n.OrderNumber]; o.Status != order.Paid && o.Status != order.Fulfilled {
				w.violated("I6: order %s was told to be paid, and is %s", o.Number, o.Status)
			}
		}
	}
}

func (w *world) judgeStock() {
	times := map[string]int{}
	for _, entries := range w.store.entries {
		for i := range entries {
			times[entries[i].Reason]++
		}
	}
	for _, a := range w.history.adjustments {
		n := times[a.Reason]
		switch {
		case a.acknowledged && n == 0:
			w.violated("delivery %s was acknowledged and is not there", a.Reason)
		case n > 1 && (a.Ref != "" || !a.unsure):
			w.violated("delivery %s counts %d times", a.Reason, n)
		case n > 0 && a.refused && !a.acknowledged && !a.unsure:
			w.violated("delivery %s was refused and counts", a.Reason)
		}
	}
}

// judgeLimits looks whether anybody has more than he may.
func (w *world) judgeLimits() {
	for _, no := range sortedKeys(w.store.orders) {
		o := w.store.orders[no]
		for i := range o.Lines {
			b := ledger.Buyer{ProductID: o.Lines[i].ProductID, UserID: o.UserID}
			most, limited := w.shop.limits[b.ProductID]
			if n := w.store.unitsInOrders(b); limited && n > most {
				w.violated("%s has %d units of %s, of which he may have %d", b.UserID, n, b.ProductID, most)
				return
			}
		}
	}
}

// judgeInspected looks whether an order that was left alone was reminded of and expired in time.
func (w *world) judgeInspected(no order.Number) {
	o := w.store.orders[no]
	if o.Status != order.Expired || o.ClosedAt.Sub(o.PayBy) > settleLate {
		w.violated("EV: order %s was to be paid by %s, and is %s since %s", no, o.PayBy, o.Status, o.ClosedAt)
	}
	if o.PayBy.Sub(o.CreatedAt) > remindLead+2*time.Second && !o.Reminded {
		w.violated("EV: nobody was reminded of order %s", no)
	}
	failpoint.Hit("sim.inspected")
}
