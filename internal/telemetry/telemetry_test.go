package telemetry

import (
	"context"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

var update = flag.Bool("update", false, "write docs/metrics.md again")

func TestTelemetryIsDocumented(t *testing.T) {
	const path = "../../docs/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(Markdown()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != Markdown() {
		t.Errorf("%s is stale: run make generate", path)
	}
}

// The conventions are https://prometheus.io/docs/practices/naming/.
func TestEveryMetricIsNamedByTheConventions(t *testing.T) {
	form := regexp.MustCompile(`^holdfast_[a-z]+(_[a-z]+)*$`)
	seen := map[string]bool{}
	for _, m := range Catalogue() {
		switch {
		case !form.MatchString(m.Name):
			t.Errorf("%s is not spelled like a metric of ours", m.Name)
		case seen[m.Name]:
			t.Errorf("%s stands there twice", m.Name)
		case (m.Kind == Counter) != strings.HasSuffix(m.Name, "_total"):
			t.Errorf("%s is a %s: counters, and they alone, end with _total", m.Name, m.Kind)
		case m.Kind == Histogram && (m.buckets == nil || !strings.HasSuffix(m.Name, "_seconds") && !strings.HasSuffix(m.Name, "_ratio") && !strings.HasSuffix(m.Name, "_commands")):
			t.Errorf("%s has no buckets or no unit", m.Name)
		case m.Help == "" || !strings.HasSuffix(m.Help, "."):
			t.Errorf("%s has no help text that is a sentence", m.Name)
		case strings.ContainsAny(m.Help+m.Alarm, "|\n"):
			t.Errorf("the texts of %s break the table", m.Name)
		}
		for _, l := range m.Labels {
			if l.Values == nil && l.Means == "" {
				t.Errorf("%s: nobody says what bounds the label %s", m.Name, l.Name)
			}
		}
		seen[m.Name] = true
	}
}

// What clients and others send never becomes a label: whatever is made up counts as other.
func TestNoLabelTakesValuesFromOutside(t *testing.T) {
	m := New("test")
	for _, made := range []string{"MADE-UP", "a\nb", strings.Repeat("x", 1000)} {
		m.Request(&Request{Route: "/v1/orders", Method: made, Status: 200})
		m.Request(&Request{Route: "/v1/orders", Method: made, Status: 1234})
		m.Removed(made, 1)
	}
	m.Ordered(checkout.TheLedger, false, errors.New("made-up"))
	m.Ordered(checkout.TheLedger, false, context.Canceled)
	read := func(_ context.Context, say Say) { say("holdfast_sql_statements_total", 1, "made-up") }
	m.Read(read)
	text := scrape(t, m)
	for _, bad := range []string{"MADE-UP", "made-up", "xxx", `a\nb`} {
		if strings.Contains(text, bad) {
			t.Errorf("%q became a label:\n%s", bad, lines(text, bad))
		}
	}
	for _, want := range []string{
		`holdfast_http_requests_total{method="other",route="/v1/orders",status="2xx"} 3`,
		`holdfast_http_requests_total{method="other",route="/v1/orders",status="other"} 3`,
		`holdfast_janitor_removed_total{what="other"} 3`,
		`holdfast_orders_refused_total{by="ledger",code="internal"} 1`,
		`holdfast_orders_refused_total{by="ledger",code="given_up"} 1`,
		`holdfast_sql_statements_total{kind="other"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s in\n%s", want, lines(text, "holdfast_"))
		}
	}
}

func TestWhatIsNotInTheCatalogueIsNotRegistered(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a metric that nobody has described was registered")
		}
	}()
	New("test").counter("holdfast_surprise_total")
}

func TestBatchIsCounted(t *testing.T) {
	m := New("test")
	m.Batch(ledger.BatchStats{
		Commands: 5, Settling: 2, Abandoned: 1, Waited: time.Second, Begin: time.Millisecond, Commit: 3 * time.Second, Reruns: 2,
		InDoubt: true, Err: errors.New("x"),
	})
	m.Batch(ledger.BatchStats{Abandoned: 4})
	m.Ordered(checkout.TheGate, false, fault.ErrOutOfStock)
	m.Ordered(checkout.TheLedger, true, nil)
	start := time.Now()
	m.Written(start)
	m.Written(start.Add(time.Second))
	m.Relayed(7, start.Add(3*time.Second))
	m.Relayed(1, start.Add(time.Hour)) // nothing was written since: no lag is made up
	text := scrape(t, m)
	for _, want := range []string{
		`holdfast_ledger_commands_total{lane="settle"} 2`,
		`holdfast_ledger_commands_total{lane="open"} 3`,
		`holdfast_ledger_abandoned_total 5`,
		`holdfast_ledger_wait_seconds_sum 1`,
		`holdfast_ledger_batch_commands_count 1`,
		`holdfast_ledger_batch_duration_seconds_sum{stage="commit"} 3`,
		`holdfast_ledger_batch_duration_seconds_sum{stage="begin"} 0.001`,
		`holdfast_ledger_reruns_total 2`,
		`holdfast_ledger_in_doubt_total 1`,
		`holdfast_ledger_batch_failures_total 1`,
		`holdfast_orders_refused_total{by="gate",code="out_of_stock"} 1`,
		`holdfast_orders_replayed_total 1`,
		`holdfast_relay_events_total 8`,
		`holdfast_relay_lag_seconds_sum 3`,
		`holdfast_relay_lag_seconds_count 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s in\n%s", want, lines(text, "holdfast_"))
		}
	}
}

func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != 200 {
		t.Fatalf("got %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// lines are those of a text that have something in them.
func lines(text, with string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, with) && !strings.HasPrefix(line, "#") {
			found = append(found, line)
		}
	}
	return strings.Join(found, "")
}

func BenchmarkRequest(b *testing.B) {
	m := New("bench")
	r := &Request{Route: "/v1/orders", Method: "POST", Status: 201, Took: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		m.Request(r)
	}
}

func BenchmarkBatch(b *testing.B) {
	m := New("bench")
	s := ledger.BatchStats{Commands: 128, Settling: 3, Begin: 1, Load: 2, Decide: 3, Save: 4, Commit: 5}
	b.ReportAllocs()
	for b.Loop() {
		m.Batch(s)
	}
}
