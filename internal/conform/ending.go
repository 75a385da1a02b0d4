package conform

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

var ending = []story{
	{name: "ACancelledOrderGivesItsStockBack", tell: cancelReleases},
	{name: "AnUnpaidOrderGivesItsStockBack", tell: expireReleases},
	{name: "NoOrderExpiresEarly", tell: expireNeverEarly},
	{name: "PayMeetsExpireInOneBatchAndPayWins", tell: payMeetsExpire},
	{name: "PayMeetsCancelInOneBatchAndPayWins", tell: payMeetsCancel},
	{name: "CancelMeetsExpireAndOneWins", tell: cancelMeetsExpire},
	{name: "OnlyAPaidOrderIsFulfilledAndOnce", tell: fulfilOnce},
	{name: "AnOrderIsRemindedOnce", tell: remindOnce},
	{name: "TheUnitsOfAnEndedOrderGoToTheNext", tell: releasedAndSold},
	{name: "NothingHappensToAnUnknownOrder", tell: endUnknown},
}

func cancelReleases(d *desk) {
	d.sell("a", 10)
	d.sell("b", 10)
	no := d.place("u", line("a", 3), line("b", 1))
	must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_a"})
	d.clock.Step(time.Second)
	o := must(d, ledger.Cancel{Number: no, Reason: "changed my mind"})
	if o.Status != order.Cancelled || o.CloseReason != "changed my mind" || !o.ClosedAt.Equal(d.clock.Now()) || o.Version != 2 {
		d.Errorf("cancelled: got %+v", o)
	}
	d.wantStock("a", 10, 0, 0)
	d.wantStock("b", 10, 0, 0)
	d.wantPayments(no, payment.Closed)
	d.wantEvents(no, event.OrderPlaced, event.OrderCancelled)
	f := refused(d, ledger.Cancel{Number: no}, fault.ErrNotCancellable)
	if len(f.Members) != 1 || f.Members[0] != (fault.Member{Name: "status", Value: "cancelled"}) {
		d.Errorf("cancel again: the refusal says %v", f.Members)
	}
}

func expireReleases(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 3))
	must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_a"})
	d.clock.Step(30*time.Minute + 7*time.Millisecond)
	if got := must(d, ledger.Expire{Number: no}); got != (ledger.Expired{Done: true, Lag: 7 * time.Millisecond}) {
		d.Errorf("expire: got %+v", got)
	}
	d.wantStock("a", 10, 0, 0)
	d.wantPayments(no, payment.Closed)
	d.wantEvents(no, event.OrderPlaced, event.OrderExpired)
	if o := d.order(no); o.CloseReason != ledger.NotPaid || !o.ClosedAt.Equal(d.clock.Now()) {
		d.Errorf("expired: got %+v", o)
	}
	if got := must(d, ledger.Expire{Number: no}); got != (ledger.Expired{}) {
		d.Errorf("expire again: got %+v", got)
	}
}

func expireNeverEarly(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	payBy := d.order(no).PayBy
	for _, early := range []time.Duration{30 * time.Minute, time.Millisecond, 1} {
		d.clock.Set(payBy.Add(-early))
		if got := must(d, ledger.Expire{Number: no}); got != (ledger.Expired{Early: payBy}) {
			d.Errorf("%s before pay_by: got %+v", early, got)
		}
	}
	d.wantStatus(no, order.Pending)
	d.clock.Set(payBy)
	if got := must(d, ledger.Expire{Number: no}); got != (ledger.Expired{Done: true}) {
		d.Errorf("at pay_by: got %+v", got)
	}
}

func payMeetsExpire(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	d.clock.Set(d.order(no).PayBy)
	answers := d.batch(asks(ledger.Expire{Number: no}), asks(d.money(no, "t1")), asks(ledger.Expire{Number: no}))
	if answers[1].value != ledger.PaidNow || answers[0].value != (ledger.Expired{}) || answers[2].value != (ledger.Expired{}) {
		d.Errorf("pay meets expire: got %v", answers)
	}
	if o := d.order(no); o.Status != order.Paid || !o.PaidLate {
		d.Errorf("paid at pay_by: got %+v", o)
	}
	d.wantStock("a", 9, 0, 1)
}

func payMeetsCancel(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	answers := d.batch(asks(ledger.Cancel{Number: no}), asks(d.money(no, "t1")))
	if answers[1].value != ledger.PaidNow || fault.Of(answers[0].err).Code != fault.ErrNotCancellable.Code {
		d.Errorf("pay meets cancel: got %v", answers)
	}
}

func cancelMeetsExpire(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	d.clock.Set(d.order(no).PayBy)
	answers := d.batch(asks(ledger.Cancel{Number: no}), asks(ledger.Expire{Number: no}), asks(ledger.Cancel{Number: no}))
	if answers[0].err != nil || answers[1].value != (ledger.Expired{}) || answers[2].err == nil {
		d.Errorf("cancel meets expire: got %v", answers)
	}
	d.wantStock("a", 10, 0, 0)
	d.wantEvents(no, event.OrderPlaced, event.OrderCancelled)
}

func fulfilOnce(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	refused(d, ledger.Fulfil{Number: no}, fault.ErrNotFulfillable)
	d.pay(no, "t1", ledger.PaidNow)
	d.clock.Step(time.Second)
	o := must(d, ledger.Fulfil{Number: no, Reason: "handed over"})
	if o.Status != order.Fulfilled || o.CloseReason != "handed over" || !o.ClosedAt.Equal(d.clock.Now()) || o.Version != 3 {
		d.Errorf("fulfilled: got %+v", o)
	}
	refused(d, ledger.Fulfil{Number: no}, fault.ErrNotFulfillable)
	refused(d, ledger.Cancel{Number: no}, fault.ErrNotCancellable)
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid, event.OrderFulfilled)
	d.wantStock("a", 9, 0, 1)
}

func remindOnce(d *desk) {
	d.sell("a", 10)
	d.sell("short", 10, func(p *ledger.PutProduct) { p.PayWindow = set(5 * time.Minute) })
	no, short, gone := d.place("u", line("a", 1)), d.place("u", line("short", 1)), d.place("u", line("a", 1))
	late := d.place("u", line("a", 1))
	must(d, ledger.Cancel{Number: gone})
	remind := func(no order.Number, want bool) {
		if got := must(d, ledger.Remind{Number: no, Lead: 5 * time.Minute}); bool(got) != want {
			d.Errorf("remind %s at %s: got %v, want %v", no, d.clock.Now(), got, want)
		}
	}
	remind(short, false) // his whole time is what a reminder would tell
	d.clock.Set(d.order(no).PayBy.Add(-5 * time.Minute))
	remind(no, true)
	remind(no, false)
	remind(gone, false)
	remind(no+100, false)
	d.clock.Set(d.order(no).PayBy)
	remind(late, false)
	d.pay(no, "t1", ledger.PaidNow)
	d.expireAll()
	d.wantEvents(no, event.OrderPlaced, event.OrderExpiring, event.OrderPaid)
	if o := d.order(no); !o.Reminded || o.Version != 2 || o.Events != 3 {
		d.Errorf("reminded: got %+v", o)
	}
}

func releasedAndSold(d *desk) {
	d.sell("a", 1)
	first := d.place("u", line("a", 1))
	answers := d.batch(asks(d.wish("v", line("a", 1))), asks(ledger.Cancel{Number: first}))
	if answers[0].err != nil || answers[1].err != nil {
		d.Errorf("cancelled and sold again in one batch: got %v", answers)
	}
	d.wantStock("a", 0, 1, 0)
}

func endUnknown(d *desk) {
	d.sell("a", 1)
	unknown := d.place("u", line("a", 1)) + 1
	refused(d, ledger.Cancel{Number: unknown}, fault.ErrNotFound)
	refused(d, ledger.Fulfil{Number: unknown}, fault.ErrNotFound)
	if got := must(d, ledger.Expire{Number: unknown}); got != (ledger.Expired{}) {
		d.Errorf("expire an unknown order: got %+v", got)
	}
}
