package testenv_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const patience = 30 * time.Second // far more than anything here takes

// own starts a server with one order in it.
func own(t *testing.T, e engine) (*testenv.Server, *sql.DB) {
	t.Helper()
	s := e.start(t, testenv.Options{})
	db := open(t, s.URL())
	execute(t, db, "CREATE TABLE orders (id INT PRIMARY KEY)")
	execute(t, db, "INSERT INTO orders VALUES (1)")
	return s, db
}

func TestAKilledServerComesBackWithItsData(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			s, _ := own(t, e)
			for range 3 {
				s.Kill()
				if _, err := net.Dial("tcp", s.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
					t.Errorf("connecting to the killed server: got %v, want it refused", err)
				}
				s.Kill() // is nothing new
				s.Start()
			}
			if got := count(t, open(t, s.URL()), "SELECT COUNT(*) FROM orders"); got != 1 {
				t.Errorf("orders after the kills: got %d, want 1", got)
			}
			if said := s.Log(); !strings.Contains(said, "ready for connections") && !strings.Contains(said, "recovery") {
				t.Errorf("the log tells nothing of a start after a crash:\n%s", said)
			}
		})
	}
}

func TestAStoppedServerWaitsForNoClientAndComesBack(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			s, db := own(t, e)
			tx, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback()
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO orders VALUES (2)"); err != nil {
				t.Fatal(err)
			}
			s.Stop()
			s.Stop() // is nothing new
			s.Start()
			if got := count(t, open(t, s.URL()), "SELECT COUNT(*) FROM orders"); got != 1 {
				t.Errorf("orders after the stop: got %d, want 1", got)
			}
		})
	}
}

func TestAPausedServerAnswersNobodyUntilItIsResumed(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			s, db := own(t, e)
			s.Pause()
			answered := make(chan error, 1)
			go func() {
				var n int
				answered <- db.QueryRowContext(context.WithoutCancel(t.Context()), "SELECT COUNT(*) FROM orders").Scan(&n)
			}()
			select {
			case err := <-answered:
				t.Errorf("the paused server answered (%v)", err)
			case <-time.After(300 * time.Millisecond):
			}
			s.Resume()
			if err := within(t, answered); err != nil {
				t.Errorf("the resumed server: %v", err)
			}
			s.Pause()
			s.Kill() // works on sleepers, too
			s.Start()
		})
	}
}

func TestServersAreDurable(t *testing.T) {
	pg := open(t, testenv.PostgresURL(t))
	for _, setting := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		var got string
		if err := pg.QueryRowContext(t.Context(), "SHOW "+setting).Scan(&got); err != nil || got != "on" {
			t.Errorf("%s of PostgreSQL: got %q, %v, want on", setting, got, err)
		}
	}
	my := open(t, testenv.MariaDBURL(t))
	for setting, want := range map[string]int{"innodb_flush_log_at_trx_commit": 1, "innodb_doublewrite": 1, "log_bin": 0} {
		if got := count(t, my, "SELECT @@global."+setting); got != want {
			t.Errorf("%s of MariaDB: got %d, want %d", setting, got, want)
		}
	}
}

func TestSettingsReachTheServer(t *testing.T) {
	pg := testenv.StartPostgres(t, testenv.Options{Settings: map[string]string{"synchronous_commit": "off"}})
	var got string
	if err := open(t, pg.URL()).QueryRowContext(t.Context(), "SHOW synchronous_commit").Scan(&got); err != nil || got != "off" {
		t.Errorf("synchronous_commit: got %q, %v, want off", got, err)
	}
	my := testenv.StartMariaDB(t, testenv.Options{Settings: map[string]string{"innodb-flush-log-at-trx-commit": "0"}})
	if got := count(t, open(t, my.URL()), "SELECT @@innodb_flush_log_at_trx_commit"); got != 0 {
		t.Errorf("innodb_flush_log_at_trx_commit: got %d, want 0", got)
	}
}

// A database that is read-only still lets its administrator write, so the desk must not be one.
func TestTheUserOfTheURLIsNoAdministrator(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			s, db := own(t, e)
			statement := "SET GLOBAL read_only = 1"
			if strings.HasPrefix(s.URL(), "postgres:") {
				statement = "ALTER SYSTEM SET default_transaction_read_only = on"
			}
			if _, err := db.ExecContext(t.Context(), statement); err == nil {
				t.Errorf("%s: the ordinary user was allowed to", statement)
			}
			execute(t, open(t, s.AdminURL()), statement)
		})
	}
}

func TestATestsDatabaseGoesWithTheTestEvenWhenItLeavesATransaction(t *testing.T) {
	for _, e := range engines {
		t.Run(e.name, func(t *testing.T) {
			witness := open(t, e.fresh(t))
			var name string
			t.Run("a test that leaves", func(t *testing.T) {
				address := e.fresh(t)
				_, name, _ = strings.Cut(strings.TrimSuffix(address, "?sslmode=disable"), "127.0.0.1:")
				_, name, _ = strings.Cut(name, "/")
				db, err := sql.Open(driver(address))
				if err != nil {
					t.Fatal(err)
				}
				execute(t, db, "CREATE TABLE orders (id INT PRIMARY KEY)")
				tx, err := db.BeginTx(context.Background(), nil) // left open on purpose
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.ExecContext(t.Context(), "INSERT INTO orders VALUES (1)"); err != nil {
					t.Fatal(err)
				}
			})
			list := "SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = '" + name + "'"
			if e.name == "PostgreSQL" {
				list = "SELECT COUNT(*) FROM pg_database WHERE datname = '" + name + "'"
			}
			if got := count(t, witness, list); got != 0 || name == "" {
				t.Errorf("databases named %q after the test: got %d, want 0", name, got)
			}
		})
	}
}

// The test that is killed is this program, started once more.
func TestServersEndWithAProcessThatIsKilled(t *testing.T) {
	const role = "HOLDFAST_TESTENV_VICTIM"
	if os.Getenv(role) != "" {
		testenv.MariaDBURL(t)
		s := testenv.StartPostgres(t, testenv.Options{})
		s.Pause() // the sleeping processes of PostgreSQL do not see that their parent has died
		fmt.Println("started")
		_, _ = io.Copy(io.Discard, os.Stdin) // until it is killed
		return
	}
	folder := t.TempDir()
	if err := os.Chmod(filepath.Dir(folder), 0o755); err != nil { // servers of root do not run as root
		t.Fatal(err)
	}
	victim := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$") //nolint:gosec // this program
	victim.Env = append(os.Environ(), role+"=1", "TMPDIR="+folder)
	victim.Stderr = os.Stderr
	lifeline, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer lifeline.Close()
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	defer victim.Process.Kill() //nolint:errcheck // it is dead already if all goes well
	said := bufio.NewScanner(out)
	for said.Scan() && said.Text() != "started" {
		t.Log(said.Text())
	}
	servers := below(t, map[string]bool{strconv.Itoa(victim.Process.Pid): true})
	if len(servers) < 4 {
		t.Fatalf("processes of the victim's servers: got %d, want several", len(servers))
	}
	if err := victim.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = victim.Wait() // it was killed
	testenv.Until(t, patience, "the servers and their folder to go", func() bool {
		left, err := os.ReadDir(folder)
		return err == nil && len(left) == 0 && len(below(t, servers)) == 0
	})
}

// below are the living among some processes and all their descendants.
func below(t *testing.T, some map[string]bool) map[string]bool {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for more := true; more; {
		more = false
		for line := range strings.Lines(string(out)) {
			f := strings.Fields(line)
			if len(f) == 3 && f[2][0] != 'Z' && !found[f[0]] && (some[f[0]] || found[f[1]]) {
				found[f[0]], more = true, true
			}
		}
	}
	return found
}

// within waits for an outcome with a limit that only a test that hangs can reach.
func within[T any](t *testing.T, outcome <-chan T) T {
	t.Helper()
	select {
	case v := <-outcome:
		return v
	case <-time.After(patience):
		t.Fatalf("waited %v", patience)
		panic("unreachable")
	}
}
