package server_test

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/server"
)

const (
	chosenKey = "an-admin-key-of-this-test-0123456789"
	untilMax  = time.Minute // for what has to come true
)

// ofItsOwn is how a desk is set up that stands on a file of the test's.
func ofItsOwn(t *testing.T) config.Config {
	t.Helper()
	cfg := config.Default()
	cfg.Listen, cfg.DatabaseURL, cfg.AdminKey = "127.0.0.1:0", "sqlite:"+filepath.Join(t.TempDir(), "desk.db"), chosenKey
	return cfg
}

// run serves until the test ends.
func run(t *testing.T, cfg config.Config, log io.Writer) *server.Server {
	t.Helper()
	s, err := server.Start(t.Context(), cfg, server.Options{Stdout: io.Discard, Stderr: log})
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve() }()
	t.Cleanup(func() {
		stopping, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(s.Stop(stopping), <-served); err != nil {
			t.Error(err)
		}
	})
	return s
}
