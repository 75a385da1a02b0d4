package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	adminKey      = "the-admin-key-of-the-end-to-end-tests"
	sandboxSecret = "the-sandbox-secret-of-the-end-to-end-tests"

	buildMax = 10 * time.Minute // of everything, the first time
	startMax = time.Minute
	stopMax  = 20 * time.Second // product.md: a graceful stop takes no longer
	outMax   = 1 << 20          // bytes kept of what a process says
)

// A binary is built when the first test needs it.
var (
	binaries     string // their folder
	buildShipped = sync.OnceValues(func() (string, error) { return build("shipped", "./cmd/holdfast") })
	buildFailing = sync.OnceValues(func() (string, error) { return build("failing", "./cmd/holdfast", "-tags=failpoint") })
	buildStack   = sync.OnceValues(func() (string, error) { return build("stack", "./cmd/stack") })
	buildWatched = sync.OnceValues(func() (string, error) { return build("watched", "./cmd/holdfast", watched...) })
)

// watched are the flags of a program that watches itself for races: those of `make test`, whose packages are built already. SQLite's
// translated C is not watched.
var watched = []string{
	"-race", "-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0", "-gcflags=modernc.org/libc=-race=false -d=checkptr=0",
	"-gcflags=modernc.org/memory=-race=false -d=checkptr=0", "-gcflags=modernc.org/sqlite=-d=checkptr=0",
	"-gcflags=github.com/redis/rueidis/internal/cmds=-race=false -d=checkptr=0",
	"-gcflags=github.com/alecthomas/kong=-race=false -d=checkptr=0", "-gcflags=regexp=-race=false -d=checkptr=0",
}

// With other flags than those of `make test` nearly everything would be compiled once more, which takes minutes.
func TestTheWatchedProgramIsBuiltAsTheTestsAre(t *testing.T) {
	text, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	for _, flag := range watched[1:] {
		name, value, _ := strings.Cut(flag, "=")
		if spelt := name + "='" + value + "'"; !strings.Contains(string(text), spelt) {
			t.Errorf("the Makefile has no %s", spelt)
		}
	}
	if n := strings.Count(string(text), "-gcflags='"); n != len(watched)-1 {
		t.Errorf("the Makefile has %d -gcflags, the program is built with %d", n, len(watched)-1)
	}
}

// shipped is the program as everybody has it. Crashes and deadlines are tested on it: they take its speed.
var shipped = setup{binary: buildShipped}

// failing has fail points, set as HOLDFAST_FAILPOINTS says.
func failing(points string) setup {
	return setup{binary: buildFailing, env: []string{"HOLDFAST_FAILPOINTS=" + points}}
}

// usual is what all other tests use: under the race detector when they are.
func usual() setup {
	info, ok := debug.ReadBuildInfo()
	if ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		return setup{binary: buildWatched}
	}
	return shipped
}

func build(name, command string, flags ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildMax)
	defer cancel()
	binary := filepath.Join(binaries, name)
	flags = slices.Concat([]string{"build", "-o", binary, "-ldflags=-s -w"}, flags, []string{command}) // nobody debugs it
	cmd := exec.CommandContext(ctx, "go", flags...)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return binary, nil
}

// program is a started binary.
type program struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *output
	stderr *output
	exited chan struct{} // closed when it has ended
}

// setup is how a program is started.
type setup struct {
	binary func() (string, error)
	env    []string
}

// launch starts a program and sees to its end with the test.
func (s setup) launch(t *testing.T, args ...string) *program {
	t.Helper()
	binary, err := s.binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &program{t: t, cmd: exec.Command(binary, args...), stdout: newOutput(), stderr: newOutput(), exited: make(chan struct{})}
	p.cmd.Dir = t.TempDir() // no holdfast.yaml but the test's own
	p.cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + p.cmd.Dir, "TMPDIR=" + p.cmd.Dir,
		"HOLDFAST_ADMIN_KEY=" + adminKey, "HOLDFAST_SANDBOX_SECRET=" + sandboxSecret, "GORACE=" + os.Getenv("GORACE"),
	}, s.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.stdout, p.stderr
	if err := start(p.cmd); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.exited)
		_ = p.cmd.Wait() // how it ended is in ProcessState
	}()
	t.Cleanup(p.cleanUp)
	return p
}

func (p *program) cleanUp() {
	p.kill()
	said := p.stderr.String()
	if strings.Contains(said, "DATA RACE") {
		p.t.Error("the race detector found something in the program")
	}
	if strings.Contains(said, "panic: ") || strings.Contains(said, `"msg":"panic"`) {
		p.t.Error("the program panicked")
	}
	if telling := remarkable(said); p.t.Failed() && telling != "" {
		p.t.Logf("%s said at last:\n%s", strings.Join(p.cmd.Args[1:], " "), last(telling, 8<<10))
	}
}

// remarkable leaves out what every process says, so that what is left can be found among dozens of them.
func remarkable(said string) string {
	var b strings.Builder
	for line := range strings.Lines(said) {
		if !strings.Contains(line, "the sandbox provider is on") && !strings.Contains(line, `"msg":"stop`) && !progress.MatchString(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

var progress = regexp.MustCompile(`^\d+ of \d+: `)

// signal sends a signal, if the program is still there.
func (p *program) signal(s os.Signal) {
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Errorf("signal: %v", err)
	}
}

// kill ends the program as a power cut would end it, but for the disk.
func (p *program) kill() {
	p.signal(syscall.SIGKILL)
	<-p.exited
}

// wait waits for the program's end and gives its exit code, -1 when a signal ended it.
func (p *program) wait(limit time.Duration) int {
	p.t.Helper()
	late := time.NewTimer(limit)
	defer late.Stop()
	select {
	case <-p.exited:
	case <-late.C:
		if p.ended() {
			break
		}
		p.t.Fatalf("%s had not ended after %v", strings.Join(p.cmd.Args[1:], " "), limit)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *program) ended() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// stop ends the program as an operator does.
func (p *program) stop() {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	if code := p.wait(stopMax); code != 0 {
		p.t.Errorf("exit code after SIGTERM: got %d, want 0", code)
	}
}

// server is a running `holdfast serve`.
type server struct {
	*program
	*desk
}

// serve starts a desk on a database and waits until it is ready.
func (s setup) serve(t *testing.T, database string, flags ...string) *server {
	t.Helper()
	return s.begin(t, database, flags...).mustServe()
}

func (p *program) mustServe() *server {
	p.t.Helper()
	up, alive := p.tryServe()
	if !alive {
		p.t.Fatalf("serve ended before it was ready: exit code %d\n%s", up.wait(0), up.stderr)
	}
	return up
}

// tryServe waits until a desk that was begun is ready. It may end before.
func (p *program) tryServe() (up *server, alive bool) {
	p.t.Helper()
	url, alive := p.listening()
	up = &server{p, newDesk(p.t, url)}
	if !alive {
		return up, false
	}
	testenv.Until(p.t, startMax, "readiness", func() bool {
		a, err := up.send("GET", "/readyz", nil)
		return err == nil && a.status == http.StatusOK || p.ended()
	})
	return up, !p.ended()
}

// begin starts a desk and does not wait for it.
func (s setup) begin(t *testing.T, database string, flags ...string) *program {
	t.Helper()
	return s.launch(t, append([]string{"serve", "--listen", "127.0.0.1:0", "--database-url", database}, flags...)...)
}

// listening waits for the line that says where the desk is; not ok: the program has ended without it.
func (p *program) listening() (url string, ok bool) {
	p.t.Helper()
	testenv.Until(p.t, startMax, "the line that says where it listens", func() bool {
		return p.stdout.after("listening on ") != "" || p.ended()
	})
	url = p.stdout.after("listening on ")
	return url, url != ""
}

// serve starts the usual desk on a database.
func serve(t *testing.T, database string, flags ...string) *server {
	t.Helper()
	return usual().serve(t, database, flags...)
}

// refuses starts a desk that cannot start, and gives the line that says why.
func refuses(t *testing.T, args ...string) string {
	t.Helper()
	p := shipped.launch(t, append([]string{"serve"}, args...)...)
	if code := p.wait(startMax); code == 0 {
		t.Errorf("exit code: got 0, want another")
	}
	if out := p.stdout.String(); strings.Contains(out, "listening on") {
		t.Errorf("a desk that cannot start said where it listens: %q", out)
	}
	return complaint(t, p.stderr.String())
}

// complaint is the one line for people among the lines of the log.
func complaint(t *testing.T, said string) string {
	t.Helper()
	var lines []string
	for line := range strings.Lines(said) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '{' {
			lines = append(lines, line)
		}
	}
	if len(lines) != 1 {
		t.Fatalf("want one line that says what is wrong, got %d:\n%s", len(lines), said)
	}
	t.Log(lines[0])
	return lines[0]
}

// auditClean runs `holdfast audit` beside whoever serves the database.
func auditClean(t *testing.T, database string) {
	t.Helper()
	p := shipped.launch(t, "audit", "--database-url", database)
	if code := p.wait(time.Minute); code != 0 {
		t.Fatalf("audit: exit code %d\n%s%s", code, p.stdout, p.stderr)
	}
}

// database is the URL of a database of SQLite's that does not exist yet.
func database(t *testing.T) string {
	t.Helper()
	return sqlite(filepath.Join(t.TempDir(), "holdfast.db"))
}

// sqlite is the URL of a database in a file, fileOf the file.
func sqlite(file string) string { return "sqlite:" + file }

func fileOf(database string) string { return strings.TrimPrefix(database, "sqlite:") }

// output keeps what a process says, up to a limit.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func newOutput() *output { return &output{} }

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.buf.Len() < outMax {
		o.buf.Write(b)
	}
	return len(b), nil
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// after gives the rest of the line that begins with a text, or "".
func (o *output) after(begin string) string {
	lines := bufio.NewScanner(strings.NewReader(o.String()))
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), begin); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

func last(s string, n int) string { return s[max(0, len(s)-n):] }

var _ io.Writer = (*output)(nil)
