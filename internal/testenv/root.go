package testenv

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// watchScript waits for the end of the test process, which closes the pipe however it ends, and then kills each server that is left
// with all its processes, and removes the folder of them all.
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
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
`

// root is the folder of all that this process starts. With it comes a shell that watches over the process, because tests that are
// killed, time out or crash clean up nothing. (A death signal from the kernel would come when the thread ends that started the server.)
var root = sync.OnceValues(func() (base, error) {
	folder, err := os.MkdirTemp("", "holdfast-testenv-")
	if err != nil {
		return base{}, err
	}
	if err := os.Chmod(folder, 0o711); err != nil { // nobody must get at his folder in it
		return base{}, err
	}
	watch := exec.Command("sh", "-c", watchScript, "sh", folder)
	watch.Dir = "/"
	watch.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	lifeline, err := watch.StdinPipe()
	if err != nil {
		return base{}, err
	}
	if err := watch.Start(); err != nil {
		return base{}, fmt.Errorf("start the watch: %w", err)
	}
	return base{folder, lifeline}, watch.Process.Release()
})

type base struct {
	folder   string
	lifeline io.Closer // never closed; kept, so that it is not collected as garbage and closed by that
}

// newFolder makes a folder for one server, its own.
func newFolder(name string) (string, error) {
	parent, err := root()
	if err != nil {
		return "", err
	}
	who, err := nobody()
	if err != nil {
		return "", err
	}
	folder, err := os.MkdirTemp(parent.folder, strings.ToLower(name)+"-")
	if err == nil && who != nil {
		err = os.Chown(folder, int(who.Uid), int(who.Gid))
	}
	return folder, err
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
