package cli

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/holdfast-oms/holdfast/api"
)

type stockCommand struct {
	settings
	Get    stockGet    `cmd:"" help:"Look at a product's stock."`
	Adjust stockAdjust `cmd:"" help:"Take a delivery in, or write units off."`
}

// Help is the longer text.
func (stockCommand) Help() string { return callHelp }

type stockGet struct {
	ProductID string `arg:"" name:"product" help:"The product's id."`
	output
}

// Run shows a stock.
func (c *stockGet) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	s, err := d.GetStock(ctx, c.ProductID)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showStock(in, &s)
}

type stockAdjust struct {
	ProductID string `arg:"" name:"product" help:"The product's id."`
	Add       int64  `placeholder:"N" help:"Units that have come."`
	Remove    int64  `placeholder:"N" help:"Units that are gone."`
	Reason    string `placeholder:"TEXT" help:"Why, such as restock."`
	Ref       string `placeholder:"REF" help:"Names the delivery, such as PO-7: told again, it does not count again."`
	output
}

// Run adjusts a stock.
func (c *stockAdjust) Run(ctx context.Context, in *invocation) error {
	if c.Add < 0 || c.Remove < 0 || (c.Add == 0) == (c.Remove == 0) {
		return failure{exitUsage, errors.New("say how many units: --add N, or --remove N")}
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	a, err := d.AdjustStock(ctx, c.ProductID, api.AdjustStock{Delta: c.Add - c.Remove, Reason: c.Reason, Ref: c.Ref})
	if err != nil {
		return d.told(ctx, err)
	}
	if a.Repeated {
		say(in.Stderr, "%s had been counted before: nothing was changed.\n", c.Ref)
	}
	return c.showStock(in, &a.Stock)
}

func (c output) showStock(in *invocation, s *api.Stock) error {
	return c.show(in, s, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "PRODUCT\tRECEIVED\tAVAILABLE\tHELD\tSOLD")
		say(w, "%s\t%d\t%d\t%d\t%d\n", s.ProductID, s.Received, s.Available, s.Held, s.Sold)
	})
}
