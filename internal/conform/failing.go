package conform

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync/atomic"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

var failing = []story{
	{name: "ACommitWhoseAnswerIsLostCountsOnce", tell: commitLost},
	{name: "ACommitThatFailedIsDoneAgain", tell: commitFailed},
	{name: "ACommitInDoubtWithTheRecordGoneIsSaidToBeUnknown", tell: commitUnknown},
	{name: "ACommitThatIsKnownToHaveFailedIsSaidToHaveChangedNothing", tell: commitRefused},
	{name: "ABatchIsRunAgainWhenTheRecordAsksForIt", tell: retried},
	{name: "ABatchIsNotRunAgainForEver", tell: retriedTooOften},
	{name: "ADuplicateIsSeenOnTheNextRun", tell: duplicateOnce},
	{name: "APoisonedCommandFailsAlone", tell: poisonedSave},
	{name: "ACommandThatCollidesForEverFailsAlone", tell: poisonedDuplicate},
	{name: "ARecordThatIsAwayIsUnavailableAndComesBack", tell: recordAway},
	{name: "ARecordThatCannotBeWrittenIsUnavailableAndComesBack", tell: recordFull},
	{name: "WhatFailedIsNotTold", tell: failedIsNotTold},
}

// errLost is what a connection says that broke.
var errLost = errors.New("connection lost")

// times answers an error n times, then nil.
func times[T any](n int64, err error) func(T) error {
	var asked atomic.Int64
	return func(T) error {
		if asked.Add(1) <= n {
			return err
		}
		return nil
	}
}

// everything is one command of each kind about a few orders, with what becomes of it: enough to see a thing done twice or not.
func (d *desk) everything() func() {
	d.sell("a", 10, limited(8))
	pays, cancels, open := d.place("u", line("a", 1)), d.place("u", line("a", 1)), d.place("u", line("a", 1))
	wish := d.wish("u", line("a", 2))
	commands := []asked{
		asks(d.money(pays, "t1")),
		asks(ledger.Cancel{Number: cancels}),
		asks(wish),
		asks(ledger.AdjustStock{ProductID: "a", Delta: 5}),
		asks(ledger.CreatePayment{Number: open, Provider: "sandbox", PaymentID: "pay_open"}),
		asks(ledger.PutProduct{ID: "a", Price: set(cny(2000))}),
		asks(ledger.PutUser{ID: "u", Name: set("Ada")}),
		asks(d.wish("u", line("a", 100))), // refused: neither its failure nor its neighbours' may change that
	}
	return func() {
		d.Helper()
		answers := d.batch(commands...)
		for i, a := range answers {
			if refusal := i == len(answers)-1; refusal != (a.err != nil) || refusal && !errors.Is(a.err, fault.ErrPurchaseLimit) {
				d.Errorf("command %d: got %v", i, a.err)
			}
		}
		d.wantStock("a", 11, 3, 1)
		d.wantUnits("a", "u", 4)
		d.wantEvents(pays, event.OrderPlaced, event.OrderPaid)
		d.wantEvents(cancels, event.OrderPlaced, event.OrderCancelled)
		again := must(d, wish)
		if placed, _ := answers[2].value.(ledger.Placed); !again.Replayed || !bytes.Equal(again.Body, placed.Body) {
			d.Errorf("answered\n%s\nafterwards\n%s", placed.Body, again.Body)
		}
		d.pay(pays, "t1", ledger.PaidAgain)
	}
}

// onCommit makes the n-th commit with changes from now on do something else.
func onCommit(n int64, do func(tx ledger.Tx, commit func() error) error) breaks {
	var asked atomic.Int64
	return breaks{commit: func(tx ledger.Tx, commit func() error) error {
		if asked.Add(1) == n {
			return do(tx, commit)
		}
		return commit()
	}}
}

func commitLost(d *desk) {
	happens := d.everything()
	lost := false
	d.watched.breakAt(onCommit(1, func(_ ledger.Tx, commit func() error) error {
		lost = true
		return errors.Join(commit(), errLost)
	}))
	happens()
	if !lost {
		d.Error("no commit was lost: the story told nothing")
	}
}

func commitFailed(d *desk) {
	happens := d.everything()
	failed := false
	d.watched.breakAt(onCommit(1, func(tx ledger.Tx, _ func() error) error {
		failed = true
		tx.Rollback()
		return errLost
	}))
	happens()
	if !failed {
		d.Error("no commit failed: the story told nothing")
	}
}

func commitUnknown(d *desk) {
	d.sell("a", 10)
	for _, lands := range []bool{true, false} {
		wish := d.wish("u", line("a", 1))
		away := false
		d.watched.breakAt(breaks{
			begin: func() error {
				if away {
					return errLost
				}
				return nil
			},
			commit: func(tx ledger.Tx, commit func() error) error {
				away = true
				if lands {
					return errors.Join(commit(), errLost)
				}
				tx.Rollback()
				return errLost
			},
		})
		_, err := ask(d, wish)
		if !errors.Is(err, fault.ErrUnavailable) || fault.Of(err).Detail == fault.ErrUnavailable.Detail {
			d.Errorf("in doubt (landed: %v): got %v, want unavailable, without the claim that nothing was changed", lands, err)
		}
		d.watched.breakAt(breaks{})
		if got := must(d, wish); got.Replayed != lands {
			d.Errorf("asked again (landed: %v): replayed is %v", lands, got.Replayed)
		}
		d.place("v", line("a", 1)) // the numbers of the lost commit are not given twice
	}
	d.wantStock("a", 6, 4, 0)
}

func commitRefused(d *desk) {
	d.sell("a", 10)
	wish := d.wish("u", line("a", 1))
	tried := 0
	d.watched.breakAt(breaks{commit: func(tx ledger.Tx, _ func() error) error {
		tried++
		tx.Rollback()
		return errors.Join(ledger.ErrNotCommitted, errLost)
	}})
	_, err := ask(d, wish)
	if !errors.Is(err, fault.ErrUnavailable) || fault.Of(err).Detail != fault.ErrUnavailable.Detail || fault.Of(err).RetryAfter == 0 {
		d.Errorf("not committed: got %v, want unavailable, and that nothing was changed", err)
	}
	if tried != 1 {
		d.Errorf("a commit that cannot take place was tried %d times, want once", tried)
	}
	d.watched.breakAt(breaks{})
	if got := must(d, wish); got.Replayed {
		d.Error("asked again: replayed, although nothing was changed")
	}
	d.wantStock("a", 9, 1, 0)
}

func retried(d *desk) {
	happens := d.everything()
	d.watched.breakAt(breaks{save: times[*ledger.Changes](5, ledger.ErrRetry)})
	happens()
}

func retriedTooOften(d *desk) {
	d.sell("a", 10)
	d.watched.breakAt(breaks{save: times[*ledger.Changes](6, ledger.ErrRetry)})
	wish := d.wish("u", line("a", 1))
	if _, err := ask(d, wish); !errors.Is(err, fault.ErrUnavailable) || fault.Of(err).RetryAfter == 0 {
		d.Errorf("run again for ever: got %v", err)
	}
	if got := must(d, wish); got.Replayed {
		d.Error("the order was placed although it was said not to be")
	}
	d.wantStock("a", 9, 1, 0)
}

func duplicateOnce(d *desk) {
	happens := d.everything()
	d.watched.breakAt(breaks{save: times[*ledger.Changes](1, ledger.ErrDuplicate)})
	happens()
}

// poison refuses every save in which an order of the user stands.
func poison(d *desk, why error) (orders []asked) {
	d.sell("a", 100)
	for i := range 9 {
		w := d.wish("u", line("a", 1))
		if i == 6 {
			w.UserID = "poison"
		}
		orders = append(orders, asks(w))
	}
	d.watched.breakAt(breaks{save: func(c *ledger.Changes) error {
		if slices.ContainsFunc(c.NewOrders, func(o *order.Order) bool { return o.UserID == "poison" }) {
			return why
		}
		return nil
	}})
	return orders
}

func failsAlone(d *desk, orders []asked) {
	paid := d.place("u", line("a", 1))
	answers := d.batch(append(orders, asks(d.money(paid, "t1")))...)
	for i, a := range answers {
		if i == 6 {
			if fault.Of(a.err).Code != fault.ErrInternal.Code {
				d.Errorf("the poisoned order: got %v, want %s", a.err, fault.ErrInternal.Code)
			}
			continue
		}
		if a.err != nil {
			d.Errorf("neighbour %d: got %v", i, a.err)
		}
	}
	d.wantStock("a", 91, 8, 1)
	d.place("u", line("a", 1))
}

func poisonedSave(d *desk) { failsAlone(d, poison(d, ledger.ErrRefused)) }

func poisonedDuplicate(d *desk) { failsAlone(d, poison(d, ledger.ErrDuplicate)) }

func recordAway(d *desk) {
	happens := d.everything()
	d.watched.breakAt(breaks{begin: func() error { return errLost }})
	wish := d.wish("v", line("a", 1))
	before := d.watched.savesTried()
	if _, err := ask(d, wish); !errors.Is(err, fault.ErrUnavailable) || !errors.Is(err, errLost) || fault.Of(err).RetryAfter == 0 {
		d.Errorf("with the record away: got %v", err)
	}
	if d.watched.savesTried() != before {
		d.Error("something was saved with the record away")
	}
	d.watched.breakAt(breaks{begin: times0(2, ledger.ErrRetry)})
	happens()
}

func times0(n int64, err error) func() error {
	next := times[struct{}](n, err)
	return func() error { return next(struct{}{}) }
}

func recordFull(d *desk) {
	happens := d.everything()
	d.watched.breakAt(breaks{save: func(*ledger.Changes) error { return errLost }})
	for _, a := range d.batch(asks(d.wish("v", line("a", 1))), asks(ledger.AdjustStock{ProductID: "a", Delta: 1})) {
		if !errors.Is(a.err, fault.ErrUnavailable) {
			d.Errorf("with the record full: got %v", a.err)
		}
	}
	d.wantStock("a", 7, 3, 0)
	d.watched.breakAt(breaks{})
	happens()
}

// Accelerators believe what Applied tells them, so it must tell what was committed and nothing else.
func failedIsNotTold(d *desk) {
	told := 0
	d.stop()
	d.ledger = ledger.New(d.watched, ledger.Options{Applied: func(a *ledger.Applied) {
		d.applied(a)
		told += a.Events
	}})
	d.sell("a", 10)
	before := told
	d.watched.breakAt(breaks{save: func(*ledger.Changes) error { return errLost }})
	if _, err := ask(d, d.wish("u", line("a", 1))); err == nil {
		d.Error("placed although nothing could be saved")
	}
	if told != before {
		d.Errorf("%d events were told of an order that was not placed", told-before)
	}
	d.watched.breakAt(onCommit(1, func(_ ledger.Tx, commit func() error) error { return errors.Join(commit(), errLost) }))
	d.place("u", line("a", 1))
	if told != before+2 {
		d.Errorf("%d events were told of one order, want 2", told-before)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ledger.Submit(ctx, d.ledger, ledger.Command[ledger.Placed](d.wish("u", line("a", 1)))); !errors.Is(err, context.Canceled) {
		d.Errorf("who has left is answered %v", err)
	}
}
