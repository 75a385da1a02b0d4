package httpapi

import (
	"bytes"
	"database/sql"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
)

const oneTicket = `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`

func TestSameKeyGetsTheSameBytes(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1)
	first := d.place("key", oneTicket)
	d.wantsStatus(first, 201)
	if got := first.header.Get("Idempotency-Replayed"); got != "" {
		t.Errorf("a new order says Idempotency-Replayed: %q", got)
	}
	d.wants(d.place("another", oneTicket), 409, api.CodeOutOfStock)
	d.clock.advance(time.Hour)
	again := d.place("key", `{ "lines": [{"quantity":1, "product_id":"sku-1"}], "metadata": {}, "user_id":"u-1" }`)
	d.wantsStatus(again, 201)
	if !bytes.Equal(again.body, first.body) || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s with %v, want %s", again.body, again.header, first.body)
	}
	d.wants(d.place("key", strings.Replace(oneTicket, "u-1", "u-2", 1)), 422, api.CodeIdempotencyKeyReused)
	rotated := d.request("POST", "/v1/orders", oneTicket, "", "Idempotency-Key", "key")
	if _, secret := d.newKey("rotated", apikey.OrdersWrite); !bytes.Equal(d.do(withKey(rotated, secret)).body, first.body) {
		t.Error("a rotated API key does not replay")
	}
}

func TestIdempotencyKeyHasOneForm(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100)
	for _, c := range []struct {
		story  string
		sent   []string
		status int
	}{
		{"absent", nil, 400},
		{"empty", []string{""}, 400},
		{"one character", []string{"a"}, 201},
		{"as long as may be", []string{strings.Repeat("k", 255)}, 201},
		{"too long", []string{strings.Repeat("k", 256)}, 400},
		{"quotes belong to it", []string{`"a"`}, 201},
		{"any visible character", []string{"!~;,{}"}, 201},
		{"a space", []string{"a b"}, 400},
		{"a tab", []string{"a\tb"}, 400},
		{"not ASCII", []string{"é"}, 400},
		{"DEL", []string{"\x7f"}, 400},
		{"two", []string{"a", "a"}, 400},
	} {
		t.Run(c.story, func(t *testing.T) {
			d.t = t
			r := d.request("POST", "/v1/orders", oneTicket, apikey.OrdersWrite)
			r.Header["Idempotency-Key"] = c.sent
			a := d.do(r)
			d.wantsStatus(a, c.status)
			if c.status == 400 && (!strings.Contains(string(a.body), "Idempotency-Key") || d.problem(a).Code != api.CodeMalformedRequest) {
				t.Errorf("got %s, want the header named", a.body)
			}
		})
	}
	d.t = t
}

func TestRefusedOrderSaysWhy(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	d.offer("sku-2", 5)
	read[api.Product](d, d.putProduct("sku-2", `{"price":{"amount":1,"currency":"EUR"}}`))
	d.offer("later", 5)
	read[api.Product](d, d.putProduct("later", `{"on_sale_from":"2026-11-20T10:00:01Z"}`))
	d.offer("few", 5)
	read[api.Product](d, d.putProduct("few", `{"max_per_user":2}`))
	line := func(id string, quantity int) string {
		return fmt.Sprintf(`{"product_id":%q,"quantity":%d}`, id, quantity)
	}
	for i, c := range []struct {
		lines   string
		status  int
		code    string
		members string // or the wrong field
	}{
		{line("sku-1", 6), 409, api.CodeOutOfStock, `available=5 product_id="sku-1"`},
		{line("sku-1", 3) + "," + line("sku-1", 3), 409, api.CodeOutOfStock, `available=5 product_id="sku-1"`},
		{line("later", 1), 409, api.CodeNotOnSale, `product_id="later"`},
		{line("few", 3), 409, api.CodePurchaseLimit, `max_per_user=2 product_id="few"`},
		{line("few", 2) + "," + line("few", 1), 409, api.CodePurchaseLimit, `max_per_user=2 product_id="few"`},
		{line("sku-1", 1) + "," + line("few", 3), 409, api.CodePurchaseLimit, `max_per_user=2 product_id="few"`},
		{line("none", 1), 422, api.CodeInvalidRequest, "lines[0].product_id"},
		{line("sku-1", 1) + "," + line("none", 1), 422, api.CodeInvalidRequest, "lines[1].product_id"},
		{line("sku-1", 1) + "," + line("sku-2", 1), 422, api.CodeInvalidRequest, "lines[1].product_id"},
		{line("sku-1", 9_999) + "," + line("sku-1", 2), 422, api.CodeInvalidRequest, "lines[0].quantity"},
	} {
		a := d.place(fmt.Sprint("k", i), `{"user_id":"u-1","lines":[`+c.lines+`]}`)
		d.wants(a, c.status, c.code)
		p := d.problem(a)
		var members []string
		for name, value := range p.Members {
			members = append(members, name+"="+string(value))
		}
		slices.Sort(members)
		for _, f := range p.Errors {
			members = append(members, f.Field)
		}
		if got := strings.Join(members, " "); got != c.members {
			t.Errorf("%s: got %s, want %s", c.lines, got, c.members)
		}
	}
	if s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)); s.Held != 0 {
		t.Errorf("refused orders hold %d units", s.Held)
	}
}

func TestGateRefusesWithoutTheRecord(t *testing.T) {
	d := newDesk(t)
	d.gate.refusal = fault.ErrOutOfStock.With("product_id", "sku-1").With("available", int64(0))
	before := d.decided.Load()
	d.wants(d.place("k", oneTicket), 409, api.CodeOutOfStock)
	if d.decided.Load() != before {
		t.Error("the ledger was asked")
	}
}

func TestCountdownRunsAndEnds(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	o := d.placed("k", "u-1", "sku-1")
	if o.SecondsLeft != 1800 || !o.PayBy.Equal(d.clock.Now().Add(30*time.Minute)) {
		t.Fatalf("placed with %d s left and pay_by %s", o.SecondsLeft, o.PayBy)
	}
	left := func() int64 {
		t.Helper()
		return read[api.Order](d, d.get("/v1/orders/"+o.OrderNo, apikey.OrdersRead)).SecondsLeft
	}
	d.clock.advance(500 * time.Millisecond)
	if got := left(); got != 1800 {
		t.Errorf("after half a second: %d s left, want 1800", got)
	}
	d.clock.advance(29*time.Minute + 59*time.Second)
	if got := left(); got != 1 {
		t.Errorf("half a second before the end: %d s left, want 1", got)
	}
	d.clock.advance(time.Second)
	if got := left(); got != 0 {
		t.Errorf("after the end: %d s left, want 0", got)
	}
}

func TestUserIsJoinedInOnRequest(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	o := d.placed("k", "u-1", "sku-1")
	target := "/v1/orders/" + o.OrderNo + "?expand=user"
	if a := d.get(target, apikey.Admin); !strings.HasSuffix(string(a.body), `,"user":null}`) {
		t.Errorf("of an unknown user: %s", a.body)
	}
	read[api.User](d, d.send("PUT", "/v1/users/u-1", `{"name":"Li"}`, apikey.UsersWrite))
	if got := read[api.Order](d, d.get(target, apikey.Admin)); got.User == nil || *got.User.Name != "Li" {
		t.Errorf("got user %+v", got.User)
	}
	d.wants(d.get("/v1/orders/"+o.OrderNo+"?expand=payments", apikey.Admin), 422, api.CodeInvalidRequest)
}

func TestOrdersAreListedNewestFirst(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100)
	var placed []api.Order
	for i := range 6 {
		placed = append(placed, d.placed(fmt.Sprint(i), fmt.Sprintf("u-%d", i%2), "sku-1"))
		d.clock.advance(time.Second)
	}
	read[api.Order](d, d.send("POST", "/v1/orders/"+placed[1].OrderNo+"/cancel", "", apikey.OrdersWrite))
	for query, want := range map[string][]int{
		"":                 {5, 4, 3, 2, 1, 0},
		"user_id=u-1":      {5, 3, 1},
		"user_id=nobody":   nil,
		"status=cancelled": {1},
		"status=pending":   {5, 4, 3, 2, 0},
		"status=refunded":  nil,
		"status=pending&created_after=2026-11-20T10:00:02Z":   {5, 4, 3},
		"status=cancelled&created_after=2026-11-20T10:00:01Z": nil,
		"status=pending&user_id=u-1":                          {5, 3},
		"created_after=2026-11-20T10:00:02Z":                  {5, 4, 3}, // exclusive
		"created_after=2026-11-20T18:00:01.999%2B08:00":       {5, 4, 3, 2},
		"created_after=2027-01-01T00:00:00Z":                  nil,
	} {
		for _, limit := range []int{1, 2, 200} {
			var got []int
			cursor := ""
			for range 10 {
				p := read[api.Page[api.Order]](d, d.get(fmt.Sprintf("/v1/orders?%s&limit=%d%s", query, limit, cursor), apikey.OrdersRead))
				for _, o := range p.Data {
					got = append(got, slices.IndexFunc(placed, func(p api.Order) bool { return p.OrderNo == o.OrderNo }))
				}
				if p.NextCursor == nil {
					break
				}
				cursor = "&cursor=" + *p.NextCursor
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s by %d: got %v, want %v", query, limit, got, want)
			}
		}
	}
	for _, query := range []string{"status=open", "status=Pending", "user_id=a%00", "created_after=yesterday", "created_after=1"} {
		d.wants(d.get("/v1/orders?"+query, apikey.OrdersRead), 422, api.CodeInvalidRequest)
	}
}

func TestOrderIsCancelledOrFulfilledOnce(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	pending, paid := d.placed("a", "u-1", "sku-1"), d.placed("b", "u-1", "sku-1")
	d.pay(paid, "t-1")
	step := func(o api.Order, what, body string) answer {
		t.Helper()
		return d.send("POST", "/v1/orders/"+o.OrderNo+"/"+what, body, apikey.OrdersWrite)
	}
	refused := func(a answer, code, status string) {
		t.Helper()
		d.wants(a, 409, code)
		if got := string(d.problem(a).Members["status"]); got != `"`+status+`"` {
			t.Errorf("%s with status %s, want %s", code, got, status)
		}
	}
	refused(step(pending, "fulfil", ""), api.CodeOrderNotFulfillable, "pending")
	refused(step(paid, "cancel", ""), api.CodeOrderNotCancellable, "paid")

	cancelled := read[api.Order](d, step(pending, "cancel", `{"reason":"changed his mind"}`))
	if cancelled.Status != api.OrderCancelled || *cancelled.CloseReason != "changed his mind" || cancelled.ClosedAt == nil || cancelled.SecondsLeft != 0 {
		t.Errorf("cancelled as %+v", cancelled)
	}
	refused(step(pending, "cancel", ""), api.CodeOrderNotCancellable, "cancelled")
	fulfilled := read[api.Order](d, step(paid, "fulfil", `{"reason":null}`))
	if fulfilled.Status != api.OrderFulfilled || fulfilled.CloseReason != nil {
		t.Errorf("fulfilled as %+v", fulfilled)
	}
	refused(step(paid, "fulfil", `{}`), api.CodeOrderNotFulfillable, "fulfilled")
	d.wants(step(api.Order{OrderNo: "202611200009999"}, "cancel", ""), 404, api.CodeNotFound)
	d.wants(step(api.Order{OrderNo: "nonsense"}, "fulfil", ""), 404, api.CodeNotFound)
	if s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)); s.Held != 0 || s.Sold != 1 || s.Available != 4 {
		t.Errorf("stock is %+v", s)
	}
}

func TestPaymentIsOpenedOnceAndKnowsWhereToPay(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	o := d.placed("k", "u-1", "sku-1")
	target := "/v1/orders/" + o.OrderNo + "/payments"
	open := func() answer {
		t.Helper()
		return d.send("POST", target, `{"provider":"toy"}`, apikey.OrdersWrite)
	}
	first := open()
	d.wantsStatus(first, 201)
	p := read[api.Payment](d, first)
	if p.Status != api.PaymentPending || p.Amount != o.Total || *p.PayURL != "https://toy.example/"+p.PaymentID || p.TransactionID != nil {
		t.Errorf("opened as %s", first.body)
	}
	again := open()
	d.wantsStatus(again, 200)
	if !bytes.Equal(again.body, first.body) {
		t.Errorf("again: %s, want %s", again.body, first.body)
	}
	d.wants(d.send("POST", target, `{"provider":"nobody"}`, apikey.OrdersWrite), 422, api.CodeInvalidRequest)

	d.pay(o, "t-1")
	paid := read[api.Payment](d, d.get("/v1/payments/"+p.PaymentID, apikey.OrdersRead))
	if paid.Status != api.PaymentSucceeded || *paid.TransactionID != "t-1" || paid.PayURL != nil || paid.PaidAt == nil {
		t.Errorf("paid as %+v", paid)
	}
	a := open()
	d.wants(a, 409, api.CodeOrderNotPayable)
	if got := string(d.problem(a).Members["status"]); got != `"paid"` {
		t.Errorf("status is %s, want paid", got)
	}
	list := read[api.Page[api.Payment]](d, d.get(target, apikey.OrdersRead))
	if len(list.Data) != 1 || list.NextCursor != nil || list.Data[0].PaymentID != p.PaymentID {
		t.Errorf("listed %+v", list)
	}
	for _, no := range []string{"202611200009999", "x"} {
		d.wants(d.get("/v1/orders/"+no+"/payments", apikey.OrdersRead), 404, api.CodeNotFound)
		d.wants(d.send("POST", "/v1/orders/"+no+"/payments", `{"provider":"toy"}`, apikey.OrdersWrite), 404, api.CodeNotFound)
	}
}

// TestLostAnswerIsFoundByItsKey: what is replayed is the answer, not the order as it has become.
func TestLostAnswerIsFoundByItsKey(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1)
	no, err := order.ParseNumber(d.placed("k", "u-1", "sku-1").OrderNo)
	d.must(err)
	_, err = ledger.Submit(t.Context(), d.ledger, ledger.Cancel{Number: no})
	d.must(err)
	a := d.place("k", oneTicket)
	d.wantsStatus(a, http.StatusCreated)
	if got := read[api.Order](d, a); got.Status != api.OrderPending || got.OrderNo != no.String() {
		t.Errorf("replayed as %+v, want the order as it was placed", got)
	}
}

// Of a list whose orders no index finds a page looks through so many and no more; it goes on from there, and in the end nothing is
// missed: here two orders whose numbers were taken long before they were placed.
func TestALookForOrdersOfLatelyIsBoundedAndMissesNothing(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	late := []string{d.placed("a", "u-1", "sku-1").OrderNo, d.placed("b", "u-1", "sku-1").OrderNo}
	d.fillOrders(2*limits.OrdersScanned + limits.OrdersScanned/2)
	for _, c := range []struct {
		about, query string
		pages        int
	}{
		{"of lately", "created_after=2026-01-01T00:00:00Z", 3},
		{"of lately, pending", "status=pending&created_after=2026-01-01T00:00:00Z", 1}, // an index finds these
		{"of a user in a status", "user_id=u-1&status=pending", 2*limits.OrdersScanned/limits.UserOrdersScanned + 6},
	} {
		var got []string
		pages := 0
		for cursor := ""; ; {
			page := read[api.Page[api.Order]](d, d.get("/v1/orders?"+c.query+cursor, apikey.OrdersRead))
			for _, o := range page.Data {
				got = append(got, o.OrderNo)
			}
			if pages++; page.NextCursor == nil || pages > 100 {
				break
			}
			cursor = "&cursor=" + *page.NextCursor
		}
		if want := []string{late[1], late[0]}; !slices.Equal(got, want) || pages != c.pages {
			t.Errorf("%s: got %v on %d pages, want %v on %d", c.about, got, pages, want, c.pages)
		}
	}
}

// fillOrders puts orders of u-1 that were placed in 1970 behind the last one's number, all at once.
func (d *desk) fillOrders(n int) {
	d.t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.file)
	d.must(err)
	defer db.Close() //nolint:errcheck // committed
	_, err = db.ExecContext(d.t.Context(), `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, paid_at,
		close_reason, paid_late, reminded, version, events, metadata) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		SELECT (SELECT MAX(order_no) FROM orders) + i, 'u-1', 'paid', 'CNY', 1, 1, 2, 1, '', 0, 0, 1, 1, '{}' FROM n`, n)
	d.must(err)
}
