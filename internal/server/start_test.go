package server_test

import (
	"bytes"
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/server"
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
