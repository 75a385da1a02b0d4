package testenv

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const toolMax = time.Minute

// lookPath finds a program also where only root's path leads.
func lookPath(program, product, pkg string) (string, error) {
	path, err := exec.LookPath(program)
	for _, folder := range []string{"/usr/sbin/", "/usr/local/sbin/"} {
		if err != nil {
			path, err = exec.LookPath(folder + program)
		}
	}
	if err != nil {
		return "", fmt.Errorf("%s is not installed (there is no %s). Tests need it: on Debian and Ubuntu `apt-get install %s`, or `make test` as root, which does that: %w",
			product, program, pkg, err)
	}
	return path, nil
}

// runTool runs a program that works on a server's folder, as whoever runs the server.
func runTool(s *Server, binary string, args ...string) error {
	cmd, err := unprivileged(s.folder, nil, binary, args...)
	if err != nil {
		return err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(binary), err, out)
	}
	return nil
}

// runClient feeds statements to a database's own client, which these tests use in place of a driver.
func runClient(statements string, env []string, binary string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), toolMax)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}, env...)
	cmd.Stdin = strings.NewReader(statements)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", filepath.Base(binary), err, bytes.TrimSpace(out))
	}
	return nil
}
