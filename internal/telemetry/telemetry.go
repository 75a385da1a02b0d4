// Package telemetry is how the desk is watched: the one catalogue of metrics, the log with its list of fields, and traces.
package telemetry

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of a scrape.
const (
	scrapesAtOnce = 4
	scrapeMax     = 10 * time.Second
	readMax       = 2 * time.Second // for all that is read when the metrics are
)

// Metrics are the desk's metrics, on a registry of their own.
type Metrics struct {
	registry *prometheus.Registry
	by       map[string]Metric // the catalogue, by name

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	problems  *prometheus.CounterVec
	panics    prometheus.Counter
	limited   *prometheus.CounterVec
	routes    atomic.Pointer[map[routeKey]*routeSeries] // copied when a series comes in
	adding    sync.Mutex                                // held while one does

	placed, replayed prometheus.Counter
	refused          *prometheus.CounterVec

	commands  *prometheus.CounterVec
	abandoned prometheus.Counter
	wait      prometheus.Observer
	batchSize prometheus.Observer
	stages    [5]prometheus.Observer // in the order of stageLabel
	reruns    prometheus.Counter
	inDoubt   prometheus.Counter
	failures  prometheus.Counter

	holds       *prometheus.CounterVec
	paidShare   prometheus.Observer
	coolingDown prometheus.Counter

	expiryLag   prometheus.Observer
	reminderLag prometheus.Observer
	relayed     prometheus.Counter
	relayLag    prometheus.Observer
	written     atomic.Int64 // Unix nanoseconds of the first commit with events since the relay's last turn; 0: none
	removed     *prometheus.CounterVec

	auditLook  prometheus.Observer
	violations *prometheus.CounterVec
}

// New registers all metrics.
func New(version string) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), by: map[string]Metric{}}
	for _, c := range Catalogue() {
		m.by[c.Name] = c
	}
	m.requests = m.counter("holdfast_http_requests_total")
	m.durations = m.histogram("holdfast_http_request_duration_seconds")
	m.problems = m.counter("holdfast_http_problems_total")
	m.panics = m.counter("holdfast_http_panics_total").WithLabelValues()
	m.limited = m.counter("holdfast_http_limited_total")
	for _, by := range limitLabel.Values {
		m.limited.WithLabelValues(by)
	}
	m.routes.Store(&map[routeKey]*routeSeries{})

	m.placed = m.counter("holdfast_orders_placed_total").WithLabelValues()
	m.replayed = m.counter("holdfast_orders_replayed_total").WithLabelValues()
	m.refused = m.counter("holdfast_orders_refused_total")

	m.commands = m.counter("holdfast_ledger_commands_total")
	m.abandoned = m.counter("holdfast_ledger_abandoned_total").WithLabelValues()
	m.wait = m.histogram("holdfast_ledger_wait_seconds").WithLabelValues()
	m.batchSize = m.histogram("holdfast_ledger_batch_commands").WithLabelValues()
	stages := m.histogram("holdfast_ledger_batch_duration_seconds")
	for i, stage := range stageLabel.Values {
		m.stages[i] = stages.WithLabelValues(stage)
	}
	m.reruns = m.counter("holdfast_ledger_reruns_total").WithLabelValues()
	m.inDoubt = m.counter("holdfast_ledger_in_doubt_total").WithLabelValues()
	m.failures = m.counter("holdfast_ledger_batch_failures_total").WithLabelValues()

	m.holds = m.counter("holdfast_holds_ended_total")
	for _, as := range holdLabel.Values {
		m.holds.WithLabelValues(as)
	}
	m.paidShare = m.histogram("holdfast_user_paid_ratio").WithLabelValues()
	m.coolingDown = m.counter("holdfast_users_cooling_down_total").WithLabelValues()

	m.expiryLag = m.histogram("holdfast_expiry_lag_seconds").WithLabelValues()
	m.reminderLag = m.histogram("holdfast_reminder_lag_seconds").WithLabelValues()
	m.relayed = m.counter("holdfast_relay_events_total").WithLabelValues()
	m.relayLag = m.histogram("holdfast_relay_lag_seconds").WithLabelValues()
	m.removed = m.counter("holdfast_janitor_removed_total")
	for _, what := range janitorWhat {
		m.removed.WithLabelValues(what) // 0 says that nothing was thrown away; nothing would say nothing
	}
	m.auditLook = m.histogram("holdfast_auditor_look_seconds").WithLabelValues()
	m.violations = m.counter("holdfast_auditor_violations_total")
	for _, check := range auditorChecks {
		m.violations.WithLabelValues(check)
	}
	m.Read(func(_ context.Context, say Say) { say("holdfast_build_info", 1, version) })
	m.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce, Timeout: scrapeMax, ErrorHandling: promhttp.ContinueOnError,
	})
}

func (m *Metrics) counter(name string) *prometheus.CounterVec {
	c := m.metric(name, Counter)
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: c.Name, Help: c.Help}, c.labels())
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) histogram(name string) *prometheus.HistogramVec {
	c := m.metric(name, Histogram)
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: c.Name, Help: c.Help, Buckets: c.buckets}, c.labels())
	m.registry.MustRegister(v)
	return v
}

func (m *Metrics) metric(name string, kind Kind) Metric {
	c, ok := m.by[name]
	if !ok || c.Kind != kind {
		panic("telemetry: " + name + " is not in the catalogue as a " + string(kind))
	}
	return c
}

func (c *Metric) labels() []string {
	names := make([]string, len(c.Labels))
	for i, l := range c.Labels {
		names[i] = l.Name
	}
	return names
}

// one gives a value if it is one of the label's.
func (l *Label) one(value string) string {
	if l.Values == nil || slices.Contains(l.Values, value) {
		return value
	}
	return Other
}

// Say tells the value of a metric of the catalogue, with its labels in order.
type Say func(name string, value float64, labels ...string)

// Read registers what is read when the metrics are. What cannot be read now is not said: no value is better than a wrong one.
func (m *Metrics) Read(read func(context.Context, Say)) { m.registry.MustRegister(&reader{m, read}) }

// reader is a collector whose metrics are known by the catalogue only.
type reader struct {
	m    *Metrics
	read func(context.Context, Say)
}

func (*reader) Describe(chan<- *prometheus.Desc) {}

func (r *reader) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), readMax)
	defer cancel()
	r.read(ctx, func(name string, value float64, labels ...string) {
		c, ok := r.m.by[name]
		kind := map[Kind]prometheus.ValueType{Counter: prometheus.CounterValue, Gauge: prometheus.GaugeValue}[c.Kind]
		if !ok || kind == 0 {
			panic("telemetry: " + name + " is not in the catalogue as something that is read")
		}
		for i := range min(len(labels), len(c.Labels)) {
			labels[i] = c.Labels[i].one(labels[i])
		}
		to <- prometheus.MustNewConstMetric(prometheus.NewDesc(c.Name, c.Help, c.labels(), nil), kind, value, labels...)
	})
}

// Request is one request that was answered.
type Request struct {
	Route, Method string // the pattern, and the method as far as it is one
	Status        int
	Code          string // of a problem
	Limited       string // the subject whose quota was used up, of a request that was refused for it
	OrderNo       string // which order it was about, if one
	Panicked      bool
	Took          time.Duration
}

type routeKey struct {
	route, method string
	class         int
}

type routeSeries struct {
	count prometheus.Counter
	took  prometheus.Observer
}

// Request counts one answered request.
func (m *Metrics) Request(r *Request) {
	key := routeKey{r.Route, r.Method, r.Status / 100}
	s := (*m.routes.Load())[key]
	if s == nil {
		s = m.addRoute(key)
	}
	s.count.Inc()
	s.took.Observe(r.Took.Seconds())
	if r.Code != "" {
		m.problems.WithLabelValues(r.Code).Inc()
	}
	if r.Limited != "" {
		m.limited.WithLabelValues(limitLabel.one(r.Limited)).Inc()
	}
	if r.Panicked {
		m.panics.Inc()
	}
}

// addRoute finds the series of a route: looking them up by their labels at each request would cost more than counting.
func (m *Metrics) addRoute(key routeKey) *routeSeries {
	m.adding.Lock()
	defer m.adding.Unlock()
	class := Other
	if key.class >= 1 && key.class <= len(classLabel.Values) {
		class = classLabel.Values[key.class-1]
	}
	method := methodLabel.one(key.method)
	s := &routeSeries{m.requests.WithLabelValues(key.route, method, class), m.durations.WithLabelValues(key.route, method)}
	more := maps.Clone(*m.routes.Load())
	more[key] = s
	m.routes.Store(&more)
	return s
}

// Ordered counts what became of an order that was asked for.
func (m *Metrics) Ordered(by checkout.Judge, replayed bool, err error) {
	switch {
	case err == nil && replayed:
		m.replayed.Inc()
	case err == nil:
		m.placed.Inc()
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		m.refused.WithLabelValues(string(by), "given_up").Inc()
	default:
		m.refused.WithLabelValues(string(by), fault.Of(err).Code).Inc()
	}
}

// Batch counts one batch of the ledger.
func (m *Metrics) Batch(s ledger.BatchStats) {
	m.abandoned.Add(float64(s.Abandoned))
	if s.Commands == 0 {
		return
	}
	m.commands.WithLabelValues("settle").Add(float64(s.Settling))
	m.commands.WithLabelValues("open").Add(float64(s.Commands - s.Settling))
	m.wait.Observe(s.Waited.Seconds())
	m.batchSize.Observe(float64(s.Commands))
	for i, took := range s.Stages() {
		m.stages[i].Observe(took.Seconds())
	}
	m.held(&s.Holds)
	m.reruns.Add(float64(s.Reruns))
	if s.InDoubt {
		m.inDoubt.Inc()
	}
	if s.Err != nil {
		m.failures.Inc()
	}
}

// held counts what became of what was held.
func (m *Metrics) held(h *ledger.Holds) {
	m.holds.WithLabelValues("paid").Add(float64(h.Paid))
	m.holds.WithLabelValues("cancelled").Add(float64(h.Cancelled))
	m.holds.WithLabelValues("expired").Add(float64(h.Expired))
	for _, share := range h.Shares {
		m.paidShare.Observe(share)
	}
	m.coolingDown.Add(float64(h.CoolingDown))
}

// Expired notes how late an order was expired.
func (m *Metrics) Expired(late time.Duration) { m.expiryLag.Observe(late.Seconds()) }

// Reminded notes how late an order was reminded.
func (m *Metrics) Reminded(late time.Duration) { m.reminderLag.Observe(late.Seconds()) }

// Written notes that events were committed.
func (m *Metrics) Written(now time.Time) { m.written.CompareAndSwap(0, now.UnixNano()) }

// Relayed counts events that came into the log.
func (m *Metrics) Relayed(n int, now time.Time) {
	m.relayed.Add(float64(n))
	if first := m.written.Swap(0); first != 0 {
		m.relayLag.Observe(now.Sub(time.Unix(0, first)).Seconds())
	}
}

// Audited counts what a look of the auditor found.
func (m *Metrics) Audited(look audit.Look) {
	m.auditLook.Observe(look.Took.Seconds())
	label := m.by["holdfast_auditor_violations_total"].Labels[0]
	for i := range look.Checks {
		if c := &look.Checks[i]; c.Violations > 0 {
			m.violations.WithLabelValues(label.one(c.ID)).Add(float64(c.Violations))
		}
	}
}

// Removed counts rows that the janitor threw away.
func (m *Metrics) Removed(what string, n int64) {
	label := m.by["holdfast_janitor_removed_total"].Labels[0]
	m.removed.WithLabelValues(label.one(what)).Add(float64(n))
}
