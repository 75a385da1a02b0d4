package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	readyMax = 5 * time.Minute  // of a desk that finds much to migrate
	stopMax  = 30 * time.Second // of a desk: by itself it takes up to 18
)

// ready begins the line with which a desk says that it serves.
const ready = "listening on "

// fleet are the desks.
type fleet struct {
	kept  *testenv.Kept
	out   io.Writer
	desks []*desk
	over  chan struct{} // closed when one has ended
	once  sync.Once
}

type desk struct {
	name  string
	cmd   *exec.Cmd
	ready chan struct{} // closed when it serves
	ended chan struct{} // closed when it has ended, with err
	err   error
}

// start starts a desk and waits until it serves.
func (f *fleet) start(ctx context.Context, binary string, args, env []string) error {
	if f.over == nil {
		f.over = make(chan struct{})
	}
	d := &desk{name: fmt.Sprintf("desk-%d", len(f.desks)+1), ready: make(chan struct{}), ended: make(chan struct{})}
	var err error
	if d.cmd, err = f.kept.Command(d.name, binary, args...); err != nil {
		return err
	}
	d.cmd.Env = append(os.Environ(), env...) //nolint:forbidigo // it is handed on as it is: the desk reads it
	d.cmd.Stderr = os.Stderr
	said, err := d.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := d.cmd.Start(); err != nil {
		return err
	}
	f.desks = append(f.desks, d)
	go func() {
		defer f.once.Do(func() { close(f.over) })
		defer close(d.ended)
		d.pass(said, f.out)
		d.err = d.cmd.Wait()
	}()
	late := time.NewTimer(readyMax)
	defer late.Stop()
	select {
	case <-d.ready:
	case <-d.ended:
		return fmt.Errorf("%s ended before it served: %w", d.name, d.how())
	case <-late.C:
		return fmt.Errorf("%s does not serve after %v", d.name, readyMax)
	case <-ctx.Done():
	}
	return nil
}

// pass hands on what a desk says, and notes when it serves.
func (d *desk) pass(from io.Reader, to io.Writer) {
	lines := bufio.NewReader(from)
	for {
		line, err := lines.ReadString('\n')
		io.WriteString(to, line) //nolint:errcheck // who does not listen misses it
		if strings.HasPrefix(line, ready) {
			close(d.ready)
		}
		if err != nil {
			return
		}
	}
}

// how a desk ended that nobody asked to.
func (d *desk) how() error {
	if d.err == nil {
		return errors.New("it says that all is well")
	}
	return d.err
}

// wait waits until it is time to stop: an error says that a desk has ended by itself.
func (f *fleet) wait(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-f.over:
	}
	for _, d := range f.desks {
		select {
		case <-d.ended:
			return fmt.Errorf("%s ended: %w", d.name, d.how())
		default:
		}
	}
	return nil
}

// stop stops the desks that still run, all at the same time.
func (f *fleet) stop() error {
	ctx, cancel := context.WithTimeout(context.Background(), stopMax)
	defer cancel()
	var failed []error
	var stopping []*desk
	for _, d := range f.desks {
		select {
		case <-d.ended: // which was told
		default:
			stopping = append(stopping, d)
			if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
				failed = append(failed, err)
			}
		}
	}
	for _, d := range stopping {
		select {
		case <-d.ended:
			if d.err != nil {
				failed = append(failed, fmt.Errorf("%s ended: %w", d.name, d.err))
			}
		case <-ctx.Done():
			failed = append(failed, fmt.Errorf("%s had not ended after %v: %w", d.name, stopMax, d.cmd.Process.Kill()))
		}
	}
	return errors.Join(failed...)
}
