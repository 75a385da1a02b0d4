package e2e

import (
	"bytes"
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestASecondServerOnTheSameDatabaseSaysWhoHasIt(t *testing.T) {
	db := database(t)
	s := serve(t, db)
	said := refuses(t, "--listen", "127.0.0.1:0", "--database-url", db)
	for _, want := range []string{fileOf(db), "another Holdfast process"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %q, want it to say %q", said, want)
		}
	}
	s.product("sku", 1, nil) // the first goes on
	s.order("a", "u-a", line("sku", 1))
	s.kill()
	serve(t, db) // and a dead one is in nobody's way
}

func TestATakenPortIsNamedAndTouchesNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	db := database(t)
	said := refuses(t, "--listen", taken.Addr().String(), "--database-url", db)
	for _, want := range []string{taken.Addr().String(), "address already in use"} {
		if !strings.Contains(said, want) {
			t.Errorf("got %q, want it to say %q", said, want)
		}
	}
	if _, err := os.Stat(fileOf(db)); !os.IsNotExist(err) {
		t.Errorf("the database was made all the same: %v", err)
	}
}

func TestAFolderThatCannotBeUsedIsNamed(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "file")
	if err := os.WriteFile(file, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ what, folder, want string }{
		{"missing", filepath.Join(folder, "missing"), "does not exist"},
		{"a file", file, "is not a folder"},
	} {
		t.Run(c.what, func(t *testing.T) { wantNamed(t, c.folder, c.want) })
	}
	t.Run("read-only", func(t *testing.T) {
		disk := smallDisk(t, "size=1m")
		readOnly(t, disk) // permission bits do not bind root
		wantNamed(t, disk, "cannot be written")
	})
	t.Run("forbidden", func(t *testing.T) {
		if os.Geteuid() == 0 {
			t.Skip("NOT TESTED as root, whom permission bits do not bind; the read-only disk stands for it")
		}
		forbidden := filepath.Join(folder, "forbidden")
		if err := os.Mkdir(forbidden, 0o500); err != nil {
			t.Fatal(err)
		}
		wantNamed(t, forbidden, "cannot be written")
	})
}

func wantNamed(t *testing.T, folder, why string) {
	t.Helper()
	said := refuses(t, "--listen", "127.0.0.1:0", "--database-url", sqlite(filepath.Join(folder, "holdfast.db")))
	for _, want := range []string{folder, why} {
		if !strings.Contains(said, want) {
			t.Errorf("got %q, want it to say %q", said, want)
		}
	}
}

func TestAFileThatIsNoDatabaseIsLeftAlone(t *testing.T) {
	garbage := make([]byte, 64<<10)
	_, _ = rand.Read(garbage)
	for what, content := range map[string][]byte{
		"noise": garbage,
		"text":  bytes.Repeat([]byte("not a database\n"), 1000),
	} {
		t.Run(what, func(t *testing.T) {
			db := database(t)
			if err := os.WriteFile(fileOf(db), content, 0o600); err != nil {
				t.Fatal(err)
			}
			said := refuses(t, "--listen", "127.0.0.1:0", "--database-url", db)
			for _, want := range []string{fileOf(db), "not a database"} {
				if !strings.Contains(said, want) {
					t.Errorf("got %q, want it to say %q", said, want)
				}
			}
			if now, err := os.ReadFile(fileOf(db)); err != nil || !bytes.Equal(now, content) {
				t.Errorf("the file was changed: %v", err)
			}
		})
	}
}

func TestWrongSettingsAreAllNamedAtOnce(t *testing.T) {
	p := setup{buildShipped, []string{"HOLDFAST_PAY_WINDOW=soon", "HOLDFAST_LISEN=:80"}}.launch(t, "serve", "--open-queue", "0")
	if code := p.wait(startMax); code == 0 {
		t.Error("exit code: got 0, want another")
	}
	for _, want := range []string{"pay_window", "HOLDFAST_LISEN", "open_queue"} {
		if !strings.Contains(strings.ToLower(p.stderr.String()), strings.ToLower(want)) {
			t.Errorf("got %q, want it to name %s", p.stderr, want)
		}
	}
}

// The audit looks on beside the desk and after it, and says what it cannot look at.
func TestAuditRunsBesideTheDeskAndWithoutIt(t *testing.T) {
	db := database(t)
	s := serve(t, db)
	s.product("sku", 5, nil)
	s.order("a", "u-a", line("sku", 2))
	auditClean(t, db)
	if a := s.as("").ask("GET", "/v1/audit", nil); a.status != http.StatusUnauthorized {
		t.Errorf("the audit without a key: got %v, want 401", a)
	}
	s.stop()
	auditClean(t, db)
	p := shipped.launch(t, "audit", "--database-url", sqlite(filepath.Join(t.TempDir(), "missing.db")))
	if code := p.wait(startMax); code == 0 || code == 1 {
		t.Errorf("audit of nothing: exit code %d, want neither clean (0) nor found (1)", code)
	}
}
