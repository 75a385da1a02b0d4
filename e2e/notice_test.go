package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// trace is everything that money leaves behind at an order and its product.
type trace struct {
	Order    api.Order     `json:"order"`
	Payments []api.Payment `json:"payments"`
	Events   []api.Event   `json:"events"`
	Stock    api.Stock     `json:"stock"`
}

func (x trace) String() string {
	text, err := json.MarshalIndent(x, "", " ")
	return fmt.Sprint(string(text), err)
}

func (d *desk) trace(orderNo, product string) trace {
	d.t.Helper()
	d.settled()
	o := d.look(orderNo)
	o.SecondsLeft = 0
	return trace{o, d.payments(orderNo), d.events("order_no", orderNo), d.stock(product)}
}

// settled waits until every event is in the log.
func (d *desk) settled() {
	d.t.Helper()
	testenv.Until(d.t, 10*time.Second, "the outbox to be empty", func() bool { return d.metric("holdfast_outbox_oldest_seconds") == 0 })
}

func TestNoticesThatMustNotCountChangeNothing(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	s.product("sku", 10, nil)
	o, other := s.order("a", "u-a", line("sku", 2)), s.order("b", "u-b", line("sku", 1))
	if a, err := s.notify(moneyFor(other, "tx-other")); err != nil || a.status != http.StatusOK {
		t.Fatalf("pay the other order: got %v, %v, want 200", a, err)
	}
	before := s.trace(o.OrderNo, "sku")
	right := moneyFor(o, "tx-1")
	with := func(change func(n *notice)) notice {
		n := right
		change(&n)
		return n
	}
	now := time.Now()
	signed := func(n notice) ([]byte, string) {
		raw, _ := json.Marshal(n)
		return raw, signature(raw, sandboxSecret, now)
	}
	raw, good := signed(right)
	tampered := []byte(strings.Replace(string(raw), o.OrderNo, other.OrderNo, 1))

	for _, c := range []struct {
		what      string
		raw       []byte
		signature string
		status    int
		code      string
	}{
		{"unsigned", raw, "", 401, api.CodeBadSignature},
		{"signed with another secret", raw, signature(raw, "another-secret-that-is-long-enough", now), 401, api.CodeBadSignature},
		{"for another body", tampered, good, 401, api.CodeBadSignature},
		{"301 s old", raw, signature(raw, sandboxSecret, now.Add(-301*time.Second)), 401, api.CodeBadSignature},
		{"from the future", raw, signature(raw, sandboxSecret, now.Add(330*time.Second)), 401, api.CodeBadSignature},
		{"its time changed", raw, strings.Replace(good, "t=", "t=1", 1), 401, api.CodeBadSignature},
		{"signed twice", raw, good + "," + good, 401, api.CodeBadSignature},
	} {
		if a, err := s.notifySigned(c.raw, c.signature); err != nil || a.status != c.status || a.problem().Code != c.code {
			t.Errorf("%s: got %v, %v, want %d %s", c.what, a, err, c.status, c.code)
		}
	}
	for _, c := range []struct {
		what   string
		notice notice
		status int
		code   string
	}{
		{"a cent too little", with(func(n *notice) { n.Amount-- }), 409, api.CodePaymentMismatch},
		{"a cent too much", with(func(n *notice) { n.Amount++ }), 409, api.CodePaymentMismatch},
		{"another currency", with(func(n *notice) { n.Currency = "EUR" }), 409, api.CodePaymentMismatch},
		{"money that paid another order", with(func(n *notice) { n.TransactionID = "tx-other" }), 409, api.CodePaymentMismatch},
		{"an unknown order", with(func(n *notice) { n.OrderNo = "202001010000001" }), 404, api.CodeNotFound},
		{"a status of its own", with(func(n *notice) { n.Status = "settled" }), 422, api.CodeInvalidRequest},
		{"no transaction", with(func(n *notice) { n.TransactionID = "" }), 422, api.CodeInvalidRequest},
	} {
		raw, signature := signed(c.notice)
		a, err := s.notifySigned(raw, signature)
		if err != nil || a.status != c.status || a.problem().Code != c.code {
			t.Errorf("%s: got %v, %v, want %d %s", c.what, a, err, c.status, c.code)
		}
	}

	if after := s.trace(o.OrderNo, "sku"); after.String() != before.String() {
		t.Errorf("something changed:\n got %v\nwant %v", after, before)
	}
	auditClean(t, db)
}

// An attempt that failed is written down and changes nothing else; when the same money comes after all, it counts.
func TestAFailedPaymentLeavesTheOrderPayable(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	s.product("sku", 10, nil)
	o := s.order("a", "u-a", line("sku", 2))
	before := s.trace(o.OrderNo, "sku")
	n := moneyFor(o, "tx-1")
	n.Status = "failed"
	for range 2 {
		if a, err := s.notify(n); err != nil || a.status != http.StatusOK {
			t.Fatalf("failed: got %v, %v, want 200", a, err)
		}
	}
	after := s.trace(o.OrderNo, "sku")
	if len(after.Payments) != 1 || after.Payments[0].Status != api.PaymentFailed {
		t.Errorf("payments: got %+v, want one that failed", after.Payments)
	}
	after.Payments = before.Payments
	if after.String() != before.String() {
		t.Errorf("something else changed:\n got %v\nwant %v", after, before)
	}

	n.Status = "succeeded"
	for range 2 {
		if a, err := s.notify(n); err != nil || a.status != http.StatusOK {
			t.Fatalf("succeeded after all: got %v, %v, want 200", a, err)
		}
	}
	n.Status = "failed" // told late, or made up
	if a, err := s.notify(n); err != nil || a.status != http.StatusOK {
		t.Errorf("failed again: got %v, %v, want 200", a, err)
	}
	paid := s.trace(o.OrderNo, "sku")
	if paid.Order.Status != api.OrderPaid || paid.Stock.Sold != 2 || len(paid.Payments) != 1 || paid.Payments[0].Status != api.PaymentSucceeded {
		t.Errorf("got %v, want it paid once", paid)
	}
	auditClean(t, db)
}

func TestARepeatedNoticeCountsOnce(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	s.product("sku", 10, nil)
	o := s.order("a", "u-a", line("sku", 2))
	n := moneyFor(o, "tx-1")

	atOnce(64, func(int) {
		if a, err := s.notify(n); err != nil || a.status != http.StatusOK {
			t.Errorf("got %v, %v, want 200", a, err)
		}
	})
	paid := s.trace(o.OrderNo, "sku")
	if paid.Order.Status != api.OrderPaid || len(paid.Payments) != 1 || paid.Stock.Sold != 2 {
		t.Fatalf("after the notice: got %v, want one payment, paid, 2 sold", paid)
	}
	if kinds := kindsOf(paid.Events); kinds["order.paid"] != 1 || kinds["refund.due"] != 0 {
		t.Errorf("events: got %v, want one order.paid and no refund.due", kinds)
	}

	// Other money for the same order goes back, once, however often it is told.
	n.TransactionID = "tx-2"
	atOnce(16, func(int) {
		if a, err := s.notify(n); err != nil || a.status != http.StatusOK {
			t.Errorf("money again: got %v, %v, want 200", a, err)
		}
	})
	twice := s.trace(o.OrderNo, "sku")
	if kinds := kindsOf(twice.Events); kinds["order.paid"] != 1 || kinds["refund.due"] != 1 || len(twice.Payments) != 2 {
		t.Errorf("paid twice: got %v and %d payments, want one order.paid, one refund.due, 2 payments", kinds, len(twice.Payments))
	}
	if twice.Order.Status != api.OrderPaid || twice.Stock != paid.Stock {
		t.Errorf("money that came twice moved something: got %v, want %v", twice, paid)
	}
	auditClean(t, db)
}

func kindsOf(events []api.Event) map[string]int {
	kinds := map[string]int{}
	for _, e := range events {
		kinds[e.Type]++
	}
	return kinds
}
