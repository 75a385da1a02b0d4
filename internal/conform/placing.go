package conform

import (
	"bytes"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

var placing = []story{
	{name: "AnOrderHoldsItsUnitsAtTheCataloguesPrice", tell: placeHolds},
	{name: "TheLastUnitGoesToTheFirstWhoAsked", tell: placeLastUnit},
	{name: "AllLinesOrNone", tell: placeAllOrNone},
	{name: "NothingIsSoldThatIsNotOnSale", tell: placeNotOnSale},
	{name: "LinesInTwoCurrenciesAreRefused", tell: placeCurrencies},
	{name: "UnknownProductsAreNamed", tell: placeUnknown},
	{name: "TheShortestPayWindowCounts", tell: placeShortestWindow},
	{name: "AKeyIsAnsweredAgainWithTheSameBytes", tell: placeReplay},
	{name: "AKeyWithAnotherRequestIsRefused", tell: placeKeyReused},
	{name: "OneKeyTwiceInABatchIsOneOrder", tell: placeKeyTwice},
	{name: "ALimitCountsUnitsOfPendingPaidAndFulfilledOrders", tell: limitCounts},
	{name: "ALimitIsPerProductAndUser", tell: limitPerUser},
	{name: "ALimitSetLaterCountsWhatWasBoughtBefore", tell: limitLater},
	{name: "ALimitSetInTheSameBatchCountsWhatWasBoughtBefore", tell: limitSameBatch},
	{name: "ALimitSetInTheSameBatchCountsOrdersOfThatBatch", tell: limitWithinBatch},
	{name: "ALimitSetInTheSameBatchAsTheEndOfAnOrder", tell: limitAtTheEnd},
	{name: "ALimitThatWasRefusedCountsNothing", tell: limitRefused},
}

func placeHolds(d *desk) {
	d.sell("a", 10)
	d.sell("b", 10, func(p *ledger.PutProduct) { p.Price = set(cny(250)) })
	placed := must(d, d.wish("u", line("a", 2), line("b", 3)))
	d.sell("a", 0, func(p *ledger.PutProduct) { p.Price, p.Title = set(cny(9999)), set("dearer") })

	got := d.order(placed.Number)
	want := &order.Order{
		Number: placed.Number, UserID: "u", Status: order.Pending, Total: cny(2750), CreatedAt: d.clock.Now(),
		PayBy: d.clock.Now().Add(30 * time.Minute), Version: 1, Events: 1, Metadata: []byte(`{}`),
		Lines: []order.Line{
			{ProductID: "a", Title: "Ticket a", Quantity: 2, UnitPrice: 1000},
			{ProductID: "b", Title: "Ticket b", Quantity: 3, UnitPrice: 250},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		d.Errorf("order: want (-), got (+):\n%s", diff)
	}
	if body := got.AppendJSON(nil, d.clock.Now()); !bytes.Equal(body, placed.Body) {
		d.Errorf("answered\n%s\nwant\n%s", placed.Body, body)
	}
	d.wantStock("a", 8, 2, 0)
	d.wantStock("b", 7, 3, 0)
	d.wantEvents(placed.Number, event.OrderPlaced)
}

func placeLastUnit(d *desk) {
	d.sell("a", 3)
	answers := d.batch(asks(d.wish("u1", line("a", 2))), asks(d.wish("u2", line("a", 2))), asks(d.wish("u3", line("a", 1))))
	for i, want := range []*fault.Error{nil, fault.ErrOutOfStock, nil} {
		if (want == nil) != (answers[i].err == nil) || want != nil && fault.Of(answers[i].err).Code != want.Code {
			d.Errorf("buyer %d: got %v, want %v", i+1, answers[i].err, want)
		}
	}
	d.wantStock("a", 0, 3, 0)
	short := refused(d, d.wish("u4", line("a", 1)), fault.ErrOutOfStock)
	if diff := cmp.Diff([]fault.Member{{Name: "product_id", Value: "a"}, {Name: "available", Value: int64(0)}}, short.Members); diff != "" {
		d.Errorf("out of stock: want (-), got (+):\n%s", diff)
	}
	if told := d.watched.told(event.Subject{Kind: event.Product, ID: "a"}); told[len(told)-1] != event.StockDepleted {
		d.Errorf("events of the product are %v, want the last to be %s", told, event.StockDepleted)
	}
}

func placeAllOrNone(d *desk) {
	d.sell("a", 10)
	d.sell("b", 1)
	refused(d, d.wish("u", line("a", 1), line("b", 2)), fault.ErrOutOfStock)
	d.wantStock("a", 10, 0, 0)
	d.wantStock("b", 1, 0, 0)
}

func placeNotOnSale(d *desk) {
	from, until := d.clock.Now().Add(time.Hour), d.clock.Now().Add(2*time.Hour)
	d.sell("a", 10, func(p *ledger.PutProduct) { p.OnSaleFrom, p.OnSaleUntil = set(from), set(until) })
	for _, at := range []struct {
		time   time.Time
		onSale bool
	}{
		{from.Add(-time.Millisecond), false}, {from, true}, {until.Add(-time.Millisecond), true}, {until, false},
	} {
		d.clock.Set(at.time)
		if at.onSale {
			d.place("u", line("a", 1))
		} else {
			refused(d, d.wish("u", line("a", 1)), fault.ErrNotOnSale)
		}
	}
	must(d, ledger.PutProduct{ID: "a", OnSaleUntil: set(time.Time{})})
	d.place("u", line("a", 1))
	must(d, ledger.PutProduct{ID: "a", Active: set(false)})
	refused(d, d.wish("u", line("a", 1)), fault.ErrNotOnSale)
	d.wantStock("a", 7, 3, 0)
	d.expireAll()
}

func placeCurrencies(d *desk) {
	d.sell("a", 10)
	d.sell("b", 10, func(p *ledger.PutProduct) { p.Price = set(money.Money{Amount: 1000, Currency: "EUR"}) })
	refused(d, d.wish("u", line("a", 1), line("b", 1)), fault.ErrInvalid)
}

func placeUnknown(d *desk) {
	d.sell("a", 10)
	f := refused(d, d.wish("u", ledger.PlaceLine{ProductID: "x", Quantity: 1, Field: "lines[0]"}, line("a", 1),
		ledger.PlaceLine{ProductID: "y", Quantity: 1, Field: "lines[2]"}), fault.ErrInvalid)
	if len(f.Fields) != 2 || f.Fields[0].Field != "lines[0].product_id" || f.Fields[1].Field != "lines[2].product_id" {
		d.Errorf("the refusal names %v, want both unknown products", f.Fields)
	}
}

func placeShortestWindow(d *desk) {
	window := func(w time.Duration) func(*ledger.PutProduct) {
		return func(p *ledger.PutProduct) { p.PayWindow = set(w) }
	}
	d.sell("default", 10)
	d.sell("short", 10, window(5*time.Minute))
	d.sell("long", 10, window(time.Hour))
	for _, c := range []struct {
		lines []ledger.PlaceLine
		want  time.Duration
	}{
		{[]ledger.PlaceLine{line("long", 1)}, time.Hour},
		{[]ledger.PlaceLine{line("long", 1), line("default", 1)}, 30 * time.Minute},
		{[]ledger.PlaceLine{line("long", 1), line("short", 1), line("default", 1)}, 5 * time.Minute},
	} {
		o := d.order(d.place("u", c.lines...))
		if got := o.PayBy.Sub(o.CreatedAt); got != c.want {
			d.Errorf("%v can be paid for %s, want %s", c.lines, got, c.want)
		}
	}
}

func placeReplay(d *desk) {
	d.sell("a", 1)
	first := d.wish("u", line("a", 1))
	was := must(d, first)
	refused(d, d.wish("other", line("a", 1)), fault.ErrOutOfStock)
	again := func(when string) {
		got := must(d, first)
		if !got.Replayed || got.Number != was.Number || !bytes.Equal(got.Body, was.Body) {
			d.Errorf("%s: answered %s replayed %v\n%s\nwant %s\n%s", when, got.Number, got.Replayed, got.Body, was.Number, was.Body)
		}
	}
	again("sold out")
	d.clock.Step(time.Second)
	again("later")
	d.pay(was.Number, "t1", ledger.PaidNow)
	again("paid")
	d.restart()
	again("after a restart")
	must(d, ledger.PutProduct{ID: "a", Active: set(false), Price: set(cny(1))})
	again("no longer on sale")
	d.wantStock("a", 0, 0, 1)
}

func placeKeyReused(d *desk) {
	d.sell("a", 10)
	first := d.wish("u", line("a", 1))
	must(d, first)
	other := first
	other.Fingerprint[0]++
	refused(d, other, fault.ErrKeyReused)

	// A refusal is not remembered: the key is free for another request.
	wrong := d.wish("u", line("a", 100))
	refused(d, wrong, fault.ErrOutOfStock)
	wrong.Lines, wrong.Fingerprint = []ledger.PlaceLine{line("a", 2)}, first.Fingerprint
	must(d, wrong)
	d.wantStock("a", 7, 3, 0)
}

func placeKeyTwice(d *desk) {
	d.sell("a", 10)
	p := d.wish("u", line("a", 1))
	other := p
	other.Fingerprint[0]++
	answers := d.batch(asks(p), asks(p), asks(other))
	one, two := answers[0].value.(ledger.Placed), answers[1].value.(ledger.Placed)
	if one.Replayed || !two.Replayed || one.Number != two.Number || !bytes.Equal(one.Body, two.Body) {
		d.Errorf("one key twice: got %+v and %+v, want the same order", one, two)
	}
	if fault.Of(answers[2].err).Code != fault.ErrKeyReused.Code {
		d.Errorf("the same key with another request: got %v", answers[2].err)
	}
	d.wantStock("a", 9, 1, 0)
}

// wantUnits compares a counter as the next batch would see it.
func (d *desk) wantUnits(id product.ID, u user.ID, want int64) {
	d.Helper()
	b := ledger.Buyer{ProductID: id, UserID: u}
	if got := d.look(ledger.Want{Products: []product.ID{id}, Buyers: []ledger.Buyer{b}}).Units[b]; got != want {
		d.Errorf("%s has %d units of %s, want %d", u, got, id, want)
	}
}

func limitCounts(d *desk) {
	d.sell("a", 100, limited(4))
	d.sell("b", 100)
	pending := d.place("u", line("a", 1))
	paid := d.place("u", line("a", 1), line("b", 50))
	d.pay(paid, "t1", ledger.PaidNow)
	fulfilled := d.place("u", line("a", 1))
	d.pay(fulfilled, "t2", ledger.PaidNow)
	must(d, ledger.Fulfil{Number: fulfilled})
	cancelled := d.place("u", line("a", 1))
	refused(d, d.wish("u", line("a", 1)), fault.ErrPurchaseLimit)
	must(d, ledger.Cancel{Number: cancelled})
	refused(d, d.wish("u", line("a", 2)), fault.ErrPurchaseLimit)
	d.wantUnits("a", "u", 3)
	d.place("u", line("a", 1))
	refused(d, d.wish("u", line("b", 1), line("a", 1)), fault.ErrPurchaseLimit)

	d.clock.Step(30 * time.Minute)
	must(d, ledger.Expire{Number: pending})
	d.wantUnits("a", "u", 3)
	d.place("u", line("a", 1))
	d.wantUnits("a", "u", 4)
}

func limitPerUser(d *desk) {
	d.sell("a", 100, limited(2))
	d.sell("b", 100, limited(2))
	answers := d.batch(
		asks(d.wish("u", line("a", 2))), asks(d.wish("u", line("a", 1))), asks(d.wish("u", line("b", 2))), asks(d.wish("v", line("a", 2))),
	)
	for i, ok := range []bool{true, false, true, true} {
		if ok != (answers[i].err == nil) {
			d.Errorf("order %d: got %v, want accepted %v", i, answers[i].err, ok)
		}
	}
	d.wantUnits("a", "u", 2)
	d.wantUnits("b", "u", 2)
	d.wantUnits("a", "v", 2)
}

func limitLater(d *desk) {
	d.sell("a", 100)
	before := d.place("u", line("a", 2))
	gone := d.place("u", line("a", 5))
	must(d, ledger.Cancel{Number: gone})
	must(d, ledger.PutProduct{ID: "a", MaxPerUser: set(int64(3))})
	refused(d, d.wish("u", line("a", 2)), fault.ErrPurchaseLimit)
	d.place("u", line("a", 1))
	refused(d, d.wish("u", line("a", 1)), fault.ErrPurchaseLimit)
	must(d, ledger.Cancel{Number: before})
	d.wantUnits("a", "u", 1)
	d.place("u", line("a", 2))

	must(d, ledger.PutProduct{ID: "a", MaxPerUser: set(int64(0))})
	d.place("u", line("a", 10))
	must(d, ledger.PutProduct{ID: "a", MaxPerUser: set(int64(14))})
	refused(d, d.wish("u", line("a", 2)), fault.ErrPurchaseLimit)
	d.place("u", line("a", 1))
	d.wantUnits("a", "u", 14)
}

func limitSameBatch(d *desk) {
	d.sell("a", 100)
	d.place("u", line("a", 2))
	answers := d.batch(
		asks(ledger.PutProduct{ID: "a", MaxPerUser: set(int64(3))}),
		asks(d.wish("u", line("a", 2))), // 4: too many
		asks(d.wish("u", line("a", 1))), // 3
		asks(d.wish("v", line("a", 3))),
	)
	for i, ok := range []bool{true, false, true, true} {
		if ok != (answers[i].err == nil) {
			d.Errorf("command %d: got %v, want accepted %v", i, answers[i].err, ok)
		}
	}
	d.wantUnits("a", "u", 3)
	d.wantUnits("a", "v", 3)
}

func limitWithinBatch(d *desk) {
	d.sell("a", 100)
	d.place("u", line("a", 1))
	answers := d.batch(
		asks(d.wish("u", line("a", 1))),
		asks(ledger.PutProduct{ID: "a", MaxPerUser: set(int64(3))}),
		asks(d.wish("u", line("a", 2))), // 4: too many
		asks(d.wish("u", line("a", 1))),
	)
	for i, ok := range []bool{true, true, false, true} {
		if ok != (answers[i].err == nil) {
			d.Errorf("command %d: got %v, want accepted %v", i, answers[i].err, ok)
		}
	}
	d.wantUnits("a", "u", 3)
}

func limitAtTheEnd(d *desk) {
	d.sell("a", 100)
	one, two := d.place("u", line("a", 2)), d.place("u", line("a", 5))
	d.batch(asks(ledger.PutProduct{ID: "a", MaxPerUser: set(int64(6))}), asks(ledger.Cancel{Number: one}))
	d.wantUnits("a", "u", 5)
	d.place("u", line("a", 1))
	refused(d, d.wish("u", line("a", 1)), fault.ErrPurchaseLimit)
	must(d, ledger.Cancel{Number: two})
	d.wantUnits("a", "u", 1)
}

func limitRefused(d *desk) {
	d.sell("a", 100)
	d.place("u", line("a", 2))
	answers := d.batch(
		asks(ledger.PutProduct{ID: "a", MaxPerUser: set(int64(3)), OnSaleFrom: set(opening), OnSaleUntil: set(opening)}),
		asks(d.wish("u", line("a", 2))),
	)
	if fault.Of(answers[0].err).Code != fault.ErrInvalid.Code || answers[1].err != nil {
		d.Errorf("a limit with impossible sale times, and an order: got %v", answers)
	}
	d.place("u", line("a", 1))
	must(d, ledger.PutProduct{ID: "a", MaxPerUser: set(int64(6))})
	d.wantUnits("a", "u", 5)
	refused(d, d.wish("u", line("a", 2)), fault.ErrPurchaseLimit)
}
