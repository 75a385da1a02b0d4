package testenv

import (
	"database/sql"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib"
)

func TestAServerThatIsNotInstalledIsNamedWithItsPackage(t *testing.T) {
	if _, err := roots[false](); err != nil { // it needs the path, once
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	_, err := start(redis{}, Options{})
	if err == nil || !strings.Contains(err.Error(), "apt-get install redis-server") {
		t.Errorf("got %v, want what to install", err)
	}
}

func TestAServerThatDoesNotStartSaysWhy(t *testing.T) {
	for _, e := range []engine{postgres{}, mariadb{}, redis{}} {
		_, err := start(e, Options{Settings: map[string]string{"nonsense": "1"}})
		if err == nil || !strings.Contains(err.Error(), "ended at once") || !strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s: got %v, want its own words", e.name(), err)
		}
	}
}

// thief is a Redis whose port somebody takes just before it starts, once.
type thief struct {
	redis
	t      *testing.T
	stolen *[]string
}

func (e thief) command(s *Server) (command, error) {
	if len(*e.stolen) == 0 {
		l, err := net.Listen("tcp", s.Addr())
		if err != nil {
			e.t.Fatal(err)
		}
		e.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				conn.Close() // no answer is an answer that is waited for
			}
		}()
		*e.stolen = append(*e.stolen, s.Addr())
	}
	return e.redis.command(s)
}

func TestAServerWhosePortWasTakenGetsAnother(t *testing.T) {
	var stolen []string
	s := startFor(t, thief{t: t, stolen: &stolen}, Options{})
	if len(stolen) != 1 || stolen[0] == s.Addr() {
		t.Errorf("stolen: %q, got %s, want another", stolen, s.Addr())
	}
}

func TestAHeldPortIsNotGivenTwice(t *testing.T) {
	given := map[int]bool{}
	for range 1000 { // of 18 000: two of the same are certain if nobody holds them
		port, held, err := reservePort()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { held.Close() })
		if given[port] {
			t.Fatalf("port %d was given twice", port)
		}
		given[port] = true
	}
}

// PostgreSQL's processes each lead a group of their own and outlive their parent while they have something to do.
func TestAKillLeavesNoProcess(t *testing.T) {
	s := startFor(t, postgres{}, Options{})
	db, err := sql.Open("pgx", s.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	busy := make(chan error, 1)
	go func() {
		_, err := db.ExecContext(t.Context(), "SELECT pg_sleep(600)")
		busy <- err
	}()
	met, err := waitFor(startMax, func() (bool, error) {
		var n int
		err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(6%'").Scan(&n)
		return n > 1, err // one of them asks
	})
	if !met || err != nil {
		t.Fatalf("the busy connection is not seen: %v", err)
	}
	family, err := descendants(s.pid)
	if err != nil || len(family) < 4 {
		t.Fatalf("processes of the server: got %v, %v, want several", family, err)
	}
	s.Kill()
	alive, err := processes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range alive {
		if slices.Contains(family, p.pid) {
			t.Errorf("process %d of %v is alive", p.pid, family)
		}
	}
	if err := <-busy; err == nil {
		t.Error("the busy connection ended without an error")
	}
}

func TestATemplateIsMadeOnceAndWhole(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "template")
	broken := errors.New("broken")
	if err := makeOnce(folder, func(string) error { return broken }); !errors.Is(err, broken) {
		t.Fatalf("a template that cannot be made: got %v, want %v", err, broken)
	}
	var made atomic.Int64
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			err := makeOnce(folder, func(half string) error {
				made.Add(1)
				if half == folder {
					t.Error("the template is seen before it is whole")
				}
				return os.WriteFile(filepath.Join(half, "file"), nil, 0o600)
			})
			if err != nil {
				t.Error(err)
			}
			if _, err := os.Stat(filepath.Join(folder, "file")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := made.Load(); got != 1 {
		t.Errorf("made %d times, want once", got)
	}
}

func TestDataAreInMemoryOnlyWhereNobodyAsksForADisk(t *testing.T) {
	if s := startFor(t, redis{}, Options{OnDisk: true}); strings.HasPrefix(s.Folder(), memory) {
		t.Errorf("a server on a disk has its data in %s", s.Folder())
	}
	if !measures(&testing.B{}) || measures(t) {
		t.Error("it is a benchmark's server that is on a disk, and no other")
	}
	t.Setenv("TMPDIR", t.TempDir())
	if got := inMemory(); got != "" {
		t.Errorf("with TMPDIR it is %q, want what that says", got)
	}
}

func TestTheVersionOfPostgresIsRead(t *testing.T) {
	for version, want := range map[string]int{
		"initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n": 15,
		"initdb (PostgreSQL) 17.6\n":                           17,
		"initdb (PostgreSQL) 18beta1\n":                        18,
		"nonsense":                                             0,
	} {
		if got := postgresMajor(version); got != want {
			t.Errorf("%q: got %d, want %d", version, got, want)
		}
	}
}
