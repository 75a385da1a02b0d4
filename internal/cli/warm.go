package cli

import (
	"context"
	"text/tabwriter"
)

type warmCommand struct {
	settings
	output
}

// Help is the longer text.
func (warmCommand) Help() string {
	return `With Redis, desks remember products, users, orders and payments together, and load what they do not have when somebody asks. They load the products by themselves when they start, and whenever Redis begins anew; what nobody has looked at for ten minutes is forgotten again. This command, shortly before a sale opens, has the running desk load the products that are missing, 20000 at most. The key needs the scope admin.`
}

// Run warms the cache.
func (c *warmCommand) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	warmed, err := d.WarmCache(ctx)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.show(in, warmed, func(w *tabwriter.Writer) {
		say(w, "%d products are in Redis, %d of them were loaded now.\n", warmed.Products, warmed.Loaded)
	})
}
