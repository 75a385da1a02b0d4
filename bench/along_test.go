package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestNobodyWaitsForAnAuditorThatHangs(t *testing.T) {
	hangs := filepath.Join(t.TempDir(), "holdfast")
	if err := os.WriteFile(hangs, []byte("#!/bin/sh\nexec sleep 60\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &runner{executable: hangs, progress: newProgress(io.Discard)}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := r.lookAlong(ctx, nil, ""); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it was waited for as long as %s", took)
	}
}
