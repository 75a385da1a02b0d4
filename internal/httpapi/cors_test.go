package httpapi

import (
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

func TestBrowsersAreToldWhichPagesMayCall(t *testing.T) {
	const ours, theirs = "https://shop.example", "https://evil.example"
	for _, c := range []struct {
		story   string
		origins []string
		origin  string
		allowed string // Access-Control-Allow-Origin
		varies  bool
	}{
		{"off", nil, ours, "", false},
		{"on, an origin of the list", []string{ours, "http://localhost:3000"}, ours, ours, true},
		{"on, another one of the list", []string{ours, "http://localhost:3000"}, "http://localhost:3000", "http://localhost:3000", true},
		{"on, an origin that is not on the list", []string{ours}, theirs, "", true},
		{"on, another port", []string{ours}, ours + ":8443", "", true},
		{"on, another scheme", []string{ours}, "http://shop.example", "", true},
		{"on, one that begins like ours", []string{ours}, ours + ".evil.example", "", true},
		{"on, the origin of a file or a frame without one", []string{ours}, "null", "", true},
		{"on, no browser", []string{ours}, "", "", true},
		{"any", []string{"*"}, theirs, "*", true},
	} {
		t.Run(c.story, func(t *testing.T) {
			d := newDesk(t, func(o *Options, _ *ledger.Options) { o.Origins = c.origins })
			d.offer("sku-1", 1)
			var header []string
			if c.origin != "" {
				header = []string{"Origin", c.origin}
			}
			for _, a := range []answer{
				d.send("GET", "/v1/products/sku-1", "", apikey.Admin, header...),
				d.send("GET", "/v1/products/none", "", apikey.Admin, header...), // a page must be able to read what went wrong
				d.send("GET", "/v1/products/sku-1", "", "", header...),
				d.send("GET", "/v1/events/stream", "", apikey.Admin, header...),
			} {
				if got := a.header.Get("Access-Control-Allow-Origin"); got != c.allowed {
					t.Errorf("%d: allowed is %q, want %q", a.status, got, c.allowed)
				}
				if got := a.header.Get("Access-Control-Allow-Credentials"); got != "" {
					t.Errorf("credentials: %q", got)
				}
				if got := strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin"); got != c.varies {
					t.Errorf("Vary is %q; by the origin: want %t", a.header.Values("Vary"), c.varies)
				}
				exposed := strings.ToLower(a.header.Get("Access-Control-Expose-Headers"))
				for _, name := range []string{"x-request-id", "retry-after", "idempotency-replayed"} {
					if c.allowed != "" && !strings.Contains(exposed, name) {
						t.Errorf("%s is not exposed: %q", name, exposed)
					}
				}
			}
			for method, target := range map[string]string{
				"POST": "/v1/orders", "PUT": "/v1/products/sku-1", "DELETE": "/v1/keys/k", "GET": "/v1/orders/202611200000001/stream",
			} {
				asked := append([]string{
					"Access-Control-Request-Method", method, "Access-Control-Request-Headers", "authorization,content-type,idempotency-key,last-event-id",
				}, header...)
				w := recorded(d.server, d.request("OPTIONS", target, "", "", asked...))
				if c.origins == nil {
					if w.Code != 405 {
						t.Errorf("%s %s: preflight is answered %d, want 405", method, target, w.Code)
					}
					continue
				}
				if got := w.Header().Get("Access-Control-Allow-Origin"); w.Code != 204 || got != c.allowed || w.Body.Len() > 0 {
					t.Errorf("%s %s: preflight is answered %d for %q, want 204 for %q", method, target, w.Code, got, c.allowed)
				}
				if got := w.Header().Get("Access-Control-Allow-Methods"); c.allowed != "" && got != method {
					t.Errorf("%s %s: methods %q", method, target, got)
				}
				if got := w.Header().Get("Access-Control-Allow-Headers"); c.allowed != "" && !strings.Contains(got, "idempotency-key") {
					t.Errorf("%s %s: headers %q", method, target, got)
				}
				if w.Header().Get("X-Request-Id") == "" {
					t.Error("no request id")
				}
			}
		})
	}
}

func TestPreflightAllowsNothingElse(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.Origins = []string{"*"} })
	for _, asked := range [][]string{
		{"Access-Control-Request-Method", "PATCH"},
		{"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "x-http-method-override"},
	} {
		w := recorded(d.server, d.request("OPTIONS", "/v1/orders", "", "", append(asked, "Origin", "https://shop.example")...))
		if w.Header().Get("Access-Control-Allow-Methods") != "" || w.Header().Get("Access-Control-Allow-Headers") != "" {
			t.Errorf("%q: allowed by %v", asked, w.Header())
		}
	}
	d.wants(d.send("OPTIONS", "/v1/orders", "", "", "Origin", "https://shop.example"), 405, "method_not_allowed") // asks nothing
}
