//go:build !linux

package e2e

import (
	"os/exec"
	"testing"
)

func start(cmd *exec.Cmd) error { return cmd.Start() }

func smallDisk(t *testing.T, _ string) string {
	t.Helper()
	t.Skip("NOT TESTED: this takes a disk of its own, which these tests can make on Linux only")
	return ""
}

func readOnly(t *testing.T, _ string) { t.Helper() }
