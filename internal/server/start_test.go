package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/server"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestTheAdminKeyIsShownThoughTheFirstStartFailed(t *testing.T) {
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "r.db")
	cfg.Providers = []string{"nobody"}
	var out, log bytes.Buffer
	if _, err := server.Start(t.Context(), cfg, server.Options{Stdout: &out, Stderr: &log}); err == nil {
		t.Fatal("started with a provider that there is not")
	}
	cfg.Providers = nil
	s, err := server.Start(t.Context(), cfg, server.Options{Stdout: &out, Stderr: &log})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.Background()) //nolint:errcheck // a test
	if !strings.Contains(out.String(), "HOLDFAST_API_KEY=hf_live_") {
		t.Errorf("two starts, and the admin key was never shown:\n%s", out.String())
	}
}

// Several desks start at once over an empty database: one of them makes the admin key, and what it shows is true.
func TestOneOfSeveralDesksMakesTheAdminKey(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t)
	const desks = 3
	var shown [desks]bytes.Buffer
	var started [desks]*server.Server
	var all sync.WaitGroup
	for i := range desks {
		all.Go(func() {
			cfg := config.Default()
			cfg.Listen, cfg.DatabaseURL = "127.0.0.1:0", url
			s, err := server.Start(t.Context(), cfg, server.Options{Stdout: &shown[i], Stderr: &bytes.Buffer{}})
			if err != nil {
				t.Error(err)
				return
			}
			started[i] = s
		})
	}
	all.Wait()
	keys := 0
	for i, s := range started {
		if s != nil {
			t.Cleanup(func() { _ = s.Stop(context.Background()) })
		}
		keys += strings.Count(shown[i].String(), "HOLDFAST_API_KEY=hf_live_")
	}
	if keys != 1 {
		t.Errorf("%d desks have shown a key, want 1", keys)
	}
}

func TestADeskWhoseRecordMayLoseCommitsSaysSo(t *testing.T) {
	t.Parallel()
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL = "127.0.0.1:0", testenv.PostgresURL(t)+"&synchronous_commit=off"
	_, err := server.Start(t.Context(), cfg, server.Options{})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Fatalf("got %v, want it to name the setting", err)
	}
	cfg.Durability = config.DurabilityDegraded
	log := &testenv.Log{}
	s := run(t, cfg, log)
	for path, want := range map[string]string{"/readyz": `"status":"degraded"`, "/metrics": "\nholdfast_record_degraded 1\n"} {
		answer, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(answer.Body)
		_ = answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK || !strings.Contains(string(body), want) {
			t.Errorf("%s: %d %v, without %s", path, answer.StatusCode, err, want)
		}
	}
	if !strings.Contains(log.String(), "synchronous_commit is off") {
		t.Errorf("the log does not name the setting:\n%s", log.String())
	}
}
