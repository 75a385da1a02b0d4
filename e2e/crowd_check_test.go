package e2e

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// fetch reads something that is there, coming back when it is told to. It may be called from any goroutine.
func fetch(d *desk, path string, into any) bool {
	for range 50 {
		a, err := d.send("GET", path, nil)
		switch {
		case err != nil:
			d.t.Errorf("GET %s: %v", path, err)
			return false
		case a.status == http.StatusServiceUnavailable:
			pass(50 * time.Millisecond) // lists take turns
		case a.status != http.StatusOK:
			d.t.Errorf("GET %s: got %v, want 200", path, a)
			return false
		default:
			if err := json.Unmarshal(a.body, into); err != nil {
				d.t.Errorf("GET %s: %v", path, err)
				return false
			}
			return true
		}
	}
	d.t.Errorf("GET %s: always told to come back", path)
	return false
}

// check compares what the crowd knows with what the desk has, after it came back: of everything touched since the last look
// and of some that is older. Whatever was not answered is asked again first.
func (c *crowd) check(d *desk, older int) {
	c.t.Helper()
	look := map[*purchase]bool{}
	for _, p := range c.fresh {
		look[p] = true
	}
	for range older {
		look[c.purchases[c.number(len(c.purchases))]] = true
	}
	c.fresh = nil
	each(slices.Collect(maps.Keys(look)), func(p *purchase) { c.checkOne(d, p) })
	for _, n := range c.deliveries {
		if !n.arrived {
			c.deliver(d, n)
		}
	}
}

// each calls do for all, several at a time.
func each[T any](all []T, do func(T)) {
	next := make(chan T)
	var workers sync.WaitGroup
	for range checkersAtOnce {
		workers.Go(func() {
			for one := range next {
				do(one)
			}
		})
	}
	for _, one := range all {
		next <- one
	}
	close(next)
	workers.Wait()
}

// checkOne asks again for what was not answered, and for what was. Where the desk might have made an order too many, it looks
// at all that the client has.
func (c *crowd) checkOne(d *desk, p *purchase) {
	doubtful := p.answer == nil
	if !p.refused {
		c.place(d, p)
	}
	if doubtful {
		c.alone(d, p)
	}
	if p.answer == nil {
		return
	}
	if p.pay != never { // not answered: once more; answered: providers repeat themselves, too
		c.payFor(d, p)
	}
	if p.cancel == asked {
		c.cancel(d, p)
	}
	var now api.Order
	var payments api.Page[api.Payment]
	if fetch(d, "/v1/orders/"+p.placed.OrderNo, &now) && fetch(d, "/v1/orders/"+p.placed.OrderNo+"/payments", &payments) {
		c.judge(p, now)
		c.judgeMoney(p, payments.Data)
	}
}

// alone looks whether a client has the one order that he was answered, or none when he was refused.
func (c *crowd) alone(d *desk, p *purchase) {
	var found api.Page[api.Order]
	if !fetch(d, "/v1/orders?user_id="+p.user, &found) {
		return
	}
	var got, want []string
	for _, o := range found.Data {
		got = append(got, o.OrderNo)
	}
	if p.answer != nil {
		want = []string{p.placed.OrderNo}
	}
	if !slices.Equal(got, want) {
		c.t.Errorf("%s has the orders %v, want %v", p.key, got, want)
	}
}

// judge looks whether an order is as it was placed, in a status that its client can have brought it to.
func (c *crowd) judge(p *purchase, now api.Order) {
	p.now = now
	was := now
	was.Status, was.SecondsLeft, was.PaidAt, was.ClosedAt, was.CloseReason = p.placed.Status, p.placed.SecondsLeft, nil, nil, nil
	was.PaidLate, was.Version = false, p.placed.Version
	if !reflect.DeepEqual(was, p.placed) {
		c.t.Errorf("%s: got %+v, placed was %+v", p.key, now, p.placed)
	}
	possible := map[string]bool{
		api.OrderPending:   p.pay == never && !p.cancelled,
		api.OrderPaid:      p.pay != never && !p.cancelled,
		api.OrderCancelled: p.cancel != never,
		api.OrderExpired:   !p.cancelled && time.Now().After(p.placed.PayBy),
	}
	if !possible[now.Status] {
		c.t.Errorf("%s is %s; paid %d, cancelled %d (%v), to be paid by %v", p.key, now.Status, p.pay, p.cancel, p.cancelled, p.placed.PayBy)
	}
	if now.Status == api.OrderExpired && (now.ClosedAt == nil || now.ClosedAt.Before(now.PayBy)) {
		c.t.Errorf("%s expired early: at %v, to be paid by %v", p.key, now.ClosedAt, now.PayBy)
	}
}

// judgeMoney looks whether a client's money was counted once, or not at all when he sent none.
func (c *crowd) judgeMoney(p *purchase, payments []api.Payment) {
	counted := 0
	for _, pay := range payments {
		if pay.Status == api.PaymentSucceeded && pay.TransactionID != nil && *pay.TransactionID == p.notice.TransactionID {
			counted++
		}
	}
	if want := min(int(p.pay), 1); len(payments) != want || counted != want {
		c.t.Errorf("%s: its money was counted %d times in %d payments, want %d", p.key, counted, len(payments), want)
	}
}

// finish has everything answered, waits for the last deadlines and then looks at everything there is: every order, every event, every unit.
func (c *crowd) finish(d *desk) {
	c.t.Helper()
	c.check(d, oldInTheEnd) // asks again for what was not answered, and so may place it now
	testenv.Until(c.t, startMax, "whatever is due to expire", func() bool {
		return !slices.ContainsFunc(d.orders("status", api.OrderPending), func(o api.Order) bool { return time.Until(o.PayBy) < time.Minute })
	})
	d.settled()
	c.checkOrders(d.orders())
	c.checkLog(d.events())
	c.checkStock(d)
	d.auditClean()
	auditClean(c.t, c.database)
	c.tell()
}

// checkOrders compares all orders there are with those that clients were answered.
func (c *crowd) checkOrders(found []api.Order) {
	c.t.Helper()
	seen := map[string]bool{}
	for _, o := range found {
		p := c.numbers[o.OrderNo]
		if p == nil || seen[o.OrderNo] {
			c.t.Errorf("order %s of %s: nobody was answered it, or it is there twice", o.OrderNo, o.UserID)
			continue
		}
		seen[o.OrderNo] = true
		c.judge(p, o)
	}
	if len(seen) != len(c.numbers) {
		c.t.Errorf("found %d of the %d orders that were answered", len(seen), len(c.numbers))
	}
}

// checkLog reads the whole log: every event once, in order per subject and without gaps, and every order's story the one that
// its client was told.
func (c *crowd) checkLog(log []api.Event) {
	c.t.Helper()
	ids, last, stories := map[string]bool{}, map[string]int64{}, map[string]map[string]int{}
	for _, e := range log {
		if ids[e.ID] {
			c.t.Errorf("event %s is in the log twice", e.ID)
		}
		ids[e.ID] = true
		if last[e.Subject]++; e.Sequence != last[e.Subject] {
			c.t.Errorf("event %s of %s: got sequence %d, want %d", e.ID, e.Subject, e.Sequence, last[e.Subject])
		}
		if stories[e.Subject] == nil {
			stories[e.Subject] = map[string]int{}
		}
		stories[e.Subject][e.Type]++
		if p := c.numbers[e.Subject]; e.Type == "order.placed" && (p == nil || !bytes.Equal(p.answer, e.Data)) {
			c.t.Errorf("order.placed of %s: got %s, which nobody was answered", e.Subject, e.Data)
		}
	}
	for no, p := range c.numbers {
		c.checkStory(p, stories[no])
	}
}

func (c *crowd) checkStory(p *purchase, got map[string]int) {
	want := map[string]int{"order.placed": 1}
	if p.now.Status != api.OrderPending {
		want["order."+p.now.Status] = 1
	}
	if p.pay != never && p.now.Status != api.OrderPaid {
		want["payment.late"], want["refund.due"] = 1, 1
	}
	if !reflect.DeepEqual(got, want) {
		c.t.Errorf("events of %s, %s: got %v, want %v", p.key, p.placed.OrderNo, got, want)
	}
}

// checkStock adds up what was delivered, held and sold, from the clients' side.
func (c *crowd) checkStock(d *desk) {
	c.t.Helper()
	want := map[string]*api.Stock{}
	for id := range shopProducts() {
		want[id] = &api.Stock{ProductID: id}
	}
	for _, n := range c.deliveries {
		want[n.product].Received += n.units
	}
	for _, p := range c.numbers {
		for _, l := range p.now.Lines {
			switch p.now.Status {
			case api.OrderPending:
				want[l.ProductID].Held += l.Quantity
			case api.OrderPaid:
				want[l.ProductID].Sold += l.Quantity
			}
		}
	}
	for id, w := range want {
		got := d.stock(id)
		w.Available, w.Version = w.Received-w.Held-w.Sold, got.Version
		if got != *w {
			c.t.Errorf("stock of %s: got %+v, want %+v", id, got, *w)
		}
	}
}

// tell sums up, so that a run that tested nothing is seen.
func (c *crowd) tell() {
	c.t.Helper()
	by := map[string]int{}
	late := 0
	for _, p := range c.purchases {
		switch {
		case p.answer == nil:
			by["refused"]++
		default:
			by[p.now.Status]++
			if p.pay != never && p.now.Status != api.OrderPaid {
				late++
			}
		}
	}
	c.t.Logf("%d purchases %v, late money %d, deliveries %d, answers that did not come %d", len(c.purchases), by, late, len(c.deliveries), c.unknown)
	for _, status := range strings.Fields("refused pending paid cancelled expired") {
		if by[status] == 0 && len(c.purchases) > 1000 {
			c.t.Errorf("of %d purchases none is %s: the crowd tested less than it should", len(c.purchases), status)
		}
	}
}
