package sqlstore_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// record is a store as the suite wants it.
type record struct{ *sqlstore.Store }

func (r record) Audit(ctx context.Context) (audit.Report, error) {
	return r.Store.Audit(ctx, sqlstore.AuditOptions{})
}

func TestSQLiteInMemoryConforms(t *testing.T) { conform.Run(t, inMemory) }

func TestSQLiteOnDiskConforms(t *testing.T) {
	conform.Run(t, func(t *testing.T, clock func() time.Time) conform.Record {
		t.Helper()
		return openRecord(t, "sqlite:"+filepath.Join(t.TempDir(), "conform.db"), clock)
	})
}

func inMemory(t *testing.T, clock func() time.Time) conform.Record {
	t.Helper()
	return openRecord(t, "sqlite::memory:", clock)
}

func openRecord(t *testing.T, url string, clock func() time.Time) record {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Clock: clock, Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	steps, err := s.Migrations(t.Context())
	switch {
	case err == nil && steps[0].Applied:
		_, err = s.Migrate(t.Context())
	case err == nil:
		err = s.MakeTables(t.Context())
	}
	if err != nil {
		t.Fatal(err)
	}
	return record{s}
}

// The bar is a thousand sequences of a hundred steps.
func TestRandomCommandsDoWhatTheModelSays(t *testing.T) {
	t.Parallel()
	conform.RunModel(t, inMemory, modelSequences, 100)
}
