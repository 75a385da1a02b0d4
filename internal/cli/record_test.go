package cli

import (
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite"

	"github.com/holdfast-oms/holdfast/api"
)

func TestMigrateTakesTheMissingSteps(t *testing.T) {
	s := newShell(t)
	if got := s.must(t, "migrate", "--dry-run"); !strings.HasPrefix(got, "would take 00001_core.sql\n") {
		t.Errorf("dry run: got %q", got)
	}
	if got := squeezed(s.must(t, "migrate", "status")); !strings.Contains(got, "00001_core.sql missing\n") {
		t.Errorf("before: got %q", got)
	}
	if got := s.must(t, "migrate"); !strings.HasPrefix(got, "took 00001_core.sql\n") {
		t.Errorf("got %q", got)
	}
	if got, want := s.must(t, "migrate", "up"), "The schema is up to date.\n"; got != want {
		t.Errorf("again: got %q, want %q", got, want)
	}
	var status struct {
		Migrations []stepJSON `json:"migrations"`
	}
	if err := json.Unmarshal([]byte(s.must(t, "migrate", "status", "--output", "json")), &status); err != nil {
		t.Fatal(err)
	}
	if len(status.Migrations) == 0 || !status.Migrations[0].Applied || status.Migrations[0].Version != 1 {
		t.Errorf("after: got %+v", status)
	}
}

func TestAuditOfASoundRecordIsClean(t *testing.T) {
	s := newShell(t)
	d := s.serve(t, "--demo")
	code, stdout, stderr := s.run(t, "audit") // beside the desk that serves it
	if code != exitOK || !strings.Contains(stdout, "V11  ok") || !strings.Contains(stderr, "1 of ") {
		t.Errorf("got exit %d, %q and %q, want 0, a table and progress", code, stdout, stderr)
	}
	if code := d.stop(); code != exitOK {
		t.Errorf("the desk: got exit %d", code)
	}
	var report struct {
		Clean     bool        `json:"clean"`
		CheckedAt string      `json:"checked_at"`
		Checks    []api.Check `json:"checks"`
	}
	if err := json.Unmarshal([]byte(s.must(t, "audit", "-o", "json")), &report); err != nil {
		t.Fatal(err)
	}
	if !report.Clean || len(report.Checks) != 11 || report.Checks[0].Samples == nil || len(report.CheckedAt) != len("2026-11-20T10:00:00.000Z") {
		t.Errorf("got %+v", report)
	}
}

func TestAuditNamesWhatDoesNotAddUp(t *testing.T) {
	s := newShell(t)
	s.serve(t, "--demo").stop()
	db, err := sql.Open("sqlite", filepath.Join(s.folder, "holdfast.db"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(`UPDATE stock SET received = received + 1 WHERE product_id = 'sku-ticket'`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr := s.run(t, "audit")
	if code != exitFailed || !strings.Contains(stdout, "1 wrong") || !strings.Contains(stdout, "sku-ticket") {
		t.Errorf("got exit %d and %q, want 1 and the product named", code, stdout)
	}
	if !strings.Contains(stderr, "\nholdfast: the record does not add up: V") {
		t.Errorf("got %q, want the checks named", stderr)
	}
	if code, stdout, _ := s.run(t, "audit", "-o", "json"); code != exitFailed || !strings.Contains(stdout, `"clean": false`) || !strings.Contains(stdout, "sku-ticket") {
		t.Errorf("as JSON: got exit %d and %s", code, stdout)
	}
}

func TestAuditThatCannotBeRunIsExitTwo(t *testing.T) {
	s := newShell(t)
	code, _, stderr := s.run(t, "audit")
	wantExit(t, "audit of nothing", code, exitUsage, stderr, "no such file")
}
