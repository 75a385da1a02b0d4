package testenv

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"
)

// Kept is a folder with servers that are not a test's: their data is there again at the next start. They end with this process all the
// same, however that ends.
type Kept struct {
	folder   string
	lock     *os.File
	endWatch func() error
	running  []*Server
}

const (
	lockName = "lock"
	lockMax  = 3 * time.Second // for the servers of a process that was killed
)

// ErrUnreachable is the error of a folder that servers of root cannot use, because nobody, as whom they run, does not get at it.
var ErrUnreachable = errors.New("the servers of root run as nobody, who does not get at it")

// Keep takes a folder of servers for this process, and makes it where it is missing. One process at a time may have it, and its user
// only. Errors: ErrUnreachable.
func Keep(folder string) (*Kept, error) {
	folder, err := filepath.Abs(folder)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(folder, 0o711); err != nil { // nobody must get at his folder in it
		return nil, err
	}
	if err := reachable(folder); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(filepath.Join(folder, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	k := &Kept{folder: folder, lock: lock}
	met, err := waitFor(lockMax, func() (bool, error) {
		err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return false, nil
		}
		return err == nil, err
	})
	if err == nil && !met {
		err = errors.New("it is in use by another process")
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", folder, err), lock.Close())
	}
	if err := k.forget(); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	if k.endWatch, err = watch(folder, "kept", lock); err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return k, nil
}

// reachable makes sure that the folder is the user's own, and that those get at it who run his servers.
func reachable(folder string) error {
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if is, ok := info.Sys().(*syscall.Stat_t); ok && int(is.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user", folder)
	}
	cmd, err := unprivileged(folder, nil, "true")
	if err == nil {
		err = cmd.Run()
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %w", folder, ErrUnreachable, err)
	}
	return nil
}

// forget takes away the numbers of processes that a crash of the machine left behind. By now others may have them.
func (k *Kept) forget() error {
	stale, err := filepath.Glob(filepath.Join(k.folder, "*", pidName))
	for _, file := range stale {
		err = errors.Join(err, os.Remove(file))
	}
	return err
}

// Clear throws everything away that is kept. Nothing may have been started.
func (k *Kept) Clear() error {
	entries, err := os.ReadDir(k.folder)
	for _, entry := range entries {
		if entry.IsDir() { // all but the lock
			err = errors.Join(err, os.RemoveAll(filepath.Join(k.folder, entry.Name())))
		}
	}
	return err
}

// Postgres starts the folder's PostgreSQL. See StartPostgres.
func (k *Kept) Postgres(o Options) (*Server, error) { return k.start(postgres{}, o) }

// MariaDB starts the folder's MariaDB. See StartMariaDB.
func (k *Kept) MariaDB(o Options) (*Server, error) { return k.start(mariadb{}, o) }

// Redis starts the folder's Redis.
func (k *Kept) Redis(o Options) (*Server, error) { return k.start(redis{}, o) }

func (k *Kept) start(e engine, o Options) (*Server, error) {
	s := &Server{
		engine: e, settings: o.Settings, onDisk: true, password: rand.Text(), folder: filepath.Join(k.folder, strings.ToLower(e.name())),
	}
	if err := s.beginKept(); err != nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, errors.Join(fmt.Errorf("start %s in %s: %w", e.name(), s.folder, err), s.kill(), s.release())
	}
	k.running = append(k.running, s)
	return s, nil
}

// beginKept prepares a server at its first start only. The password is written last: with it the folder is whole.
func (s *Server) beginKept() error {
	whole := filepath.Join(s.folder, passwordName)
	password, err := os.ReadFile(whole)
	if err == nil {
		s.password = string(password)
		return s.runSomewhere()
	}
	if !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := os.Mkdir(s.folder, 0o700); err != nil {
		return fmt.Errorf("what is there was not finished; take it away: %w", err)
	}
	if err := own(s.folder); err != nil {
		return err
	}
	if err := s.engine.prepare(s); err != nil {
		return err
	}
	if err := s.runSomewhere(); err != nil {
		return err
	}
	if err := s.engine.settle(s); err != nil {
		return err
	}
	return os.WriteFile(whole, []byte(s.password), 0o600)
}

// Command is a program of the caller's that ends with this process like a server, however that ends. It runs in the caller's working
// folder and in a process group of its own: a terminal's Ctrl-C is for the caller, who stops it. Its name is a folder here.
func (k *Kept) Command(name, binary string, args ...string) (*exec.Cmd, error) {
	folder := filepath.Join(k.folder, name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	args = append([]string{"-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(folder, pidName), binary}, args...)
	cmd := exec.Command("sh", args...) //nolint:noctx // the caller stops it
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd, nil
}

// Close stops the servers, the last one first, and gives the folder free. What was started with Command must have ended.
func (k *Kept) Close() error {
	var failed []error
	for i := len(k.running) - 1; i >= 0; i-- {
		s := k.running[i]
		s.mu.Lock()
		if err := errors.Join(s.stop(), s.release()); err != nil {
			failed = append(failed, fmt.Errorf("stop %s: %w", s.engine.name(), err))
		}
		s.mu.Unlock()
	}
	if len(failed) == 0 { // else the watch kills what is left, by its number
		failed = append(failed, k.forget())
	}
	return errors.Join(append(failed, k.endWatch(), k.lock.Close())...)
}

// release gives the port back.
func (s *Server) release() error {
	if s.held == nil {
		return nil
	}
	return s.held.Close()
}

// Name is the server's product.
func (s *Server) Name() string { return s.engine.name() }

// Folder is where its data, its log and its password are.
func (s *Server) Folder() string { return s.folder }

// LogPath is the file with what it says.
func (s *Server) LogPath() string { return filepath.Join(s.folder, logName) }

var versionNumber = regexp.MustCompile(`\d+(\.\d+)+`)

// Version is that of the installed program.
func (s *Server) Version() (string, error) {
	c, err := s.engine.command(s)
	if err != nil {
		return "", err
	}
	out, err := exec.Command(c.binary, "--version").Output() //nolint:noctx // it answers at once
	if err != nil {
		return "", err
	}
	return versionNumber.FindString(string(out)), nil
}
