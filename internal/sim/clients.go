package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

const (
	provider   = "sandbox"
	patience   = 3 * time.Second // of a client that waits for an answer
	thinkMax   = 1200 * time.Millisecond
	retryPause = 300 * time.Millisecond
)

// errNoAnswer is what a client knows who heard nothing: it may have been done, or be done later.
var errNoAnswer = errors.New("no answer")

// shop is what is on sale.
type shop struct {
	products []product.ID
	limits   map[product.ID]int64 // that never change
}

// client asks processes for things, one at a time.
type client struct {
	w    *world
	name string
	rand *rand.Rand
	ctx  context.Context //nolint:containedctx // names it
}

func (w *world) client(name string) *client {
	return &client{
		w: w, name: name, ctx: named(context.Background(), name),
		rand: rand.New(w.stream(name)), //nolint:gosec // repeatable, not secret
	}
}

// start lets a client act until it has finished.
func (c *client) start(act func()) {
	c.w.busy++
	c.w.actors.Go(func() {
		act()
		c.w.bus.take(nil, effect{ctx: c.ctx, what: "finish"})
		c.w.busy--
	})
}

func (c *client) sleep(most time.Duration) {
	c.w.bus.sleep(nil, c.name, time.Duration(c.rand.Int64N(int64(most))))
}

func (c *client) sleepUntil(t time.Time) { c.w.bus.sleep(nil, c.name, t.Sub(c.w.clock())) }

// awaitQuiet waits until nothing goes wrong any more.
func (c *client) awaitQuiet() {
	c.w.bus.take(nil, effect{ctx: c.ctx, what: "await quiet", ready: func() bool { return c.w.quiet }})
}

func (c *client) chance(percent int) bool { return c.rand.IntN(100) < percent }

// ask sends a request to some process. It may be sent twice, get lost, or be answered when nobody waits any longer.
func ask[R any](c *client, what string, do func(context.Context, *checkout.Desk) (R, error)) (r R, err error) {
	return askAt(c, c.w.slots[c.rand.IntN(len(c.w.slots))], what, do)
}

func askAt[R any](c *client, p *process, what string, do func(context.Context, *checkout.Desk) (R, error)) (r R, err error) {
	b := c.w.bus
	f := b.take(nil, effect{ctx: c.ctx, what: "send " + what, fates: sends})
	if f == away || p.dead.Load() {
		return r, errNoAnswer
	}
	request := func(ctx context.Context, d *checkout.Desk) (any, error) { return do(ctx, d) }
	sent := p.serve(what, request)
	if c.rand.Float64() < b.rates.duplicate {
		if other := c.w.slots[c.rand.IntN(len(c.w.slots))]; !other.dead.Load() {
			failpoint.Hit("sim.request_twice")
			other.serve(what, request)
		}
	}
	ready := func() bool { return sent.answered || sent.broken || p.dead.Load() }
	b.take(nil, effect{ctx: c.ctx, what: "await " + what, ready: ready, limit: patience})
	if !sent.answered || f == lost {
		failpoint.Hit("sim.no_answer")
		if c.chance(50) {
			sent.leave()
		}
		return r, errNoAnswer
	}
	r, _ = sent.value.(R)
	return r, sent.err
}

// verdict is what a client makes of an error.
type verdict uint8

const (
	accepted verdict = iota
	refusal          // it is not done, for a reason that it was told
	nothing          // it is not done, for now
	unknown          // it may be done
)

func (c *client) verdictOf(err error) verdict {
	switch f := fault.Of(err); {
	case err == nil:
		return accepted
	case errors.Is(err, errNoAnswer), errors.Is(err, errAway), errors.Is(err, context.Canceled):
		return unknown
	case f.Kind == fault.Unavailable && (f.Code == fault.ErrOverloaded.Code || f.Detail == fault.ErrUnavailable.Detail):
		return nothing
	case f.Kind == fault.Unavailable:
		failpoint.Hit("sim.told_unknown")
		return unknown
	case f.Kind == fault.Internal:
		c.w.violated("%s was answered %v", c.name, err)
	}
	return refusal
}

// wish is an order that a buyer wants, under one key.
type wish struct {
	order    checkout.Order
	answered bool // with a 201
	number   order.Number
	body     []byte
	unsure   bool // some attempt may have been carried out without an answer
	settled  bool // the last attempt was definite
}

// place tries once.
func (c *client) place(p *process, want *wish) error {
	sent, twice := c.w.clock(), c.w.bus.rates.duplicate > 0
	place := func(ctx context.Context, d *checkout.Desk) (ledger.Placed, error) { return d.Place(ctx, want.order) }
	placed, err := askAt(c, p, "place "+want.order.IdempotencyKey, place)
	verdict := c.verdictOf(err)
	want.unsure = want.unsure || twice || verdict == unknown
	want.settled = verdict == accepted || verdict == refusal
	used, known := c.w.store.keys[keyOf(want.order.IdempotencyKey)]
	switch {
	case verdict == accepted && want.answered && (placed.Number != want.number || !bytes.Equal(placed.Body, want.body)):
		c.w.violated("I19: key %s was answered\n%s\nand then\n%s", want.order.IdempotencyKey, want.body, placed.Body)
	case verdict == accepted:
		if placed.Replayed {
			failpoint.Hit("sim.replayed")
		}
		if !want.answered {
			c.w.history.placed = append(c.w.history.placed, placed.Number)
		}
		want.answered, want.number, want.body = true, placed.Number, bytes.Clone(placed.Body)
	case verdict == refusal && known && used.at.Before(sent) && bytes.Equal(c.w.store.body(used.Number), want.body):
		c.w.violated("I19: key %s was answered 201 before, and now %v", want.order.IdempotencyKey, err)
	case verdict == refusal && known && used.at.Before(sent) && !errors.Is(err, fault.ErrKeyReused):
		c.w.violated("I19: key %s is used for order %s, but its buyer is told %v", want.order.IdempotencyKey, used.Number, err)
	}
	return err
}

// settle asks until the answer is definite.
func (c *client) settle(try func() verdict) {
	for tries := 0; ; tries++ {
		if v := try(); v == accepted || v == refusal {
			return
		}
		if tries > 200 {
			c.w.violated("EV: %s gets no answer, asked %d times", c.name, tries)
			return
		}
		c.sleep(retryPause)
	}
}

// buyer orders, pays, cancels, looks, comes back and forgets.
type buyer struct {
	*client
	user   user.ID
	wishes []*wish
	seen   map[order.Number]int64 // versions
}

func (b *buyer) play(deeds int) {
	for range deeds {
		b.sleep(thinkMax)
		switch n := b.rand.IntN(100); {
		case n < 45 || len(b.wishes) == 0:
			b.wish(fmt.Sprintf("%s-%d", b.name, len(b.wishes)))
		case n < 55:
			again := b.wishes[b.rand.IntN(len(b.wishes))]
			_ = b.place(b.any(), again)
		case n < 60:
			failpoint.Hit("sim.key_reused")
			b.wish(b.wishes[b.rand.IntN(len(b.wishes))].order.IdempotencyKey)
		case n < 80:
			b.pay()
		case n < 88:
			b.cancel()
		case n < 93:
			b.openPayment()
		default:
			b.read()
		}
	}
	b.w.bus.take(nil, effect{ctx: b.ctx, what: "stop"})
	b.w.playing--
	b.awaitQuiet()
	for _, want := range b.wishes {
		if !want.settled {
			b.settle(func() verdict { return b.verdictOf(b.place(b.any(), want)) })
		}
	}
}

func (b *buyer) any() *process { return b.w.slots[b.rand.IntN(len(b.w.slots))] }

// wish wants something new, under a key that may not be, and tries a few times.
func (b *buyer) wish(key string) {
	want := &wish{order: checkout.Order{Scope: checkout.Merchant, IdempotencyKey: key, UserID: b.user, Metadata: []byte(`{}`)}}
	for range 1 + b.rand.IntN(3) {
		l := checkout.Line{ProductID: b.w.shop.products[b.rand.IntN(len(b.w.shop.products))], Quantity: 1 + b.rand.Int64N(2)}
		want.order.Lines = append(want.order.Lines, l)
	}
	b.wishes = append(b.wishes, want)
	b.w.history.wishes = append(b.w.history.wishes, want)
	for range 1 + b.rand.IntN(4) {
		if v := b.verdictOf(b.place(b.any(), want)); v == accepted || v == refusal {
			return
		}
		b.sleep(retryPause)
	}
}

// mine is some order that the buyer knows of.
func (b *buyer) mine() *wish {
	var known []*wish
	for _, want := range b.wishes {
		if want.answered {
			known = append(known, want)
		}
	}
	if len(known) == 0 {
		return nil
	}
	return known[b.rand.IntN(len(known))]
}

// pay has the provider tell of money: right or wrong, in time, at the last moment or late.
func (b *buyer) pay() {
	want := b.mine()
	if want == nil {
		return
	}
	o := b.w.store.orders[want.number]
	n := &notice{Notice: payment.Notice{
		Provider: provider, OrderNumber: o.Number, Amount: o.Total, Succeeded: true,
		TransactionID: fmt.Sprintf("t%d", len(b.w.history.notices)),
	}}
	switch {
	case b.chance(10):
		n.Amount.Amount += b.rand.Int64N(3) - 1
	case b.chance(11):
		n.Succeeded = false
	case b.chance(8) && len(b.w.history.notices) > 0:
		n.TransactionID = b.w.history.notices[b.rand.IntN(len(b.w.history.notices))].TransactionID
	}
	n.right = n.Amount == o.Total
	at := b.w.clock().Add(time.Duration(b.rand.Int64N(int64(time.Second))))
	switch b.rand.IntN(3) {
	case 0:
		at = o.PayBy.Add(time.Duration(b.rand.Int64N(int64(60*time.Millisecond))) - 30*time.Millisecond)
	case 1:
		at = at.Add(time.Duration(b.rand.Int64N(int64(8 * time.Second))))
	}
	n.name = fmt.Sprintf("n%d", len(b.w.history.notices))
	b.w.history.notices = append(b.w.history.notices, n)
	c := b.w.client(n.name)
	c.start(func() { c.tell(n, at) })
}

// notice is what the provider tells, and what became of it.
type notice struct {
	payment.Notice
	name    string
	right   bool // the amount is the order's
	outcome ledger.PayOutcome
	refused bool
	paid    bool // some answer said that it paid the order
}

// tell sends a notice until it is answered, and now and then once more.
func (c *client) tell(n *notice, at time.Time) {
	if at.After(c.w.clock()) {
		c.sleepUntil(at)
	}
	for range 1 + c.rand.IntN(2) {
		c.settle(func() verdict {
			outcome, err := ask(c, "notice "+n.name, func(ctx context.Context, d *checkout.Desk) (ledger.PayOutcome, error) {
				return d.Notice(ctx, n.Notice)
			})
			v := c.verdictOf(err)
			switch v {
			case accepted:
				n.outcome, n.paid = outcome, n.paid || outcome == ledger.PaidNow
				failpoint.HitAs("sim.money", string(outcome))
			case refusal:
				n.refused = true
			case nothing, unknown:
			}
			return v
		})
	}
}

func (b *buyer) cancel() {
	want := b.mine()
	if want == nil {
		return
	}
	o, err := ask(b.client, "cancel", func(ctx context.Context, d *checkout.Desk) (order.Order, error) {
		return ledger.Submit(ctx, d.Ledger, ledger.Cancel{Number: want.number})
	})
	if b.verdictOf(err) == accepted {
		b.saw(&o)
		b.w.history.ends = append(b.w.history.ends, end{want.number, order.Cancelled})
	}
}

func (b *buyer) openPayment() {
	want := b.mine()
	if want == nil {
		return
	}
	_, err := ask(b.client, "open payment", func(ctx context.Context, d *checkout.Desk) (ledger.PaymentCreated, error) {
		return ledger.Submit(ctx, d.Ledger, ledger.CreatePayment{
			Number: want.number, Provider: provider, PaymentID: fmt.Sprintf("pay_%s_%d", b.name, b.rand.Uint32()),
		})
	})
	b.verdictOf(err)
}

func (b *buyer) read() {
	want := b.mine()
	if want == nil {
		return
	}
	o, err := ask(b.client, "read", func(ctx context.Context, d *checkout.Desk) (*order.Order, error) { return d.Order(ctx, want.number) })
	switch b.verdictOf(err) {
	case accepted:
		b.saw(o)
	case refusal:
		b.w.violated("I20: order %s was answered 201 and is told to be %v", want.number, err)
	case nothing, unknown:
	}
}

// saw watches that an order never goes back.
func (b *buyer) saw(o *order.Order) {
	if o.Version < b.seen[o.Number] {
		b.w.violated("I20: order %s was seen at version %d and then at %d", o.Number, b.seen[o.Number], o.Version)
	}
	b.seen[o.Number] = o.Version
}

// adjustment is a delivery, or units written off. Its reason names it.
type adjustment struct {
	ledger.AdjustStock
	acknowledged, refused, unsure bool
}

// merchant delivers, writes off, changes products and fulfils.
func (c *client) merchant(deeds int) {
	for i := range deeds {
		c.sleep(thinkMax * 2)
		id := c.w.shop.products[c.rand.IntN(len(c.w.shop.products))]
		switch n := c.rand.IntN(100); {
		case n < 40:
			a := &adjustment{AdjustStock: ledger.AdjustStock{ProductID: id, Delta: c.rand.Int64N(5) - 1, Reason: fmt.Sprintf("%s-%d", c.name, i)}}
			if a.Delta == 0 {
				a.Delta = 2
			}
			if c.chance(60) {
				a.Ref = a.Reason
			}
			c.w.history.adjustments = append(c.w.history.adjustments, a)
			c.adjust(a)
		case n < 60:
			c.change(id)
		case n < 75:
			c.enrol(user.ID(fmt.Sprintf("%s-user-%d", c.name, i)))
		default:
			c.fulfil()
		}
	}
	c.w.bus.take(nil, effect{ctx: c.ctx, what: "stop"})
	c.w.playing--
	c.awaitQuiet()
	for _, id := range c.w.shop.products {
		c.settle(func() verdict {
			return c.put(ledger.PutProduct{ID: id, Active: set(true), OnSaleFrom: set(time.Time{})})
		})
	}
}

// adjust tries a delivery with a ref again until it is answered; one without only once.
func (c *client) adjust(a *adjustment) {
	try := func() verdict {
		twice := c.w.bus.rates.duplicate > 0
		_, err := ask(c, "adjust "+a.Reason, func(ctx context.Context, d *checkout.Desk) (ledger.StockAdjusted, error) {
			return ledger.Submit(ctx, d.Ledger, ledger.Command[ledger.StockAdjusted](a.AdjustStock))
		})
		v := c.verdictOf(err)
		a.unsure = a.unsure || twice || v == unknown
		a.acknowledged, a.refused = a.acknowledged || v == accepted, a.refused || v == refusal || v == nothing
		return v
	}
	if a.Ref == "" {
		try()
		return
	}
	for range 4 {
		if v := try(); v == accepted || v == refusal {
			return
		}
		c.sleep(retryPause)
	}
}

func set[T any](v T) ledger.Patch[T] { return ledger.Patch[T]{Set: true, Value: v} }

// change gives a product another price, another limit, another window, or takes it off the shelf for a while.
func (c *client) change(id product.ID) {
	p := ledger.PutProduct{ID: id}
	_, fixed := c.w.shop.limits[id]
	switch n := c.rand.IntN(5); {
	case n == 0:
		p.Price = set(money.Money{Amount: 100 + c.rand.Int64N(900), Currency: "CNY"})
	case n == 1 && !fixed:
		p.MaxPerUser = set(c.rand.Int64N(4))
	case n == 2:
		p.PayWindow = set(time.Duration(1+c.rand.IntN(6)) * time.Second)
	case n == 3:
		p.Active = set(c.chance(50))
	default:
		p.OnSaleFrom = set(c.w.clock().Add(time.Duration(c.rand.Int64N(int64(3 * time.Second)))))
	}
	c.put(p)
}

// enrol tells every process of a new user at once: one of them makes him.
func (c *client) enrol(id user.ID) {
	put := func(ctx context.Context, d *checkout.Desk) (any, error) {
		return ledger.Submit(ctx, d.Ledger, ledger.Command[ledger.UserPut](ledger.PutUser{ID: id, Name: set("Ada")}))
	}
	var sent []*call
	for _, p := range c.w.slots {
		if !p.dead.Load() {
			sent = append(sent, p.serve("enrol", put))
		}
	}
	ready := func() bool { return !slices.ContainsFunc(sent, func(s *call) bool { return !s.answered && !s.broken }) }
	c.w.bus.take(nil, effect{ctx: c.ctx, what: "await enrol", ready: ready, limit: patience})
	made := 0
	for _, s := range sent {
		if !s.answered || c.verdictOf(s.err) != accepted {
			continue
		}
		if put, _ := s.value.(ledger.UserPut); put.Created {
			made++
		}
		if _, there := c.w.store.users[id]; !there {
			c.w.violated("user %s was put and is not there", id)
		}
	}
	if made > 1 {
		c.w.violated("user %s was made %d times", id, made)
	}
}

func (c *client) put(p ledger.PutProduct) verdict {
	_, err := ask(c, "put "+string(p.ID), func(ctx context.Context, d *checkout.Desk) (ledger.ProductPut, error) {
		return ledger.Submit(ctx, d.Ledger, ledger.Command[ledger.ProductPut](p))
	})
	return c.verdictOf(err)
}

func (c *client) fulfil() {
	placed := c.w.history.placed
	if len(placed) == 0 {
		return
	}
	no := placed[c.rand.IntN(len(placed))]
	if paid := slices.IndexFunc(placed, func(no order.Number) bool { return c.w.store.orders[no].Status == order.Paid }); paid >= 0 {
		no = placed[paid]
	}
	_, err := ask(c, "fulfil", func(ctx context.Context, d *checkout.Desk) (order.Order, error) {
		return ledger.Submit(ctx, d.Ledger, ledger.Fulfil{Number: no})
	})
	if c.verdictOf(err) == accepted {
		c.w.history.ends = append(c.w.history.ends, end{no, order.Fulfilled})
	}
}
