package e2e

import (
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
)

// start starts a process that the kernel kills when these tests end, however they end. It watches the thread that started
// the process, so one goroutine with a thread of its own starts them all.
func start(cmd *exec.Cmd) error {
	starter().cmds <- cmd
	return <-starter().errs
}

type starting struct {
	cmds chan *exec.Cmd
	errs chan error
}

var starter = sync.OnceValue(func() starting {
	s := starting{make(chan *exec.Cmd), make(chan error)}
	go func() {
		runtime.LockOSThread()
		for cmd := range s.cmds {
			cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
			s.errs <- cmd.Start()
		}
	}()
	return s
})

// smallDisk is a folder on a disk of its own.
func smallDisk(t *testing.T, options string) string {
	t.Helper()
	folder := t.TempDir()
	if err := syscall.Mount("holdfast-e2e", folder, "tmpfs", 0, options); err != nil {
		t.Skipf("NOT TESTED: this takes a disk of its own, and mounting one needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", folder, err)
		}
	})
	return folder
}

// readOnly makes a small disk refuse writing.
func readOnly(t *testing.T, folder string) {
	t.Helper()
	if err := syscall.Mount("", folder, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatalf("remount %s: %v", folder, err)
	}
}
