package testenv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

const (
	owner = "holdfast" // the ordinary user, and his database on a server of a test's own

	startMax  = 60 * time.Second // a database that was killed may have much to recover
	stopMax   = 60 * time.Second
	pauseMin  = 2 * time.Millisecond // between two looks, longer each time
	pauseMax  = 50 * time.Millisecond
	portTries = 5
	logTail   = 4 << 10 // bytes of a server's log shown with an error
)

// engine is what the servers differ in.
type engine interface {
	name() string
	// prepare fills the folder of a server that is started for the first time.
	prepare(s *Server) error
	// command is what the server is started with. Its folder is the working folder.
	command(s *Server) (command, error)
	// ask answers nil once the server does its work.
	ask(s *Server) error
	// settle finishes what needs a running server, once.
	settle(s *Server) error
	// stop is the signal for a graceful end that waits for no client.
	stop() syscall.Signal
	admin() string
	url(s *Server, user, database string) string
}

type command struct {
	binary string
	args   []string
	env    []string // besides PATH
}

// Server is a server of somebody else's, started for a test. Its methods report to the test what goes wrong with it.
type Server struct {
	t        testing.TB // nil for a server that tests share
	engine   engine
	settings map[string]string
	onDisk   bool
	folder   string
	password string
	port     int
	held     io.Closer      // the port
	beside   []func() error // ends what was started for the server
	made     atomic.Int64   // databases

	mu  sync.Mutex
	pid int // 0: it is not running
}

// startFor starts a server that ends with its test.
func startFor(tb testing.TB, e engine, o Options) *Server {
	tb.Helper()
	o.OnDisk = o.OnDisk || measures(tb)
	s, err := start(e, o)
	if err != nil {
		tb.Fatal(err)
	}
	s.t = tb
	tb.Cleanup(func() {
		if tb.Failed() {
			tb.Logf("%s said at last:\n%s", e.name(), last(s.Log()))
		}
		if err := s.discard(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

// measures is whether a server's work is measured: then it is done where it usually is.
func measures(tb testing.TB) bool {
	tb.Helper()
	_, is := tb.(*testing.B)
	return is
}

func start(e engine, o Options) (*Server, error) {
	s := &Server{engine: e, settings: o.Settings, onDisk: o.OnDisk, password: rand.Text()}
	err := s.begin()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", e.name(), err), s.discard())
	}
	return s, nil
}

func (s *Server) begin() (err error) {
	if s.folder, err = newFolder(s.engine.name(), s.onDisk); err != nil {
		return err
	}
	if err := s.engine.prepare(s); err != nil {
		return err
	}
	if err := s.runSomewhere(); err != nil {
		return err
	}
	return s.engine.settle(s)
}

// runSomewhere starts the process on a free port.
func (s *Server) runSomewhere() (err error) {
	for range portTries {
		if s.port, s.held, err = reservePort(); err != nil {
			return err
		}
		if err = s.run(); err == nil {
			return nil
		}
		if !portTaken(s.Addr()) {
			return err
		}
		s.held.Close() // somebody came between
	}
	return err
}

// run starts the process and waits until it answers.
func (s *Server) run() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, err := s.engine.command(s)
	if err != nil {
		return err
	}
	if s.pid, err = spawn(s.folder, c); err != nil {
		return err
	}
	var asked error
	met, err := waitFor(startMax, func() (bool, error) {
		if asked = s.engine.ask(s); asked == nil {
			return true, nil
		}
		ended, err := s.reap()
		if ended {
			err = errors.Join(err, errors.New("it ended at once"))
		}
		return false, err
	})
	if err == nil && !met {
		err = fmt.Errorf("it does not answer after %v: %w", startMax, asked)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%w\n%s", err, last(s.log())), s.kill())
	}
	return nil
}

// URL says where the server is and who is asking: an ordinary user.
func (s *Server) URL() string { return s.engine.url(s, owner, owner) }

// AdminURL is the same for the user who may do everything.
func (s *Server) AdminURL() string { return s.engine.url(s, s.engine.admin(), owner) }

// Addr is the server's host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Kill ends the server and all its processes at once, as a crash of the machine would but for the disk, and waits until they are gone.
// A server that is not running stays so.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		s.t.Errorf("kill %s: %v", s.engine.name(), err)
	}
}

// Stop ends the server as an operator does and waits until it has ended. It waits for no client.
func (s *Server) Stop() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.stop(); err != nil {
		s.t.Errorf("stop %s: %v", s.engine.name(), err)
	}
}

func (s *Server) stop() error {
	if s.pid == 0 {
		return nil
	}
	err := syscall.Kill(s.pid, s.engine.stop())
	met := false
	if err == nil {
		met, err = waitFor(stopMax, s.reap)
	}
	if err == nil && !met {
		err = errors.Join(fmt.Errorf("it had not ended after %v", stopMax), s.kill())
	}
	return err
}

// Start starts a server again that was killed or stopped: on its port, with its data. It waits until the server answers.
func (s *Server) Start() {
	s.t.Helper()
	if err := s.run(); err != nil {
		s.t.Fatalf("start %s again: %v", s.engine.name(), err)
	}
}

// Pause freezes all processes of the server: connections stay, nobody answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := freeze(s.pid); err != nil {
		s.t.Errorf("pause %s: %v", s.engine.name(), err)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := thaw(s.pid); err != nil {
		s.t.Errorf("resume %s: %v", s.engine.name(), err)
	}
}

// Log is what the server has said since it was first started.
func (s *Server) Log() string {
	s.t.Helper()
	text, err := os.ReadFile(s.LogPath())
	if err != nil {
		s.t.Errorf("read the log of %s: %v", s.engine.name(), err)
	}
	return string(text)
}

// log is for errors: what cannot be read is told in its place.
func (s *Server) log() string {
	text, err := os.ReadFile(s.LogPath())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// reap takes note of the server's end. Without it the dead process stays in the table, and its lock file looks live.
func (s *Server) reap() (ended bool, err error) {
	if s.pid == 0 {
		return true, nil
	}
	ended, err = reap(s.pid, syscall.WNOHANG)
	if ended {
		s.pid = 0
	}
	return ended, err
}

func (s *Server) kill() error {
	if ended, err := s.reap(); ended || err != nil {
		return err
	}
	err := killFamily(s.pid)
	if err == nil {
		s.pid = 0
	}
	return err
}

func (s *Server) discard() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.kill()
	if s.held != nil {
		s.held.Close()
	}
	for _, end := range s.beside {
		err = errors.Join(err, end())
	}
	if s.folder != "" {
		err = errors.Join(err, os.RemoveAll(s.folder))
	}
	return err
}

func last(s string) string { return s[max(0, len(s)-logTail):] }

// waitFor looks again and again until it is met, fails, or took too long.
func waitFor(limit time.Duration, look func() (met bool, err error)) (bool, error) {
	late := time.NewTimer(limit)
	defer late.Stop()
	for pause := pauseMin; ; pause = min(pause+pause/4, pauseMax) {
		if met, err := look(); met || err != nil {
			return met, err
		}
		select {
		case <-late.C:
			return false, nil
		case <-time.After(pause):
		}
	}
}
