// Package telemetry names every metric of the desk in one place, with what it means.
package telemetry

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Buckets in seconds: from a tenth of a millisecond for what is in memory to seconds for what is stuck.
var (
	fast = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	lag  = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}
)

// Metrics are the desk's metrics, on a registry of their own.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec

	commands   *prometheus.CounterVec
	batchSize  prometheus.Histogram
	batchStage *prometheus.HistogramVec
	reruns     prometheus.Counter
	inDoubt    prometheus.Counter
	failures   prometheus.Counter

	expiryLag prometheus.Histogram
	relayed   prometheus.Counter
	pruned    *prometheus.CounterVec
}

// New registers all metrics.
func New(version string) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_http_requests_total", Help: "Requests answered, by route, method and status.",
		}, []string{"route", "method", "status"}),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "holdfast_http_request_seconds", Help: "Time from a request's header to its answer, by route.", Buckets: fast,
		}, []string{"route"}),
		commands: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_ledger_commands_total", Help: "Commands decided, by lane.",
		}, []string{"lane"}),
		batchSize: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_ledger_batch_commands", Help: "Commands that shared one transaction.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
		}),
		batchStage: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "holdfast_ledger_batch_seconds", Help: "Time of a batch in each of its stages.", Buckets: fast,
		}, []string{"stage"}),
		reruns: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_ledger_reruns_total", Help: "Times a batch was run again because the database asked for it.",
		}),
		inDoubt: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_ledger_in_doubt_total", Help: "Batches whose commit gave no answer, resolved by their id.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_ledger_batch_failures_total", Help: "Batches that failed or were split.",
		}),
		expiryLag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "holdfast_expiry_lag_seconds", Help: "Time from pay_by to the commit that expired the order.", Buckets: lag,
		}),
		relayed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "holdfast_relay_events_total", Help: "Events moved from the outbox into the log.",
		}),
		pruned: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "holdfast_janitor_removed_total", Help: "Rows that the janitor threw away, by what they were.",
		}, []string{"kind"}),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "holdfast_build_info", Help: "Always 1; the version is the label.", ConstLabels: prometheus.Labels{"version": version},
	})
	build.Set(1)
	m.registry.MustRegister(build, m.requests, m.durations, m.commands, m.batchSize, m.batchStage, m.reruns, m.inDoubt,
		m.failures, m.expiryLag, m.relayed, m.pruned,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Handler serves the metrics in Prometheus' format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second})
}

// Gauge registers a value that is read when the metrics are.
func (m *Metrics) Gauge(name, help string, labels map[string]string, read func() float64) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, read))
}

// Counter registers a sum that is read when the metrics are.
func (m *Metrics) Counter(name, help string, read func() float64) {
	m.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, read))
}

// Request counts one answered request.
func (m *Metrics) Request(route, method string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, method, strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}

// Batch counts one batch of the ledger.
func (m *Metrics) Batch(s ledger.BatchStats) {
	m.commands.WithLabelValues("settle").Add(float64(s.Settling))
	m.commands.WithLabelValues("open").Add(float64(s.Commands - s.Settling))
	m.batchSize.Observe(float64(s.Commands))
	for stage, took := range map[string]time.Duration{
		"begin": s.Begin, "load": s.Load, "decide": s.Decide, "save": s.Save, "commit": s.Commit,
	} {
		m.batchStage.WithLabelValues(stage).Observe(took.Seconds())
	}
	m.reruns.Add(float64(s.Reruns))
	if s.InDoubt {
		m.inDoubt.Inc()
	}
	if s.Err != nil {
		m.failures.Inc()
	}
}

// Expired notes how late an order was expired.
func (m *Metrics) Expired(late time.Duration) { m.expiryLag.Observe(late.Seconds()) }

// Relayed counts events that came into the log.
func (m *Metrics) Relayed(n int) { m.relayed.Add(float64(n)) }

// Pruned counts rows that the janitor threw away.
func (m *Metrics) Pruned(kind string, n int64) { m.pruned.WithLabelValues(kind).Add(float64(n)) }
