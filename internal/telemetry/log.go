package telemetry

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/term"
)

// Logger makes the process' logger, from the given level on: "text" for people, "json" for programs; anything else means text
// on a terminal and JSON elsewhere. Only the fields on the list get through, no value can break a line, and a storm of the
// same message is thinned out.
func Logger(w io.Writer, format string, level slog.Level) *slog.Logger {
	if w == nil {
		return slog.New(slog.DiscardHandler)
	}
	opt := &slog.HandlerOptions{Level: level}
	var lines slog.Handler = slog.NewTextHandler(w, opt)
	if format == "json" || (format != "text" && !terminal(w)) {
		lines = slog.NewJSONHandler(w, opt)
	}
	allowed := map[string]bool{}
	for _, f := range LogFields() {
		allowed[f.Name] = true
	}
	return slog.New(&listed{lines: lines, allowed: allowed, storm: &storm{by: map[string]*allowance{}}})
}

func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// LogField is a field that a log line may carry.
type LogField struct{ Name, Means string }

// LogFields is the list of all fields a log line may carry. It is a list of what is allowed: what is forbidden (keys,
// signatures, names, addresses, whatever a merchant puts into metadata) has no end. A user_id is personal data and not on it.
func LogFields() []LogField {
	return []LogField{
		{"request_id", "as in the answer's X-Request-Id"},
		{"trace_id", "of the request's trace, where it is traced"},
		{"method", "of the request; one of HTTP's, or other"},
		{"route", "the pattern that the request matched, never its path"},
		{"status", "of the answer"},
		{"took", "how long it took"},
		{"code", "of the problem that was answered"},
		{"key_id", "which API key was used: its id, never the key"},
		{"setting", "the database's setting that it is about, and what it must be"},
		{"order_no", "which order it was about"},
		{"product_id", "which product it was about"},
		{"err", "what went wrong, in our words and the database's; no statement's values"},
		{"panic", "what a panic was about: a mistake of the language in words, anything else as its type"},
		{"stack", "where a panic happened"},
		{"loop", "the loop that failed"},
		{"commands", "how many commands were in the batch"},
		{"run", "which run of the batch"},
		{"count", "how many"},
		{"kind", "of rows, when some were thrown away"},
		{"by", "how far the clock jumped"},
		{"for", "how long it takes"},
		{"url", "where the process itself listens"},
		{"suppressed", "how many lines with this message were left out since the last one"},
	}
}

// Limits of a log line.
const (
	valueBytesMax = 4 << 10
	stackBytesMax = 16 << 10
)

// unlisted is what stands in the place of a value whose field is not on the list.
const unlisted = "(not on the list of fields)"

// listed is the handler that lets through what is on the list.
type listed struct {
	lines   slog.Handler
	allowed map[string]bool
	storm   *storm
}

func (h *listed) Enabled(ctx context.Context, level slog.Level) bool {
	return h.lines.Enabled(ctx, level)
}

func (h *listed) Handle(ctx context.Context, r slog.Record) error {
	suppressed, ok := h.storm.admits(r.Level, r.Message, r.Time)
	if !ok {
		return nil
	}
	fit := slog.NewRecord(r.Time, r.Level, clean(r.Message, valueBytesMax), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		fit.AddAttrs(h.fit(a))
		return true
	})
	if span := trace.SpanContextFromContext(ctx); span.HasTraceID() {
		fit.AddAttrs(slog.String("trace_id", span.TraceID().String()))
	}
	if suppressed > 0 {
		fit.AddAttrs(slog.Int64("suppressed", suppressed))
	}
	return h.lines.Handle(ctx, fit)
}

func (h *listed) WithAttrs(attrs []slog.Attr) slog.Handler {
	fit := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		fit[i] = h.fit(a)
	}
	return &listed{h.lines.WithAttrs(fit), h.allowed, h.storm}
}

// WithGroup makes no group: the list knows no nesting, and a name it knows means the same everywhere.
func (h *listed) WithGroup(string) slog.Handler { return h }

func (h *listed) fit(a slog.Attr) slog.Attr {
	if !h.allowed[a.Key] {
		return slog.String(clean(a.Key, valueBytesMax), unlisted)
	}
	most := valueBytesMax
	if a.Key == "stack" {
		most = stackBytesMax
	}
	switch v := a.Value.Resolve(); v.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(clean(v.String(), most))
	case slog.KindAny, slog.KindGroup, slog.KindLogValuer:
		a.Value = slog.StringValue(clean(fmt.Sprint(v.Any()), most))
	default:
		a.Value = v
	}
	return a
}

// clean cuts a text, and takes out what a terminal might obey and JSON would let through. Line ends and escapes are quoted by
// the formats themselves.
func clean(text string, most int) string {
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + " …"
	}
	return strings.Map(func(c rune) rune {
		switch {
		case c >= 0x7f && c <= 0x9f, c >= 0x202a && c <= 0x202e, c >= 0x2066 && c <= 0x2069:
			return '\ufffd'
		}
		return c
	}, text)
}

// A storm of errors must not fill a disk: of each message linesAtOnce may come at once and then one every linesEvery. What is
// left out is counted, on the next line and in a metric. Debug lines are not thinned out: whoever asks for them wants them all.
const (
	linesAtOnce  = 20
	linesEvery   = time.Second
	messagesKept = 256 // messages are constants of the program; beyond this many they share one allowance
)

type storm struct {
	mu         sync.Mutex
	by         map[string]*allowance
	suppressed atomic.Int64
	warnings   atomic.Int64
	errors     atomic.Int64
}

// allowance is how many lines of a message may still come: it fills up with time.
type allowance struct {
	left       int
	since      time.Time // it was last filled up
	suppressed int64
}

func (s *storm) admits(level slog.Level, message string, now time.Time) (suppressed int64, ok bool) {
	switch {
	case level < slog.LevelInfo:
		return 0, true
	case level >= slog.LevelError:
		s.errors.Add(1)
	case level >= slog.LevelWarn:
		s.warnings.Add(1)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.by[message]; !known && len(s.by) >= messagesKept {
		message = ""
	}
	a := s.by[message]
	if a == nil {
		a = &allowance{left: linesAtOnce, since: now}
		s.by[message] = a
	}
	if more := now.Sub(a.since) / linesEvery; more > 0 {
		a.left = int(min(linesAtOnce, time.Duration(a.left)+more))
		a.since = now
	}
	if a.left == 0 {
		a.suppressed++
		s.suppressed.Add(1)
		return 0, false
	}
	a.left--
	suppressed, a.suppressed = a.suppressed, 0
	return suppressed, true
}

// LogCounts is how many lines were worth a warning or an error, written or not, and how many were left out.
type LogCounts struct{ Warnings, Errors, Suppressed int64 }

// CountsOf tells what a Logger has logged so far.
func CountsOf(l *slog.Logger) LogCounts {
	h, ok := l.Handler().(*listed)
	if !ok {
		return LogCounts{}
	}
	return LogCounts{h.storm.warnings.Load(), h.storm.errors.Load(), h.storm.suppressed.Load()}
}

// ConnectionLog takes what net/http says about connections. That none can be accepted is worth a warning. The rest is about one
// client, at debug level, and cut before it names his address.
func ConnectionLog(to *slog.Logger) *log.Logger { return log.New(connections{to}, "", 0) }

type connections struct{ log *slog.Logger }

func (c connections) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: Accept error") {
		c.log.Warn("connections cannot be accepted", "err", text)
		return len(line), nil
	}
	for _, before := range []string{" from ", " serving ", "\n"} {
		text, _, _ = strings.Cut(text, before)
	}
	c.log.Debug("connection", "err", text)
	return len(line), nil
}
