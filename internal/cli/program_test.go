package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// shell runs commands in a folder of its own, with nothing of the real environment.
type shell struct {
	folder  string
	environ []string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	folder := t.TempDir()
	return &shell{folder: folder, environ: []string{"HOLDFAST_DATABASE_URL=sqlite:" + filepath.Join(folder, "holdfast.db")}}
}

func (s *shell) program(args ...string) (p *Program, stdout, stderr *testenv.Log) {
	stdout, stderr = &testenv.Log{}, &testenv.Log{}
	return &Program{Args: args, Environ: s.environ, Folder: s.folder, Stdout: stdout, Stderr: stderr}, stdout, stderr
}

// run carries one command out.
func (s *shell) run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	p, out, err := s.program(args...)
	code = p.Run(t.Context())
	return code, out.String(), err.String()
}

// must is run for a command that has to work; it gives what was printed.
func (s *shell) must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := s.run(t, args...)
	if code != 0 {
		t.Fatalf("holdfast %s: exit %d, %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

const adminKey = "a key of the test's own, no more"

// desk is `holdfast serve` in this process.
type desk struct {
	url    string
	stop   func() (code int)
	stdout *testenv.Log
	stderr *testenv.Log
}

// patience is for what has to come.
const patience = 30 * time.Second

// serve starts a desk and waits until it listens.
func (s *shell) serve(t *testing.T, args ...string) *desk {
	t.Helper()
	s.environ = append(s.environ, "HOLDFAST_ADMIN_KEY="+strings.ReplaceAll(adminKey, " ", "_"))
	p, stdout, stderr := s.program(append([]string{"serve", "--listen", "127.0.0.1:0"}, args...)...)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int, 1)
	go func() { ended <- p.Run(ctx) }()
	d := &desk{stdout: stdout, stderr: stderr}
	d.stop = sync.OnceValue(func() int {
		cancel()
		select {
		case code := <-ended:
			return code
		case <-time.After(patience):
			t.Errorf("the desk does not stop: %s", stderr)
			return -1
		}
	})
	t.Cleanup(func() { d.stop() })
	deadline := time.After(patience)
	for {
		if _, after, found := strings.Cut(stdout.String(), "listening on "); found && strings.Contains(after, "\n") {
			d.url = strings.TrimSpace(after)
			s.environ = append(s.environ, "HOLDFAST_URL="+d.url, "HOLDFAST_API_KEY="+strings.ReplaceAll(adminKey, " ", "_"))
			return d
		}
		select {
		case code := <-ended:
			t.Fatalf("the desk ended with %d: %s", code, stderr)
		case <-deadline:
			t.Fatalf("the desk does not listen: %s", stderr)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func wantExit(t *testing.T, what string, code, want int, stderr, says string) {
	t.Helper()
	if code != want || !strings.Contains(stderr, says) {
		t.Errorf("%s: got exit %d and %q, want %d and %q", what, code, stderr, want, says)
	}
	if strings.Count(stderr, "\n") > 1 {
		t.Errorf("%s: got %q, want one line", what, stderr)
	}
	if stderr != "" && !strings.HasPrefix(stderr, "holdfast: ") {
		t.Errorf("%s: got %q, want the program's name before it", what, stderr)
	}
}

func lines(format string, args ...any) string { return fmt.Sprintf(format, args...) + "\n" }
