package httpapi

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/provider/sandbox"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// newShop is a desk with a product, a user, a pending and a paid order, and a payment, where the sandbox is a provider too; with
// a sample for each route. Samples are derived from the route table; here stands only what cannot be.
func newShop(tb testing.TB, change ...func(*Options, *ledger.Options)) (*desk, map[string]sample) {
	tb.Helper()
	notices := sandbox.New([]byte("a secret of this test"), "http://desk.example", nil, nil)
	d := newDesk(tb, append(change, func(o *Options, _ *ledger.Options) {
		o.Metrics = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) })
		o.Callbacks = append(o.Callbacks, notices)
	})...)
	d.offer("sku-1", 1_000_000)
	read[api.User](d, d.send("PUT", "/v1/users/u-1", `{"name":"Li"}`, apikey.UsersWrite))
	pending := d.placed("pending", "u-1", "sku-1").OrderNo
	paid := d.placed("paid", "u-1", "sku-1")
	d.pay(paid, "t-1")
	p := read[api.Payment](d, d.send("POST", "/v1/orders/"+pending+"/payments", `{"provider":"toy"}`, apikey.OrdersWrite))
	other, _ := d.newKey("other", apikey.OrdersRead)

	stands := map[string]any{
		"product_id": "sku-1", "user_id": "u-1", "order_no": pending, "payment_id": p.PaymentID, "key_id": other, "provider": toy,
		"file": "page.js", "stream": "/v1/orders/" + pending + "/stream",
		"quantity": 1, "amount": 9900, "currency": "CNY", "pay_window": "15m", "status": "succeeded", "scopes": []any{"users:read"},
		"on_sale_from": "2026-11-01T00:00:00Z", "on_sale_until": "2026-12-01T00:00:00+08:00", "expires_at": "2027-01-01T00:00:00Z",
	}
	session := d.login("u-3")
	withSession := func(string) []string { // a good one: that of before, unless it was ended
		if _, err := d.store.SessionByHash(tb.Context(), apikey.HashOf(session)); err != nil {
			session = d.login("u-3")
		}
		return []string{"Authorization", "Bearer " + session}
	}
	said := map[string]sample{
		"getSession":  {sign: withSession},
		"endSession":  {sign: withSession},
		"putProduct":  {target: "/v1/products/sku-9"},
		"putUser":     {target: "/v1/users/u-9"},
		"placeOrder":  {header: []string{"Idempotency-Key", "sample"}},
		"adjustStock": {once: "some ref"},
		"cancelOrder": {fresh: func() string { return "/v1/orders/" + d.another().OrderNo + "/cancel" }},
		"fulfilOrder": {target: "/v1/orders/" + paid.OrderNo + "/fulfil", fresh: func() string {
			o := d.another()
			d.pay(o, "t-"+o.OrderNo)
			return "/v1/orders/" + o.OrderNo + "/fulfil"
		}},
		"receiveNotice": {
			target: "/v1/callbacks/sandbox", takes: noticeShape{},
			sign: func(body string) []string { return []string{sandbox.Header, notices.Sign([]byte(body), d.clock.Now())} },
		},
	}
	return d, samplesOf(tb, stands, said)
}

// login makes a session of a user, past the API, and gives its token.
func (d *desk) login(id user.ID) string {
	d.t.Helper()
	now := d.clock.Now()
	sessionID, token := apikey.MakeSession()
	_, err := d.store.AddSession(d.t.Context(), &apikey.Session{
		ID: sessionID, UserID: id, Hash: apikey.HashOf(token), CreatedAt: now, ExpiresAt: now.Add(sessionIdle), EndsAt: now.Add(sessionMax),
	}, limits.SessionsOfUser)
	d.must(err)
	return token
}

// another places an order that nobody has placed before.
func (d *desk) another() api.Order {
	d.t.Helper()
	_, key := apikey.Make()
	return d.placed(key, "u-1", "sku-1")
}

func (d *desk) wantsStatus(a answer, status int) {
	d.t.Helper()
	if a.status != status {
		d.t.Fatalf("got %d, want %d: %s", a.status, status, a.body)
	}
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
		_, _ = d.server.keys.learn(apikey.HashOf(secret), nil, fault.ErrNotFound, d.clock.Now(), 0, nil)
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
