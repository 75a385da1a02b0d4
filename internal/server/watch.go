package server

import (
	"context"
	"net/http"
	"time"

	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/httpapi"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/telemetry"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// outboxCounted is how far the events that wait are counted for a metric.
const outboxCounted = 100_000

// tracesGrace is how long a stop waits for the collector to take the last traces.
const tracesGrace = 2 * time.Second

// startTracer starts traces, if somebody takes them.
func (s *Server) startTracer(ctx context.Context) (err error) {
	if s.cfg.OTLPEndpoint == "" {
		return nil
	}
	s.tracer, err = telemetry.NewTracer(ctx, telemetry.TracerOptions{
		Endpoint: s.cfg.OTLPEndpoint, Ratio: s.cfg.TraceRatio, Version: s.version, Log: s.log,
	})
	return err
}

// stopWatching sends the last traces and ends the profiles. What is not taken in time is dropped: nobody waits for telemetry.
func (s *Server) stopWatching(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, tracesGrace)
	defer cancel()
	if s.tracer != nil {
		if err := s.tracer.Close(ctx); err != nil {
			s.log.Warn("last traces not sent", "err", err)
		}
	}
	if s.admin != nil {
		s.admin.stop(ctx)
	}
}

// What the parts tell goes to the metrics, and to the traces if there are any.

func (s *Server) answered(a *httpapi.Answered) {
	r := telemetry.Request(*a)
	s.metrics.Request(&r)
}

func (s *Server) batch(stats ledger.BatchStats) {
	s.metrics.Batch(stats)
	if s.tracer != nil {
		s.tracer.Batch(stats)
	}
}

func (s *Server) relayed(n int) {
	now := time.Now()
	s.metrics.Relayed(n, now)
	if s.tracer != nil {
		s.tracer.Relayed(n, now)
	}
}

// followed is nil, which costs nothing, when nothing is traced; so is trace.
func (s *Server) followed() func(context.Context) bool {
	if s.tracer == nil {
		return nil
	}
	return s.tracer.Follows
}

func (s *Server) trace() func(*http.Request) (context.Context, func(*httpapi.Answered)) {
	if s.tracer == nil {
		return nil
	}
	return func(r *http.Request) (context.Context, func(*httpapi.Answered)) {
		ctx, ended := s.tracer.Begin(r)
		if ended == nil {
			return nil, nil
		}
		return ctx, func(a *httpapi.Answered) {
			r := telemetry.Request(*a)
			ended(&r)
		}
	}
}

// parts are what can be looked at.
type parts struct {
	gate      *inproc.Gate
	marks     *inproc.KeyMarks
	orders    orderCache
	countdown *inproc.Countdown
	limiter   *inproc.Limiter
	expirer   *worker.Expirer
	hub       *feed.Hub
	auditor   *worker.Auditor
}

// measure registers what is read when the metrics are.
func (s *Server) measure(p parts) {
	s.metrics.Read(func(ctx context.Context, say telemetry.Say) {
		s.measureDoor(p, say)
		s.measureDesk(p, say)
		s.measureRecord(say)
		if n, oldest, err := s.store.Waiting(ctx, outboxCounted); err == nil {
			say("holdfast_outbox_waiting", float64(n))
			say("holdfast_outbox_oldest_seconds", age(oldest))
		}
	})
}

func (s *Server) measureDoor(p parts, say telemetry.Say) {
	load := s.api.Load()
	say("holdfast_http_requests_in_flight", float64(load.InFlight))
	say("holdfast_http_connections", float64(s.listener.open.Load()))
	say("holdfast_http_connections_limit", connectionsMax)
	say("holdfast_http_lists_running", float64(load.Lists))
	say("holdfast_http_lists_limit", float64(load.ListsMax))
	say("holdfast_streams_open", float64(s.api.Streams()))
	say("holdfast_streams_limit", float64(s.cfg.StreamsMax))
	pages, pagesMax := s.api.PageStreams()
	say("holdfast_page_streams_open", float64(pages))
	say("holdfast_page_streams_limit", float64(pagesMax))
	say("holdfast_streams_slow_total", float64(p.hub.Slow()))
	say("holdfast_keyring_keys", float64(load.KnownKeys), "known")
	say("holdfast_keyring_keys", float64(load.Unknown), "unknown")
	say("holdfast_keyring_lookups_total", float64(load.KeyLookups))
	say("holdfast_sessions_remembered", float64(load.Sessions))
	say("holdfast_session_lookups_total", float64(load.SessionLookups))
	say("holdfast_limiter_keys", float64(p.limiter.Keys()))
	say("holdfast_ready", bit(s.ready.Load()))

	lines := telemetry.CountsOf(s.log)
	say("holdfast_log_lines_total", float64(lines.Warnings), "warn")
	say("holdfast_log_lines_total", float64(lines.Errors), "error")
	say("holdfast_log_suppressed_total", float64(lines.Suppressed))
	var spans telemetry.SpanCounts
	if s.tracer != nil {
		spans = s.tracer.Counts()
	}
	say("holdfast_trace_spans_total", float64(spans.Ended), "ended")
	say("holdfast_trace_spans_total", float64(spans.Sent), "sent")
	say("holdfast_trace_spans_total", float64(spans.Failed), "failed")
}

func (s *Server) measureDesk(p parts, say telemetry.Say) {
	for lane, name := range map[ledger.Lane]string{ledger.Open: "open", ledger.Settle: "settle"} {
		say("holdfast_ledger_waiting", float64(s.ledger.Waiting(lane)), name)
		say("holdfast_ledger_waiting_limit", float64(s.ledger.WaitingMax(lane)), name)
	}
	gate := p.gate.Counts()
	say("holdfast_gate_products", float64(gate.Products))
	say("holdfast_gate_probes_total", float64(gate.Probes))
	say("holdfast_gate_marks_ready", bit(p.marks.IsReady()))
	say("holdfast_gate_key_looks_total", float64(gate.KeyLooks))
	cache := p.orders.Counts()
	say("holdfast_order_cache_orders", float64(cache.Orders))
	say("holdfast_order_cache_lookups_total", float64(cache.Hits), "hit")
	say("holdfast_order_cache_lookups_total", float64(cache.Misses), "miss")
	say("holdfast_countdown_deadlines", float64(p.countdown.Len()))
	say("holdfast_expirer_paused", bit(p.expirer.Paused()))
	look := p.auditor.Last()
	say("holdfast_auditor_last_look_timestamp_seconds", max(float64(look.At.UnixMilli())/1000, 0))
	say("holdfast_auditor_behind_seconds", look.Behind.Seconds())
	say("holdfast_products_quarantined", float64(look.Quarantined))
}

func (s *Server) measureRecord(say telemetry.Say) {
	h := s.store.Health()
	for kind, n := range h.Statements {
		say("holdfast_sql_statements_total", float64(n), kind)
	}
	say("holdfast_sql_readers_in_use", float64(h.ReadersInUse))
	say("holdfast_sql_readers_limit", float64(h.ReadersMax))
	say("holdfast_sql_reader_waits_total", float64(h.ReaderWaits))
	say("holdfast_sql_reader_wait_seconds_total", h.ReaderWaited.Seconds())
	say("holdfast_sql_writers_in_use", float64(h.WritersInUse))
	say("holdfast_sql_writers_limit", float64(h.WritersMax))
	say("holdfast_sql_writer_waits_total", float64(h.WriterWaits))
	say("holdfast_sql_writer_wait_seconds_total", h.WriterWaited.Seconds())
	say("holdfast_record_degraded", bit(len(s.store.Weaknesses()) > 0))
	say("holdfast_sqlite_file_bytes", float64(h.FileBytes), "database")
	say("holdfast_sqlite_file_bytes", float64(h.WALBytes), "wal")
	say("holdfast_sqlite_checkpoints_total", float64(h.Checkpoints))
}

func age(since time.Time) float64 {
	if since.IsZero() {
		return 0
	}
	return time.Since(since).Seconds()
}

func bit(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
