package cli

import (
	"context"
	"fmt"
	"text/tabwriter"
)

type numbersCommand struct {
	settings
	Days int `default:"7" placeholder:"7" help:"How many days, the newest first."`
	output
}

// Help is the longer text.
func (numbersCommand) Help() string {
	return `Order numbers are granted to processes in blocks, and given to accepted orders only. What a process had not given when it stopped is lost. The key needs the scope admin.`
}

// Run shows what became of order numbers.
func (c *numbersCommand) Run(ctx context.Context, in *invocation) error {
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
		fmt.Fprintln(w, "DAY\tGRANTED\tUSED\tLAST ORDER")
		for _, n := range days {
			last := "none"
			if n.Last != nil {
				last = *n.Last
			}
			say(w, "%s\t%d\t%d\t%s\n", n.Day, n.Granted, n.Used, last)
		}
	})
}
