package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
)

// random matches what is drawn anew each time.
var random = regexp.MustCompile(`pay_[0-9A-HJKMNP-TV-Z]{26}|hf_(?:live|session)_[0-9A-Za-z]{12}_[0-9A-Za-z]{32}_[0-9A-Za-z]{6}|"(?:key|session)_id": "[0-9A-Za-z]{12}"`)

func mask(match []byte) []byte {
	switch match[0] {
	case 'p':
		return []byte("pay_…")
	case 'h':
		kind, _, _ := bytes.Cut(match[len("hf_"):], []byte("_"))
		return fmt.Appendf(nil, "hf_%s_…", kind)
	default:
		name, _, _ := bytes.Cut(match, []byte(": "))
		return fmt.Appendf(nil, `%s: "…"`, name)
	}
}

// golden compares an answer with a file: its status, the header that belongs to it, its body. -update writes the file.
func (d *desk) golden(name string, a answer) {
	d.t.Helper()
	var got bytes.Buffer
	fmt.Fprintf(&got, "%d\n", a.status)
	for _, header := range []string{"Content-Type", "Idempotency-Replayed", "WWW-Authenticate", "Allow"} {
		if value := a.header.Get(header); value != "" {
			fmt.Fprintf(&got, "%s: %s\n", header, value)
		}
	}
	got.WriteByte('\n')
	if err := json.Indent(&got, a.body, "", "  "); err != nil {
		d.t.Fatalf("%s: %q: %v", name, a.body, err)
	}
	got.WriteByte('\n')
	text := random.ReplaceAllFunc(got.Bytes(), mask)
	file := filepath.Join("testdata", name+".http")
	if *update {
		d.must(os.WriteFile(file, text, 0o644))
		return
	}
	want, err := os.ReadFile(file)
	d.must(err)
	if diff := cmp.Diff(string(want), string(text)); diff != "" {
		d.t.Errorf("%s, wanted - and got +:\n%s", file, diff)
	}
}

// TestAnswersAsTheyAreOnTheWire holds every shape still, down to the order of fields.
func TestAnswersAsTheyAreOnTheWire(t *testing.T) {
	d := newDesk(t)
	do := func(method, target, body string, scope apikey.Scope, header ...string) answer {
		t.Helper()
		return d.send(method, target, body, scope, append(header, "X-Request-Id", "0190cf2e-7a3b-7c4d-8e5f-0123456789ab")...)
	}
	get := func(target string) answer { return do("GET", target, "", apikey.Admin) }
	place := func(key, body string) answer {
		return do("POST", "/v1/orders", body, apikey.OrdersWrite, "Idempotency-Key", key)
	}

	d.golden("product_created", do("PUT", "/v1/products/sku-1", `{"title":"Ticket","price":{"amount":9900,"currency":"CNY"},"max_per_user":4,`+
		`"pay_window":"15m","on_sale_from":"2026-11-01T08:00:00+08:00","on_sale_until":"2026-12-01T00:00:00Z"}`, apikey.CatalogueWrite))
	d.golden("stock_adjusted", do("POST", "/v1/products/sku-1/stock", `{"delta":10,"reason":"restock","ref":"PO-7"}`, apikey.CatalogueWrite))
	do("PUT", "/v1/products/sku-2", `{"title":"Tea 茶","price":{"amount":1999,"currency":"CNY"}}`, apikey.CatalogueWrite)
	do("POST", "/v1/products/sku-2/stock", `{"delta":5}`, apikey.CatalogueWrite)
	d.golden("user_created", do("PUT", "/v1/users/u-7", `{"name":"李 \"Li\"","email":"li@example.com","metadata":{"b":[1.0,null],"a":9007199254740993}}`, apikey.UsersWrite))
	placed := place("key-1", `{"user_id":"u-7","lines":[{"product_id":"sku-1","quantity":1},{"product_id":"sku-2","quantity":2},{"product_id":"sku-1","quantity":1}],"metadata":{"channel":"web"}}`)
	d.golden("order_placed", placed)
	d.golden("order_replayed", place("key-1", `{"user_id":"u-7","lines":[{"product_id":"sku-1","quantity":2},{"product_id":"sku-2","quantity":2}],"metadata":{"channel":"web"}}`))
	o := read[api.Order](d, placed)
	target := "/v1/orders/" + o.OrderNo
	d.golden("product", get("/v1/products/sku-1"))
	d.golden("products_page", get("/v1/products?limit=1"))
	d.golden("stock", get("/v1/products/sku-1/stock"))
	d.golden("order_with_user", get(target+"?expand=user"))
	d.golden("payment_created", do("POST", target+"/payments", `{"provider":"toy"}`, apikey.OrdersWrite))
	d.pay(o, "t-1")
	d.golden("payments_page", get(target+"/payments"))
	d.golden("order_fulfilled", do("POST", target+"/fulfil", `{"reason":"handed over"}`, apikey.OrdersWrite))
	second := read[api.Order](d, place("key-2", `{"user_id":"nobody","lines":[{"product_id":"sku-2","quantity":3}]}`))
	d.golden("order_cancelled", do("POST", "/v1/orders/"+second.OrderNo+"/cancel", "", apikey.OrdersWrite))
	d.golden("orders_page", get("/v1/orders?limit=1"))
	d.relay()
	d.golden("events_page", get("/v1/events?order_no="+second.OrderNo))
	d.record.audit = func(context.Context) (audit.Report, error) {
		return audit.Report{CheckedAt: d.clock.Now(), Checks: []audit.Check{{ID: "V1", Name: "stock adds up", Violations: 1, Samples: []string{"sku-1"}}}}, nil
	}
	d.golden("audit", get("/v1/audit"))
	created := do("POST", "/v1/keys", `{"name":"till","scopes":["orders:write"],"expires_at":"2027-01-01T00:00:00Z"}`, apikey.Admin)
	d.golden("key_created", created)
	d.golden("key_revoked", do("DELETE", "/v1/keys/"+read[api.CreatedKey](d, created).KeyID, "", apikey.Admin))
	session := do("POST", "/v1/sessions", `{"user_id":"u-7"}`, apikey.SessionsWrite)
	d.golden("session_created", session)
	d.golden("session", do("GET", "/v1/sessions/current", "", "", "Authorization", "Bearer "+read[api.CreatedSession](d, session).Token))
	d.golden("sessions_ended", do("DELETE", "/v1/users/u-7/sessions", "", apikey.SessionsWrite))
	d.golden("numbers_page", get("/v1/numbers"))
	d.golden("health", get("/healthz"))

	// Problems.
	d.golden("problem_not_found", get("/v1/orders/202611209999999"))
	d.golden("problem_no_route", get("/v1/nothing"))
	d.golden("problem_method_not_allowed", do("PUT", "/v1/orders", `{}`, apikey.Admin))
	d.golden("problem_unauthenticated", do("GET", "/v1/orders", "", ""))
	d.golden("problem_forbidden", do("GET", "/v1/audit", "", apikey.OrdersWrite))
	d.golden("problem_malformed", place("key-3", `{"user_id":`))
	d.golden("problem_no_idempotency_key", do("POST", "/v1/orders", `{}`, apikey.OrdersWrite))
	d.golden("problem_invalid", place("key-3", `{"user_id":"","lines":[{"product_id":"sku-1","quantity":0}],"price":1}`))
	d.golden("problem_out_of_stock", place("key-3", `{"user_id":"u-8","lines":[{"product_id":"sku-2","quantity":4}]}`))
	d.golden("problem_purchase_limit", place("key-3", `{"user_id":"u-7","lines":[{"product_id":"sku-1","quantity":3}]}`))
	d.golden("problem_key_reused", place("key-1", `{"user_id":"u-8","lines":[{"product_id":"sku-2","quantity":1}]}`))
	d.golden("problem_order_not_payable", do("POST", target+"/payments", `{"provider":"toy"}`, apikey.OrdersWrite))
	d.golden("problem_insufficient_stock", do("POST", "/v1/products/sku-1/stock", `{"delta":-9}`, apikey.CatalogueWrite))
	d.golden("problem_media_type", do("POST", "/v1/orders", `{}`, apikey.OrdersWrite, "Idempotency-Key", "k", "Content-Type", "text/plain"))
	d.golden("problem_bad_signature", do("POST", "/v1/callbacks/toy", `{}`, ""))
}
