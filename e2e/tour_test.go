package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// The tour of the README: from a product to money, and the other two ways an order can end.
func TestTheTour(t *testing.T) {
	t.Parallel()
	at(t, tours, func(t *testing.T, w where) {
		db := w.database(t)
		fleet := w.serve(t, w.usual(), db)
		s := fleet.servers[0] // whose cashier it is
		s.want(http.StatusCreated, nil, "PUT", "/v1/users/u-7", map[string]any{"name": "Ada", "email": "ada@example.org"})
		s.product("sku-1", 10, payWithin(10*time.Minute))
		s.product("sku-quick", 10, payWithin(time.Second))

		paid := s.order("my-first", "u-7", line("sku-1", 2))
		payAtTheCashier(t, s.desk, paid)

		cancelled := s.order("my-second", "u-7", line("sku-1", 3))
		second := declineAtTheCashier(t, s.desk, cancelled)
		var o api.Order
		s.want(http.StatusOK, &o, "POST", "/v1/orders/"+cancelled.OrderNo+"/cancel", api.Reason{Reason: "changed my mind"})
		if o.Status != api.OrderCancelled || o.CloseReason == nil || *o.CloseReason != "changed my mind" || o.ClosedAt == nil {
			t.Errorf("cancelled: got %+v", o)
		}
		if a := s.ask("POST", "/v1/orders/"+cancelled.OrderNo+"/cancel", nil); a.problem().Code != api.CodeOrderNotCancellable {
			t.Errorf("cancel again: got %v, want 409 order_not_cancellable", a)
		}

		if s.want(http.StatusOK, &second, "GET", "/v1/payments/"+second.PaymentID, nil); second.Status != api.PaymentClosed || second.PayURL != nil {
			t.Errorf("the payment of a cancelled order: got %+v, want it closed", second)
		}

		expired := s.order("my-third", "u-7", line("sku-quick", 1))
		testenv.Until(t, startMax, "the order to expire", func() bool { return s.look(expired.OrderNo).Status == api.OrderExpired })
		if o := s.look(expired.OrderNo); o.ClosedAt == nil || o.ClosedAt.Before(o.PayBy) {
			t.Errorf("expired: got closed_at %v, want it not before %v", o.ClosedAt, o.PayBy)
		}
		if a := s.ask("POST", "/v1/orders/"+expired.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"}); a.problem().Code != api.CodeOrderNotPayable {
			t.Errorf("pay what has expired: got %v, want 409 order_not_payable", a)
		}

		var fulfilled struct {
			api.Order
			User api.User `json:"user"`
		}
		s.want(http.StatusOK, nil, "POST", "/v1/orders/"+paid.OrderNo+"/fulfil", nil)
		s.want(http.StatusOK, &fulfilled, "GET", "/v1/orders/"+paid.OrderNo+"?expand=user", nil)
		if fulfilled.Status != api.OrderFulfilled || fulfilled.User.Name == nil || *fulfilled.User.Name != "Ada" {
			t.Errorf("fulfilled: got %+v", fulfilled)
		}
		if found := s.orders("user_id", "u-7"); len(found) != 3 || found[0].OrderNo != expired.OrderNo {
			t.Errorf("the user's orders: got %+v, want 3, the newest first", found)
		}
		wantStory(t, s.desk, paid.OrderNo, "order.placed", "order.paid", "order.fulfilled")
		wantStory(t, s.desk, cancelled.OrderNo, "order.placed", "order.cancelled")
		wantStory(t, s.desk, expired.OrderNo, "order.placed", "order.expired")
		if got, want := s.stock("sku-1"), (api.Stock{ProductID: "sku-1", Received: 10, Available: 8, Sold: 2, Version: s.stock("sku-1").Version}); got != want {
			t.Errorf("stock: got %+v, want %+v", got, want)
		}
		wantHeld(s.desk, "sku-quick", 10, 0)
		s.auditClean()
		auditClean(t, db)
		fleet.stop()
	})
}

// payAtTheCashier goes where a buyer's browser goes.
func payAtTheCashier(t *testing.T, d *desk, o api.Order) {
	t.Helper()
	var p, same api.Payment
	d.want(http.StatusCreated, &p, "POST", "/v1/orders/"+o.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"})
	d.want(http.StatusOK, &same, "POST", "/v1/orders/"+o.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"})
	if p.PayURL == nil || p.Status != api.PaymentPending || same.PaymentID != p.PaymentID {
		t.Fatalf("payment: got %+v and again %+v, want one, pending, with a place to pay", p, same)
	}
	buyer, path := d.as(""), cashier(d, p)
	for _, want := range []string{o.OrderNo, "CNY", "Pay", "Decline"} {
		if page := buyer.ask("GET", path, nil); page.status != http.StatusOK || !strings.Contains(string(page.body), want) {
			t.Errorf("the cashier's page does not show %q: %d", want, page.status)
		}
	}
	press(buyer, path, "pay")
	if now := d.look(o.OrderNo); now.Status != api.OrderPaid || now.PaidAt == nil || now.SecondsLeft != 0 || now.PaidLate {
		t.Errorf("after paying: got %+v", now)
	}
	d.want(http.StatusOK, &p, "GET", "/v1/payments/"+p.PaymentID, nil)
	if p.Status != api.PaymentSucceeded || p.TransactionID == nil || p.PayURL != nil || p.Amount != o.Total {
		t.Errorf("the payment: got %+v, want it succeeded", p)
	}
}

// declineAtTheCashier leaves the order as it was, with one attempt failed and another one open.
func declineAtTheCashier(t *testing.T, d *desk, o api.Order) (second api.Payment) {
	t.Helper()
	var first api.Payment
	d.want(http.StatusCreated, &first, "POST", "/v1/orders/"+o.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"})
	press(d.as(""), cashier(d, first), "decline")
	if now := d.look(o.OrderNo); now.Status != api.OrderPending {
		t.Errorf("after declining: got %+v, want it pending", now)
	}
	if d.want(http.StatusOK, &first, "GET", "/v1/payments/"+first.PaymentID, nil); first.Status != api.PaymentFailed {
		t.Errorf("the declined payment: got %+v, want it failed", first)
	}
	d.want(http.StatusCreated, &second, "POST", "/v1/orders/"+o.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"})
	if second.PaymentID == first.PaymentID {
		t.Errorf("after declining the same payment was given again: %+v", second)
	}
	return second
}

// cashier is the path of a payment's page at this desk.
func cashier(d *desk, p api.Payment) string {
	d.t.Helper()
	if p.PayURL == nil || !strings.HasPrefix(*p.PayURL, d.url+"/") {
		d.t.Fatalf("payment: got %+v, want a pay_url at %s", p, d.url)
	}
	return strings.TrimPrefix(*p.PayURL, d.url)
}

// press presses a button of the cashier's page.
func press(buyer *desk, path, button string) {
	buyer.t.Helper()
	form := []byte(url.Values{"action": {button}}.Encode())
	if page := buyer.ask("POST", path, form, "Content-Type", "application/x-www-form-urlencoded"); page.status != http.StatusOK {
		buyer.t.Fatalf("%s at the cashier: got %v, want 200", button, page)
	}
}

// wantStory waits for an order's events in the log: these, in this order, numbered without gaps.
func wantStory(t *testing.T, d *desk, orderNo string, types ...string) {
	t.Helper()
	var events []api.Event
	testenv.Until(t, startMax, "the events of "+orderNo, func() bool {
		events = d.events("order_no", orderNo)
		return len(events) >= len(types)
	})
	var got []string
	for i, e := range events {
		got = append(got, e.Type)
		if e.Sequence != int64(i)+1 || e.Subject != orderNo {
			t.Errorf("event %d of %s: got sequence %d of %s", i, orderNo, e.Sequence, e.Subject)
		}
	}
	if !slices.Equal(got, types) {
		t.Errorf("the story of %s: got %v, want %v", orderNo, got, types)
	}
}

func TestKeysOpenWhatTheirScopesSay(t *testing.T) {
	t.Parallel()
	s := serve(t, database(t))
	s.product("sku", 10, nil)
	o := s.order("a", "u-a", line("sku", 1))
	doors := map[string]func(*desk) answer{
		"orders:read":    func(d *desk) answer { return d.ask("GET", "/v1/orders/"+o.OrderNo, nil) },
		"catalogue:read": func(d *desk) answer { return d.ask("GET", "/v1/products/sku", nil) },
		"events:read":    func(d *desk) answer { return d.ask("GET", "/v1/events", nil) },
		"orders:write": func(d *desk) answer {
			return d.ask("POST", "/v1/orders/"+o.OrderNo+"/payments", api.CreatePayment{Provider: "sandbox"})
		},
		"catalogue:write": func(d *desk) answer { return d.ask("PUT", "/v1/products/sku", map[string]any{"title": "New"}) },
		"users:write":     func(d *desk) answer { return d.ask("PUT", "/v1/users/u-a", map[string]any{"name": "A"}) },
		"users:read":      func(d *desk) answer { return d.ask("GET", "/v1/users/u-a", nil) },
		"admin":           func(d *desk) answer { return d.ask("GET", "/v1/keys", nil) },
	}
	s.want(http.StatusCreated, nil, "PUT", "/v1/users/u-a", map[string]any{"name": "A"})
	for _, scope := range slices.Sorted(maps.Keys(doors)) {
		holder := s.as(newKey(s.desk, scope))
		for _, door := range slices.Sorted(maps.Keys(doors)) {
			a := doors[door](holder)
			if open := scope == door || scope == "admin" || strings.TrimSuffix(scope, "write")+"read" == door; open {
				if a.status >= 400 {
					t.Errorf("a key with %s at the door of %s: got %v, want it open", scope, door, a)
				}
			} else if a.status != http.StatusForbidden || a.problem().Code != api.CodeForbidden {
				t.Errorf("a key with %s at the door of %s: got %v, want 403 forbidden", scope, door, a)
			}
		}
	}
	for _, stranger := range []string{"", "no-such-key", adminKey + "x", strings.ToUpper(adminKey)} {
		if a := s.as(stranger).ask("GET", "/v1/orders/"+o.OrderNo, nil); a.status != http.StatusUnauthorized || a.problem().Code != api.CodeUnauthenticated {
			t.Errorf("key %q: got %v, want 401 unauthenticated", stranger, a)
		}
	}
}

func TestARevokedKeyIsDeadWithinSeconds(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	var made api.CreatedKey
	s.want(http.StatusCreated, &made, "POST", "/v1/keys", api.CreateKey{Name: "leaked", Scopes: []string{"orders:read"}})
	holder := s.as(made.Key)
	if a := holder.ask("GET", "/v1/orders", nil); a.status != http.StatusOK {
		t.Fatalf("before: got %v, want 200", a)
	}
	s.want(http.StatusOK, nil, "DELETE", "/v1/keys/"+made.KeyID, nil)
	testenv.Until(t, 5*time.Second, "the key to be dead", func() bool { return holder.ask("GET", "/v1/orders", nil).status == http.StatusUnauthorized })
	s.kill()
	s = serve(t, db)
	if a := s.as(made.Key).ask("GET", "/v1/orders", nil); a.status != http.StatusUnauthorized {
		t.Errorf("after a restart: got %v, want 401", a)
	}
	if keys := fmt.Sprint(string(s.ask("GET", "/v1/keys", nil).body)); strings.Contains(keys, made.Key) {
		t.Error("the list of keys shows a key itself")
	}
}
