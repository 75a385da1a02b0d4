package testenv

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// watchScript waits for the end of the process that started it, which closes the pipe however it ends, and then kills each server that
// is left with all its processes, and removes the folder of them all, or with "kept" only what says that they run.
const watchScript = `
trap '' HUP INT QUIT TERM
while read -r nothing; do :; done
family() {
	ps -A -o pid=,ppid= | awk -v first="$1" '
		{ parent[$1] = $2 }
		END {
			found[first]
			do {
				more = 0
				for (p in parent) if (!(p in found) && (parent[p] in found)) { found[p]; more = 1 }
			} while (more)
			for (p in found) print p
		}'
}
for file in "$1"/*/pid; do
	[ -s "$file" ] || continue
	read -r pid <"$file"
	kill -STOP $pid && kill -STOP $(family $pid) && kill -KILL $(family $pid)
done
if [ "$2" = kept ]; then rm -f "$1"/*/pid; exit; fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`

// roots are the folders of all that this process starts, in memory and on the disk. With each comes a shell that watches over the
// process, because tests that are killed, time out or crash clean up nothing. (A death signal from the kernel would come when the thread
// ends that started the server.)
var roots = map[bool]func() (base, error){
	true:  sync.OnceValues(func() (base, error) { return newRoot("") }),
	false: sync.OnceValues(func() (base, error) { return newRoot(inMemory()) }),
}

const (
	memory    = "/dev/shm" // where Linux has a file system in memory
	memoryMin = 2 << 30    // bytes free, for the servers of several test processes
)

// inMemory is a parent for folders where nobody waits for a disk: most of what small databases do is that. It is the usual place where
// there is none with enough room, and where TMPDIR says what is wanted.
func inMemory() string {
	var s syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(memory, &s) != nil || s.Bavail < uint64(memoryMin/s.Bsize) {
		return ""
	}
	return memory
}

func newRoot(parent string) (base, error) {
	folder, err := os.MkdirTemp(parent, "holdfast-testenv-")
	if err != nil {
		return base{}, err
	}
	if err := os.Chmod(folder, 0o711); err != nil { // nobody must get at his folder in it
		return base{}, err
	}
	end, err := watch(folder, "temporary", nil)
	return base{folder, end}, err
}

type base struct {
	folder   string
	lifeline func() error // never called; kept, so that the pipe is not collected as garbage and closed by that
}

// watch starts the shell that watches over this process, and gives how to end it. It holds the lock, if there is one, as long as there
// may be something left.
func watch(folder, how string, lock *os.File) (end func() error, err error) {
	shell := exec.Command("sh", "-c", watchScript, "sh", folder, how) //nolint:noctx // it outlives this process
	shell.Dir = "/"
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if lock != nil {
		shell.ExtraFiles = []*os.File{lock}
	}
	lifeline, err := shell.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := shell.Start(); err != nil {
		return nil, fmt.Errorf("start the watch: %w", err)
	}
	return func() error { return errors.Join(lifeline.Close(), shell.Wait()) }, nil
}

// newFolder makes a folder for one server, its own.
func newFolder(name string, onDisk bool) (string, error) {
	parent, err := roots[onDisk]()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp(parent.folder, strings.ToLower(name)+"-")
	if err == nil {
		err = own(folder)
	}
	return folder, err
}

// own gives a folder to whoever runs servers.
func own(folder string) error {
	who, err := nobody()
	if err != nil || who == nil {
		return err
	}
	return os.Chown(folder, int(who.Uid), int(who.Gid))
}

// copyTree copies a folder that holds files and folders only, and gives the copy to whoever runs servers.
func copyTree(from, to string, who *syscall.Credential) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case info.IsDir():
			err = os.Mkdir(target, info.Mode().Perm())
		case info.Mode().IsRegular():
			err = copyFile(path, target, info.Mode().Perm())
		default:
			err = fmt.Errorf("copy %s: it is neither a file nor a folder", path)
		}
		if err == nil && who != nil {
			err = os.Chown(target, int(who.Uid), int(who.Gid))
		}
		return err
	})
}

func copyFile(from, to string, mode os.FileMode) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close() //nolint:errcheck // the copy has failed already
		return err
	}
	return out.Close()
}
