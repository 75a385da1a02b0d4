package testenv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// keptFolder is one that nobody gets at, too; t.TempDir's is not.
func keptFolder(t *testing.T) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "holdfast-kept-") //nolint:usetesting // nobody does not get at t.TempDir's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(folder); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(folder, 0o711); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, "stack")
}

func keep(t *testing.T, folder string) *Kept {
	t.Helper()
	k, err := Keep(folder)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestAKeptServerHasItsDataAgain(t *testing.T) {
	for _, c := range []struct {
		start       func(*Kept, Options) (*Server, error)
		write, read func(*Server) error
	}{
		{
			(*Kept).Postgres,
			func(s *Server) error { return postgres{}.execute(s, "CREATE TABLE kept (a int)") },
			func(s *Server) error { return postgres{}.execute(s, "SELECT a FROM kept") },
		},
		{
			(*Kept).MariaDB,
			func(s *Server) error { return mariadb{}.execute(s, "CREATE TABLE holdfast.kept (a int)") },
			func(s *Server) error { return mariadb{}.execute(s, "SELECT a FROM holdfast.kept") },
		},
	} {
		folder := keptFolder(t)
		k := keep(t, folder)
		s, err := c.start(k, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Run(s.Name(), func(t *testing.T) {
			if version, err := s.Version(); err != nil || !strings.Contains(version, ".") {
				t.Errorf("version: got %q, %v", version, err)
			}
			if err := c.write(s); err != nil {
				t.Fatal(err)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
			if portTaken(s.Addr()) {
				t.Errorf("somebody listens on %s after the end", s.Addr())
			}
			k := keep(t, folder)
			again, err := c.start(k, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if err := c.read(again); err != nil {
				t.Error(err)
			}
			if again.URL() == "" || again.password != s.password {
				t.Errorf("the password is %q, and was %q", again.password, s.password)
			}
			if err := k.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestAKeptFolderIsForOneProcessAtATime(t *testing.T) {
	folder := keptFolder(t)
	k := keep(t, folder)
	if other, err := Keep(folder); err == nil {
		t.Error("two have it", other.Close())
	} else if !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want it to say that it is in use", err)
	}
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	if err := keep(t, folder).Close(); err != nil {
		t.Error(err)
	}
}

func TestAFolderThatServersCannotUseIsRefused(t *testing.T) {
	if os.Geteuid() != 0 {
		return // who runs servers as himself gets at his own folders, and cannot give one away
	}
	folder := keptFolder(t)
	if err := os.Chmod(filepath.Dir(folder), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(folder); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v, want ErrUnreachable", err)
	}
	foreign := keptFolder(t)
	if err := errors.Join(os.Mkdir(foreign, 0o711), own(foreign)); err != nil {
		t.Fatal(err)
	}
	if _, err := Keep(foreign); err == nil || !strings.Contains(err.Error(), "another user") {
		t.Errorf("got %v, want it to say that it is another user's", err)
	}
}

func TestAKeptServerThatWasNotFinishedIsNotTakenForWhole(t *testing.T) {
	folder := keptFolder(t)
	k := keep(t, folder)
	if err := os.MkdirAll(filepath.Join(folder, "redis"), 0o711); err != nil {
		t.Fatal(err)
	}
	if _, err := k.Redis(Options{}); err == nil || !strings.Contains(err.Error(), "not finished") {
		t.Errorf("got %v, want it to say that it was not finished", err)
	}
	if err := k.Close(); err != nil {
		t.Error(err)
	}
}

func TestWhatACrashLeftBehindIsNobodysNumber(t *testing.T) {
	folder := keptFolder(t)
	if err := os.MkdirAll(filepath.Join(folder, "desk"), 0o711); err != nil {
		t.Fatal(err)
	}
	innocent := exec.Command("sleep", "60")
	if err := innocent.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = innocent.Process.Kill() // Wait tells whether it worked
		_ = innocent.Wait()
	})
	number := []byte(strconv.Itoa(innocent.Process.Pid))
	if err := os.WriteFile(filepath.Join(folder, "desk", pidName), number, 0o600); err != nil {
		t.Fatal(err)
	}
	k := keep(t, folder)
	if err := errors.Join(k.endWatch(), k.lock.Close()); err != nil { // as when this process is killed
		t.Fatal(err)
	}
	alive, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(alive, func(p process) bool { return p.pid == innocent.Process.Pid }) {
		t.Error("the watch killed a process that has an old number")
	}
}
