package httpapi

import (
	"cmp"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// example is how an operation is shown in the document: lines for a shell that has HOLDFAST_API_KEY, to be pasted as they
// are. They work on a desk that was started with --demo, as often as one likes.
type example struct {
	before string   // lines that make what the call needs, ending in what it uses
	path   string   // "": the pattern, which names nothing then
	header []string // beside the key and the content type
	body   string   // JSON
	shell  string   // the body as the shell has it, where that is not the JSON itself
	golden string   // the file that holds an answer
	key    string   // the variable that holds what stands for the key; "": HOLDFAST_API_KEY
	stream bool     // its answer goes on: a look at it is enough
}

// What examples need first. The sample that they buy is limited per user, so each has a guest of its own.
const (
	guest      = `GUEST="guest-$(date +%s)-$$"` + "\n"
	orderFirst = guest + `ORDER_NO=$(curl -sS "` + documented + `/v1/orders" \
  -H "Authorization: Bearer $HOLDFAST_API_KEY" -H "Content-Type: application/json" -H "Idempotency-Key: $GUEST" \
  -d '{"user_id":"'$GUEST'","lines":[{"product_id":"sku-ticket","quantity":1}]}' |
  sed 's/.*"order_no":"\([0-9]*\)".*/\1/')` + "\n"
	sessionFirst = `TOKEN=$(curl -sS "` + documented + `/v1/sessions" \
  -H "Authorization: Bearer $HOLDFAST_API_KEY" -H "Content-Type: application/json" -d '{"user_id":"u-7"}' |
  sed 's/.*"token":"\([^"]*\)".*/\1/')` + "\n"
	paymentFirst = orderFirst + `PAYMENT=$(curl -sS "` + documented + `/v1/orders/$ORDER_NO/payments" \
  -H "Authorization: Bearer $HOLDFAST_API_KEY" -H "Content-Type: application/json" -d '{"provider":"sandbox"}')` + "\n"
)

// examples has one for each operation, by its id.
func examples() map[string]example {
	return map[string]example{
		"putProduct": {path: "/v1/products/sku-print", golden: "product_created", body: `{"title":"Print, signed","price":{"amount":4900,"currency":"CNY"},` +
			`"max_per_user":2,"pay_window":"15m"}`},
		"getProduct":     {path: "/v1/products/sku-ticket", golden: "product"},
		"listProducts":   {path: "/v1/products?limit=2", golden: "products_page"},
		"adjustStock":    {path: "/v1/products/sku-ticket/stock", golden: "stock_adjusted", body: `{"delta":100,"reason":"restock","ref":"PO-7"}`},
		"getStock":       {path: "/v1/products/sku-ticket/stock", golden: "stock"},
		"releaseProduct": {path: "/v1/products/sku-ticket/release", golden: "product"},

		"putUser": {path: "/v1/users/u-7", golden: "user_created", body: `{"name":"Li","email":"li@example.com","metadata":{"tier":"gold"}}`},
		"getUser": {
			before: `curl -sS "` + documented + `/v1/users/u-7" -o /dev/null -X PUT \
  -H "Authorization: Bearer $HOLDFAST_API_KEY" -H "Content-Type: application/json" -d '{"name":"Li"}'` + "\n",
			path: "/v1/users/u-7", golden: "user_created",
		},

		"placeOrder": {
			path: "/v1/orders", header: []string{"Idempotency-Key: my-first-order"}, golden: "order_placed",
			body: `{"user_id":"u-7","lines":[{"product_id":"sku-ticket","quantity":2}],"metadata":{"channel":"web"}}`,
		},
		"listOrders":  {path: "/v1/orders?status=pending&limit=2", golden: "orders_page"},
		"getOrder":    {before: orderFirst, path: "/v1/orders/$ORDER_NO?expand=user", golden: "order_with_user"},
		"cancelOrder": {before: orderFirst, path: "/v1/orders/$ORDER_NO/cancel", golden: "order_cancelled", body: `{"reason":"changed my mind"}`},
		"fulfilOrder": {
			before: paymentFirst + `curl -sS -o /dev/null -d action=pay "$(echo "$PAYMENT" | sed 's/.*"pay_url":"\([^"]*\)".*/\1/')"` + "\n",
			path:   "/v1/orders/$ORDER_NO/fulfil", golden: "order_fulfilled", body: `{"reason":"handed over"}`,
		},

		"streamOrder":  {before: orderFirst, path: "/v1/orders/$ORDER_NO/stream", stream: true},
		"streamUser":   {path: "/v1/users/u-7/stream?last_event_id=0", stream: true},
		"streamEvents": {path: "/v1/events/stream?types=order.placed&last_event_id=0", stream: true},
		"createStreamTicket": {
			before: orderFirst, path: "/v1/stream-tickets", body: `{"stream":"/v1/orders/202611200000001/stream"}`,
			shell: `'{"stream":"/v1/orders/'$ORDER_NO'/stream"}'`,
		},

		"createSession": {path: "/v1/sessions", golden: "session_created", body: `{"user_id":"u-7"}`},
		"getSession":    {before: sessionFirst, key: "TOKEN", golden: "session"},
		"endSession":    {before: sessionFirst, key: "TOKEN", golden: "session"},
		"endSessions":   {path: "/v1/users/u-7/sessions", golden: "sessions_ended"},

		"createPayment": {before: orderFirst, path: "/v1/orders/$ORDER_NO/payments", golden: "payment_created", body: `{"provider":"sandbox"}`},
		"listPayments":  {before: paymentFirst, path: "/v1/orders/$ORDER_NO/payments", golden: "payments_page"},
		"getPayment": {
			before: paymentFirst + `PAYMENT_ID=$(echo "$PAYMENT" | sed 's/.*"payment_id":"\([^"]*\)".*/\1/')` + "\n",
			path:   "/v1/payments/$PAYMENT_ID", golden: "payment_created",
		},
		"receiveNotice": {
			before: `: "${HOLDFAST_SANDBOX_SECRET:?must be set here as it was set for the desk}"` + "\n" + orderFirst +
				`NOTICE='{"order_no":"'$ORDER_NO'","transaction_id":"t-'$ORDER_NO'","amount":9900,"currency":"CNY","status":"succeeded"}'` + "\n" +
				`T=$(date +%s)` + "\n" +
				`V1=$(printf '%s.%s' "$T" "$NOTICE" | openssl dgst -sha256 -r -hmac "$HOLDFAST_SANDBOX_SECRET" | cut -d' ' -f1)` + "\n",
			path: "/v1/callbacks/sandbox", header: []string{"Holdfast-Signature: t=$T,v1=$V1"}, shell: `"$NOTICE"`,
			body: `{"order_no":"202611200000001","transaction_id":"t-1","amount":9900,"currency":"CNY","status":"succeeded"}`,
		},

		"listEvents":   {path: "/v1/events?types=order.placed,order.expired&limit=2", golden: "events_page"},
		"runAudit":     {path: "/v1/audit", golden: "audit"},
		"createKey":    {path: "/v1/keys", golden: "key_created", body: `{"name":"till","scopes":["orders:write","catalogue:read"]}`},
		"listKeys":     {path: "/v1/keys?limit=10"},
		"listNumbers":  {},
		"fillNumbers":  {path: "/v1/numbers/fill"},
		"purgeNumbers": {path: "/v1/numbers/purge"},
		"warmCache":    {path: "/v1/cache/warm"},
		"revokeKey": {
			before: `KEY_ID=$(curl -sS "` + documented + `/v1/keys" \
  -H "Authorization: Bearer $HOLDFAST_API_KEY" -H "Content-Type: application/json" -d '{"name":"lost","scopes":["orders:read"]}' |
  sed 's/.*"key_id":"\([^"]*\)".*/\1/')` + "\n",
			path: "/v1/keys/$KEY_ID", golden: "key_revoked",
		},

		"getHealth":   {golden: "health"},
		"getReady":    {},
		"getMetrics":  {},
		"getDocument": {},
		"getDocs":     {},
		"getDocsFile": {path: "/docs/page.js"},
	}
}

// source is the example as it is pasted.
func (e *example) source(r *route) string {
	path := e.path
	if path == "" {
		path = r.pattern
	}
	parts := []string{`curl -sS "` + documented + path + `"`}
	if e.stream {
		parts[0] = `curl -sN --max-time 2 "` + documented + path + `"`
	}
	if r.method != http.MethodGet && (r.method != http.MethodPost || e.body == "") {
		parts[0] += " -X " + r.method
	}
	if r.scope != "" {
		parts = append(parts, `-H "Authorization: Bearer $`+cmp.Or(e.key, "HOLDFAST_API_KEY")+`"`)
	}
	for _, header := range e.header {
		parts = append(parts, `-H "`+header+`"`)
	}
	if e.body != "" {
		body := e.shell
		if body == "" {
			body = `'` + e.body + `'`
		}
		parts = append(parts, `-H "Content-Type: application/json"`, `-d `+body)
	}
	source := e.before + strings.Join(parts, " \\\n  ")
	if e.stream {
		source += " || true # two seconds of it; without --max-time it goes on"
	}
	return source
}

// answer is what a golden file holds; 0: there is none.
func (e *example) answer() (status int, body json.RawMessage, err error) {
	if e.golden == "" {
		return 0, nil, nil
	}
	text, err := os.ReadFile(filepath.Join("testdata", e.golden+".http"))
	if err != nil {
		return 0, nil, err
	}
	head, rest, _ := strings.Cut(string(text), "\n\n")
	first, _, _ := strings.Cut(head, "\n")
	status, err = strconv.Atoi(first)
	return status, json.RawMessage(rest), err
}

func TestEveryOperationHasAnExample(t *testing.T) {
	known := examples()
	for _, r := range routes() {
		e, ok := known[r.id]
		if !ok {
			t.Errorf("%s has no example: say in examples_test.go how it is called", r.id)
			continue
		}
		if path, _, _ := strings.Cut(e.path, "?"); strings.Count(path, "/") != strings.Count(r.pattern, "/") && path != "" ||
			path == "" && strings.Contains(r.pattern, "{") {
			t.Errorf("%s: %q is not of %s", r.id, e.path, r.pattern)
		}
		if r.takes != nil && e.body == "" {
			t.Errorf("%s takes a body, and its example has none", r.id)
		}
		delete(known, r.id)
	}
	for id := range known {
		t.Errorf("there is an example of %s, which is not served", id)
	}
}
