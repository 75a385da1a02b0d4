package sqlstore_test

import (
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
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

// anything lets anything be written, in a transaction that plants violations.
const anything = `
	CREATE FUNCTION randomblob(n INTEGER) RETURNS BYTEA LANGUAGE sql AS $$ SELECT substr(decode(md5(random()::text), 'hex'), 1, n) $$;
	DO $$ DECLARE c RECORD; BEGIN
		FOR c IN SELECT conrelid::regclass AS t, conname AS n FROM pg_constraint WHERE contype = 'c' AND connamespace = current_schema()::regnamespace
		LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.n); END LOOP; END $$`

// The same violations as on SQLite are found, and no others.
func TestEachCheckFindsWhatBreaksItOnPostgreSQL(t *testing.T) {
	t.Parallel()
	url := testenv.PostgresURL(t) + "&synchronous_commit=off"
	v, err := live(url)
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Clock: func() time.Time { return v.now }, Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	report, err := s.Audit(t.Context(), sqlstore.AuditOptions{})
	if err != nil || !report.Clean {
		t.Fatalf("a clean record: %v, %v", err, offenders(report))
	}
	findsEach(t, v, func(t *testing.T, plant string) audit.Report {
		t.Helper()
		report, err := s.AuditAfter(t.Context(), sqlstore.AuditOptions{}, anything, v.fill(plant))
		if err != nil {
			t.Fatal(err)
		}
		return report
	})
}
