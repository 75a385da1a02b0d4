package httpapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gojson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Whatever reads strangers' bytes at this door has a target here. `make fuzz` runs each for a while; their seeds run with the
// tests.

// FuzzStrictJSON compares the reader with the library's own: what one calls broken the other does too, and what is accepted
// means the same.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{"user_id":"u","lines":[{"product_id":"p","quantity":1}]}`, `{"user_id":"u","user_id":"v"}`, `{"lines":[[[[]]]]}`, ``, `{}`, `[]`, `{} {}`,
		`{"user_id":"\ud800","lines":null}`, "{\"user_id\":\"\xff\"}", `{"metadata":{"b":1,"a":[1.0,1e400]}}`, `{"u\u0073er_id":"u"}`,
		`{"lines":[{"quantity":1.0},{"quantity":-0},{"quantity":99999999999999999999}]}`, strings.Repeat(`[`, 99), "\ufeff{}", `{"a":01}`,
		`{"user_id":"u","lines":[{"product_id":"p","quantity":1}],"metadata":{"a":"\u0000"}}`, `{"":{}}`, `{"User_Id":"u","user_id":"v"}`, `{"user_id":"u","lines":[{"product_id":"p","quantity":1,"Quantity":9}]}`, `{"user_id":"u","lines":[{"product_id":"p","quantity":1},]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > limits.BodyBytes {
			return
		}
		var r fields
		var got checkout.Order
		err := r.read(raw, orderRequired, func(f *fields, name []byte) { f.orderField(&got, name) })
		isMalformed := err != nil && strings.HasPrefix(err.Error(), api.CodeMalformedRequest)
		if broken := !jsontext.Value(raw).IsValid() || tooDeep(raw); broken != isMalformed {
			t.Fatalf("%q: %v, but broken is %t", raw, err, broken)
		}
		if err != nil {
			return
		}
		var want api.PlaceOrder
		if err := gojson.Unmarshal(raw, &want, gojson.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%q is accepted here and not there: %v", raw, err)
		}
		if string(got.UserID) != want.UserID || len(got.Lines) != len(want.Lines) || len(got.Metadata) > limits.MetadataBytes {
			t.Fatalf("%q: got %+v, want %+v", raw, got, want)
		}
		for i, l := range want.Lines {
			if string(got.Lines[i].ProductID) != l.ProductID || got.Lines[i].Quantity != l.Quantity {
				t.Fatalf("%q: got %+v, want %+v", raw, got.Lines[i], l)
			}
		}
		if got.Metadata != nil && !jsontext.Value(got.Metadata).IsValid() {
			t.Fatalf("%q: metadata %q", raw, got.Metadata)
		}
		// The standard library takes more than we do: what passes here means the same there.
		var lax api.PlaceOrder
		if err := json.Unmarshal(raw, &lax); err != nil || !reflect.DeepEqual(lax.Lines, want.Lines) || lax.UserID != want.UserID {
			t.Fatalf("%q: encoding/json reads %+v (%v), want %+v", raw, lax, err, want)
		}
	})
}

// FuzzCursor: a cursor that is accepted is one that was made, letter by letter.
func FuzzCursor(f *testing.F) {
	c := cursors{[]byte("a key")}
	f.Add("orders", "u-1", "202611200000001", c.make("orders", "u-1", []byte("202611200000001")))
	f.Add("orders", "u-1", "", "")
	f.Add("orders", "", "x", base64.RawURLEncoding.EncodeToString(make([]byte, 24)))
	f.Add("a", "bc", "d", c.make("ab", "c", []byte("d")))
	made := c.make("a", "b", []byte("sku-10"))
	f.Add("a", "b", "", made[:len(made)-1]+string(made[len(made)-1]+1)) // differs in bits that encode nothing
	f.Fuzz(func(t *testing.T, list, filter, place, sent string) {
		made := c.make(list, filter, []byte(place))
		if got, err := c.read(list, filter, made); len(made) <= cursorChars && (err != nil || string(got) != place) {
			t.Fatalf("made for %q, read %q: %v", place, got, err)
		}
		if got, err := c.read(list, filter, sent); err == nil && c.make(list, filter, got) != sent {
			t.Fatalf("%q was accepted as %q, whose cursor is %q", sent, got, c.make(list, filter, got))
		}
	})
}

// closedServer is the handler over a record in which there is nothing, and a ledger that has closed: a request that was read
// well is answered with unavailable, and nothing is slow or random.
func closedServer(tb testing.TB) *Server {
	tb.Helper()
	road := ledger.New(mapStore{}, ledger.Options{})
	if err := road.Close(context.Background()); err != nil {
		tb.Fatal(err)
	}
	clock := func() time.Time { return time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC) }
	return New(&checkout.Desk{
		Ledger: road, Record: emptyRecord{}, Gate: &openGate{}, Orders: noCache{}, Clock: clock, Providers: []checkout.Provider{&toyProvider{}},
		Numbers: noNumbers{},
	}, Options{Clock: clock, CursorKey: []byte("a key"), Callbacks: []CallbackProvider{&toyProvider{}}})
}

// noNumbers makes none ready.
type noNumbers struct{ checkout.Numbers }

func (noNumbers) Fill(context.Context) (int64, error)  { return 0, fault.ErrUnavailable }
func (noNumbers) Purge(context.Context) (int64, error) { return 0, fault.ErrUnavailable }

// emptyRecord has nothing in it but an admin's key, which is every key.
type emptyRecord struct{ checkout.Record }

func (emptyRecord) KeyByHash(context.Context, apikey.Hash) (*apikey.Key, error) {
	return &apikey.Key{ID: "k", Scopes: []apikey.Scope{apikey.Admin}, LastUsedAt: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)}, nil
}

func (emptyRecord) Order(context.Context, order.Number) (*order.Order, error) {
	return nil, fault.ErrNotFound
}

func (emptyRecord) OrdersEnd(context.Context, checkout.OrderFilter) (order.Number, error) {
	return 0, nil
}

func (emptyRecord) Orders(context.Context, checkout.OrderFilter) ([]*order.Order, error) {
	return nil, nil
}

func (emptyRecord) Shelf(context.Context, product.ID) (checkout.Shelf, error) {
	return checkout.Shelf{}, fault.ErrNotFound
}

func (emptyRecord) Shelves(context.Context, product.ID, int) ([]checkout.Shelf, error) {
	return nil, nil
}

func (emptyRecord) User(context.Context, user.ID) (*user.User, error) { return nil, fault.ErrNotFound }

func (emptyRecord) Payment(context.Context, string) (*payment.Payment, error) {
	return nil, fault.ErrNotFound
}

func (emptyRecord) PaymentsOf(context.Context, order.Number) ([]*payment.Payment, error) {
	return nil, nil
}

func (emptyRecord) Events(context.Context, checkout.EventFilter) ([]event.Event, error) {
	return nil, nil
}
func (emptyRecord) LogEnd(context.Context) (int64, error)   { return 0, nil }
func (emptyRecord) LogStart(context.Context) (int64, error) { return 0, nil }

func (emptyRecord) NumberDays(context.Context, order.Day, int) ([]checkout.NumberDay, error) {
	return nil, nil
}

func (emptyRecord) AddSession(context.Context, *apikey.Session, int) ([]apikey.Hash, error) {
	return nil, fault.ErrUnavailable
}

func (emptyRecord) EndSessionsOf(context.Context, user.ID) ([]apikey.Hash, error) { return nil, nil }

func (emptyRecord) AddKey(context.Context, *apikey.Key) error { return fault.ErrUnavailable }

func (emptyRecord) Keys(context.Context, string, int) ([]*apikey.Key, error) { return nil, nil }

func (emptyRecord) RevokeKey(context.Context, string) (*apikey.Key, error) {
	return nil, fault.ErrNotFound
}

// fuzzed hands a request to the handler as the server of net/http would.
func fuzzed(s *Server, method string, u *url.URL, body []byte, header ...string) *httptest.ResponseRecorder {
	r := &http.Request{
		Method: method, URL: u, RequestURI: u.RequestURI(), Host: "desk", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Authorization": {"Bearer an-admins-key"}}, Body: io.NopCloser(strings.NewReader(string(body))), ContentLength: int64(len(body)),
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header[pair[0]] = []string{pair[1]}
	}
	ctx, leave := context.WithCancel(context.Background())
	defer leave()
	w := httptest.NewRecorder()
	s.ServeHTTP(&listener{w, leave}, r.WithContext(ctx))
	return w
}

// answered fails unless an answer is one that a route documents, and nobody was sent elsewhere.
func answered(t *testing.T, r *route, w *httptest.ResponseRecorder) (code string) {
	t.Helper()
	if w.Code < 300 {
		return ""
	}
	var p api.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code < 400 {
		t.Fatalf("%d %q: %v", w.Code, w.Body, err)
	}
	documented := []*fault.Error{fault.ErrNotFound, fault.ErrMethodNotAllowed}
	if r != nil {
		documented = r.allFaults()
	}
	if w.Code == 500 || !slices.ContainsFunc(documented, func(f *fault.Error) bool { return f.Code == p.Code && StatusOf(f.Kind) == w.Code }) {
		t.Fatalf("%d %s is not documented", w.Code, w.Body)
	}
	return p.Code
}

// takers are the routes that read a body of ours, each with a target of it.
func takers() (all []route, targets []string) {
	for _, r := range routes() {
		if r.takes != nil {
			all = append(all, r)
			targets = append(targets, pathParam.ReplaceAllStringFunc(r.pattern, func(param string) string {
				if param == "{order_no}" {
					return "202611200000001"
				}
				return "x"
			}))
		}
	}
	return all, targets
}

// FuzzEveryBody: a body is refused with what its route documents, or it is one that the library reads as that shape too. Broken
// JSON is never taken for a wrong value, nor the other way round.
func FuzzEveryBody(f *testing.F) {
	s := closedServer(f)
	all, targets := takers()
	for i := range all {
		for _, body := range []string{
			``, `{}`, `[]`, `null`, `{"a":1,"a":2}`, `{}{}`, "\ufeff{}", `{"reason":"changed his mind"}`, `{"reason":null}`, `{"provider":"toy"}`, `{"delta":5,"reason":"restock","ref":"PO-7"}`,
			`{"delta":1e2}`, `{"delta":-0}`, `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}],"metadata":{"a":1}}`, `{"name":"Li","phone":"1","metadata":{"b":1.0,"a":null}}`,
			`{"title":"Seat","price":{"amount":100,"currency":"CNY"},"max_per_user":4,"pay_window":"15m","on_sale_from":"2026-11-01T00:00:00Z","on_sale_until":null,"active":true}`,
			`{"Title":"Seat"}`, `{"title":"\u0000"}`, `{"price":{"amount":1}}`, `{"name":"till","scopes":["orders:write","users:read"],"expires_at":"2027-01-01T00:00:00Z"}`, `{"scopes":["x"]}`,
		} {
			f.Add(uint8(i), []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		i := int(which) % len(all)
		r := &all[i]
		w := fuzzed(s, r.method, &url.URL{Path: targets[i]}, body, "Idempotency-Key", "k")
		code := answered(t, r, w)
		whole := jsontext.Value(body).IsValid() && !tooDeep(body) || r.bodyOptional && len(body) == 0
		if (code == api.CodeMalformedRequest) == (whole && len(body) <= limits.BodyBytes) && code != api.CodeBodyTooLarge {
			t.Fatalf("%s: %q is whole JSON: %t, and answered with %d %s", r.id, body, whole, w.Code, w.Body)
		}
		if code != api.CodeUnavailable || len(body) == 0 {
			return
		}
		shape := reflect.New(reflect.TypeOf(r.takes)).Interface()
		strict := json.NewDecoder(strings.NewReader(string(body)))
		strict.DisallowUnknownFields()
		if err := strict.Decode(shape); err != nil {
			t.Fatalf("%s: %q is accepted here and not by encoding/json: %v", r.id, body, err)
		}
	})
}

// FuzzQuery: a query is refused with what its route documents, or every parameter in it is one of the route's, once.
func FuzzQuery(f *testing.F) {
	s := closedServer(f)
	var all []route
	for _, r := range routes() {
		if r.method == http.MethodGet && r.scope != "" && r.id != "runAudit" && !strings.Contains(r.pattern, "{") {
			all = append(all, r)
		}
	}
	for i, r := range all {
		for _, query := range []string{
			"", "limit=1", "limit=200&cursor=x", "status=paid&user_id=u-1", "created_after=2026-11-20T10:00:00%2B08:00", "types=order.paid,order.placed",
			"order_no=202611200000001", "limit=1&limit=1", "a;b", "%zz", "limit=%31", "=", "&&", "user_id=%ff", "limit=1#x",
			"cursor=" + s.cursors.make(r.id, "", []byte("sku-1")), "cursor=" + s.cursors.make(r.id, "", placeOf(7)),
		} {
			f.Add(uint8(i), query)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, query string) {
		r := &all[int(which)%len(all)]
		w := fuzzed(s, r.method, &url.URL{Path: r.pattern, RawQuery: query}, nil)
		code := answered(t, r, w)
		values, err := url.ParseQuery(query)
		if (err != nil) != (code == api.CodeMalformedRequest) {
			t.Fatalf("%s?%q: %v, answered with %d %s", r.pattern, query, err, w.Code, w.Body)
		}
		if w.Code >= 300 {
			return
		}
		for name, given := range values {
			if len(given) != 1 || !slices.ContainsFunc(r.query, func(q param) bool { return q.name == name }) {
				t.Fatalf("%s?%q was answered, with %q given as %q", r.pattern, query, name, given)
			}
		}
	})
}

// FuzzPath: whatever the path, and whatever the method, the answer is a documented one and never a redirect; what is served is
// spelled in the one way.
func FuzzPath(f *testing.F) {
	s := closedServer(f)
	for _, r := range routes() {
		f.Add(r.method, pathParam.ReplaceAllString(r.pattern, "x"))
		f.Add("GET", r.pattern+"/..")
		f.Add(r.method, "/"+r.pattern)
	}
	for _, path := range []string{"/v1/products/%2e%2e", "/v1/products/a%2Fb", "/v1/users/%00", "//", "/", "", "*", "/v1/orders/202611200000001", "/v1/users/%ff", "/../../etc"} {
		f.Add("GET", path)
		f.Add("PUT", path)
	}
	f.Fuzz(func(t *testing.T, method, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil || strings.HasPrefix(u.Path, "/v1/audit") {
			return // the server below refuses it; an audit is not what is looked at here
		}
		u.RawQuery = ""
		w := fuzzed(s, method, u, []byte(`{}`))
		if w.Code >= 300 && w.Code < 400 || w.Code == 500 || w.Code == 0 {
			t.Fatalf("%s %q: %d %s", method, target, w.Code, w.Body)
		}
		if w.Code < 300 && !clean(u) {
			t.Fatalf("%s %q was served", method, target)
		}
		if w.Code >= 400 && w.Header().Get("Content-Type") != "application/problem+json" {
			t.Fatalf("%s %q: %d without a problem: %v", method, target, w.Code, w.Header())
		}
	})
}

// FuzzIdempotencyKey: a key is taken as it is, or refused.
func FuzzIdempotencyKey(f *testing.F) {
	for _, key := range []string{"a", `"a"`, "", " ", "a b", "é", "\x7f", strings.Repeat("k", 255), strings.Repeat("k", 256), "a,b", "\x00", "~!", "a\r\nb"} {
		f.Add(key, 1)
		f.Add(key, 2)
	}
	fits := regexp.MustCompile(`\A[\x21-\x7e]{1,255}\z`)
	f.Fuzz(func(t *testing.T, key string, times int) {
		h := http.Header{}
		if times > 0 && times < 4 {
			h[idempotencyHeader] = slices.Repeat([]string{key}, times)
		}
		got, err := idempotencyKey(h)
		if ok := times == 1 && fits.MatchString(key); ok != (err == nil) || ok && got != key {
			t.Fatalf("%q, %d times: got %q, %v", key, times, got, err)
		}
		if err != nil && fault.Of(err).Code != api.CodeMalformedRequest {
			t.Fatalf("%q: %v", key, err)
		}
	})
}

// FuzzBearer: a key is what stands behind the scheme and one space, all of it.
func FuzzBearer(f *testing.F) {
	_, good := apikey.Make()
	for _, value := range []string{"Bearer " + good, "bearer x", "Bearer", "Bearer ", "Bearer  x", "Basic x", "", good, "Bearer x y", "Bearer\tx", "BEARER \x00", "Bearer " + strings.Repeat("x", 201)} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		secret, ok := bearer(http.Header{"Authorization": {value}})
		if _, twice := bearer(http.Header{"Authorization": {value, value}}); twice {
			t.Fatalf("two headers %q were taken", value)
		}
		fits := len(value) > len("Bearer ") && strings.EqualFold(value[:len("Bearer ")], "Bearer ") && len(value) <= len("Bearer ")+secretChars
		if ok != fits || ok && secret != value[len("Bearer "):] {
			t.Fatalf("%q: got %q, %t", value, secret, ok)
		}
	})
}

// FuzzRequestID: an id of the client's is taken as it is when it is a UUID, or one is made.
func FuzzRequestID(f *testing.F) {
	for _, id := range []string{"0190cf2e-7a3b-7c4d-8e5f-0123456789ab", "trace-1.2_3:4", "", "two words", "\x1b[31m", "é", strings.Repeat("x", 128), strings.Repeat("x", 129), "a\r\nb", "\x00"} {
		f.Add(id)
	}
	theirs := regexp.MustCompile(`\A[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}\z`)
	ours := regexp.MustCompile(`\A[0-9a-hjkmnp-tv-z]{16}\z`)
	f.Fuzz(func(t *testing.T, id string) {
		got := requestID(http.Header{"X-Request-Id": {id}})
		if taken := theirs.MatchString(id); taken && got != id || !taken && !ours.MatchString(got) {
			t.Fatalf("%q became %q", id, got)
		}
	})
}

// FuzzMediaType: only JSON in UTF-8 is read.
func FuzzMediaType(f *testing.F) {
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON", "text/plain", "", ";", "application/json;charset=utf-16", "application/json; x"} {
		f.Add(kind, "")
		f.Add(kind, "identity")
	}
	f.Fuzz(func(t *testing.T, kind, coding string) {
		r := &http.Request{Header: http.Header{"Content-Type": {kind}}, ContentLength: 1}
		if coding != "" {
			r.Header["Content-Encoding"] = []string{coding}
		}
		err := acceptable(r)
		if err != nil && fault.Of(err).Code != api.CodeUnsupportedMediaType {
			t.Fatalf("%q, %q: %v", kind, coding, err)
		}
		if err != nil {
			return
		}
		parsed, params, broken := mime.ParseMediaType(kind)
		charset, given := params["charset"]
		if broken != nil || parsed != "application/json" || given && !strings.EqualFold(charset, "utf-8") || coding != "" && !strings.EqualFold(coding, "identity") {
			t.Fatalf("%q coded %q was accepted", kind, coding)
		}
	})
}

// readField reads a body with one field, whose value is a string.
func readField(value string, read func(f *fields)) error {
	raw, _ := json.Marshal(map[string]string{"it": value})
	var f fields
	return f.read(raw, []string{"it"}, func(f *fields, _ []byte) { read(f) })
}

// FuzzPayWindow: a pay window that is accepted is in its range, in whole milliseconds, and is read again as itself from the
// spelling in which it is shown.
func FuzzPayWindow(f *testing.F) {
	for _, window := range []string{"30m", "1s", "999ms", "720h", "720h0m0.001s", "1.0005s", "-1m", "0", "30", "1d", "", "1h0m0.5s", "1e3s", "0x1h", "1µs", "9223372036854775807ns", "1h1h", "+1h", " 1h", "١h"} {
		f.Add(window)
	}
	f.Fuzz(func(t *testing.T, window string) {
		var d, again time.Duration
		if readField(window, func(f *fields) { d = f.payWindow() }) != nil {
			return
		}
		if d < limits.PayWindowMin || d > limits.PayWindowMax || d%time.Millisecond != 0 {
			t.Fatalf("%q was read as %s", window, d)
		}
		if err := readField(d.String(), func(f *fields) { again = f.payWindow() }); err != nil || again != d {
			t.Fatalf("%q is shown as %s, which is read as %s: %v", window, d, again, err)
		}
	})
}

// FuzzTime: a time that is accepted is the one that RFC 3339 means, to the millisecond, in the years that can be shown.
func FuzzTime(f *testing.F) {
	for _, at := range []string{
		"2026-11-20T10:00:00Z", "2026-11-20T18:00:00.5+08:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z", "2026-02-30T00:00:00Z", "2026-11-20T24:00:00Z",
		"2026-11-20T10:00:60Z", "2026-11-20 10:00:00Z", "2026-11-20T10:00:00,5Z", "2026-11-20t10:00:00z", "0000-01-01T00:00:00Z", "", "1790000000",
		"2026-11-20T10:00:00.123456789Z", "2026-11-20T10:00:00-00:00", "2026-11-20T10:00:00+24:00", "10000-01-01T00:00:00Z", "2026-11-20T1:00:00Z",
	} {
		f.Add(at)
	}
	f.Fuzz(func(t *testing.T, text string) {
		at, wrong := parseTime(text)
		meant, err := time.Parse(time.RFC3339, text)
		if wrong != "" {
			return
		}
		if err != nil || !at.Equal(meant.Truncate(time.Millisecond)) || at.Location() != time.UTC || at.Year() < 1970 || at.Year() > 9999 {
			t.Fatalf("%q was read as %s, and means %s (%v)", text, at, meant, err)
		}
		if again, wrong := parseTime(at.Format(time.RFC3339Nano)); wrong != "" || !again.Equal(at) {
			t.Fatalf("%q is shown as %s, which is read as %s (%s)", text, at, again, wrong)
		}
	})
}

// FuzzEventTypes: a list of types that is accepted names types that there are, and is one filter however it was spelled.
func FuzzEventTypes(f *testing.F) {
	for _, types := range []string{"order.paid", "order.paid,order.placed", "order.paid,order.paid", "", ",", "order.paid,", "order.eaten", "Order.Paid", "order.paid order.placed", "*"} {
		f.Add(types)
	}
	f.Fuzz(func(t *testing.T, value string) {
		x := &exchange{query: url.Values{"types": {value}}}
		got := x.eventTypes()
		if (len(got) == 0) != (len(x.fields.wrong) > 0) {
			t.Fatalf("%q was read as %q with %+v wrong", value, got, x.fields.wrong)
		}
		sent := strings.Split(value, ",")
		for _, name := range got {
			if !slices.Contains(event.Types(), name) || !slices.Contains(sent, string(name)) {
				t.Fatalf("%q was read as %q", value, got)
			}
		}
		if len(got) == 0 {
			return
		}
		slices.Reverse(sent)
		other := &exchange{query: url.Values{"types": {strings.Join(sent, ",")}}}
		if back := other.eventTypes(); !slices.Equal(back, got) {
			t.Fatalf("%q is %q forwards and %q backwards", value, got, back)
		}
	})
}

// FuzzMetadata: what is accepted has one spelling, which is its own spelling again, and means what was sent, digit by digit.
func FuzzMetadata(f *testing.F) {
	for _, object := range []string{
		`{}`, `null`, `{"b":1,"a":2}`, `{"a":1.0}`, `{"a":1e400}`, `{"a":"\u0000"}`, `{"a":123456789012345678901234567890}`, `{"a":-0,"b":[1E2,{"c":null}]}`, `{"\u0061":1}`,
		`{"a":"\ud83d\ude00"}`, `{"é":1,"e\u0301":2}`, `{ "a" : [ ] }`, `{"a":"\/"}`, `{"😀":1,"\uffff":2}`, `[]`, `{"a":{"b":{"c":[[[]]]}}}`,
	} {
		f.Add([]byte(object))
	}
	read := func(object []byte) (canonical []byte, err error) {
		var f fields
		err = f.read(slices.Concat([]byte(`{"metadata":`), object, []byte(`}`)), nil, func(f *fields, name []byte) {
			if string(name) == "metadata" {
				canonical = f.metadata()
			} else {
				f.unknown()
			}
		})
		return canonical, err
	}
	f.Fuzz(func(t *testing.T, object []byte) {
		once, err := read(object)
		if err != nil || once == nil {
			return
		}
		twice, err := read(once)
		if err != nil || !bytes.Equal(twice, once) || len(once) > limits.MetadataBytes {
			t.Fatalf("%q became %q and then %q (%v)", object, once, twice, err)
		}
		if sent, kept := meaning(t, object), meaning(t, once); !reflect.DeepEqual(sent, kept) {
			t.Fatalf("%q became %q: %v, want %v", object, once, kept, sent)
		}
	})
}

// meaning decodes JSON with its numbers as they are written.
func meaning(t *testing.T, text []byte) (v any) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(string(text)))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return v
}

// FuzzClientAddress: whatever a client writes into the header, he counts for an address that somebody trusted has named, or his own.
func FuzzClientAddress(f *testing.F) {
	for _, s := range []string{"", "198.51.100.1", "a, b", `for="[::1]:80";by=x, for=_y`, `"`, `\`, ",,,", "10.0.0.2, ::ffff:1.2.3.4", "fe80::1%25"} {
		f.Add(s, "198.51.100.7")
	}
	f.Fuzz(func(t *testing.T, madeUp, from string) {
		address, err := netip.ParseAddr(from)
		if err != nil {
			return
		}
		own := &http.Request{RemoteAddr: netip.AddrPortFrom(address, 1).String(), Header: http.Header{}}
		for _, header := range []string{"X-Forwarded-For", "Forwarded"} {
			p := Proxies{Trusted: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Header: header}
			if p.trusts(oneForm(address)) {
				return
			}
			want := p.client(own)
			direct := &http.Request{RemoteAddr: own.RemoteAddr, Header: http.Header{header: {madeUp}}}
			if got := p.client(direct); got != want {
				t.Fatalf("%q as %s from %s counts for %s, want %s", madeUp, header, address, got, want)
			}
			named := oneForm(address).String()
			if header == "Forwarded" {
				named = `for="` + named + `"`
			}
			behind := &http.Request{RemoteAddr: "10.0.0.1:1", Header: http.Header{header: {madeUp, named}}}
			if got := p.client(behind); got != want {
				t.Fatalf("%q as %s, from %s through a proxy, counts for %s, want %s", madeUp, header, address, got, want)
			}
		}
	})
}
