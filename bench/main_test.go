package bench

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
)

// The test binary stands in for the holdfast binary when a test starts a rival as a process of its own.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "bench" {
		if err := serveForTest(os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(runTests(m))
}

// built is where the real binary is built, when a test asks for it.
var built string

func runTests(m *testing.M) int {
	var err error
	if built, err = os.MkdirTemp("", "holdfast-bench-test-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(built) //nolint:errcheck // only the binary
	return m.Run()
}

func serveForTest(mode string, args []string) error {
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer cancel()
	flags := flag.NewFlagSet(mode, flag.ContinueOnError)
	listen := flags.String("listen", "", "")
	database := flags.String("database", "", "")
	pool := flags.Int("pool", 1, "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	switch mode {
	case "serve-echo":
		return ServeEcho(ctx, *listen, os.Stdout)
	case serveMode + rowLockScenario, serveMode + unitRowsScenario:
		scenario := strings.TrimPrefix(mode, serveMode)
		return ServeRival(ctx, RivalOptions{Scenario: scenario, Listen: *listen, Database: *database, Pool: *pool}, os.Stdout)
	default:
		return fmt.Errorf("no mode %q", mode)
	}
}
