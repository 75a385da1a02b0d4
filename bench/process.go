package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second
	startPause   = 10 * time.Millisecond
	stopTimeout  = 25 * time.Second // a server may take 20 s to drain
	logTail      = 2000
)

var listening = regexp.MustCompile(`listening on (https?://[^\s"]+)`)

// process is a server that the bench started for itself.
type process struct {
	cmd     *exec.Cmd
	logPath string
	address string
	exited  chan struct{}
	stopped bool
}

// startProcess runs a command that prints "listening on http://host:port", and waits for that line. What it prints goes to
// a file, not through a pipe: a server that logs must not be slowed by the bench, nor take its cores.
func startProcess(ctx context.Context, dir, logName string, env []string, command ...string) (*process, error) {
	// Not bound to ctx, which would kill it: a server is told to end, and may drain.
	cmd := exec.Command(command[0], command[1:]...) //nolint:gosec,noctx // the operator's own binary; see above
	p := &process{cmd: cmd, logPath: filepath.Join(dir, logName), exited: make(chan struct{})}
	log, err := os.Create(p.logPath)
	if err != nil {
		return nil, err
	}
	defer log.Close() //nolint:errcheck // the process writes to its own copy
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		_ = p.cmd.Wait() // a server that was stopped may say so with its exit code
		close(p.exited)
	}()
	if p.address, err = p.waitForAddress(ctx); err != nil {
		p.stop()
		return nil, fmt.Errorf("start %s: %w\n%s", filepath.Base(command[0]), err, p.tail())
	}
	return p, nil
}

func (p *process) waitForAddress(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("it did not listen within %v", startTimeout))
	defer cancel()
	for {
		text, err := os.ReadFile(p.logPath)
		if err != nil {
			return "", err
		}
		if address, ok := listeningAddress(text); ok {
			return address, nil
		}
		select {
		case <-ctx.Done():
			return "", context.Cause(ctx)
		case <-p.exited:
			return "", errors.New("it ended at once")
		case <-time.After(startPause):
		}
	}
}

// listeningAddress finds where a server says that it listens.
func listeningAddress(printed []byte) (string, bool) {
	found := listening.FindSubmatch(printed)
	if found == nil {
		return "", false
	}
	return string(found[1]), true
}

// stop ends the process and waits for it. It may be called twice.
func (p *process) stop() {
	if p.stopped {
		return
	}
	p.stopped = true
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
}

// cpu is what the process used in all its life. It is known when it has ended.
func (p *process) cpu() time.Duration {
	if state := p.cmd.ProcessState; state != nil {
		return state.UserTime() + state.SystemTime()
	}
	return 0
}

func (p *process) tail() string {
	text, err := os.ReadFile(p.logPath)
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-logTail):])
}
