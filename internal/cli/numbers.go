package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
)

type numbersCommand struct {
	settings
	Status numbersStatus `cmd:"" default:"withargs" help:"See how many order numbers were granted, used and lost, and how many are left."`
	Fill   numbersFill   `cmd:"" help:"Make today's and tomorrow's order numbers ready in Redis."`
	Purge  numbersPurge  `cmd:"" help:"Remove the order numbers in Redis that are left of the days before today."`
}

// Help is the longer text.
func (numbersCommand) Help() string {
	return `Order numbers are granted to processes in blocks, and given to accepted orders only. With Redis, blocks of the day wait there for any process; without, each process takes its own from the database. What a process had not given when it stopped is lost. The key needs the scope admin.`
}

type numbersStatus struct {
	Days int `default:"7" placeholder:"7" help:"How many days, the newest first."`
	output
}

// Run shows what became of order numbers.
func (c *numbersStatus) Run(ctx context.Context, in *invocation) error {
	if c.Days < 1 || c.Days > itemsMax {
		return failure{exitUsage, fmt.Errorf("--days must be 1 to %d", itemsMax)}
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	days, _, err := collect(d.ListNumbers(ctx), c.Days)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showList(in, days, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "DAY\tGRANTED\tUSED\tLOST\tLEFT\tLAST ORDER")
		for _, n := range days {
			last := "none"
			if n.Last != nil {
				last = *n.Last
			}
			say(w, "%s\t%d\t%d\t%d\t%d\t%s\n", n.Day, n.Granted, n.Used, n.Lost, n.Left, last)
		}
	})
}

type numbersFill struct{ output }

// Run makes numbers ready.
func (c *numbersFill) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	filled, err := d.FillNumbers(ctx)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.show(in, filled, func(w *tabwriter.Writer) {
		if filled.Added == 0 {
			say(w, "No numbers added: as many wait as are to. Without Redis none do.\n")
			return
		}
		say(w, "%d numbers added.\n", filled.Added)
	})
}

type numbersPurge struct{ output }

// Run removes what is left of the days before today.
func (c *numbersPurge) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	purged, err := d.PurgeNumbers(ctx)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.show(in, purged, func(w *tabwriter.Writer) { say(w, "%d numbers removed.\n", purged.Removed) })
}
