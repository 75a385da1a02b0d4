//go:build unix

package cli

import (
	"context"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestFirstSignalStopsGracefully(t *testing.T) {
	s := newShell(t)
	p, stdout, stderr := s.program("serve", "--listen", "127.0.0.1:0")
	ended := make(chan int, 1)
	go func() { ended <- p.Run(t.Context()) }()
	testenv.Until(t, patience, "the desk listens", func() bool { return strings.Contains(stdout.String(), "listening on ") })
	signalOurselves(t)
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("got exit %d and %s, want 0", code, stderr)
		}
	case <-time.After(30 * time.Second):
		t.Fatalf("it does not stop: %s", stderr)
	}
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	exits := make(chan int, 1)
	p := &Program{Stdout: &testenv.Log{}, Stderr: &testenv.Log{}, exit: func(code int) { exits <- code }}
	ctx, done := p.untilSignal(t.Context())
	defer done()
	signalOurselves(t)
	<-ctx.Done()
	if got := context.Cause(ctx); !errors.Is(got, stopped{syscall.SIGTERM}) {
		t.Errorf("got cause %v, want SIGTERM", got)
	}
	signalOurselves(t)
	if got, want := <-exits, 128+int(syscall.SIGTERM); got != want {
		t.Errorf("got exit %d, want %d", got, want)
	}
}

func TestCommandThatASignalEndedGivesItsNumber(t *testing.T) {
	asked := make(chan struct{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	go func() {
		c, err := silent.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		close(asked)
		_, _ = c.Read(make([]byte, 1))
		_, _ = silent.Accept() // it never answers
	}()
	s := newShell(t)
	s.environ = append(s.environ, "HOLDFAST_API_KEY=some-key", "HOLDFAST_URL=http://"+silent.Addr().String())
	p, _, stderr := s.program("key", "list")
	ended := make(chan int, 1)
	go func() { ended <- p.Run(t.Context()) }()
	<-asked
	signalOurselves(t)
	wantExit(t, "key list", <-ended, 128+int(syscall.SIGTERM), stderr.String(), "stopped before the end")
}

// signalOurselves is safe while a program runs: it has asked for the signal.
func signalOurselves(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}
