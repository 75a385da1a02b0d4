package sqlstore_test

import (
	"path/filepath"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// database is a kind of record that the tests of the store run over.
type database struct {
	name   string
	server bool // several processes share it, each with a store of its own; and everything takes longer there
	url    func(t *testing.T) string
}

// databases are all kinds. On a server nobody waits for the disk, where that can be said: what a crash leaves is asked elsewhere.
var databases = []database{
	{"SQLite", false, func(*testing.T) string { return "sqlite::memory:" }},
	{"PostgreSQL", true, func(t *testing.T) string {
		t.Helper()
		return testenv.PostgresURL(t) + "&synchronous_commit=off"
	}},
	{"MariaDB", true, func(t *testing.T) string {
		t.Helper()
		return testenv.MariaDBURL(t)
	}},
}

// onDisk is the same with SQLite's record in a file.
func (d database) onDisk() database {
	if d.server {
		return d
	}
	d.url = func(t *testing.T) string {
		t.Helper()
		return "sqlite:" + filepath.Join(t.TempDir(), "record.db")
	}
	return d
}
