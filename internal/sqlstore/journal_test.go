package sqlstore

import (
	"fmt"
	"os"
	"testing"
)

// A look that takes long keeps the write-ahead log from beginning anew. It may grow then, but does not stay so. The settings
// are those of the writer, a sixteenth of them so that the test is not the disk's.
func TestTheWriteAheadLogShrinksAfterALongLook(t *testing.T) {
	path := t.TempDir() + "/wal.db"
	s, err := Open(t.Context(), "sqlite:"+path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // a test
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, err := s.writer.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	scaled := map[string]int64{}
	for _, setting := range []string{"wal_autocheckpoint", "journal_size_limit"} {
		var is int64
		err := one.conn.QueryRowContext(t.Context(), `PRAGMA `+setting).Scan(&is)
		if err == nil {
			scaled[setting] = is / 16
			_, err = one.conn.ExecContext(t.Context(), fmt.Sprintf(`PRAGMA %s = %d`, setting, is/16))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	one.give()
	const pageAndFrame = 4096 + 24
	most := scaled["journal_size_limit"]
	if most < scaled["wal_autocheckpoint"]*pageAndFrame {
		t.Fatalf("the write-ahead log is cut to %d bytes, and grows to %d between two checkpoints", 16*most, 16*scaled["wal_autocheckpoint"]*pageAndFrame)
	}
	size := func() int64 {
		info, err := os.Stat(path + "-wal")
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	writes := 0
	write := func() {
		if _, err := s.SharedSecret(t.Context(), fmt.Sprint("ballast-", writes), string(make([]byte, 512<<10))); err != nil {
			t.Fatal(err)
		}
		writes++
	}

	look, err := s.snapshot(t.Context(), s.dialect.snapshot)
	if err != nil {
		t.Fatal(err)
	}
	for size() < 2*most {
		write()
	}
	grown := size()
	look.end()
	for range 3 {
		write()
	}
	if got := size(); got > most {
		t.Errorf("the write-ahead log grew to %d bytes during the look and has %d after it, want at most %d", grown, got, most)
	}
}
