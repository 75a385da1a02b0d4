package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// desk is the real handler over a real record in a file of the test's own.
type desk struct {
	t       testing.TB
	server  *Server
	record  *record
	ledger  *ledger.Ledger
	store   *sqlstore.Store
	clock   *clock
	log     *testenv.Log
	gate    *openGate
	feed    *feed.Hub
	keys    map[apikey.Scope]string // one key of each scope
	decided atomic.Int64            // batches that the ledger has decided
	file    string                  // of the record
}

// emptyFile is the file of a record with nothing in it: made once, for that takes long.
var emptyFile = sync.OnceValues(func() ([]byte, error) {
	folder, err := os.MkdirTemp("", "holdfast-httpapi-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // a temporary folder
	file := filepath.Join(folder, "empty.db")
	store, err := sqlstore.Open(context.Background(), "sqlite:"+file, sqlstore.Options{})
	if err != nil {
		return nil, err
	}
	_, err = store.Migrate(context.Background())
	if err := errors.Join(err, store.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(file)
})

// newDesk opens a desk whose clock stands at ten o'clock.
func newDesk(tb testing.TB, change ...func(*Options, *ledger.Options)) *desk {
	tb.Helper()
	d := &desk{
		t: tb, log: &testenv.Log{}, gate: &openGate{}, keys: map[apikey.Scope]string{},
		clock: &clock{now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}, file: filepath.Join(tb.TempDir(), "desk.db"),
	}
	empty, err := emptyFile()
	if err == nil {
		err = os.WriteFile(d.file, empty, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
	store, err := sqlstore.Open(tb.Context(), "sqlite:"+d.file, sqlstore.Options{Clock: d.clock.Now})
	if err != nil {
		tb.Fatal(err)
	}
	opt := Options{
		Log: slog.New(slog.NewJSONHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})), Clock: d.clock.Now, Version: "test",
		CursorKey: []byte("a key of this test"), Callbacks: []CallbackProvider{&toyProvider{}},
	}
	road := ledger.Options{Applied: func(*ledger.Applied) { d.decided.Add(1) }}
	for _, c := range change {
		c(&opt, &road)
	}
	d.store, d.ledger, d.record = store, ledger.New(store, road), &record{Store: store}
	front := &checkout.Desk{
		Ledger: d.ledger, Record: d.record, Gate: d.gate, Orders: noCache{}, Clock: d.clock.Now,
		Providers: []checkout.Provider{&toyProvider{}},
		Numbers:   worker.NewNumberer(store, worker.NumbererOptions{Held: d.ledger.Numbers}),
	}
	d.feed = feed.NewHub(d.record, front, opt.Log)
	opt.Feed = d.feed
	d.server = New(front, opt)
	var running sync.WaitGroup
	running.Go(func() { d.feed.Run(tb.Context()) }) // which ends before what follows
	tb.Cleanup(func() {
		running.Wait()
		ctx := context.Background()
		for _, err := range []error{d.server.Close(ctx), d.ledger.Close(ctx), store.Close()} {
			if err != nil {
				tb.Error(err)
			}
		}
	})
	for _, scope := range apikey.Scopes() {
		id, secret := apikey.Make()
		d.keys[scope] = secret
		d.must(store.AddKey(tb.Context(), &apikey.Key{
			ID: id, Name: string(scope), Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{scope}, CreatedAt: d.clock.Now(),
		}))
	}
	return d
}

func (d *desk) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get makes a GET with the key of a scope, or with none.
func (d *desk) get(target string, scope apikey.Scope) answer {
	d.t.Helper()
	return d.do(d.request("GET", target, "", scope))
}

// send makes a request with a JSON body, the key of a scope, and more headers as names and values.
func (d *desk) send(method, target, body string, scope apikey.Scope, header ...string) answer {
	d.t.Helper()
	return d.do(d.request(method, target, body, scope, header...))
}

func (d *desk) request(method, target, body string, scope apikey.Scope, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if scope != "" {
		r.Header.Set("Authorization", "Bearer "+d.keys[scope])
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Add(pair[0], pair[1])
	}
	return r
}

// do sends a request through the handler. Whatever comes back is checked against the table and the shapes: an answer that is
// not documented fails the test that got it.
func (d *desk) do(r *http.Request) answer {
	d.t.Helper()
	w := recorded(d.server, r)
	a := answer{w.Code, w.Header(), w.Body.Bytes()}
	d.checkDocumented(r, a)
	return a
}

// recorded records the answer to one request; of a stream its beginning, for then the reader leaves.
func recorded(server http.Handler, r *http.Request) *httptest.ResponseRecorder {
	ctx, leave := context.WithCancel(r.Context())
	defer leave()
	*r = *r.WithContext(ctx) // the caller reads its Pattern
	w := &listener{httptest.NewRecorder(), leave}
	server.ServeHTTP(w, r)
	return w.ResponseRecorder
}

func (d *desk) checkDocumented(r *http.Request, a answer) {
	d.t.Helper()
	all := routes()
	i := slices.IndexFunc(all, func(rt route) bool {
		return rt.pattern == r.Pattern && (rt.method == r.Method || rt.method == http.MethodGet && r.Method == http.MethodHead)
	})
	kept := "no-store"
	if i >= 0 && all[i].cached && a.status < 400 {
		kept = "no-cache"
	}
	for name, want := range map[string]string{"Cache-Control": kept, "X-Content-Type-Options": "nosniff"} {
		if got := a.header.Get(name); got != want {
			d.t.Errorf("%s %s: %s is %q, want %q", r.Method, r.URL, name, got, want)
		}
	}
	if a.header.Get("X-Request-Id") == "" {
		d.t.Errorf("%s %s: no request id", r.Method, r.URL)
	}
	if i < 0 {
		if a.status != 404 && a.status != 405 {
			d.t.Errorf("%s %s: %d from no route, want 404 or 405", r.Method, r.URL, a.status)
		}
		d.problem(a)
		return
	}
	if a.status >= 400 {
		code := d.problem(a).Code
		keepsContract(d.t, &all[i], a)
		if !slices.ContainsFunc(all[i].allFaults(), func(f *fault.Error) bool { return f.Code == code }) {
			d.t.Errorf("%s: %d %s is not documented", all[i].id, a.status, code)
		}
		return
	}
	g := slices.IndexFunc(all[i].gives, func(g reply) bool { return g.status == a.status })
	if g < 0 {
		d.t.Errorf("%s: %d is not documented", all[i].id, a.status)
		return
	}
	if shape := all[i].gives[g].shape; shape != nil && r.Method != http.MethodHead {
		fits(d.t, a.body, shape)
		keepsContract(d.t, &all[i], a)
	}
}

// fits fails unless a body has every field of a shape, and no other.
func fits(tb testing.TB, body []byte, shape any) {
	tb.Helper()
	value := reflect.New(reflect.TypeOf(shape))
	strict := json.NewDecoder(bytes.NewReader(body))
	strict.DisallowUnknownFields()
	if err := strict.Decode(value.Interface()); err != nil {
		tb.Errorf("%s is not a %T: %v", body, shape, err)
		return
	}
	again, err := json.Marshal(value.Interface())
	if err != nil {
		tb.Fatal(err)
	}
	var got, want any
	for text, into := range map[*any][]byte{&got: body, &want: again} {
		if err := json.Unmarshal(into, text); err != nil {
			tb.Fatal(err)
		}
	}
	if o, ok := got.(map[string]any); ok && o["user"] == nil {
		delete(o, "user") // null and left out are one in Go
	}
	if diff := cmp.Diff(names(want), names(got)); diff != "" {
		tb.Errorf("fields of %T, in Go - and on the wire +:\n%s", shape, diff)
	}
}

// names replaces every value in a JSON text by nothing, so that only the names of fields are left.
func names(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for name := range v {
			v[name] = names(v[name])
		}
		return v
	case []any:
		for i := range v {
			v[i] = names(v[i])
		}
		return v
	default:
		return nil
	}
}

// problem reads an answer that has to be a problem.
func (d *desk) problem(a answer) api.Problem {
	d.t.Helper()
	var p api.Problem
	if len(a.body) == 0 {
		d.t.Errorf("%d without a problem", a.status)
		return p
	}
	if err := json.Unmarshal(a.body, &p); err != nil {
		d.t.Errorf("%d with %q: %v", a.status, a.body, err)
		return p
	}
	if _, taken := p.Members["status"]; !taken && p.Status != a.status || p.Title == "" || p.Type != "about:blank" || p.Code == "" || p.Detail == "" ||
		p.RequestID != a.header.Get("X-Request-Id") || a.header.Get("Content-Type") != "application/problem+json" {
		d.t.Errorf("%d with header %v is no whole problem: %s", a.status, a.header, a.body)
	}
	return p
}

// wants fails unless an answer has a status and, of a problem, a code.
func (d *desk) wants(a answer, status int, code string) {
	d.t.Helper()
	got := ""
	if a.status >= 400 {
		got = d.problem(a).Code
	}
	if a.status != status || got != code {
		d.t.Fatalf("got %d %q, want %d %q: %s", a.status, got, status, code, a.body)
	}
}

// read decodes the body of an answer that went well.
func read[T any](d *desk, a answer) T {
	d.t.Helper()
	var v T
	if a.status >= 300 {
		d.t.Fatalf("got %d: %s", a.status, a.body)
	}
	d.must(json.Unmarshal(a.body, &v))
	return v
}

// Things that most tests need.

func (d *desk) offer(id string, units int) {
	d.t.Helper()
	read[api.Product](d, d.send("PUT", "/v1/products/"+id, `{"title":"Ticket","price":{"amount":9900,"currency":"CNY"}}`, apikey.CatalogueWrite))
	if units > 0 {
		body, _ := json.Marshal(api.AdjustStock{Delta: int64(units)})
		read[api.Stock](d, d.send("POST", "/v1/products/"+id+"/stock", string(body), apikey.CatalogueWrite))
	}
}

func (d *desk) place(key, body string) answer {
	d.t.Helper()
	return d.send("POST", "/v1/orders", body, apikey.OrdersWrite, "Idempotency-Key", key)
}

// placed places an order of one unit.
func (d *desk) placed(key, user, productID string) api.Order {
	d.t.Helper()
	return read[api.Order](d, d.place(key, `{"user_id":"`+user+`","lines":[{"product_id":"`+productID+`","quantity":1}]}`))
}

// pay pays an order as its provider would tell it.
func (d *desk) pay(o api.Order, transaction string) {
	d.t.Helper()
	no, err := order.ParseNumber(o.OrderNo)
	d.must(err)
	_, err = ledger.Submit(d.t.Context(), d.ledger, ledger.Pay{PaymentID: "pay_" + transaction, Notice: payment.Notice{
		Provider: toy, OrderNumber: no, TransactionID: transaction, Succeeded: true,
		Amount: moneyOf(o.Total),
	}})
	d.must(err)
}

// relay puts what waits in the outbox into the log.
func (d *desk) relay() {
	d.t.Helper()
	leases, err := d.store.LeaseShards(d.t.Context(), "test", time.Minute)
	d.must(err)
	for {
		moved, err := d.store.Relay(d.t.Context(), leases, 1000)
		d.must(err)
		if moved == 0 {
			d.feed.Wake()
			return
		}
	}
}

// Small stand-ins for what the server would put together.

type record struct {
	*sqlstore.Store
	audit func(context.Context) (audit.Report, error)
	looks func(apikey.Hash) // told of every look for a key

	broken      error       // what adding a key ends in
	unreachable atomic.Bool // for looks for keys
}

func (r *record) Audit(ctx context.Context) (audit.Report, error) {
	if r.audit == nil {
		return audit.Report{Clean: true, CheckedAt: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}, nil
	}
	return r.audit(ctx)
}

func (r *record) KeyByHash(ctx context.Context, h apikey.Hash) (*apikey.Key, error) {
	if r.looks != nil {
		r.looks(h)
	}
	if r.unreachable.Load() {
		return nil, errors.New("the record is out of reach")
	}
	return r.Store.KeyByHash(ctx, h)
}

func (r *record) AddKey(ctx context.Context, k *apikey.Key) error {
	if r.broken != nil {
		return r.broken
	}
	return r.Store.AddKey(ctx, k)
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
