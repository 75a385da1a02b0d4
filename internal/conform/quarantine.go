package conform

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
)

var quarantining = []story{
	{name: "AProductUnderQuarantineIsNotSoldButItsOrdersGoOn", tell: stopSale},
	{name: "WhatAnOperatorHasLetPassStopsNoSaleAgain", tell: letPass},
	{name: "AFindingOfATimeThatIsOverStopsNoSale", tell: staleFinding},
	{name: "AChangeOfTheProductDoesNotLiftItsQuarantine", tell: changedUnderQuarantine},
}

func (d *desk) quarantine(id product.ID, reason string) bool {
	d.Helper()
	return bool(must(d, ledger.Quarantine{ProductID: id, Reason: reason, SeenAt: d.clock.Now()}))
}

func stopSale(d *desk) {
	d.sell("a", 10)
	d.sell("b", 10)
	paid, cancelled := d.place("u", line("a", 1)), d.place("u", line("a", 1))
	replayed := d.wish("u", line("a", 1))
	first := must(d, replayed)
	answers := d.batch(
		asks(d.wish("u", line("b", 1))),
		asks(ledger.Quarantine{ProductID: "a", Reason: "held +1", SeenAt: d.clock.Now()}),
		asks(ledger.Quarantine{ProductID: "a", Reason: "held +1", SeenAt: d.clock.Now()}),
	)
	for i, want := range []any{nil, ledger.Quarantined(true), ledger.Quarantined(false)} {
		if want != nil && (answers[i].err != nil || answers[i].value != want) {
			d.Errorf("command %d: got %v %v, want %v", i, answers[i].value, answers[i].err, want)
		}
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrNotOnSale)
	refused(d, d.wish("u", line("b", 1), line("a", 1)), fault.ErrNotOnSale)
	d.place("u", line("b", 1))
	if again := must(d, replayed); !again.Replayed || string(again.Body) != string(first.Body) {
		d.Errorf("the key again under quarantine: got %+v", again)
	}
	d.pay(paid, "t-1", ledger.PaidNow)
	must(d, ledger.Cancel{Number: cancelled})
	d.wantStock("a", 8, 1, 1)

	released := must(d, ledger.Release{ProductID: "a"})
	if released.Quarantined() || released.Available != 8 {
		d.Errorf("released: got %+v", released)
	}
	d.place("u", line("a", 1))
	if again := must(d, ledger.Release{ProductID: "a"}); again.Version != released.Version {
		d.Errorf("released again: got version %d, want %d", again.Version, released.Version)
	}
	refused(d, ledger.Release{ProductID: "x"}, fault.ErrNotFound)
	if d.quarantine("x", "held +1") {
		d.Error("a product that is not there was stopped")
	}
}

func letPass(d *desk) {
	d.sell("a", 10)
	d.quarantine("a", "held +1")
	must(d, ledger.Release{ProductID: "a"})
	if d.quarantine("a", "held +1") {
		d.Error("stopped by what was let pass")
	}
	d.place("u", line("a", 1))
	if !d.quarantine("a", "held +2") {
		d.Error("not stopped by something else")
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrNotOnSale)
}

func staleFinding(d *desk) {
	d.sell("a", 10)
	seen := d.clock.Now()
	d.clock.Step(30 * time.Second) // the process that saw it was asleep
	if must(d, ledger.Quarantine{ProductID: "a", Reason: "held +1", SeenAt: seen}) {
		d.Error("stopped by what was seen half a minute ago")
	}
	d.place("u", line("a", 1))
}

func changedUnderQuarantine(d *desk) {
	d.sell("a", 10)
	d.quarantine("a", "held +1")
	must(d, ledger.PutProduct{ID: "a", Title: set("B"), Active: set(true)})
	d.restart()
	got := d.look(ledger.Want{Products: []product.ID{"a"}}).Products["a"]
	if got.Title != "B" || got.Quarantine != "held +1" || !got.QuarantinedAt.Equal(d.clock.Now()) {
		d.Errorf("changed: got %+v", got)
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrNotOnSale)
}
