package conform

import (
	"fmt"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

var paying = []story{
	{name: "MoneySellsWhatWasHeld", tell: paySells},
	{name: "MoneyFindsTheOpenPaymentOfItsProvider", tell: payFindsPayment},
	{name: "ATransactionCountsOnce", tell: payOnce},
	{name: "MismatchedMoneyChangesNothing", tell: payMismatch},
	{name: "MoneyForAnUnknownOrderIsRefused", tell: payUnknown},
	{name: "ASecondPaymentIsOwedBack", tell: payDuplicate},
	{name: "TwoTransactionsInOneBatchPayOnce", tell: payTwiceInBatch},
	{name: "MoneyForAnOrderThatIsOverIsOwedBack", tell: payLate},
	{name: "MoneyAfterPayByIsAcceptedWhileTheOrderIsPending", tell: payTie},
	{name: "AFailedAttemptLeavesTheOrderPending", tell: payFails},
	{name: "AnOpenPaymentIsGivenAgain", tell: paymentAgain},
	{name: "AttemptsToPayAnOrderAreLimitedAndMoneyIsNot", tell: paymentsLimited},
	{name: "AnOrderThatIsOverOrDueGetsNoNewPayment", tell: paymentTooLate},
}

func paySells(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 3))
	d.clock.Step(time.Minute)
	d.pay(no, "t1", ledger.PaidNow)
	d.wantStock("a", 7, 0, 3)
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid)
	d.wantPayments(no, payment.Succeeded)
	o := d.order(no)
	if o.Status != order.Paid || !o.PaidAt.Equal(d.clock.Now()) || o.PaidLate || o.Version != 2 || !o.ClosedAt.IsZero() {
		d.Errorf("paid in time: got %+v", o)
	}
	refused(d, ledger.Cancel{Number: no}, fault.ErrNotCancellable)
	if got := must(d, ledger.Expire{Number: no}); got != (ledger.Expired{}) {
		d.Errorf("expire a paid order: got %+v", got)
	}
}

func payFindsPayment(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	other := must(d, ledger.CreatePayment{Number: no, Provider: "other", PaymentID: "pay_a"})
	opened := must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_b"})
	if !other.Created || !opened.Created || opened.Amount != cny(1000) || opened.Status != payment.Pending {
		d.Fatalf("new payments: got %+v and %+v", other, opened)
	}
	d.clock.Step(time.Second)
	d.pay(no, "t1", ledger.PaidNow)
	want := []*payment.Payment{
		{ID: "pay_a", OrderNumber: no, Provider: "other", Status: payment.Closed, Amount: cny(1000), CreatedAt: opening},
		{
			ID: "pay_b", OrderNumber: no, Provider: "sandbox", Status: payment.Succeeded, Amount: cny(1000), TransactionID: "t1",
			CreatedAt: opening, PaidAt: d.clock.Now(),
		},
	}
	if diff := cmp.Diff(want, d.payments(no)); diff != "" {
		d.Errorf("payments: want (-), got (+):\n%s", diff)
	}
}

func payOnce(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	d.pay(no, "t1", ledger.PaidNow)
	d.pay(no, "t1", ledger.PaidAgain)
	d.restart()
	d.pay(no, "t1", ledger.PaidAgain)
	second := d.money(no, "t2")
	for i, got := range d.batch(asks(second), asks(second), asks(second)) {
		want := ledger.PaidAgain
		if i == 0 {
			want = ledger.PaidDuplicate
		}
		if got.err != nil || got.value != want {
			d.Errorf("notice %d of one batch: got %v %v, want %s", i, got.value, got.err, want)
		}
	}
	elsewhere := d.money(no, "t1") // another provider may use the same id
	elsewhere.Provider, elsewhere.PaymentID = "other", "pay_other"
	if got := must(d, elsewhere); got != ledger.PaidDuplicate {
		d.Errorf("the same id of another provider: got %s, want %s", got, ledger.PaidDuplicate)
	}
	d.wantStock("a", 9, 0, 1)
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid, event.RefundDue, event.RefundDue)
}

func payMismatch(d *desk) {
	d.sell("a", 10)
	no, paid := d.place("u", line("a", 1)), d.place("u", line("a", 1))
	d.pay(paid, "t1", ledger.PaidNow)
	right := d.money(no, "t2")
	for name, change := range map[string]func(*ledger.Pay){
		"too little":          func(p *ledger.Pay) { p.Amount.Amount-- },
		"too much":            func(p *ledger.Pay) { p.Amount.Amount++ },
		"other currency":      func(p *ledger.Pay) { p.Amount = money.Money{Amount: 1000, Currency: "USD"} },
		"another transaction": func(p *ledger.Pay) { p.TransactionID = "t1" },
	} {
		p := right
		change(&p)
		if f := refused(d, p, fault.ErrPaymentMismatch); len(f.Fields) != 1 {
			d.Errorf("%s: the refusal names %v, want one field", name, f.Fields)
		}
	}
	less := d.money(paid, "t1")
	less.Amount.Amount--
	refused(d, less, fault.ErrPaymentMismatch)
	d.wantPayments(no)
	d.wantStatus(no, order.Pending)
	if got := must(d, right); got != ledger.PaidNow {
		d.Errorf("the right money afterwards: got %s", got)
	}
}

func payUnknown(d *desk) {
	d.sell("a", 10)
	p := d.money(d.place("u", line("a", 1)), "t1")
	p.OrderNumber++
	refused(d, p, fault.ErrNotFound)
	refused(d, ledger.FailPayment{Notice: p.Notice}, fault.ErrNotFound)
	refused(d, ledger.CreatePayment{Number: p.OrderNumber, Provider: "sandbox", PaymentID: "pay_x"}, fault.ErrNotFound)
}

func payDuplicate(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	d.pay(no, "t1", ledger.PaidNow)
	d.clock.Step(time.Hour)
	d.pay(no, "t2", ledger.PaidDuplicate)
	must(d, ledger.Fulfil{Number: no})
	d.pay(no, "t3", ledger.PaidDuplicate)
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid, event.RefundDue, event.OrderFulfilled, event.RefundDue)
	d.wantPayments(no, payment.Succeeded, payment.Succeeded, payment.Succeeded)
	d.wantStock("a", 9, 0, 1)
}

func payTwiceInBatch(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	answers := d.batch(asks(d.money(no, "t2")), asks(d.money(no, "t1")))
	if answers[0].value != ledger.PaidNow || answers[1].value != ledger.PaidDuplicate {
		d.Errorf("two transactions at once: got %v and %v", answers[0], answers[1])
	}
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid, event.RefundDue)
}

func payLate(d *desk) {
	d.sell("a", 10)
	cancelled, expired := d.place("u", line("a", 1)), d.place("u", line("a", 2))
	must(d, ledger.CreatePayment{Number: expired, Provider: "sandbox", PaymentID: "pay_open"})
	must(d, ledger.Cancel{Number: cancelled, Reason: "changed my mind"})
	d.clock.Step(30 * time.Minute)
	must(d, ledger.Expire{Number: expired})
	d.pay(cancelled, "t1", ledger.PaidLate)
	d.pay(expired, "t2", ledger.PaidLate)
	d.pay(expired, "t2", ledger.PaidAgain)
	d.pay(expired, "t3", ledger.PaidLate)
	d.wantEvents(cancelled, event.OrderPlaced, event.OrderCancelled, event.PaymentLate, event.RefundDue)
	d.wantEvents(expired, event.OrderPlaced, event.OrderExpired, event.PaymentLate, event.RefundDue, event.PaymentLate, event.RefundDue)
	d.wantPayments(expired, payment.Closed, payment.Succeeded, payment.Succeeded)
	d.wantStatus(cancelled, order.Cancelled)
	d.wantStatus(expired, order.Expired)
	d.wantStock("a", 10, 0, 0)
}

func payTie(d *desk) {
	d.sell("a", 10)
	for i, after := range []time.Duration{-time.Millisecond, 0, time.Hour} {
		no := d.place("u", line("a", 1))
		d.clock.Set(d.order(no).PayBy.Add(after))
		d.pay(no, "t"+string(rune('1'+i)), ledger.PaidNow)
		if o := d.order(no); o.PaidLate != (after >= 0) {
			d.Errorf("paid %s after pay_by: paid_late is %v", after, o.PaidLate)
		}
	}
	d.wantStock("a", 7, 0, 3)
}

func payFails(d *desk) {
	d.sell("a", 10)
	no, other := d.place("u", line("a", 1)), d.place("u", line("a", 1))
	must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_a"})
	fails := func(transaction, provider, paymentID string) ledger.FailPayment {
		n := d.money(no, transaction).Notice
		n.Succeeded, n.Provider = false, provider
		return ledger.FailPayment{Notice: n, PaymentID: paymentID}
	}
	wrong := fails("t1", "sandbox", "pay_x")
	wrong.Amount.Amount++
	refused(d, wrong, fault.ErrPaymentMismatch)
	for _, c := range []struct {
		notice ledger.FailPayment
		news   bool
	}{
		{fails("t1", "other", "pay_b"), true},
		{fails("t1", "sandbox", "pay_x"), true},
		{fails("t1", "sandbox", "pay_x"), false},
		{fails("t2", "sandbox", "pay_c"), true},
	} {
		if got := must(d, c.notice); bool(got) != c.news {
			d.Errorf("%+v: got news %v, want %v", c.notice, got, c.news)
		}
	}
	elsewhere := fails("t1", "sandbox", "pay_x")
	elsewhere.OrderNumber = other
	refused(d, elsewhere, fault.ErrPaymentMismatch)
	d.wantPayments(no, payment.Failed, payment.Failed, payment.Failed)
	d.wantStatus(no, order.Pending)
	d.wantStock("a", 8, 2, 0)

	// A transaction that failed can succeed after all; after that it cannot fail.
	d.pay(no, "t2", ledger.PaidNow)
	if got := must(d, fails("t2", "sandbox", "pay_x")); bool(got) {
		d.Error("a payment that succeeded has failed")
	}
	d.wantPayments(no, payment.Failed, payment.Failed, payment.Succeeded)
	d.wantEvents(no, event.OrderPlaced, event.OrderPaid)
	d.wantStatus(no, order.Paid)
}

func paymentAgain(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	answers := d.batch(
		asks(ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_a"}),
		asks(ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_b"}),
	)
	again := must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_c"})
	if again.ID != "pay_a" || again.Created || answers[1].value.(ledger.PaymentCreated).ID != "pay_a" {
		d.Errorf("asked three times: got %+v, %+v and %+v", answers[0], answers[1], again)
	}
	d.wantPayments(no, payment.Pending)
}

// Failed attempts pile up without end where somebody keeps trying a dead card. Money that arrives all the same is counted.
func paymentsLimited(d *desk) {
	d.sell("a", 10)
	no, other := d.place("u", line("a", 1)), d.place("u", line("a", 1))
	fails := func(i int) ledger.FailPayment {
		n := d.money(no, fmt.Sprint("dead-", i)).Notice
		n.Succeeded = false
		return ledger.FailPayment{Notice: n, PaymentID: fmt.Sprint("pay_unasked-", i)}
	}
	for i := range limits.PaymentsOfOrder {
		created := must(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: fmt.Sprint("pay_", i)})
		if !created.Created {
			d.Fatalf("attempt %d: got %+v", i, created)
		}
		must(d, fails(i))
	}
	refused(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_more"}, fault.ErrTooManyPayments)
	refused(d, ledger.CreatePayment{Number: no, Provider: "other", PaymentID: "pay_more"}, fault.ErrTooManyPayments)
	must(d, ledger.CreatePayment{Number: other, Provider: "sandbox", PaymentID: "pay_other"})
	if news := must(d, fails(1000)); bool(news) {
		d.Error("one failure more was news")
	}
	if got := len(d.payments(no)); got != limits.PaymentsOfOrder {
		d.Errorf("%d payments are written down, want %d", got, limits.PaymentsOfOrder)
	}
	d.pay(no, "t1", ledger.PaidNow)
	if got := len(d.payments(no)); got != limits.PaymentsOfOrder+1 {
		d.Errorf("with the money %d payments are written down, want %d", got, limits.PaymentsOfOrder+1)
	}
}

func paymentTooLate(d *desk) {
	d.sell("a", 10)
	no, gone := d.place("u", line("a", 1)), d.place("u", line("a", 1))
	must(d, ledger.Cancel{Number: gone})
	refused(d, ledger.CreatePayment{Number: gone, Provider: "sandbox", PaymentID: "pay_a"}, fault.ErrNotPayable)
	d.clock.Set(d.order(no).PayBy)
	refused(d, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_b"}, fault.ErrNotPayable)
}
