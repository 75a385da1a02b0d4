package testenv

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	logName = "log"
	pidName = "pid"

	familyMax = 20 // looks at a family that goes on growing
	goneMax   = 20 * time.Second
)

// spawn starts a process in its folder, which gets its log and its number. Nothing waits for it but reap.
//
// The shell writes the number down before it becomes the server, so that the watch (root) knows every server there is.
func spawn(folder string, c command) (pid int, err error) {
	log, err := os.OpenFile(filepath.Join(folder, logName), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close() //nolint:errcheck // the process writes to its own copy
	cmd, err := unprivileged(folder, c.env, "sh", slices.Concat([]string{"-c", `echo $$ >` + pidName + ` && exec "$@"`, "sh", c.binary}, c.args)...)
	if err != nil {
		return 0, err
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr.Setpgid = true // Ctrl-C is for the tests; they end their servers
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("in %s, which must be open to servers of root that do not run as root: %w", folder, err)
	}
	pid = cmd.Process.Pid
	return pid, cmd.Process.Release()
}

// unprivileged is a command that root runs as nobody: PostgreSQL refuses to be started by root, the others need not be.
func unprivileged(folder string, env []string, binary string, args ...string) (*exec.Cmd, error) {
	cmd := exec.Command(binary, args...) //nolint:noctx // servers end with the tests
	cmd.Dir = folder
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH") + ":/usr/sbin:/sbin", "HOME=" + folder, "LC_ALL=C"}, env...)
	who, err := nobody()
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who}
	return cmd, err
}

// nobody is who root's servers run as; nil for others, who run them as themselves.
var nobody = sync.OnceValues(func() (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, fmt.Errorf("root does not run database servers, and there is nobody else: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
})

// reap takes a dead child out of the process table.
func reap(pid, options int) (ended bool, err error) {
	for {
		got, err := syscall.Wait4(pid, nil, options, nil)
		if !errors.Is(err, syscall.EINTR) {
			return got == pid, err
		}
	}
}

// killFamily kills a child of ours with all its descendants, and waits until none of them does anything any more: PostgreSQL does not
// start beside a process of its former life.
func killFamily(pid int) error {
	family, err := freeze(pid) // so that none of them starts another
	if err != nil {
		return err
	}
	if err := signal(family, syscall.SIGKILL); err != nil {
		return err
	}
	if _, err := reap(pid, 0); err != nil {
		return err
	}
	met, err := waitFor(goneMax, func() (bool, error) {
		alive, err := processes()
		return !slices.ContainsFunc(alive, func(p process) bool { return slices.Contains(family, p.pid) }), err
	})
	if err == nil && !met {
		err = fmt.Errorf("processes of %v are still there %v after they were killed", family, goneMax)
	}
	return err
}

// freeze stops a process and all its descendants, parents first, until there is no new one.
func freeze(pid int) (family []int, err error) {
	if pid == 0 {
		return nil, errors.New("it is not running")
	}
	family = []int{pid}
	for range familyMax {
		if err := signal(family, syscall.SIGSTOP); err != nil {
			return nil, err
		}
		now, err := descendants(pid)
		if err != nil {
			return nil, err
		}
		if len(now) == len(family) {
			return family, nil
		}
		family = now
	}
	return nil, fmt.Errorf("the family of process %d grows faster than it can be stopped", pid)
}

func thaw(pid int) error {
	if pid == 0 {
		return errors.New("it is not running")
	}
	family, err := descendants(pid)
	if err != nil {
		return err
	}
	slices.Reverse(family) // children first, so that a parent finds them running
	return signal(family, syscall.SIGCONT)
}

// signal passes over those who have just ended.
func signal(pids []int, s syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, s); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("signal process %d: %w", pid, err)
		}
	}
	return nil
}

// descendants is a process and all below it, parents before children. A process group would not do: each process of PostgreSQL
// makes one of its own.
func descendants(pid int) ([]int, error) {
	all, err := processes()
	family := []int{pid}
	for i := 0; i < len(family); i++ {
		for _, p := range all {
			if p.parent == family[i] {
				family = append(family, p.pid)
			}
		}
	}
	return family, err
}

type process struct{ pid, parent int }

// processes are all that live; the dead whom nobody reaped do not.
func processes() ([]process, error) {
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,stat=").Output() //nolint:noctx // it answers at once
	if err != nil {
		return nil, fmt.Errorf("list processes with ps (package procps): %w", err)
	}
	var all []process
	for line := range bytes.Lines(out) {
		fields := strings.Fields(string(line))
		if len(fields) != 3 {
			return nil, fmt.Errorf("list processes: ps said %q", line)
		}
		pid, err := strconv.Atoi(fields[0])
		if err != nil {
			return nil, err
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, err
		}
		if fields[2][0] != 'Z' {
			all = append(all, process{pid, parent})
		}
	}
	return all, nil
}
