package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const stackMax = 2 * time.Minute // to prepare a server for the first time on a busy machine, and to start it

// stack is a running `make stack`.
type stack struct {
	*program
	desks  []*desk
	family []int    // it and every process below it
	ports  []string // on which any of them listens
}

// startStack starts a stack of two desks, whose data is kept in a folder.
func startStack(t *testing.T, database, folder string, more ...string) *stack {
	t.Helper()
	holdfast, err := buildShipped()
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	s := &stack{program: setup{
		binary: buildStack,
		env:    []string{"XDG_CACHE_HOME=" + cache, "TMPDIR=" + os.TempDir()}, //nolint:usetesting // nobody does not get at t.TempDir's
	}.launch(t, append(more, "-db", database, "-workers", "2", "-listen", "127.0.0.1:0", "-folder", folder, "-holdfast", holdfast)...)}
	testenv.Until(t, stackMax, "everything to be up", func() bool {
		return strings.Contains(s.stdout.String(), "Everything is up") || s.ended()
	})
	if s.ended() {
		t.Fatalf("it ended: exit code %d\n%s\n%s", s.wait(0), s.stdout, s.stderr)
	}
	for _, found := range regexp.MustCompile(`(?m)^listening on (http://(\S+))$`).FindAllStringSubmatch(s.stdout.String(), -1) {
		s.desks, s.ports = append(s.desks, newDesk(t, found[1])), append(s.ports, found[2])
	}
	servers := regexp.MustCompile(`(?m)^(?:MariaDB|PostgreSQL|Redis) [\d.]+ on (\S+)$`).FindAllStringSubmatch(s.stdout.String(), -1)
	if len(s.desks) != 2 || len(servers) != 1+len(more) {
		t.Fatalf("got %q, want it to name each server and two desks", s.stdout)
	}
	for _, server := range servers {
		s.ports = append(s.ports, server[1])
	}
	s.family = family(t, s.cmd.Process.Pid)
	if len(s.family) < 4 {
		t.Fatalf("its processes are %v: want itself, a server and two desks among them", s.family)
	}
	for _, port := range s.ports {
		if !listens(port) {
			t.Errorf("nobody listens on %s", port)
		}
	}
	return s
}

// nothingLeft is whether every process has ended and no port is taken.
func (s *stack) nothingLeft() bool {
	living := map[int]bool{}
	for _, p := range processes(s.t) {
		living[p.pid] = true
	}
	for _, pid := range s.family {
		if living[pid] {
			return false
		}
	}
	for _, port := range s.ports {
		if listens(port) {
			return false
		}
	}
	return true
}

func listens(addr string) bool {
	conn, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

type process struct{ pid, parent int }

// processes are those that live: the dead whom nobody has reaped yet are not among them.
func processes(t *testing.T) (all []process) {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output()
	if err != nil {
		t.Fatal(err)
	}
	for row := range bytes.Lines(out) {
		fields := strings.Fields(string(row))
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			t.Fatal(err)
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			t.Fatal(err)
		}
		if fields[2][0] != 'Z' {
			all = append(all, process{pid, parent})
		}
	}
	return all
}

func family(t *testing.T, pid int) []int {
	t.Helper()
	all, found := processes(t), []int{pid}
	for i := 0; i < len(found); i++ {
		for _, p := range all {
			if p.parent == found[i] {
				found = append(found, p.pid)
			}
		}
	}
	return found
}

// A stack serves from all its processes, ends without a trace, and has its orders again at the next start. When it is killed nothing
// is left of it either.
func TestTheStackServesAndLeavesNothingButItsData(t *testing.T) {
	for _, database := range []string{"mariadb", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			folder, err := os.MkdirTemp("", "holdfast-stack-") //nolint:usetesting // nobody, as whom root's servers run, does not get at t.TempDir's
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

			s := startStack(t, database, filepath.Join(folder, "kept"))
			placed := s.desks[0].order("first", "u-1", line("sku-ticket", 1))
			if seen := s.desks[1].look(placed.OrderNo); seen.Status != api.OrderPending {
				t.Errorf("the other desk has it %s, want it pending", seen.Status)
			}
			s.signal(syscall.SIGTERM)
			if code := s.wait(stackMax); code != 0 {
				t.Errorf("exit code after SIGTERM: got %d, want 0\n%s", code, s.stderr)
			}
			if !s.nothingLeft() {
				t.Errorf("of the processes %v or the ports %v something is left", s.family, s.ports)
			}

			s = startStack(t, database, filepath.Join(folder, "kept"), "-redis")
			for _, d := range s.desks {
				testenv.Until(t, stackMax, "the desks to go by Redis", func() bool { return d.metric("holdfast_redis_working") == 1 })
			}
			if again := s.desks[1].look(placed.OrderNo); again.UserID != "u-1" {
				t.Errorf("after the next start: got %+v, want the order that was placed", again)
			}
			s.kill()
			testenv.Until(t, stackMax, "everything to end with a stack that was killed", s.nothingLeft)
		})
	}
}
