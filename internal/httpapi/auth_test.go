package httpapi

import (
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// sample is a request that a route answers well, on the desk of newShop. Its body has every field that the route takes.
type sample struct {
	target string
	body   string
	header []string
	status int
}

// newShop is a desk with a product, a user, a pending and a paid order, and a payment; with a sample for each route.
func newShop(tb testing.TB, change ...func(*Options, *ledger.Options)) (*desk, map[string]sample) {
	tb.Helper()
	d := newDesk(tb, append(change, func(o *Options, _ *ledger.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })
	})...)
	d.offer("sku-1", 1000)
	pending := d.placed("pending", "u-1", "sku-1").OrderNo
	paid := d.placed("paid", "u-1", "sku-1")
	d.pay(paid, "t-1")
	p := read[api.Payment](d, d.send("POST", "/v1/orders/"+pending+"/payments", `{"provider":"toy"}`, apikey.OrdersWrite))
	other, _ := apikey.Make()
	d.must(d.store.AddKey(tb.Context(), &apikey.Key{ID: other, Name: "other", Scopes: []apikey.Scope{apikey.OrdersRead}, CreatedAt: d.clock.Now()}))

	return d, map[string]sample{
		"putProduct": {target: "/v1/products/sku-9", status: 201, body: `{"title":"Seat","price":{"amount":100,"currency":"CNY"},"max_per_user":4,` +
			`"pay_window":"15m","on_sale_from":"2026-11-01T00:00:00Z","on_sale_until":"2026-12-01T00:00:00+08:00","active":true}`},
		"getProduct":    {target: "/v1/products/sku-1", status: 200},
		"listProducts":  {target: "/v1/products", status: 200},
		"adjustStock":   {target: "/v1/products/sku-1/stock", status: 201, body: `{"delta":5,"reason":"restock","ref":"PO-7"}`},
		"getStock":      {target: "/v1/products/sku-1/stock", status: 200},
		"putUser":       {target: "/v1/users/u-9", status: 201, body: `{"name":"Li","phone":"1","email":"a@b","address":"here","metadata":{"a":1}}`},
		"getUser":       {target: "/v1/users/u-9", status: 404},
		"placeOrder":    {target: "/v1/orders", status: 201, header: []string{"Idempotency-Key", "sample"}, body: `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}],"metadata":{"a":1}}`},
		"listOrders":    {target: "/v1/orders", status: 200},
		"getOrder":      {target: "/v1/orders/" + pending, status: 200},
		"cancelOrder":   {target: "/v1/orders/" + pending + "/cancel", status: 200, body: `{"reason":"changed his mind"}`},
		"fulfilOrder":   {target: "/v1/orders/" + paid.OrderNo + "/fulfil", status: 200, body: `{"reason":"handed over"}`},
		"createPayment": {target: "/v1/orders/" + pending + "/payments", status: 200, body: `{"provider":"toy"}`},
		"listPayments":  {target: "/v1/orders/" + pending + "/payments", status: 200},
		"getPayment":    {target: "/v1/payments/" + p.PaymentID, status: 200},
		"receiveNotice": {target: "/v1/callbacks/toy", status: 200, header: []string{"Toy-Signature", "signed"}, body: `{"order_no":"` + pending + `","transaction":"t-2","amount":9900}`},
		"listEvents":    {target: "/v1/events", status: 200},
		"runAudit":      {target: "/v1/audit", status: 200},
		"createKey":     {target: "/v1/keys", status: 201, body: `{"name":"till","scopes":["orders:write","users:read"],"expires_at":"2027-01-01T00:00:00Z"}`},
		"listKeys":      {target: "/v1/keys", status: 200},
		"revokeKey":     {target: "/v1/keys/" + other, status: 200},
		"listNumbers":   {target: "/v1/numbers", status: 200},
		"getHealth":     {target: "/healthz", status: 200},
		"getReady":      {target: "/readyz", status: 200},
		"getMetrics":    {target: "/metrics", status: 200},
		"getDocument":   {target: "/openapi.json", status: 200},
	}
}

// TestEachRouteOpensForItsScopeOnly goes through the route table: a route without a sample fails.
func TestEachRouteOpensForItsScopeOnly(t *testing.T) {
	for _, r := range routes() {
		t.Run(r.id, func(t *testing.T) {
			d, samples := newShop(t)
			s, ok := samples[r.id]
			if !ok {
				t.Fatalf("%s has no sample in newShop", r.id)
			}
			if r.scope == "" {
				d.wantsStatus(d.send(r.method, s.target, s.body, "", s.header...), s.status)
				return
			}
			before := d.decided.Load()
			d.wants(d.send(r.method, s.target, s.body, "", s.header...), 401, api.CodeUnauthenticated)
			_, unknown := apikey.Make()
			d.wants(d.send(r.method, s.target, s.body, "", append(s.header, "Authorization", "Bearer "+unknown)...), 401, api.CodeUnauthenticated)
			for _, scope := range apikey.Scopes() {
				if !scope.Includes(r.scope) {
					d.wants(d.send(r.method, s.target, s.body, scope, s.header...), 403, api.CodeForbidden)
				}
			}
			if got := d.decided.Load(); got != before {
				t.Fatalf("the ledger decided %d times for requests that were refused", got-before)
			}
			first := true
			for _, scope := range apikey.Scopes() {
				if !scope.Includes(r.scope) {
					continue
				}
				a := d.send(r.method, s.target, s.body, scope, s.header...)
				if first && a.status != s.status || a.status == 401 || a.status == 403 {
					t.Errorf("with %s: got %d %s, want %d", scope, a.status, a.body, s.status)
				}
				first = false
			}
		})
	}
}

func (d *desk) wantsStatus(a answer, status int) {
	d.t.Helper()
	if a.status != status {
		d.t.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
}

func TestOnlyOneWholeBearerKeyIsTaken(t *testing.T) {
	d := newDesk(t)
	key := d.keys[apikey.CatalogueRead]
	for _, c := range []struct {
		story  string
		header []string
		status int
	}{
		{"right", []string{"Bearer " + key}, 200},
		{"scheme in any case", []string{"bEARER " + key}, 200},
		{"none", nil, 401},
		{"empty", []string{""}, 401},
		{"no scheme", []string{key}, 401},
		{"another scheme", []string{"Basic " + key}, 401},
		{"nothing behind the scheme", []string{"Bearer "}, 401},
		{"two spaces", []string{"Bearer  " + key}, 401},
		{"two headers", []string{"Bearer " + key, "Bearer " + key}, 401},
		{"two keys", []string{"Bearer " + key + ", Bearer " + key}, 401},
		{"cut short", []string{"Bearer " + key[:len(key)-1]}, 401},
		{"wrong case", []string{"Bearer " + strings.ToLower(key)}, 401},
		{"8 kB", []string{"Bearer " + strings.Repeat("x", 8<<10)}, 401},
	} {
		t.Run(c.story, func(t *testing.T) {
			d.t = t
			r := d.request("GET", "/v1/products", "", "")
			r.Header["Authorization"] = c.header
			a := d.do(r)
			d.wantsStatus(a, c.status)
			if got := a.header.Get("WWW-Authenticate"); (got != "") != (c.status == 401) {
				t.Errorf("WWW-Authenticate is %q at %d", got, a.status)
			}
		})
	}
	d.t = t
}

func TestExpandingTheUserNeedsTheUsersScope(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1)
	o := d.placed("k", "u-1", "sku-1")
	d.wants(d.get("/v1/orders/"+o.OrderNo+"?expand=user", apikey.OrdersRead), 403, api.CodeForbidden)
	_, both := d.newKey("both", apikey.OrdersRead, apikey.UsersRead)
	d.wantsStatus(d.do(withKey(d.request("GET", "/v1/orders/"+o.OrderNo+"?expand=user", "", ""), both)), 200)
}

// newKey adds a key to the record, past the API.
func (d *desk) newKey(name string, scopes ...apikey.Scope) (id, secret string) {
	d.t.Helper()
	id, secret = apikey.Make()
	d.must(d.store.AddKey(d.t.Context(), &apikey.Key{
		ID: id, Name: name, Hash: apikey.HashOf(secret), Scopes: scopes, CreatedAt: d.clock.Now(),
	}))
	return id, secret
}

func withKey(r *http.Request, secret string) *http.Request {
	r.Header.Set("Authorization", "Bearer "+secret)
	return r
}

func (d *desk) status(secret string) int {
	d.t.Helper()
	return d.do(withKey(d.request("GET", "/v1/products", "", ""), secret)).status
}

func TestRevokedKeyIsDeadAtOnceHereAndWithinSecondsElsewhere(t *testing.T) {
	d := newDesk(t)
	id, here := d.newKey("here", apikey.CatalogueRead)
	elsewhereID, elsewhere := d.newKey("elsewhere", apikey.CatalogueRead)
	if a, b := d.status(here), d.status(elsewhere); a != 200 || b != 200 {
		t.Fatalf("got %d and %d before anything, want 200", a, b)
	}
	d.wantsStatus(d.send("DELETE", "/v1/keys/"+id, "", apikey.Admin), 200)
	if got := d.status(here); got != 401 {
		t.Errorf("got %d with a key revoked here, want 401", got)
	}

	if got := d.status(elsewhere); got != 200 {
		t.Fatalf("got %d, want 200", got)
	}
	if _, err := d.store.RevokeKey(t.Context(), elsewhereID); err != nil { // by another process
		t.Fatal(err)
	}
	d.clock.advance(keyStale)
	if got := d.status(elsewhere); got != 401 {
		t.Errorf("got %d with a key revoked elsewhere %s ago, want 401", got, keyStale)
	}
}

func TestExpiredKeyIsRefusedThoughItIsRemembered(t *testing.T) {
	d := newDesk(t)
	id, secret := apikey.Make()
	d.must(d.store.AddKey(t.Context(), &apikey.Key{
		ID: id, Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{apikey.CatalogueRead}, CreatedAt: d.clock.Now(),
		ExpiresAt: d.clock.Now().Add(time.Second),
	}))
	if got := d.status(secret); got != 200 {
		t.Fatalf("got %d before it expires, want 200", got)
	}
	d.clock.advance(time.Second)
	if got := d.status(secret); got != 401 {
		t.Errorf("got %d at its expiry, want 401", got)
	}
}

func TestKeysAreLookedUpSeldom(t *testing.T) {
	d := newDesk(t)
	var mu sync.Mutex
	looks := map[apikey.Hash]int{}
	d.record.looks = func(h apikey.Hash) {
		mu.Lock()
		defer mu.Unlock()
		looks[h]++
	}
	_, good := d.newKey("good", apikey.CatalogueRead)
	_, unknown := apikey.Make()
	mistyped := good[:len(good)-1] + "!"
	for range 100 {
		d.status(good)
		d.status(unknown)
		d.status(mistyped)
	}
	for secret, want := range map[string]int{good: 1, unknown: 1, mistyped: 0} {
		if got := looks[apikey.HashOf(secret)]; got != want {
			t.Errorf("a key was looked up %d times in 100 requests, want %d", got, want)
		}
	}
	d.clock.advance(keyFresh)
	for range 10 {
		d.status(good)
	}
	if got := looks[apikey.HashOf(good)]; got != 2 {
		t.Errorf("a key was looked up %d times after %s, want once more", got, keyFresh)
	}
	for range 2*unknownKept + 2 {
		_, secret := apikey.Make()
		_, _ = d.server.keys.learn(apikey.HashOf(secret), nil, fault.ErrNotFound, 0, nil)
	}
	if got := len(d.server.keys.unknown); got > unknownKept {
		t.Errorf("%d unknown keys are kept, want at most %d", got, unknownKept)
	}
}

func TestManyAtOnceShareOneLookForTheirKey(t *testing.T) {
	d := newDesk(t)
	_, secret := d.newKey("busy", apikey.CatalogueRead)
	asked := make(chan struct{})
	proceed := make(chan struct{})
	looks := 0
	d.record.looks = func(apikey.Hash) {
		looks++ // a second look at the same time is a race that the detector reports
		close(asked)
		<-proceed
	}
	var all sync.WaitGroup
	got := make([]int, 3*lookupsAtOnce)
	all.Go(func() { got[0] = d.status(secret) })
	<-asked
	for i := 1; i < len(got); i++ {
		all.Go(func() { got[i] = d.status(secret) })
	}
	close(proceed)
	all.Wait()
	if i := slices.IndexFunc(got, func(status int) bool { return status != 200 }); i >= 0 || looks != 1 {
		t.Errorf("statuses %v after %d looks, want 200 for all after one", got, looks)
	}
}

func TestKnownKeyOutlivesARecordOutOfReachForAMoment(t *testing.T) {
	d := newDesk(t)
	_, secret := d.newKey("known", apikey.CatalogueRead)
	d.status(secret)
	d.record.unreachable.Store(true)
	d.clock.advance(keyFresh)
	for range 3 {
		if got := d.status(secret); got != 200 {
			t.Errorf("got %d after %s, want 200", got, keyFresh)
		}
	}
	d.clock.advance(keyStale - keyFresh)
	if got := d.status(secret); got != 503 {
		t.Errorf("got %d after %s, want 503", got, keyStale)
	}
}

func TestUseOfAKeyIsNotedOnceAMinute(t *testing.T) {
	d := newDesk(t)
	id, secret := d.newKey("used", apikey.CatalogueRead)
	lastUsed := func() *time.Time {
		t.Helper()
		d.must(d.server.Close(t.Context()))
		for _, k := range read[api.Page[api.Key]](d, d.get("/v1/keys", apikey.Admin)).Data {
			if k.KeyID == id {
				return k.LastUsedAt
			}
		}
		t.Fatal("the key is not listed")
		return nil
	}
	if got := lastUsed(); got != nil {
		t.Fatalf("last used at %s, want never", got)
	}
	first := d.clock.Now()
	d.status(secret)
	if got := lastUsed(); got == nil || !got.Equal(first) {
		t.Errorf("last used at %v, want %s", got, first)
	}
	d.clock.advance(usedEvery - time.Second)
	d.status(secret)
	if got := lastUsed(); !got.Equal(first) {
		t.Errorf("last used at %v, want still %s", got, first)
	}
	d.clock.advance(time.Second)
	d.status(secret)
	if got := lastUsed(); !got.Equal(d.clock.Now()) {
		t.Errorf("last used at %v, want %s", got, d.clock.Now())
	}
}
