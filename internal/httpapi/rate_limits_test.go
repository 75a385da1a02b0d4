package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// limitedTo opens a desk with limits.
func limitedTo(t *testing.T, rules string, more ...func(*Options, *ledger.Options)) *desk {
	t.Helper()
	parsed, wrong := ratelimit.Parse(rules)
	if wrong != "" {
		t.Fatal(wrong)
	}
	if err := LimitsFit(parsed); err != nil {
		t.Fatal(err)
	}
	with := func(o *Options, _ *ledger.Options) {
		o.Limits, o.Limiter = parsed, inproc.NewLimiter(o.Clock)
		o.Proxies = Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: "x-forwarded-for"}
	}
	return newDesk(t, append([]func(*Options, *ledger.Options){with}, more...)...)
}

// quotas is what an answer says of them.
func quotas(a answer) []string {
	return []string{strings.Join(a.header["Ratelimit-Policy"], "|"), strings.Join(a.header["Ratelimit"], "|"), a.header.Get("Retry-After")}
}

func TestWithoutRulesNobodyIsLimitedNorToldSo(t *testing.T) {
	d := newDesk(t)
	for range 100 {
		d.wantsStatus(d.get("/v1/products", apikey.CatalogueRead), 200)
	}
	if got := quotas(d.get("/v1/products", apikey.CatalogueRead)); got[0]+got[1] != "" {
		t.Errorf("got %q, want no word of quotas", got)
	}
}

func TestAKeyIsLimitedOnItsRouteAndToldHowItStands(t *testing.T) {
	d := limitedTo(t, "GET /v1/products key 2/10s; * key 100/s")
	for i, want := range [][]string{
		{`"GET /v1/products key 10s";r=1;t=5, "* key 1s";r=99;t=1`, ""},
		{`"GET /v1/products key 10s";r=0;t=10, "* key 1s";r=98;t=1`, ""},
		{`"GET /v1/products key 10s";r=0;t=10, "* key 1s";r=98;t=1`, "5"}, // and nothing taken from the other
	} {
		a := d.get("/v1/products", apikey.CatalogueRead)
		all := append([]string{`"GET /v1/products key 10s";q=2;w=10, "* key 1s";q=100;w=1`}, want...)
		if diff := cmp.Diff(all, quotas(a)); diff != "" {
			t.Errorf("request %d, want (-), got (+):\n%s", i+1, diff)
		}
		if want[1] != "" {
			d.wants(a, 429, api.CodeRateLimited)
		}
	}
	d.wantsStatus(d.get("/v1/products", apikey.CatalogueWrite), 200)             // another key
	d.wants(d.get("/v1/products/sku-1", apikey.CatalogueRead), 404, "not_found") // another route
	d.clock.advance(5 * time.Second)
	d.wantsStatus(d.get("/v1/products", apikey.CatalogueRead), 200)
	d.wants(d.get("/v1/products", apikey.CatalogueRead), 429, api.CodeRateLimited)
	d.wantsStatus(d.get("/healthz", ""), 200) // whoever needs no key is never limited
}

func TestAnOrdersUserIsLimitedWhoeverPlacesIt(t *testing.T) {
	d := limitedTo(t, "POST /v1/orders user 1/10s burst 2")
	d.offer("sku-1", 10)
	order := func(user string) answer {
		_, key := apikey.Make()
		return d.place(key, `{"user_id":"`+user+`","lines":[{"product_id":"sku-1","quantity":1}]}`)
	}
	d.wantsStatus(order("u-1"), 201)
	d.wantsStatus(order("u-1"), 201)
	d.wants(order("u-1"), 429, api.CodeRateLimited)
	d.wantsStatus(order("u-2"), 201)
	if got := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)).Held; got != 3 {
		t.Errorf("%d units are held, want 3", got)
	}
}

// asking counts how often a limiter was asked, and for how much.
type asking struct {
	Limiter
	calls, asks atomic.Int64
}

func (l *asking) Take(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision {
	l.calls.Add(1)
	l.asks.Add(int64(len(asks)))
	return l.Limiter.Take(ctx, asks)
}

// All that a request counts for is asked in one call, and what one limit refuses no other has counted.
func TestARequestIsCountedOnceByAllItsLimitsOrByNone(t *testing.T) {
	var limiter *asking
	d := limitedTo(t, "* address 100/h; * key 50/h; POST /v1/orders user 2/h; POST /v1/orders key 40/h", func(o *Options, _ *ledger.Options) {
		limiter = &asking{Limiter: o.Limiter}
		o.Limiter = limiter
	})
	d.offer("sku-1", 100)
	key := d.keys[apikey.OrdersWrite]
	d.wants(d.as(key, "POST", "/v1/orders", `{}`, "Idempotency-Key", "k"), 422, api.CodeInvalidRequest) // the key is known from here on
	limiter.calls.Store(0)
	limiter.asks.Store(0)
	for i := range 6 {
		a := d.as(key, "POST", "/v1/orders", `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`, "Idempotency-Key", strings.Repeat("k", i+2))
		want := map[bool]int{true: 201, false: 429}[i < 2]
		left := min(i+1, 2)
		told := fmt.Sprintf(`"* address 1h";r=%d;t=%d, "* key 1h";r=%d;t=%d, "POST /v1/orders key 1h";r=%d;t=%d, "POST /v1/orders user 1h";r=%d;t=%d`,
			97-left, (3+left)*36, 49-left, (1+left)*72, 39-left, (1+left)*90, 2-left, left*1800)
		if a.status != want || quotas(a)[1] != told {
			t.Errorf("order %d: got %d %s, want %d %s", i+1, a.status, quotas(a)[1], want, told)
		}
	}
	if limiter.calls.Load() != 6 || limiter.asks.Load() != 24 {
		t.Errorf("6 requests asked %d times for %d quotas, want once each for its 4", limiter.calls.Load(), limiter.asks.Load())
	}
}

// What cannot be read, or may not be done, counts for whoever sent it.
func TestWhoSendsWhatCannotBeReadIsLimitedToo(t *testing.T) {
	for about, send := range map[string]func(d *desk) answer{
		"no JSON": func(d *desk) answer { return d.place("k", `{"broken`) },
		"no key":  func(d *desk) answer { return d.send("POST", "/v1/orders", oneTicket, apikey.OrdersWrite) },
		"an unreadable query": func(d *desk) answer {
			return d.send("POST", "/v1/orders?x=%zz", oneTicket, apikey.OrdersWrite, "Idempotency-Key", "k")
		},
		"an unknown query": func(d *desk) answer {
			return d.send("POST", "/v1/orders?x=1", oneTicket, apikey.OrdersWrite, "Idempotency-Key", "k")
		},
		"without its scope": func(d *desk) answer {
			return d.send("POST", "/v1/orders", oneTicket, apikey.UsersRead, "Idempotency-Key", "k")
		},
		"of an order unknown": func(d *desk) answer { return d.send("POST", "/v1/orders/1/cancel", "", apikey.OrdersWrite) },
	} {
		t.Run(about, func(t *testing.T) {
			t.Parallel()
			d := limitedTo(t, "* key 3/h")
			for range 3 {
				if a := send(d); a.status < 400 || a.status == 429 {
					t.Errorf("got %d %s", a.status, a.body)
				}
			}
			d.wants(send(d), 429, api.CodeRateLimited)
		})
	}
}

// Whoever tries keys is limited before any is looked up.
func TestAnAddressIsLimitedBeforeItsKeyIsLookedUp(t *testing.T) {
	d := limitedTo(t, "* address 3/m")
	looks := 0
	d.record.looks = func(apikey.Hash) { looks++ }
	try := func(address string) answer {
		_, made := apikey.Make()
		r := withKey(d.request("GET", "/v1/products", "", ""), made)
		r.RemoteAddr = address
		return d.do(r)
	}
	for range 3 {
		d.wants(try("192.0.2.7:1000"), 401, api.CodeUnauthenticated)
	}
	d.wants(try("192.0.2.7:2000"), 429, api.CodeRateLimited)
	if looks != 3 {
		t.Errorf("%d keys were looked up, want 3", looks)
	}
	d.wants(try("192.0.2.8:1000"), 401, api.CodeUnauthenticated)
}

func TestRulesForNothingAreNamed(t *testing.T) {
	for text, want := range map[string]string{
		"POST /v1/order user 1/s":               "limits: there is no route POST /v1/order; they are spelled as in /openapi.json: GET /v1/orders/{order_no}",
		"GET /v1/orders/7 key 1/s":              "limits: there is no route GET /v1/orders/7; they are spelled as in /openapi.json: GET /v1/orders/{order_no}",
		"post /v1/orders key 1/s":               "limits: there is no route post /v1/orders; they are spelled as in /openapi.json: GET /v1/orders/{order_no}",
		"GET /healthz address 1/s":              "limits: GET /healthz is open to anyone, and is not limited",
		"POST /v1/callbacks/{provider} key 1/s": "limits: POST /v1/callbacks/{provider} is open to anyone, and is not limited",
	} {
		rules, _ := ratelimit.Parse(text)
		if err := LimitsFit(rules); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestAClientsAddressIsToldByTrustedProxiesOnly(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	const xff, forwarded = "x-forwarded-for", "forwarded"
	for _, c := range []struct {
		about, from, header string
		lines               []string
		want                string
	}{
		{"no proxy", "192.0.2.7:1000", xff, nil, "192.0.2.7"},
		{"no proxy, and a header that the client made up", "192.0.2.7:1000", xff, []string{"198.51.100.1"}, "192.0.2.7"},
		{"one proxy", "10.0.0.1:1000", xff, []string{"198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:1000", xff, []string{"198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"on two lines", "10.0.0.1:1000", xff, []string{"198.51.100.1", "10.0.0.2"}, "198.51.100.1"},
		{"something made up before", "10.0.0.1:1000", xff, []string{"203.0.113.9, 10.0.0.9, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"nothing but proxies", "10.0.0.1:1000", xff, []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"a proxy that says nothing", "10.0.0.1:1000", xff, nil, "10.0.0.1"},
		{"what cannot be read", "10.0.0.1:1000", xff, []string{"198.51.100.1, unknown, 10.0.0.2"}, "10.0.0.2"},
		{"an empty hop", "10.0.0.1:1000", xff, []string{"198.51.100.1,, 10.0.0.2"}, "10.0.0.2"},
		{"with a port", "10.0.0.1:1000", xff, []string{"198.51.100.1:4711"}, "198.51.100.1"},
		{"IPv6", "[2001:db8:1:2:3:4:5:6]:1000", xff, nil, "2001:db8:1:2::/64"},
		{"IPv6 with a zone", "[fe80::1%eth0]:1000", xff, nil, "fe80::/64"},
		{"IPv6 behind a proxy", "[fd00::1]:1000", xff, []string{"2001:db8:1:2:ffff::1"}, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.7]:1000", xff, nil, "192.0.2.7"},
		{"a proxy as IPv4 in IPv6", "[::ffff:10.0.0.1]:1000", xff, []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"the other header is not looked at", "10.0.0.1:1000", forwarded, nil, "10.0.0.1"},
		{"Forwarded", "10.0.0.1:1000", forwarded, []string{`for=198.51.100.1;proto=https;by=10.0.0.2, For="10.0.0.2:80"`}, "198.51.100.1"},
		{"Forwarded with IPv6", "10.0.0.1:1000", forwarded, []string{`for="[2001:db8:cafe::17]:4711"`}, "2001:db8:cafe::/64"},
		{"Forwarded with quotes around commas", "10.0.0.1:1000", forwarded, []string{`for=198.51.100.1;host="a,for=203.0.113.9;\",b"`}, "198.51.100.1"},
		{"Forwarded behind a quote that the client left open", "10.0.0.1:1000", forwarded, []string{`for="203.0.113.9`, `for=198.51.100.1`}, "198.51.100.1"},
		{"Forwarded by somebody hidden", "10.0.0.1:1000", forwarded, []string{`for=198.51.100.1, for=_hidden`}, "10.0.0.1"},
		{"Forwarded without for", "10.0.0.1:1000", forwarded, []string{`by=198.51.100.1`}, "10.0.0.1"},
		{"longer than anybody's way", "10.0.0.1:1000", xff, []string{"198.51.100.1" + strings.Repeat(", 10.0.0.2", 40)}, "10.0.0.2"},
		{"a socket", "@", xff, []string{"198.51.100.1"}, "unknown"},
	} {
		p := Proxies{Trusted: trusted, Header: c.header}
		r := &http.Request{RemoteAddr: c.from, Header: http.Header{}}
		name := http.CanonicalHeaderKey(c.header)
		r.Header[name] = c.lines
		if c.about == "the other header is not looked at" {
			r.Header["X-Forwarded-For"] = []string{"198.51.100.1"}
		}
		if got := p.client(r); got != c.want {
			t.Errorf("%s: got %s, want %s", c.about, got, c.want)
		}
	}
	if got := (&Proxies{}).client(&http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{"X-Forwarded-For": {"198.51.100.1"}}}); got != "10.0.0.1" {
		t.Errorf("without trusted proxies: got %s, want the connection's address", got)
	}
}
