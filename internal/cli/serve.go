package cli

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/holdfast-oms/holdfast/internal/server"
)

type serveCommand struct {
	settings
	Demo bool `help:"Put a few sample products on sale and say how to buy one."`
}

// Help is the longer text.
func (serveCommand) Help() string {
	return `The desk keeps its record in holdfast.db in the working folder unless told otherwise, and needs nothing else. At its first start it makes an admin key and shows it once.

SIGTERM or Ctrl-C stops it gracefully: readiness goes down, requests under way are answered, nothing that was acknowledged is lost. A second signal stops it at once; then, too, every order that was answered is there at the next start.

Every flag below is also an environment variable and a line of holdfast.yaml: --pay-window 15m is HOLDFAST_PAY_WINDOW=15m and pay_window: 15m. See "holdfast config".`
}

// garbagePercent is how much garbage may lie beside what is in use: twice as much as Go allows, for a desk in a rush allocates much and
// keeps little.
const garbagePercent = 200

// Run serves until a signal comes.
func (c *serveCommand) Run(ctx context.Context, in *invocation) error {
	if os.Getenv("GOGC") == "" { //nolint:forbidigo // Go's own setting, and none of ours
		debug.SetGCPercent(garbagePercent)
	}
	cfg, _, err := in.settings(c.settings)
	if err != nil {
		return err
	}
	return server.Run(ctx, cfg, server.Options{Demo: c.Demo, Stdout: in.Stdout, Stderr: in.Stderr, Version: version().Version})
}
