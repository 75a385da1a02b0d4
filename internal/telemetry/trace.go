package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of tracing. A collector that is slow or away costs spans, never time or memory: what does not fit is dropped.
const (
	tracedPerSecond = 100  // requests, whoever asks for their trace: a stranger may send "sampled" with each of his
	spansWaiting    = 2048 // for the collector
	spansPerCall    = 512
	callEvery       = 2 * time.Second
	callMax         = 5 * time.Second // to the collector
	linksMax        = 32              // of a span
	attributesMax   = 16
	attributeChars  = 256
)

// Tracer follows some requests from their arrival through the lane, the batch that carries them and its stages to the turn of
// the relay that puts their events into the log.
type Tracer struct {
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	ratio    float64
	places   places
	counts   spanCounts

	mu        sync.Mutex
	committed []trace.Link // batches with events that the relay has not taken yet
}

// TracerOptions of a Tracer.
type TracerOptions struct {
	Endpoint string  // of a collector that speaks OTLP over HTTP; without a path, /v1/traces is meant
	Ratio    float64 // of the requests that nobody asked to be traced
	Version  string  // of the program
	Log      *slog.Logger

	exporter sdk.SpanExporter // instead of the endpoint
}

// NewTracer makes a tracer that sends to the endpoint. It calls nobody yet: the collector may come later, or never.
func NewTracer(ctx context.Context, opt TracerOptions) (*Tracer, error) {
	exporter := opt.exporter
	if exporter == nil {
		var err error
		if exporter, err = otlpExporter(ctx, opt.Endpoint); err != nil {
			return nil, fmt.Errorf("trace: %w", err)
		}
	}
	t := &Tracer{ratio: opt.Ratio}
	t.provider = sdk.NewTracerProvider(
		sdk.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "holdfast"), attribute.String("service.version", opt.Version),
		)),
		sdk.WithSampler(sdk.AlwaysSample()), // Begin decides, and the rest is only begun for what it let through
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: attributeChars, AttributeCountLimit: attributesMax, EventCountLimit: 1, LinkCountLimit: linksMax,
			AttributePerEventCountLimit: 1, AttributePerLinkCountLimit: 1,
		}),
		sdk.WithSpanProcessor(&t.counts),
		sdk.WithBatcher(&quiet{exporter, opt.Log, &t.counts}, sdk.WithMaxQueueSize(spansWaiting), sdk.WithMaxExportBatchSize(spansPerCall),
			sdk.WithBatchTimeout(callEvery), sdk.WithExportTimeout(callMax)),
	)
	t.tracer = t.provider.Tracer("holdfast")
	return t, nil
}

func otlpExporter(ctx context.Context, endpoint string) (sdk.SpanExporter, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return nil, err
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	return otlptrace.New(ctx, otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithTimeout(callMax),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: false}), // the next spans come soon, and these few are not worth a queue
	))
}

// Close sends what waits, as long as ctx lasts.
func (t *Tracer) Close(ctx context.Context) error { return t.provider.Shutdown(ctx) }

// SpanCounts is how many spans have ended, were sent, and were lost because the collector did not take them.
type SpanCounts struct{ Ended, Sent, Failed int64 }

// Counts tells what became of the spans.
func (t *Tracer) Counts() SpanCounts {
	return SpanCounts{t.counts.ended.Load(), t.counts.sent.Load(), t.counts.failed.Load()}
}

// Begin begins the trace of a request, where it is traced: ended is to be called with its answer. Otherwise both are nil.
//
// The caller's traceparent is honoured (W3C Trace Context), his tracestate is not taken along: nobody knows what is in it.
func (t *Tracer) Begin(r *http.Request) (ctx context.Context, ended func(*Request)) {
	caller := callerOf(r)
	switch {
	case caller.IsValid() && !caller.IsSampled():
		return nil, nil
	case !caller.IsValid() && rand.Float64() >= t.ratio: //nolint:gosec // chance, not a secret
		return nil, nil
	case !t.places.take(time.Now().Unix()):
		return nil, nil
	}
	ctx = r.Context()
	if caller.IsValid() {
		ctx = trace.ContextWithRemoteSpanContext(ctx, caller)
	}
	ctx, span := t.tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer))
	return ctx, func(answered *Request) { endRequest(span, answered) }
}

// callerOf reads the caller's traceparent; what cannot be read is none.
func callerOf(r *http.Request) trace.SpanContext {
	if _, sent := r.Header["Traceparent"]; !sent {
		return trace.SpanContext{}
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(r.Header))
	return trace.SpanContextFromContext(ctx).WithTraceState(trace.TraceState{})
}

// endRequest writes what may stand in a log too, and nothing else: no path, no query, no address.
func endRequest(span trace.Span, r *Request) {
	span.SetName(r.Method + " " + r.Route)
	span.SetAttributes(
		attribute.String("http.request.method", r.Method), attribute.String("http.route", r.Route),
		attribute.Int("http.response.status_code", r.Status),
	)
	if r.Code != "" {
		span.SetAttributes(attribute.String("error.type", r.Code))
	}
	if r.OrderNo != "" {
		span.SetAttributes(attribute.String("holdfast.order_no", r.OrderNo))
	}
	if r.Status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, r.Code)
	}
	span.End()
}

// Follows reports whether a request is traced.
func (t *Tracer) Follows(ctx context.Context) bool {
	return trace.SpanContextFromContext(ctx).IsSampled()
}

// Batch writes, after the fact, what became of the traced requests in a batch: of each how long it waited, and of the batch, in
// a trace of its own, its stages. A batch belongs to many, so it is not the child of any: they are linked.
func (t *Tracer) Batch(s ledger.BatchStats) {
	if len(s.Followed) == 0 {
		return
	}
	links := make([]trace.Link, len(s.Followed))
	for i, c := range s.Followed {
		links[i] = trace.LinkFromContext(c.Context)
	}
	ctx, batch := t.tracer.Start(context.Background(), "ledger.batch", trace.WithTimestamp(s.Began), trace.WithLinks(links...),
		trace.WithAttributes(
			attribute.Int("holdfast.commands", s.Commands), attribute.Int("holdfast.settling", s.Settling),
			attribute.Int("holdfast.reruns", s.Reruns), attribute.Bool("holdfast.in_doubt", s.InDoubt), attribute.Int("holdfast.events", s.Events),
		))
	at := s.Began
	for i, took := range s.Stages() {
		_, stage := t.tracer.Start(ctx, "ledger."+stageLabel.Values[i], trace.WithTimestamp(at))
		at = at.Add(took)
		stage.End(trace.WithTimestamp(at))
	}
	if s.Err != nil {
		batch.SetStatus(codes.Error, "batch failed") // why is in the log
	}
	batch.End(trace.WithTimestamp(s.Ended))
	link := trace.LinkFromContext(ctx)
	for _, c := range s.Followed {
		_, wait := t.tracer.Start(c.Context, "ledger.wait", trace.WithTimestamp(c.Since), trace.WithLinks(link))
		wait.End(trace.WithTimestamp(s.Began))
	}
	if s.Err == nil && s.Events > 0 {
		t.mu.Lock()
		defer t.mu.Unlock()
		if len(t.committed) < linksMax {
			t.committed = append(t.committed, link)
		}
	}
}

// Relayed writes that the relay put events into the log, if some of them may be of traced batches.
func (t *Tracer) Relayed(n int, now time.Time) {
	t.mu.Lock()
	links := t.committed
	t.committed = nil
	t.mu.Unlock()
	if len(links) == 0 {
		return
	}
	_, turn := t.tracer.Start(context.Background(), "relay.turn", trace.WithTimestamp(now), trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("holdfast.events", n)))
	turn.End(trace.WithTimestamp(now))
}

// places are how many requests may be traced in a second.
type places struct {
	second atomic.Int64 // Unix seconds, and
	taken  atomic.Int64 // how many were in it
}

// take takes one of the second's places. Around the turn of a second a few more may get one.
func (p *places) take(now int64) bool {
	if last := p.second.Load(); last != now && p.second.CompareAndSwap(last, now) {
		p.taken.Store(0)
	}
	return p.taken.Add(1) <= tracedPerSecond
}

// spanCounts counts spans as they end.
type spanCounts struct{ ended, sent, failed atomic.Int64 }

func (*spanCounts) OnStart(context.Context, sdk.ReadWriteSpan) {}
func (c *spanCounts) OnEnd(s sdk.ReadOnlySpan) {
	if s.SpanContext().IsSampled() {
		c.ended.Add(1)
	}
}
func (*spanCounts) Shutdown(context.Context) error   { return nil }
func (*spanCounts) ForceFlush(context.Context) error { return nil }

// quiet keeps the exporter's errors from the SDK, which would hand them to a handler that the whole process shares.
type quiet struct {
	sdk.SpanExporter
	log    *slog.Logger
	counts *spanCounts
}

func (q *quiet) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := q.SpanExporter.ExportSpans(ctx, spans); err != nil {
		q.counts.failed.Add(int64(len(spans)))
		q.log.Warn("traces not taken by the collector", "count", len(spans), "err", err)
		return nil
	}
	q.counts.sent.Add(int64(len(spans)))
	return nil
}
