package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

func TestPathsAreSpelledInOneWay(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1)
	d.offer("a%2Fb", 0) // an id may hold a slash
	for path, status := range map[string]int{
		"/v1/products/sku-1":          200,
		"/v1/products/%73ku-1":        200,
		"/v1/products/a%2Fb":          200,
		"/":                           404,
		"/v1":                         404,
		"/v2/products":                404,
		"/v1/nothing":                 404,
		"/v1/products/":               404,
		"/v1/products/sku-1/":         404,
		"/v1//products":               404,
		"//v1/products":               404,
		"/v1/./products":              404,
		"/v1/x/../products":           404,
		"/v1/products/..":             404,
		"/v1/products/%2e%2e":         404,
		"/v1/products/sku-1/../sku-1": 404,
		"/V1/products":                404,
		"/v1/products/a/b":            404,
		"/v1/products/%00":            404,
		"/v1/products/a%0d%0ab":       404,
		"/v1/products/%ff%fe":         404,
		"/v1/products/" + strings.Repeat("x", 129):    404,
		"/v1/products/" + strings.Repeat("x", 8<<10):  404,
		"/v1/products/" + strings.Repeat("%20", 8<<8): 404,
		"/v1/orders/202611200000001":                  404,
		"/v1/orders/2026112000000010":                 404,
		"/v1/orders/20261340000001":                   404,
		"/v1/orders/-1":                               404,
		"/v1/orders/0x10":                             404,
		"/v1/payments/nobody":                         404,
		"/v1/users/nobody":                            404,
	} {
		a := d.get(path, apikey.Admin)
		if a.status != status {
			t.Errorf("GET %.60s: got %d, want %d", path, a.status, status)
		}
		if status == 404 && d.problem(a).Code != api.CodeNotFound {
			t.Errorf("GET %.60s: got %s, want %s", path, a.body, api.CodeNotFound)
		}
	}
}

func TestMethodThatIsNotThereIsToldWhichAre(t *testing.T) {
	d := newDesk(t)
	for path, allowed := range map[string]string{
		"/v1/products":           "GET, HEAD",
		"/v1/products/sku-1":     "GET, HEAD, PUT",
		"/v1/orders":             "GET, HEAD, POST",
		"/v1/orders/1/cancel":    "POST",
		"/v1/keys/k":             "DELETE",
		"/v1/callbacks/anything": "POST",
		"/healthz":               "GET, HEAD",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
			if slices.Contains(strings.Split(allowed, ", "), method) {
				continue
			}
			a := d.send(method, path, "", "", "X-HTTP-Method-Override", "GET")
			d.wants(a, 405, api.CodeMethodNotAllowed)
			if got := a.header.Get("Allow"); got != allowed {
				t.Errorf("%s %s: Allow is %q, want %q", method, path, got, allowed)
			}
		}
	}
}

// An id goes into the log, so that it must not be able to say anything: a phone or card number, a name, a key.
func TestRequestIDIsTheClientsIfItIsAUUID(t *testing.T) {
	d := newDesk(t)
	for sent, taken := range map[string]bool{
		"0190cf2e-7a3b-7c4d-8e5f-0123456789ab": true, "0190CF2E-7A3B-7C4D-8E5F-0123456789AB": true,
		"": false, "two words": false, "a\tb": false, "é": false, strings.Repeat("a", 36): false, "\x1b[31m": false, `"quoted"`: false,
		"13800138000": false, "4111-1111-1111-1111": false, "li.lei_example.com": false, d.keys[apikey.Admin]: false,
		"0190cf2e-7a3b-7c4d-8e5f-0123456789ag": false, "0190cf2e-7a3b-7c4d-8e5f-0123456789abc": false, "0190cf2e7a3b-7c4d-8e5f-00123456789ab": false,
		" 0190cf2e-7a3b-7c4d-8e5f-0123456789ab": false, "{190cf2e-7a3b-7c4d-8e5f-0123456789ab}": false,
	} {
		a := d.send("GET", "/healthz", "", "", "X-Request-Id", sent)
		if got := a.header.Get("X-Request-Id"); (got == sent) != taken || got == "" {
			t.Errorf("sent %q: got %q, taken is to be %t", sent, got, taken)
		}
	}
	a := d.send("GET", "/healthz", "", "", "X-Request-Id", "one", "X-Request-Id", "two")
	if got := a.header.Get("X-Request-Id"); got == "one" || got == "two" {
		t.Errorf("of two ids one was taken: %q", got)
	}
	if log := d.log.String(); strings.Contains(log, "13800138000") || strings.Contains(log, d.keys[apikey.Admin]) || !strings.Contains(log, "0190cf2e-7a3b-7c4d-8e5f-0123456789ab") {
		t.Errorf("the log has what was not taken over, or has not what was: %s", log)
	}
	first, second := d.get("/healthz", "").header.Get("X-Request-Id"), d.get("/healthz", "").header.Get("X-Request-Id")
	if first == second {
		t.Errorf("two requests have the id %q", first)
	}
}

func TestEveryRequestIsObservedByItsRoute(t *testing.T) {
	type seen struct {
		route, method string
		status        int
	}
	var got []seen
	d := newDesk(t, func(o *Options, _ *ledger.Options) {
		o.Observe = func(a *Answered) { got = append(got, seen{a.Route, a.Method, a.Status}) }
		o.Pages = map[string]http.Handler{"/sandbox/": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusTeapot)
		})}
	})
	d.get("/healthz", "")
	d.get("/v1/products/none", apikey.CatalogueRead)
	d.send("BREW", "/v1/products/none", "", "")
	d.get("/no/such/path/with/u-1", "")
	d.server.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/sandbox/pay/1", nil))
	want := []seen{
		{"/healthz", "GET", 200},
		{"/v1/products/{product_id}", "GET", 404},
		{"/v1/products/{product_id}", "other", 405},
		{"/", "GET", 404},
		{"/sandbox/", "GET", 418},
	}
	if !slices.Equal(got, want) {
		t.Errorf("observed %v, want %v", got, want)
	}
}

func TestPanicIsAnsweredAndLoggedOnce(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) {
		o.Ready = func(context.Context) error {
			at := func(list []int, i int) int { return list[i] }
			return fmt.Errorf("%d", at(nil, 0))
		}
		o.Pages = map[string]http.Handler{"/half": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte("half"))
			panic("another mistake")
		})}
	})
	a := d.get("/readyz", "")
	d.wants(a, 500, api.CodeInternal)
	if strings.Contains(string(a.body), "out of range") || strings.Contains(string(a.body), "goroutine") {
		t.Errorf("the client is told %s", a.body)
	}
	if log := d.log.String(); strings.Count(log, "index out of range [0]") != 1 || !strings.Contains(log, a.header.Get("X-Request-Id")) {
		t.Errorf("the panic is not in the log once with its request: %s", log)
	}

	front := httptest.NewServer(d.server)
	defer front.Close()
	response, err := front.Client().Get(front.URL + "/half")
	if err == nil {
		_, err = io.ReadAll(response.Body)
		_ = response.Body.Close()
	}
	if err == nil {
		t.Error("half an answer looked like a whole one")
	}
	if log := d.log.String(); strings.Contains(log, "another mistake") || !strings.Contains(log, `"panic":"string"`) {
		t.Errorf("what somebody panicked with may be anything, want only its type in the log: %s", log)
	}
	d.wantsStatus(d.get("/healthz", ""), 200)
}

func TestFullLaneTurnsOrdersAwayBeforeTheyAreRead(t *testing.T) {
	stuck := &stuckStore{release: make(chan struct{})}
	road := ledger.New(stuck, ledger.Options{OpenMax: 1, BatchMax: 1})
	d := newDesk(t)
	d.server.desk.Ledger = road
	var waiting sync.WaitGroup
	defer func() {
		close(stuck.release)
		waiting.Wait()
		d.must(road.Close(context.Background()))
	}()
	for range 2 { // one is being decided, one waits
		waiting.Go(func() { _, _ = ledger.Submit(context.Background(), road, ledger.PutUser{ID: "u"}) })
		testenv.Until(t, patience, "a batch begins", func() bool { return stuck.begun.Load() > 0 })
	}
	testenv.Until(t, patience, "the lane is full", func() bool { return road.Full(ledger.Open) })
	body := &countingReader{r: strings.NewReader(`{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`)}
	r := d.request("POST", "/v1/orders", "", apikey.OrdersWrite, "Idempotency-Key", "k")
	r.Body, r.ContentLength = io.NopCloser(body), 64
	waits := map[string]bool{}
	for range 100 {
		a := d.do(r)
		d.wants(a, 503, api.CodeOverloaded)
		seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
		if err != nil || seconds < 1 || seconds > retrySecondsMax {
			t.Fatalf("Retry-After is %q, want 1 to %d", a.header.Get("Retry-After"), retrySecondsMax)
		}
		waits[a.header.Get("Retry-After")] = true
	}
	if body.n > 0 {
		t.Errorf("%d bytes of a body were read", body.n)
	}
	if len(waits) < 2 {
		t.Errorf("all clients are sent away for %v seconds: they would come back together", waits)
	}
}

type countingReader struct {
	r io.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += n
	return n, err
}

// stuckStore begins nothing until it is released.
type stuckStore struct {
	mapStore
	begun   atomic.Int64
	release chan struct{}
}

func (s *stuckStore) Begin(context.Context) (ledger.Tx, error) {
	s.begun.Add(1)
	<-s.release
	return s.mapStore, nil
}

func TestListsTakeTurnsAndNeverAllPlaces(t *testing.T) {
	d := newDesk(t)
	for range listsAtOnce {
		d.server.lists <- struct{}{}
	}
	d.wants(d.get("/v1/products", apikey.CatalogueRead), 503, api.CodeOverloaded)
	d.wantsStatus(d.get("/v1/products/none", apikey.CatalogueRead), 404)
	<-d.server.lists
	d.wantsStatus(d.get("/v1/products", apikey.CatalogueRead), 200)
	d.wantsStatus(d.get("/v1/products", apikey.CatalogueRead), 200)
}

func TestClientThatLeavesIsNotTakenForASuccess(t *testing.T) {
	var status int
	d := newDesk(t, func(o *Options, _ *ledger.Options) {
		o.Observe = func(a *Answered) { status = a.Status }
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := d.request("PUT", "/v1/users/u-1", `{"name":"Li"}`, apikey.UsersWrite).WithContext(ctx)
	d.get("/v1/users/u-1", apikey.UsersRead)
	d.get("/v1/products", apikey.UsersWrite) // so that the key is known
	d.wants(d.do(r), 503, api.CodeUnavailable)
	if status != statusGone {
		t.Errorf("observed as %d, want %d", status, statusGone)
	}
}

func TestRecordOutOfReachIsUnavailableAndWarnedOfOnce(t *testing.T) {
	d := newDesk(t)
	d.server.desk.Record = brokenRecord{d.record}
	for range 10 {
		d.wants(d.get("/v1/products/sku-1", apikey.CatalogueRead), 503, api.CodeUnavailable)
	}
	if got := strings.Count(d.log.String(), "the disk is on fire"); got != 1 {
		t.Errorf("warned %d times in one second, want once", got)
	}
	d.wants(d.get("/v1/users/u-1", apikey.UsersRead), 500, api.CodeInternal)
	if !strings.Contains(d.log.String(), "a mistake of ours") {
		t.Error("an internal error is not in the log")
	}
}

type brokenRecord struct{ checkout.Record }

func (brokenRecord) Shelf(context.Context, product.ID) (checkout.Shelf, error) {
	return checkout.Shelf{}, fault.ErrUnavailable.Because(errors.New("the disk is on fire"))
}

func (brokenRecord) User(context.Context, user.ID) (*user.User, error) {
	return nil, errors.New("a mistake of ours")
}

func TestBodyOverTheWire(t *testing.T) {
	d := newDesk(t)
	front := httptest.NewServer(d.server)
	defer front.Close()
	address, _ := url.Parse(front.URL)
	const body = `{"name":"Li"}`
	big := `{"name":"` + strings.Repeat("x", 70<<10) + `"}`
	for _, c := range []struct {
		story, head, body string
		status            string
	}{
		{"as announced", "Content-Length: 13\r\n", body, "201"},
		{"chunked", "Transfer-Encoding: chunked\r\n", "d\r\n" + body + "\r\n0\r\n\r\n", "200"},
		{"chunked and too large", "Transfer-Encoding: chunked\r\n", strconv.FormatInt(int64(len(big)), 16) + "\r\n" + big + "\r\n0\r\n\r\n", "413"},
		{"announced too large", "Content-Length: 65537\r\n", "", "413"},
		{"cut short", "Content-Length: 14\r\n", body, "400"},
		{"longer than announced", "Content-Length: 12\r\n", body, "400"},
		{"both announcements", "Content-Length: 13\r\nTransfer-Encoding: chunked\r\n", "d\r\n" + body + "\r\n0\r\n\r\n", "200"},
		{"two lengths", "Content-Length: 13\r\nContent-Length: 14\r\n", body, "400"},
		{"negative length", "Content-Length: -1\r\n", body, "400"},
		{"bad chunk", "Transfer-Encoding: chunked\r\n", "zz\r\n" + body, "400"},
		{"asked first", "Expect: 100-continue\r\nContent-Length: 13\r\n", body, "100"},
		{"asked first, in vain", "Expect: 100-continue\r\nContent-Length: 65537\r\n", "", "413"},
	} {
		t.Run(c.story, func(t *testing.T) {
			conn, err := net.Dial("tcp", address.Host)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
			_, _ = io.WriteString(conn, "PUT /v1/users/u-1 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer "+
				d.keys[apikey.UsersWrite]+"\r\n"+c.head+"\r\n"+c.body)
			if tcp, ok := conn.(*net.TCPConn); ok && c.story == "cut short" {
				_ = tcp.CloseWrite()
			}
			line, err := bufio.NewReader(conn).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+c.status) {
				t.Errorf("got %q (%v), want %s", line, err, c.status)
			}
		})
	}
}

// TestNothingPrivateIsLoggedOrTold sends a word in every place that a request has and looks for it in the log, and in the
// refusals.
func TestNothingPrivateIsLoggedOrTold(t *testing.T) {
	const canary = "c4n4ry"
	d, samples := newShop(t)
	var told bytes.Buffer
	for _, r := range routes() {
		s := samples[r.id]
		for _, target := range []string{s.target, s.target + canary, s.target + "?cursor=" + canary, s.target + "?limit=" + canary, s.target + "?user_id=\x00" + canary} {
			for _, body := range []string{s.body, `{"` + canary + canary, `"` + canary + `"`, strings.ReplaceAll(s.body, `:"`, `:"`+canary+"\u0000"), `{"a":"` + canary + `","a":1}`} {
				for _, scope := range []apikey.Scope{"", apikey.Admin} {
					req, err := http.NewRequestWithContext(t.Context(), r.method, "http://x"+target, strings.NewReader(body))
					if err != nil {
						continue // not a URL: no client can send it
					}
					req.RequestURI = req.URL.RequestURI()
					for _, h := range []string{"Cookie", "X-Forwarded-For", "User-Agent", "Referer", "Toy-Signature", "Idempotency-Key"} {
						req.Header.Set(h, canary)
					}
					req.Header.Set("Authorization", "Bearer "+canary+strings.Repeat("x", 30))
					if scope != "" {
						withKey(req, d.keys[scope])
					}
					w := recorded(d.server, req)
					if w.Code >= 400 {
						told.Write(w.Body.Bytes())
					}
				}
			}
		}
	}
	if log := d.log.String(); strings.Contains(log, canary) {
		at := strings.Index(log, canary)
		t.Errorf("the log repeats what was sent: …%s…", log[max(0, at-200):at+50])
	}
	if strings.Contains(told.String(), canary) {
		at := strings.Index(told.String(), canary)
		t.Errorf("a refusal repeats what was sent: …%s…", told.String()[max(0, at-200):at+50])
	}
}
