package sqlstore_test

import (
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// onPostgres opens a record that nobody waits for the disk of: what a crash leaves is asked elsewhere.
func onPostgres(t *testing.T, clock func() time.Time) conform.Record {
	t.Helper()
	return openRecord(t, testenv.PostgresURL(t)+"&synchronous_commit=off", clock)
}

func TestPostgreSQLConforms(t *testing.T) { conform.Run(t, onPostgres) }

// Fewer than on SQLite: each sequence has a database of its own to be made.
func TestRandomCommandsDoWhatTheModelSaysOnPostgreSQL(t *testing.T) {
	t.Parallel()
	conform.RunModel(t, onPostgres, 100, 100)
}
