package telemetry

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

const sampled = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func newTestTracer(t *testing.T, ratio float64) (*Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	memory := tracetest.NewInMemoryExporter()
	return startTracer(t, TracerOptions{Ratio: ratio, Log: slog.New(slog.DiscardHandler), exporter: memory}), memory
}

func startTracer(t *testing.T, opt TracerOptions) *Tracer {
	t.Helper()
	tracer, err := NewTracer(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Close(context.Background()) })
	return tracer
}

func request(header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "/v1/orders", nil)
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	return r
}

func TestATraceGoesFromTheRequestThroughItsBatchToTheRelay(t *testing.T) {
	tracer, memory := newTestTracer(t, 0)
	ctx, ended := tracer.Begin(request("Traceparent", sampled, "Tracestate", "secret=1"))
	if ended == nil || !tracer.Follows(ctx) {
		t.Fatal("a request whose caller traces it is not traced")
	}
	start := time.Now()
	tracer.Batch(ledger.BatchStats{
		Commands: 3, Began: start.Add(time.Second), Ended: start.Add(4 * time.Second), Begin: time.Second, Commit: 2 * time.Second, Events: 2,
		Followed: []ledger.Caller{{Context: ctx, Since: start}},
	})
	ended(&Request{Route: "/v1/orders", Method: "POST", Status: 201, OrderNo: "202611200000001"})
	tracer.Relayed(2, start.Add(5*time.Second))
	tracer.Relayed(2, start.Add(6*time.Second)) // of nobody who is traced
	spans := flushed(t, tracer, memory)

	by := map[string]tracetest.SpanStub{}
	for _, s := range spans {
		by[s.Name] = s
	}
	if len(spans) != 9 {
		t.Fatalf("got %d spans, want the request, its wait, the batch with five stages and one turn of the relay: %v", len(spans), spans)
	}
	req, wait, batch, commit, turn := by["POST /v1/orders"], by["ledger.wait"], by["ledger.batch"], by["ledger.commit"], by["relay.turn"]
	if got := req.SpanContext.TraceID().String(); got != "0af7651916cd43dd8448eb211c80319c" || req.Parent.SpanID().String() != "b7ad6b7169203331" {
		t.Errorf("the request is in the trace %s under %s, want its caller's", got, req.Parent.SpanID())
	}
	if req.SpanContext.TraceState().Len() != 0 {
		t.Errorf("the caller's tracestate was taken along: %s", req.SpanContext.TraceState())
	}
	if wait.Parent.SpanID() != req.SpanContext.SpanID() || wait.EndTime.Sub(wait.StartTime) != time.Second {
		t.Errorf("the wait is %+v, want a second under the request", wait)
	}
	if len(wait.Links) != 1 || !wait.Links[0].SpanContext.Equal(batch.SpanContext) {
		t.Errorf("the wait links to %v, want the batch", wait.Links)
	}
	if batch.Parent.IsValid() || len(batch.Links) != 1 || !batch.Links[0].SpanContext.Equal(req.SpanContext) {
		t.Errorf("the batch has the parent %v and the links %v, want none and the request", batch.Parent, batch.Links)
	}
	if commit.Parent.SpanID() != batch.SpanContext.SpanID() || commit.EndTime.Sub(commit.StartTime) != 2*time.Second {
		t.Errorf("the commit is %+v, want two seconds under the batch", commit)
	}
	if len(turn.Links) != 1 || !turn.Links[0].SpanContext.Equal(batch.SpanContext) {
		t.Errorf("the relay's turn links to %v, want the batch", turn.Links)
	}
}

func TestABatchLinksToABoundedNumberOfRequests(t *testing.T) {
	tracer, memory := newTestTracer(t, 0)
	ctx, _ := tracer.Begin(request("Traceparent", sampled))
	followed := make([]ledger.Caller, 10*linksMax)
	for i := range followed {
		followed[i] = ledger.Caller{Context: ctx, Since: time.Now()}
	}
	tracer.Batch(ledger.BatchStats{Commands: len(followed), Followed: followed[:linksMax], Began: time.Now(), Ended: time.Now(), Events: 1})
	for range 10 * linksMax {
		tracer.Batch(ledger.BatchStats{Commands: 1, Followed: followed[:1], Began: time.Now(), Ended: time.Now(), Events: 1})
	}
	tracer.Relayed(1, time.Now())
	for _, s := range flushed(t, tracer, memory) {
		if len(s.Links) > linksMax {
			t.Errorf("%s has %d links, want %d at most", s.Name, len(s.Links), linksMax)
		}
	}
}

func TestWhoIsTraced(t *testing.T) {
	for _, c := range []struct {
		story, parent string
		ratio         float64
		want          bool
	}{
		{"nobody by default", "", 0, false},
		{"everybody, if one likes", "", 1, true},
		{"who asks for it", sampled, 0, true},
		{"not who asks not to be", sampled[:len(sampled)-2] + "00", 1, false},
		{"a broken traceparent counts as none", "00-zz", 0, false},
		{"a broken traceparent counts as none, among all", "00-zz", 1, true},
	} {
		tracer, _ := newTestTracer(t, c.ratio)
		r := request()
		if c.parent != "" {
			r.Header.Set("Traceparent", c.parent)
		}
		if _, ended := tracer.Begin(r); (ended != nil) != c.want {
			t.Errorf("%s: traced is %t, want %t", c.story, ended != nil, c.want)
		}
	}
}

// Anybody can send "sampled" with each of his requests.
func TestNobodyCanHaveEverythingTraced(t *testing.T) {
	var p places
	traced := 0
	for range 100 * tracedPerSecond {
		if p.take(1) {
			traced++
		}
	}
	if traced != tracedPerSecond {
		t.Errorf("%d requests of one second were traced, want %d", traced, tracedPerSecond)
	}
	if !p.take(2) {
		t.Error("nothing is traced in the next second")
	}
}

func TestACollectorTakesTracesByOTLP(t *testing.T) {
	got := make(chan *collector.ExportTraceServiceRequest, 10)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		sent := &collector.ExportTraceServiceRequest{}
		if err := proto.Unmarshal(body, sent); err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s took %d bytes: %v", r.URL, len(body), err)
		}
		got <- sent
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer front.Close()
	tracer := startTracer(t, TracerOptions{Endpoint: front.URL, Ratio: 1, Version: "v7", Log: slog.New(slog.DiscardHandler)})
	_, ended := tracer.Begin(request())
	ended(&Request{Route: "/v1/orders", Method: "POST", Status: 503, Code: "unavailable"})
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	sent := <-got
	span := sent.GetResourceSpans()[0].GetScopeSpans()[0].GetSpans()[0]
	if text := sent.String(); span.GetName() != "POST /v1/orders" || !strings.Contains(text, "v7") || !strings.Contains(text, "unavailable") {
		t.Errorf("the collector got %s", text)
	}
	if c := tracer.Counts(); c != (SpanCounts{Ended: 1, Sent: 1}) {
		t.Errorf("counted %+v", c)
	}
}

// A collector that is away, or takes for ever, costs neither time nor memory; the log says it, not more than once in a while.
func TestACollectorThatIsAwayIsNobodysProblem(t *testing.T) {
	stuck := &stuckExporter{release: make(chan struct{})}
	var log bytes.Buffer
	tracer := startTracer(t, TracerOptions{Ratio: 1, Log: Logger(&log, "json", slog.LevelInfo), exporter: stuck})
	var before, after runtime.MemStats
	round := func(n int) {
		for range n {
			ctx, ended := tracer.Begin(request("Traceparent", sampled))
			if ended == nil {
				ctx, _ = tracer.tracer.Start(context.Background(), "more") // beyond what a second may have
			}
			tracer.Batch(ledger.BatchStats{Commands: 1, Followed: []ledger.Caller{{Context: ctx}}, Began: time.Now(), Ended: time.Now()})
		}
	}
	round(1000) // the queue is full now
	runtime.GC()
	runtime.ReadMemStats(&before)
	done := make(chan struct{})
	go func() {
		defer close(done)
		round(20_000)
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("a collector that does not answer stops the desk")
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("140 000 spans that nobody takes left %d kB", grown>>10)
	}
	close(stuck.release)
	if err := tracer.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := tracer.Counts(); c.Failed == 0 || c.Failed > 2*spansWaiting || c.Sent != 0 {
		t.Errorf("counted %+v", c)
	}
	if n := strings.Count(log.String(), "traces not taken"); n == 0 || n > linesAtOnce {
		t.Errorf("the log says it %d times: %s", n, log.String())
	}
}

type stuckExporter struct{ release chan struct{} }

func (s *stuckExporter) ExportSpans(context.Context, []sdk.ReadOnlySpan) error {
	<-s.release
	return errors.New("away")
}
func (*stuckExporter) Shutdown(context.Context) error { return nil }

func flushed(t *testing.T, tracer *Tracer, memory *tracetest.InMemoryExporter) tracetest.SpanStubs {
	t.Helper()
	if err := tracer.provider.ForceFlush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return memory.GetSpans()
}

func BenchmarkUntraced(b *testing.B) {
	tracer, err := NewTracer(b.Context(), TracerOptions{Log: slog.New(slog.DiscardHandler), exporter: tracetest.NewInMemoryExporter()})
	if err != nil {
		b.Fatal(err)
	}
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		if _, ended := tracer.Begin(r); ended != nil {
			b.Fatal("traced")
		}
	}
}
