package cli

import (
	"context"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/server"
)

type backupCommand struct {
	settings
	File string `arg:"" help:"Where the copy goes; nothing may be there yet."`
	output
}

// Help is the longer text.
func (backupCommand) Help() string {
	return `The copy is the record as it was at one moment, with everything that had been acknowledged by then. A desk that serves the record goes on meanwhile; its write-ahead log grows until the copy is made. The copy gets its name when it is whole, on the disk and checked: whatever stands under that name is good.

The copy holds what the record holds: names, addresses and the sandbox's secret. It is readable by its owner only. A record on a database server is copied with that server's own tools. To go back to it, stop the desk and start it with --database-url sqlite:FILE.`
}

// Run copies the record.
func (c *backupCommand) Run(ctx context.Context, in *invocation) error {
	cfg, _, err := in.settings(c.settings)
	if err != nil {
		return err
	}
	progress := newProgress(in.Stderr)
	made, err := server.Backup(ctx, cfg, c.File, progress.show)
	progress.clear()
	if err := orStopped(ctx, err); err != nil {
		return err
	}
	if c.json() {
		return writeJSON(in.Stdout, struct {
			File  string `json:"file"`
			Bytes int64  `json:"bytes"`
		}{c.File, made})
	}
	_, err = fmt.Fprintf(in.Stdout, "%s holds the record, %d bytes. Check it: holdfast audit --database-url sqlite:%s\n", c.File, made, c.File)
	return err
}
