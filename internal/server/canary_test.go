package server

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// The canaries. Whatever a client sends, and every secret of the desk, has one of them in it; none may sing where an operator, a
// collector or a dashboard can hear it.
const (
	canary   = "c4n4ry"           // in every value and every secret
	card     = "4111111111111111" // looks like a card's number
	named    = "f1eldname"        // in names of fields, which an answer may repeat and a log may not
	terminal = "\r\n\x1b[31m\u009b31m\u202e"
)

// Every route of the document is asked in many ways, so a new route is covered by being one. The desk logs all it can, is traced in
// full, panics, and loses its record.
func TestNoCanarySingsInLogsTracesMetricsOrErrors(t *testing.T) {
	for _, format := range []string{config.LogJSON, config.LogText} {
		t.Run(format, func(t *testing.T) { newAviary(t, format).run() })
	}
}

type aviary struct {
	t        *testing.T
	s        *Server
	log      *testenv.Log
	spans    *collector
	metrics  string
	gate     *panickyGate
	order    string // a number there is
	payment  string // an id there is
	requests atomic.Int64
}

func newAviary(t *testing.T, format string) *aviary {
	t.Helper()
	a := &aviary{t: t, log: &testenv.Log{}, spans: newCollector(t)}
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "desk.db")
	cfg.AdminKey, cfg.SandboxSecret = canary+strings.Repeat("-admin-key", 4), canary+strings.Repeat("-secret", 4)
	cfg.LogLevel, cfg.LogFormat = slog.LevelDebug, format
	cfg.OTLPEndpoint, cfg.TraceRatio = a.spans.url, 1
	var err error
	if a.s, err = Start(t.Context(), cfg, Options{Stderr: a.log, Version: "test"}); err != nil {
		t.Fatal(err)
	}
	a.gate = &panickyGate{Gate: a.s.desk.Gate}
	a.s.desk.Gate = a.gate
	served := make(chan error, 1)
	go func() { served <- a.s.Serve() }()
	t.Cleanup(func() {
		_ = a.s.Stop(context.Background()) // its record may be closed already
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return a
}

func (a *aviary) run() {
	a.prepare()
	var document struct {
		Paths      map[string]map[string]operation `json:"paths"`
		Components struct {
			Schemas map[string]schema `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal(a.ask("GET", "/openapi.json", "", nil), &document); err != nil {
		a.t.Fatal(err)
	}
	if len(document.Paths) < 15 {
		a.t.Fatalf("the document has %d paths", len(document.Paths))
	}
	for pattern, methods := range document.Paths {
		for method, op := range methods {
			a.tease(strings.ToUpper(method), pattern, op, document.Components.Schemas)
		}
	}
	a.ask("GET", "/sandbox/pay/"+canary, "", nil)
	a.ask("POST", "/sandbox/pay/"+canary+"/pay", canary+"="+canary, nil)
	a.ask("GET", "/no/such/"+canary+"?"+canary+"="+canary, "", nil)

	for _, panics := range []any{canary, errors.New(canary), struct{ Address string }{canary}, fmt.Errorf("of %s: %w", canary, io.EOF)} {
		a.gate.panics.Store(&panics)
		a.order1("panic")
	}
	a.gate.panics.Store(nil)

	a.metrics = string(a.ask("GET", "/metrics", "", nil))
	a.spans.wait("ledger.batch", "ledger.wait", "relay.turn", "POST /v1/orders")
	if err := a.s.store.Close(); err != nil { // from here on nothing can be written or read
		a.t.Error(err)
	}
	a.order1("no record")
	a.ask("PUT", "/v1/users/"+canary, `{"name":"`+canary+`"}`, nil)
	a.ask("GET", "/v1/users/"+canary, "", nil)
	a.ask("GET", "/readyz", "", nil)
	a.listen()
}

// prepare makes an order with a payment, paid, by somebody whose every detail is a canary.
func (a *aviary) prepare() {
	a.ask("PUT", "/v1/products/sku-1", `{"title":"`+canary+`","price":{"amount":1,"currency":"CNY"}}`, nil)
	a.ask("POST", "/v1/products/sku-1/stock", `{"delta":1000,"ref":"`+canary+`","reason":"`+canary+`"}`, nil)
	var placed struct {
		OrderNo string `json:"order_no"`
	}
	if err := json.Unmarshal(a.order1("first"), &placed); err != nil || placed.OrderNo == "" {
		a.t.Fatalf("no order: %v", err)
	}
	a.order = placed.OrderNo
	var opened struct {
		PaymentID string `json:"payment_id"`
	}
	if err := json.Unmarshal(a.ask("POST", "/v1/orders/"+a.order+"/payments", `{"provider":"sandbox"}`, nil), &opened); err != nil {
		a.t.Fatal(err)
	}
	a.payment = opened.PaymentID
	for _, amount := range []int64{7, 1, 1} { // a mismatch, the money, the money again
		a.notice(fmt.Sprintf(`{"order_no":%q,"transaction_id":%q,"amount":%d,"currency":"CNY","status":"succeeded"}`, a.order, canary, amount))
	}
}

func (a *aviary) order1(key string) []byte {
	return a.ask("POST", "/v1/orders", `{"user_id":"`+canary+`","lines":[{"product_id":"sku-1","quantity":1}],"metadata":{"`+
		named+`":"`+canary+`","card":"`+card+`"}}`, http.Header{"Idempotency-Key": {canary + key}})
}

func (a *aviary) notice(body string) {
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(a.s.cfg.SandboxSecret))
	mac.Write([]byte(at + "." + body))
	signature := "t=" + at + ",v1=" + hex.EncodeToString(mac.Sum(nil))
	a.ask("POST", "/v1/callbacks/sandbox", body, http.Header{"Holdfast-Signature": {signature}})
}

// tease asks an operation in all the ways that should go wrong, and some that should not.
func (a *aviary) tease(method, pattern string, op operation, schemas map[string]schema) {
	bodies := []string{"", `{"` + canary, `{"` + named + `":"` + canary + `"}`, `"` + canary + `"`, card}
	for _, media := range op.RequestBody.Content {
		good, _ := json.Marshal(media.Schema.fill(schemas, "", true))
		bad, _ := json.Marshal(media.Schema.fill(schemas, "", false))
		bodies = append(bodies, string(good), string(bad), string(good)+canary)
	}
	targets := []string{a.path(pattern, true), a.path(pattern, false)}
	for _, target := range targets {
		for _, body := range bodies {
			a.ask(method, target, body, nil)
		}
		for _, value := range []string{canary, canary + terminal, card} {
			query := url.Values{named: {value}}
			a.ask(method, target+"?"+query.Encode(), "", nil)
			for _, p := range op.Parameters {
				if p.In == "query" {
					a.ask(method, target+"?"+url.Values{p.Name: {value}}.Encode(), "", nil)
				}
			}
		}
		a.ask(method, target, bodies[len(bodies)-1], http.Header{"Authorization": {"Bearer " + canary}})
		a.ask(method, target, "", http.Header{"Authorization": {canary}, "Idempotency-Key": {canary, canary}})
		a.ask(canary, target, "", nil)
	}
}

// path fills a pattern with things there are, or with canaries that try to break a line.
func (a *aviary) path(pattern string, good bool) string {
	known := map[string]string{"order_no": a.order, "payment_id": a.payment, "product_id": "sku-1", "provider": "sandbox", "user_id": canary}
	parts := strings.Split(pattern, "/")
	for i, part := range parts {
		if !strings.HasPrefix(part, "{") {
			continue
		}
		value := known[strings.Trim(part, "{}")]
		if !good || value == "" {
			value = canary + terminal + card
		}
		parts[i] = url.PathEscape(value)
	}
	return strings.Join(parts, "/")
}

// ask sends a request with canaries in every header. An answer that tells of a problem must not repeat one.
func (a *aviary) ask(method, target, body string, header http.Header) []byte {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(a.t.Context(), 20*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, a.s.URL()+target, strings.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	n := a.requests.Add(1)
	r.Header = http.Header{
		"Authorization": {"Bearer " + a.s.cfg.AdminKey}, "Idempotency-Key": {canary + strconv.FormatInt(n, 10)}, "Content-Type": {"application/json"},
		"Holdfast-Signature": {canary}, "Cookie": {canary + "=" + canary}, "User-Agent": {canary}, "Referer": {"http://" + canary + "/"},
		"X-Forwarded-For": {canary}, "X-Request-Id": {canary + " " + card}, "Baggage": {"user=" + canary}, "Last-Event-Id": {canary},
		"Traceparent": {fmt.Sprintf("00-%032x-%016x-01", n, n)}, "Tracestate": {canary + "=" + canary},
	}
	for name, values := range header {
		r.Header[name] = values
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, target, err)
	}
	defer response.Body.Close()
	if strings.HasPrefix(response.Header.Get("Content-Type"), "text/event-stream") {
		return nil // it never ends
	}
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, target, err)
	}
	if response.StatusCode >= 400 {
		a.silent(method+" "+target, string(answer), canary, card, "\x1b")
	}
	return answer
}

// listen stops the desk and listens to everything that came out of it.
func (a *aviary) listen() {
	_ = a.s.Stop(context.Background())
	log := a.log.String()
	if lines := strings.Count(log, "\n"); int64(lines) < a.requests.Load() || !strings.Contains(log, a.order) {
		a.t.Errorf("%d requests left %d lines: the log was not open", a.requests.Load(), lines)
	}
	for _, want := range []string{"panic", "unavailable", "trace_id", "key_id"} {
		if !strings.Contains(log, want) {
			a.t.Errorf("nothing in the log about %s", want)
		}
	}
	a.silent("the log", log, canary, named, card, "\x1b", "\r", "\u009b", "\u202e")
	for line := range strings.Lines(log) {
		whole := json.Valid([]byte(line))
		if a.s.cfg.LogFormat == config.LogText {
			whole = strings.HasPrefix(line, "time=")
		}
		if !whole {
			a.t.Errorf("a broken line: %q", line)
		}
	}
	a.silent("the metrics", a.metrics, canary, named, card)
	a.silent("the traces", a.spans.String(), canary, named, card)
}

func (a *aviary) silent(where, text string, forbidden ...string) {
	a.t.Helper()
	for _, song := range forbidden {
		if i := strings.Index(text, song); i >= 0 {
			a.t.Errorf("%q sings in %s: …%q…", song, where, text[max(0, i-200):min(len(text), i+200)])
		}
	}
}

// operation and schema are what is read of the document.
type operation struct {
	Parameters []struct {
		Name string `json:"name"`
		In   string `json:"in"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"`
}

type schema struct {
	Ref        string            `json:"$ref"`
	Type       any               `json:"type"`
	Enum       []any             `json:"enum"`
	Format     string            `json:"format"`
	Properties map[string]schema `json:"properties"`
	Items      *schema           `json:"items"`
}

// fill makes a value of a schema: one that will do, or one of the right types and nothing else.
func (s schema) fill(schemas map[string]schema, name string, good bool) any {
	if s.Ref != "" {
		return schemas[s.Ref[strings.LastIndex(s.Ref, "/")+1:]].fill(schemas, name, good)
	}
	if good {
		known := map[string]any{"product_id": "sku-1", "provider": "sandbox", "currency": "CNY", "pay_window": "15m", "max_per_user": nil}
		if value, ok := known[name]; ok {
			return value
		}
		if len(s.Enum) > 0 {
			return s.Enum[0]
		}
	}
	kinds := strings.Fields(strings.Trim(fmt.Sprint(s.Type), "[]"))
	switch {
	case slices.Contains(kinds, "object"):
		filled := map[string]any{}
		for name, p := range s.Properties {
			filled[name] = p.fill(schemas, name, good)
		}
		if len(filled) == 0 {
			filled[named] = []any{canary, card, canary + terminal}
		}
		return filled
	case slices.Contains(kinds, "array"):
		return []any{s.Items.fill(schemas, name, good)}
	case slices.Contains(kinds, "integer"), slices.Contains(kinds, "number"):
		return 1
	case slices.Contains(kinds, "boolean"):
		return true
	case good && s.Format == "date-time":
		return "2040-01-01T00:00:00Z"
	case good:
		return canary + " " + card
	default:
		return canary + terminal + card
	}
}

// panickyGate panics with what it is told to, which may be about a buyer.
type panickyGate struct {
	checkout.Gate
	panics atomic.Pointer[any]
}

func (g *panickyGate) Admit(ctx context.Context, by user.ID, lines []ledger.PlaceLine) error {
	if p := g.panics.Load(); p != nil {
		panic(*p)
	}
	return g.Gate.Admit(ctx, by, lines)
}

// collector takes traces as a real one does, and keeps the bytes.
type collector struct {
	testenv.Log
	t   *testing.T
	url string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	c := &collector{t: t}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" {
			t.Errorf("traces come to %s", r.URL)
		}
		body, _ := io.ReadAll(r.Body)
		_, _ = c.Write(body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	t.Cleanup(front.Close)
	c.url = front.URL
	return c
}

// wait waits until all of the texts have come.
func (c *collector) wait(texts ...string) {
	c.t.Helper()
	late := time.After(20 * time.Second)
	for {
		got := c.String()
		missing := slices.DeleteFunc(slices.Clone(texts), func(text string) bool { return strings.Contains(got, text) })
		if len(missing) == 0 {
			return
		}
		select {
		case <-late:
			c.t.Fatalf("no %q in %d bytes of traces", missing, len(got))
		case <-time.After(20 * time.Millisecond):
		}
	}
}
