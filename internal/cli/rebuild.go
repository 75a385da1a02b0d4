package cli

import (
	"context"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/server"
)

type rebuildCommand struct {
	settings
	output
}

// Help is the longer text.
func (rebuildCommand) Help() string {
	return `Whatever Redis holds of the products and the used keys is given up, and put there again as the record says. Desks that use it do with their own memory for the few seconds that it takes, and notice by themselves that it is done; orders go on.

Desks rebuild Redis by themselves when it was lost, flushed, restarted or belongs to another database. This command is for when somebody changed it by hand. An embedded desk must be stopped for it.`
}

// Run rebuilds the front.
func (c *rebuildCommand) Run(ctx context.Context, in *invocation) error {
	cfg, _, err := in.settings(c.settings)
	if err != nil {
		return err
	}
	progress := newProgress(in.Stderr)
	products, err := server.Rebuild(ctx, cfg, func(n int) { progress.show(n, n, "products") })
	progress.clear()
	if err := orStopped(ctx, err); err != nil {
		return err
	}
	if c.json() {
		return writeJSON(in.Stdout, struct {
			Products int `json:"products"`
		}{products})
	}
	_, err = fmt.Fprintf(in.Stdout, "redis holds what the record says of %d products.\n", products)
	return err
}
