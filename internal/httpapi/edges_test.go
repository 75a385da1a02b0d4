package httpapi

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// The edges of single routes that no list of bad input knows.

// The dearest order that there can be still adds up: 100 lines of 10 000 units at the highest price.
func TestTheLargestOrderAddsUp(t *testing.T) {
	d := newDesk(t)
	var lines []string
	for i := range 100 {
		id := "dear-" + strconv.Itoa(i)
		d.wantsStatus(d.putProduct(id, `{"title":"Dear","price":{"amount":1000000000000,"currency":"JPY"}}`), 201)
		d.wantsStatus(d.send("POST", "/v1/products/"+id+"/stock", `{"delta":10000}`, apikey.CatalogueWrite), 201)
		lines = append(lines, `{"product_id":"`+id+`","quantity":10000}`)
	}
	o := read[api.Order](d, d.place("k", `{"user_id":"u-1","lines":[`+strings.Join(lines, ",")+`]}`))
	if want := int64(1_000_000_000_000) * 10_000 * 100; o.Total.Amount != want {
		t.Errorf("the total is %d, want %d", o.Total.Amount, want)
	}
}

func TestStockThatIsHeldCannotBeWrittenOff(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 3)
	d.wantsStatus(d.place("k", strings.Replace(oneTicket, `"quantity":1`, `"quantity":2`, 1)), 201)
	a := d.send("POST", "/v1/products/sku-1/stock", `{"delta":-2}`, apikey.CatalogueWrite)
	d.wants(a, 409, api.CodeInsufficientStock)
	d.wantsStatus(d.send("POST", "/v1/products/sku-1/stock", `{"delta":-1}`, apikey.CatalogueWrite), 201)
	if s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)); s.Held != 2 || s.Available != 0 || s.Received != 2 {
		t.Errorf("got %+v, want 2 received, both held", s)
	}
}

// expire lets an order's time run out.
func (d *desk) expire(o api.Order) {
	d.t.Helper()
	no, err := order.ParseNumber(o.OrderNo)
	d.must(err)
	d.clock.advance(o.PayBy.Sub(d.clock.Now()))
	done, err := ledger.Submit(d.t.Context(), d.ledger, ledger.Expire{Number: no})
	d.must(err)
	if !done.Done {
		d.t.Fatalf("%s did not expire at %s", o.OrderNo, o.PayBy)
	}
}

func TestNothingMovesAnExpiredOrder(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 3)
	o := d.placed("k", "u-1", "sku-1")
	d.expire(o)
	for what, code := range map[string]string{
		"cancel": api.CodeOrderNotCancellable, "fulfil": api.CodeOrderNotFulfillable, "payments": api.CodeOrderNotPayable,
	} {
		body := map[string]string{"payments": `{"provider":"toy"}`}[what]
		a := d.send("POST", "/v1/orders/"+o.OrderNo+"/"+what, body, apikey.OrdersWrite)
		d.wants(a, 409, code)
		if got := string(d.problem(a).Members["status"]); got != `"expired"` {
			t.Errorf("%s: the status is said to be %s, want expired", what, got)
		}
	}
	if s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)); s.Held != 0 || s.Available != 3 {
		t.Errorf("got %+v, want all 3 available", s)
	}
}

// Money that comes around the deadline: while the order is pending it pays, however late; afterwards it goes back, however
// little too late.
func TestMoneyAroundTheDeadline(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100)
	for i, c := range []struct {
		after   time.Duration // pay_by
		expired bool
		outcome string
		status  string
		late    bool
	}{
		{-time.Millisecond, false, "paid", api.OrderPaid, false},
		{0, false, "paid", api.OrderPaid, true},
		{time.Millisecond, false, "paid", api.OrderPaid, true},
		{24 * time.Hour, false, "paid", api.OrderPaid, true},
		{0, true, "late", api.OrderExpired, false},
		{time.Millisecond, true, "late", api.OrderExpired, false},
		{time.Second, true, "late", api.OrderExpired, false},
		{24 * time.Hour, true, "late", api.OrderExpired, false},
	} {
		o := d.placed(fmt.Sprint("k", i), "u-1", "sku-1")
		if c.expired {
			d.expire(o)
		}
		d.clock.advance(o.PayBy.Add(c.after).Sub(d.clock.Now()))
		notice := fmt.Sprintf(`{"order_no":%q,"transaction":"t-%d","amount":9900}`, o.OrderNo, i)
		for n := range 3 { // told again it counts no more
			a := d.send("POST", "/v1/callbacks/toy", notice, "", "Toy-Signature", "signed")
			d.wantsStatus(a, 200)
			if n == 0 && string(a.body) != c.outcome {
				t.Errorf("%s after pay_by, expired %t: got %s, want %s", c.after, c.expired, a.body, c.outcome)
			}
		}
		got := read[api.Order](d, d.get("/v1/orders/"+o.OrderNo, apikey.OrdersRead))
		if got.Status != c.status || got.PaidLate != c.late {
			t.Errorf("%s after pay_by, expired %t: the order is %s, paid late %t, want %s, %t", c.after, c.expired, got.Status, got.PaidLate, c.status, c.late)
		}
		d.relay()
		due, _ := d.events("types=refund.due&order_no=" + o.OrderNo)
		if want := map[bool]int{true: 1}[c.expired]; len(due) != want {
			t.Errorf("%s after pay_by, expired %t: %d refunds are due, want %d", c.after, c.expired, len(due), want)
		}
	}
}

// A buyer cancels in the moment in which his money arrives: one of the two wins, and the money is never lost.
func TestCancelMeetsThePayment(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1000)
	won := map[string]int{}
	for i := range 40 {
		o := d.placed(fmt.Sprint("k", i), "u-1", "sku-1")
		var cancelled, paid answer
		var both sync.WaitGroup
		both.Go(func() { cancelled = d.send("POST", "/v1/orders/"+o.OrderNo+"/cancel", "", apikey.OrdersWrite) })
		both.Go(func() {
			paid = d.send("POST", "/v1/callbacks/toy", fmt.Sprintf(`{"order_no":%q,"transaction":"t-%d","amount":9900}`, o.OrderNo, i), "", "Toy-Signature", "signed")
		})
		both.Wait()
		got := read[api.Order](d, d.get("/v1/orders/"+o.OrderNo, apikey.OrdersRead)).Status
		story := fmt.Sprintf("%d, %s, %s", cancelled.status, paid.body, got)
		if story != "200, late, cancelled" && story != "409, paid, paid" {
			t.Fatalf("the cancellation got %d %s, the money %d %s, and the order is %s", cancelled.status, cancelled.body, paid.status, paid.body, got)
		}
		won[got]++
	}
	s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead))
	if s.Sold != int64(won[api.OrderPaid]) || s.Held != 0 {
		t.Errorf("%v won, and the stock is %+v", won, s)
	}
}

// A provider may tell of the money before our own answer to the order is out, or of an order that is not ours: it is told that
// there is no such order, and comes again.
func TestMoneyForAnOrderThatIsNotThereYetCountsWhenItIs(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 9)
	first := d.placed("a", "u-1", "sku-1")
	no, err := order.ParseNumber(first.OrderNo)
	d.must(err)
	next := order.NumberOf(no.Day(), no.Count()+1).String()
	tell := func() answer {
		return d.send("POST", "/v1/callbacks/toy", `{"order_no":"`+next+`","transaction":"t","amount":9900}`, "", "Toy-Signature", "signed")
	}
	d.wants(tell(), 404, api.CodeNotFound)
	if o := d.placed("b", "u-1", "sku-1"); o.OrderNo != next {
		t.Fatalf("placed as %s, want %s", o.OrderNo, next)
	}
	if a := tell(); a.status != 200 || string(a.body) != "paid" {
		t.Errorf("told again: got %d %s, want it paid", a.status, a.body)
	}
}
