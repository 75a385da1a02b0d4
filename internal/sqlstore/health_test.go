package sqlstore

import (
	"testing"
)

func TestHealthSeesStatementsFilesAndCheckpoints(t *testing.T) {
	s, err := Open(t.Context(), "sqlite:"+t.TempDir()+"/h.db", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	share := func(name string) {
		t.Helper()
		if _, err := s.SharedSecret(t.Context(), name, "x"); err != nil {
			t.Fatal(err)
		}
	}
	share("first")
	before := s.Health()
	if before.FileBytes == 0 || before.WALBytes == 0 || before.ReadersMax != sqliteReaders {
		t.Errorf("got %+v, want the sizes of both files and the readers", before)
	}
	if _, err := s.write.ExecContext(t.Context(), `PRAGMA wal_checkpoint(RESTART)`); err != nil {
		t.Fatal(err)
	}
	share("second")
	after := s.Health()
	if after.Checkpoints != before.Checkpoints+1 {
		t.Errorf("the write-ahead log began anew once: counted %d and then %d", before.Checkpoints, after.Checkpoints)
	}
	// Sharing looks first, writes, and looks what is kept.
	for kind, want := range map[string]int64{"insert": 1, "select": 2, "update": 0, "delete": 0, "transaction": 0, "audit": 0, "other": 0} {
		if got := after.Statements[kind] - before.Statements[kind]; got != want {
			t.Errorf("%s: %d statements were counted, want %d", kind, got, want)
		}
	}
	if _, err := s.Audit(t.Context(), AuditOptions{}); err != nil {
		t.Fatal(err)
	}
	if audited := s.Health().Statements; audited["audit"] == 0 || audited["select"] != after.Statements["select"] {
		t.Errorf("an audit: counted %v after %v, want its looks among audits only", audited, after.Statements)
	}
}

func TestHealthOfARecordInMemoryHasNoFiles(t *testing.T) {
	s, err := Open(t.Context(), "sqlite::memory:", Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if h := s.Health(); h.FileBytes != 0 || h.WALBytes != 0 || h.Checkpoints != 0 {
		t.Errorf("got %+v", h)
	}
}
