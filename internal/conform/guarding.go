package conform

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

var guarding = []story{
	{name: "AUserMayHaveSoManyUnpaidOrders", tell: unpaidCap, options: guarded(ledger.Guards{UnpaidMax: 2})},
	{name: "TheCapOnUnpaidOrdersHoldsWithinABatch", tell: unpaidCapInABatch, options: guarded(ledger.Guards{UnpaidMax: 2})},
	{name: "TheCapOnUnpaidOrdersHoldsForManyAtOnce", tell: unpaidCapAtOnce, options: guarded(ledger.Guards{UnpaidMax: 3})},
	{name: "TheCapOnUnpaidOrdersHoldsForTwoLedgers", tell: unpaidCapOfTwo, options: guarded(ledger.Guards{UnpaidMax: 3})},
	{name: "TheCapOutlivesARestart", tell: unpaidCapRestart, options: guarded(ledger.Guards{UnpaidMax: 1})},
	{name: "WhoLeavesOrdersToExpireWaits", tell: coolDown, options: guarded(ledger.Guards{LeftMax: 2, LeftWithin: 2 * time.Hour, CoolDown: time.Hour})},
	{name: "OrdersLeftLongAgoDoNotCount", tell: coolDownWindow, options: guarded(ledger.Guards{LeftMax: 2, LeftWithin: 2 * time.Hour, CoolDown: time.Hour})},
	{name: "TheSameLinesAgainAreRefusedForAMoment", tell: repeated, options: guarded(ledger.Guards{RepeatWithin: 5 * time.Second})},
	{name: "ManyOrdersAreRememberedOnlyByTheNewest", tell: manyRemembered, options: guarded(ledger.Guards{LeftMax: 1, LeftWithin: time.Minute, CoolDown: time.Minute})},
	{name: "WithoutGuardsNothingIsRemembered", tell: unguarded},
}

func guarded(g ledger.Guards) ledger.Options { return ledger.Options{Guards: g} }

func unpaidCap(d *desk) {
	d.sell("a", 100)
	first := d.place("u", line("a", 1))
	d.clock.Step(time.Minute)
	second := d.place("u", line("a", 1))
	refusal := refused(d, d.wish("u", line("a", 1)), fault.ErrTooManyUnpaid)
	if refusal.RetryAfter != 29*time.Minute {
		d.Errorf("told to come back after %s, want when the first order's time is over: 29m", refusal.RetryAfter)
	}
	d.place("another", line("a", 1))
	d.pay(first, "t-1", ledger.PaidNow)
	d.place("u", line("a", 1))
	refused(d, d.wish("u", line("a", 1)), fault.ErrTooManyUnpaid)
	must(d, ledger.Cancel{Number: second})
	third := d.place("u", line("a", 1))
	refused(d, d.wish("u", line("a", 1)), fault.ErrTooManyUnpaid)
	d.clock.Step(31 * time.Minute)
	d.expireAll()
	d.wantStatus(third, order.Expired)
	d.place("u", line("a", 1))
	d.place("u", line("a", 1))
}

func unpaidCapInABatch(d *desk) {
	d.sell("a", 100)
	old := d.place("u", line("a", 1))
	answers := d.batch(
		asks(d.wish("u", line("a", 1))), asks(d.wish("u", line("a", 1))), asks(d.wish("v", line("a", 1))),
		asks(d.money(old, "t-1")), asks(d.wish("u", line("a", 1))), // money is decided first
	)
	for i, want := range []*fault.Error{nil, nil, nil, nil, fault.ErrTooManyUnpaid} {
		if (want == nil) != (answers[i].err == nil) || want != nil && fault.Of(answers[i].err).Code != want.Code {
			d.Errorf("command %d: got %v, want %v", i+1, answers[i].err, want)
		}
	}
	d.wantStock("a", 96, 3, 1)
}

func unpaidCapAtOnce(d *desk) {
	d.sell("a", 10_000)
	var commands []asked
	for range 64 {
		commands = append(commands, asks(d.wish("u", line("a", 1))))
	}
	d.countPlaced(d.rush(commands...), 3)
	d.countPlaced(d.rush(commands...), 3) // the same keys: three are answered again, the others refused again
	d.wantStock("a", 9_997, 3, 0)
}

func (d *desk) countPlaced(answers []answer, want int) {
	d.Helper()
	placed := 0
	for _, a := range answers {
		switch {
		case a.err == nil:
			placed++
		case fault.Of(a.err).Code != fault.ErrTooManyUnpaid.Code:
			d.Errorf("got %v, want it placed or %s", a.err, fault.ErrTooManyUnpaid.Code)
		}
	}
	if placed != want {
		d.Errorf("%d orders were placed, want %d", placed, want)
	}
}

// Two processes over one record, each with a product of its own, so that nothing but the buyer is common to what they write: what one
// has placed counts for the other.
func unpaidCapOfTwo(d *desk) {
	d.sell("a", 10_000)
	d.sell("b", 10_000)
	options := d.options
	options.Applied = d.applied
	other := ledger.New(d.watched, options)
	defer other.Close(context.Background())
	var wishes []ledger.Place
	for range 16 {
		wishes = append(wishes, d.wish("u", line("a", 1)), d.wish("u", line("b", 1)))
	}
	answers := make([]answer, len(wishes))
	var all sync.WaitGroup
	for i, wish := range wishes {
		all.Go(func() {
			l := d.ledger
			if i%2 == 1 {
				l = other
			}
			_, answers[i].err = ledger.Submit(d.Context(), l, wish)
		})
	}
	all.Wait()
	d.countPlaced(answers, 3)
}

func unpaidCapRestart(d *desk) {
	d.sell("a", 10)
	d.place("u", line("a", 1))
	d.restart()
	refused(d, d.wish("u", line("a", 1)), fault.ErrTooManyUnpaid)
}

func coolDown(d *desk) {
	d.sell("a", 100)
	paid := d.place("u", line("a", 1))
	d.pay(paid, "t-1", ledger.PaidNow)
	first := d.place("u", line("a", 1))
	d.clock.Step(30 * time.Minute)
	d.expireAll()
	d.wantEvents(first, event.OrderPlaced, event.OrderExpired)
	second := d.place("u", line("a", 1))
	third := d.place("u", line("a", 1))
	d.clock.Step(30 * time.Minute)
	d.expireAll()
	ended := d.clock.Now()
	told := 0
	for _, no := range []order.Number{second, third} {
		for _, e := range d.watched.events[event.Subject{Kind: event.Order, ID: no.String()}] {
			if e.Type != event.UserCoolingDown {
				continue
			}
			told++
			var data struct {
				UserID string    `json:"user_id"`
				Paid   int       `json:"paid"`
				Until  time.Time `json:"until"`
			}
			if err := json.Unmarshal(e.Data, &data); err != nil || data.UserID != "u" || data.Paid != 1 || !data.Until.Equal(ended.Add(time.Hour)) {
				d.Errorf("told %s (%v), want u, one paid, until an hour from now", e.Data, err)
			}
		}
	}
	if told != 1 {
		d.Errorf("the wait was told %d times, want once", told)
	}
	d.clock.Step(10 * time.Minute)
	if got := refused(d, d.wish("u", line("a", 1)), fault.ErrTooManyUnpaid).RetryAfter; got != 50*time.Minute {
		d.Errorf("told to come back after %s, want 50m", got)
	}
	d.place("another", line("a", 1))
	d.clock.Step(50 * time.Minute)
	d.expireAll()
	d.place("u", line("a", 1))
}

func coolDownWindow(d *desk) {
	d.sell("a", 100)
	d.place("u", line("a", 1))
	d.clock.Step(30 * time.Minute)
	d.expireAll()
	d.clock.Step(2 * time.Hour)
	cancelled := d.place("u", line("a", 1))
	must(d, ledger.Cancel{Number: cancelled})
	d.place("u", line("a", 1))
	d.clock.Step(30 * time.Minute)
	d.expireAll()
	d.place("u", line("a", 1))
}

func repeated(d *desk) {
	d.sell("a", 100)
	d.sell("b", 100)
	wish := d.wish("u", line("a", 2), line("b", 1))
	first := must(d, wish)
	d.clock.Step(time.Second)
	refusal := refused(d, d.wish("u", line("b", 1), line("a", 2)), fault.ErrRateLimited)
	if refusal.RetryAfter != 4*time.Second || len(refusal.Members) != 1 || refusal.Members[0].Value != first.Number.String() {
		d.Errorf("got %+v, want 4 s and the order's number", refusal)
	}
	if again := must(d, wish); !again.Replayed || again.Number != first.Number {
		d.Errorf("the same key: got %+v, want the same order", again)
	}
	d.place("another", line("a", 2), line("b", 1))
	d.place("u", line("a", 2))
	d.place("u", line("a", 1), line("b", 2))
	must(d, ledger.Cancel{Number: first.Number})
	second := d.place("u", line("a", 2), line("b", 1)) // what was cancelled may be ordered again
	refused(d, d.wish("u", line("a", 2), line("b", 1)), fault.ErrRateLimited)
	d.clock.Step(5 * time.Second)
	if third := d.place("u", line("a", 2), line("b", 1)); third == second {
		d.Error("the same order again after the time")
	}
}

// Whoever places many orders is remembered by the newest, in a row that does not grow.
func manyRemembered(d *desk) {
	d.sell("a", 10_000)
	var last order.Number
	for range 3 {
		var commands []asked
		for range 50 {
			commands = append(commands, asks(d.wish("u", line("a", 1))))
		}
		d.batch(commands...)
		last = d.place("u", line("a", 1))
	}
	h := d.look(ledger.Want{Guarded: true, Histories: []user.ID{"u", "nobody"}}).Histories
	if n := len(h["u"].Orders); n != 64 || h["u"].Orders[63].Number != last {
		d.Errorf("%d orders are remembered, want the newest 64", n)
	}
	if h["nobody"] == nil || len(h["nobody"].Orders) > 0 || h["nobody"].Version != 0 {
		d.Errorf("of nobody, %+v is remembered", h["nobody"])
	}
	d.clock.Step(30 * time.Minute)
	d.expireAll()
	d.clock.Step(time.Hour)
	last = d.place("u", line("a", 1))
	h = d.look(ledger.Want{Guarded: true, Histories: []user.ID{"u"}}).Histories
	if len(h["u"].Orders) != 1 || h["u"].Orders[0].Number != last {
		d.Errorf("%d orders are remembered long after, want the new one", len(h["u"].Orders))
	}
}

func unguarded(d *desk) {
	d.sell("a", 100)
	for range 30 {
		d.place("u", line("a", 1))
	}
	d.clock.Step(31 * time.Minute)
	d.expireAll()
	d.place("u", line("a", 1))
	if h := d.look(ledger.Want{Guarded: true, Histories: []user.ID{"u"}}).Histories["u"]; h.Version != 0 {
		d.Errorf("%+v is remembered", h)
	}
}
