package server

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/telemetry"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestEveryMetricOfTheCatalogueIsThereWithItsHelp(t *testing.T) {
	a := newAviary(t, config.LogJSON)
	a.prepare()
	a.order1("first") // again
	a.order1("second")
	a.ask("POST", "/v1/orders", `{"user_id":"u","lines":[{"product_id":"sku-1","quantity":9999}]}`, nil)
	a.ask("GET", "/v1/orders/"+a.order, "", nil)
	a.ask("GET", "/v1/orders/202611250000099", "", nil)
	text := string(a.ask("GET", "/metrics", "", nil))
	help := map[string]string{}
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "# HELP "); ok {
			name, sentence, _ := strings.Cut(strings.TrimSpace(rest), " ")
			help[name] = sentence
		}
	}
	for _, m := range telemetry.Catalogue() {
		if help[m.Name] != m.Help {
			t.Errorf("%s has the help %q, want %q", m.Name, help[m.Name], m.Help)
		}
		delete(help, m.Name)
	}
	for name, sentence := range help {
		if strings.HasPrefix(name, "holdfast_") || sentence == "" {
			t.Errorf("%s is not in the catalogue, or has no help", name)
		}
	}
	for _, want := range []string{
		`holdfast_orders_placed_total 2`, `holdfast_orders_replayed_total 1`, `holdfast_ready 1`, `holdfast_http_requests_in_flight 1`,
		`holdfast_http_connections_limit 10000`, `holdfast_ledger_waiting_limit{lane="settle"} 8192`, `holdfast_gate_products 1`,
		`holdfast_order_cache_lookups_total{result="miss"} 1`, `holdfast_http_problems_total{code="payment_mismatch"} 1`,
		`holdfast_sql_readers_limit 4`, `holdfast_http_requests_total{method="POST",route="/v1/orders",status="2xx"} 3`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	for _, rises := range []string{
		`holdfast_sqlite_file_bytes{file="database"}`, `holdfast_sqlite_file_bytes{file="wal"}`, `holdfast_sql_statements_total{kind="insert"}`,
		`holdfast_http_connections`, `holdfast_keyring_lookups_total`,
	} {
		if strings.Contains(text, "\n"+rises+" 0\n") || !strings.Contains(text, "\n"+rises+" ") {
			t.Errorf("%s has not moved", rises)
		}
	}
}

// What Grafana and Prometheus are told to look at must be there to be looked at.
func TestDashboardAndAlertsNameMetricsThatExist(t *testing.T) {
	known := map[string]bool{}
	for _, m := range telemetry.Catalogue() {
		known[m.Name] = true
		if m.Kind == telemetry.Histogram {
			known[m.Name+"_bucket"], known[m.Name+"_sum"], known[m.Name+"_count"] = true, true, true
		}
	}
	name := regexp.MustCompile(`holdfast_[a-z_]+`)
	for _, file := range []string{"grafana/holdfast.json", "prometheus/alerts.yaml"} {
		text, err := os.ReadFile("../../deploy/" + file)
		if err != nil {
			t.Fatal(err)
		}
		found := name.FindAllString(string(text), -1)
		if len(found) < 10 {
			t.Errorf("%s names %d metrics", file, len(found))
		}
		for _, m := range found {
			if !known[m] {
				t.Errorf("%s looks at %s, which there is not", file, m)
			}
		}
	}
}

// From where on a number needs a person is said by the catalogue, and by nothing else.
func TestAlertsBeginWhereTheCatalogueSaysSo(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]string{}
	for _, rule := range regexp.MustCompile(`expr: (holdfast_[a-z_]+) > (\d+)\n`).FindAllStringSubmatch(string(rules), -1) {
		by[rule[1]] = rule[2]
	}
	if by["holdfast_outbox_oldest_seconds"] == "" {
		t.Errorf("no rule looks at the age of the outbox: %v", by)
	}
	for _, m := range telemetry.Catalogue() {
		if limit := by[m.Name]; limit != "" && !strings.HasPrefix(m.Alarm, "above "+limit+" ") {
			t.Errorf("%s: a rule begins above %s, and the catalogue says %q", m.Name, limit, m.Alarm)
		}
	}
	guide, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	if own := regexp.MustCompile(`holdfast_[a-z_]+.*(above|below) \d+`).FindString(string(guide)); own != "" {
		t.Errorf("operate.md has a figure of its own: %s", own)
	}
}

func TestReadinessSaysWhatIsNotReady(t *testing.T) {
	a := newAviary(t, config.LogJSON)
	if got := string(a.ask("GET", "/readyz", "", nil)); !strings.Contains(got, `"ready"`) {
		t.Errorf("got %s, want ready", got)
	}
	a.s.ready.Store(false)
	if got := string(a.ask("GET", "/readyz", "", nil)); !strings.Contains(got, "starting or stopping") {
		t.Errorf("got %s, want it to say that the desk is stopping", got)
	}
	a.s.ready.Store(true)
	if err := a.s.store.Close(); err != nil {
		t.Fatal(err)
	}
	if got := string(a.ask("GET", "/readyz", "", nil)); !strings.Contains(got, "The record does not answer.") || strings.Contains(got, "sql") {
		t.Errorf("got %s, want it to say that the record does not answer, and not why", got)
	}
}

func TestProfilesAreServedToTheOperatorOnly(t *testing.T) {
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL, cfg.AdminListen = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "r.db"), "127.0.0.1:0"
	log := &testenv.Log{}
	s, err := Start(t.Context(), cfg, Options{Stderr: log})
	if err != nil {
		t.Fatal(err)
	}
	url := regexp.MustCompile(`http://127\.0\.0\.1:\d+/debug/pprof/`).FindString(log.String())
	if strings.Contains(log.String(), "other machines") {
		t.Errorf("warned although nobody else can reach it: %s", log)
	}
	for page, want := range map[string]int{
		"": 200, "heap": 200, "goroutine?debug=1": 200, "block": 200, "mutex": 200, "cmdline": 404, "../../metrics": 404, "none": 404,
	} {
		response, err := http.Get(url + page)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s: got %d, want %d", page, response.StatusCode, want)
		}
	}
	if runtime.SetMutexProfileFraction(-1) != mutexProfileOneIn {
		t.Error("contended locks are not noted while profiles are on")
	}
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if runtime.SetMutexProfileFraction(-1) != 0 {
		t.Error("contended locks are noted after the profiles went off")
	}
	if _, err := http.Get(url); err == nil {
		t.Error("profiles are served by a desk that has stopped")
	}
}

func TestProfilesOnATakenPortStopTheStartBeforeTheRecordIsOpened(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	cfg := config.Default()
	path := filepath.Join(t.TempDir(), "r.db")
	cfg.Listen, cfg.DatabaseURL, cfg.AdminListen = "127.0.0.1:0", "sqlite:"+path, taken.Addr().String()
	if _, err := Start(t.Context(), cfg, Options{}); err == nil || !strings.Contains(err.Error(), "listen for admin") {
		t.Errorf("got %v, want an error that says which listener failed", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a record was made: %v", err)
	}
}

func TestOnlyLoopbackIsTakenForPrivate(t *testing.T) {
	for address, want := range map[string]bool{"127.0.0.1:1": true, "[::1]:1": true, "0.0.0.0:1": false, "[::]:1": false, "192.0.2.1:1": false} {
		at, err := net.ResolveTCPAddr("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if got := loopback(at); got != want {
			t.Errorf("%s is loopback: %t, want %t", address, got, want)
		}
	}
}

// A collector that is away must not hold up a stop.
func TestStopDoesNotWaitForTheCollector(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "r.db")
	cfg.OTLPEndpoint, cfg.TraceRatio = "http://"+silent.Addr().String(), 1
	var log bytes.Buffer
	s, err := Start(t.Context(), cfg, Options{Stderr: &log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	response, err := http.Get(s.URL() + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	begun := time.Now()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > stopWithin {
		t.Errorf("the stop took %s", took)
	}
	if err := <-served; err != nil {
		t.Error(err)
	}
}
