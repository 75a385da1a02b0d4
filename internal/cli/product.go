package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

type productCommand struct {
	settings
	Put     productPut     `cmd:"" help:"Put a product on sale, or change it."`
	Get     productGet     `cmd:"" help:"Look at a product."`
	List    productList    `cmd:"" help:"List the products by id."`
	Release productRelease `cmd:"" help:"Sell a product again whose sale the auditor has stopped."`
}

// Help is the longer text.
func (productCommand) Help() string { return callHelp }

type productPut struct {
	ProductID   string  `arg:"" name:"product" help:"Your own name of it, such as sku-ticket."`
	Title       *string `placeholder:"TEXT" help:"What buyers read."`
	Price       *int64  `placeholder:"1999" help:"In minor units: 1999 is CNY 19.99. With --currency."`
	Currency    string  `placeholder:"CNY" help:"ISO 4217 code of the price."`
	MaxPerUser  *string `placeholder:"N|none" help:"Units one user may have."`
	PayWindow   *string `placeholder:"15m|none" help:"How long its orders may stay unpaid."`
	OnSaleFrom  *string `placeholder:"TIME|none" help:"When it can be ordered first: 2026-11-20T10:00:00Z."`
	OnSaleUntil *string `placeholder:"TIME|none" help:"From when on it cannot be ordered."`
	Active      *bool   `negatable:"" help:"Whether it can be ordered at all."`
	output
}

// Help is the longer text.
func (productPut) Help() string {
	return `What is left out stays as it is; a new product needs --title, --price and --currency. Stock comes with "holdfast stock adjust".`
}

// Run creates or changes a product.
func (c *productPut) Run(ctx context.Context, in *invocation) error {
	change, err := c.change()
	if err != nil {
		return failure{exitUsage, err}
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	p, err := d.PutProduct(ctx, c.ProductID, change)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showProduct(in, &p)
}

func (c *productPut) change() (change api.PutProduct, err error) {
	if (c.Price == nil) != (c.Currency == "") {
		return change, errors.New("--price and --currency belong together")
	}
	if c.Price != nil {
		change.Price = api.Set(api.Money{Amount: *c.Price, Currency: c.Currency})
	}
	change.Title, _ = optional(c.Title, text)
	if c.Active != nil {
		change.Active = api.Set(*c.Active)
	}
	change.PayWindow, _ = optional(c.PayWindow, text)
	if change.MaxPerUser, err = optional(c.MaxPerUser, number); err != nil {
		return change, errors.New("--max-per-user must be a number, or none")
	}
	if change.OnSaleFrom, err = optional(c.OnSaleFrom, instant); err != nil {
		return change, errors.New("--on-sale-from must be a time such as 2026-11-20T10:00:00Z, or none")
	}
	if change.OnSaleUntil, err = optional(c.OnSaleUntil, instant); err != nil {
		return change, errors.New("--on-sale-until must be a time such as 2026-11-20T10:00:00Z, or none")
	}
	return change, nil
}

// optional is a field of a change: left out, cleared by "none", or set.
func optional[T any](flag *string, read func(string) (T, error)) (api.Optional[T], error) {
	switch {
	case flag == nil:
		return api.Optional[T]{}, nil
	case *flag == "none":
		return api.Clear[T](), nil
	}
	value, err := read(*flag)
	return api.Set(value), err
}

func text(s string) (string, error) { return s, nil }

func number(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) }

func instant(s string) (time.Time, error) { return time.Parse(time.RFC3339, s) }

type productGet struct {
	ProductID string `arg:"" name:"product" help:"The product's id."`
	output
}

// Run shows a product.
func (c *productGet) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	p, err := d.GetProduct(ctx, c.ProductID)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showProduct(in, &p)
}

func (c output) showProduct(in *invocation, p *api.Product) error {
	return c.show(in, p, func(w *tabwriter.Writer) {
		say(w, "product\t%s\n", p.ProductID)
		say(w, "title\t%s\n", p.Title)
		say(w, "price\t%s\n", price(p.Price))
		say(w, "available\t%d\n", p.Available)
		say(w, "on sale\t%s\n", onSale(p))
		if p.MaxPerUser != nil {
			say(w, "max per user\t%d\n", *p.MaxPerUser)
		}
		if p.PayWindow != nil {
			say(w, "pay window\t%s\n", *p.PayWindow)
		}
	})
}

func onSale(p *api.Product) string {
	if !p.Active {
		return "no"
	}
	var when []string
	if p.OnSaleFrom != nil {
		when = append(when, "from "+day(p.OnSaleFrom))
	}
	if p.OnSaleUntil != nil {
		when = append(when, "until "+day(p.OnSaleUntil))
	}
	if when == nil {
		return "yes"
	}
	return strings.Join(when, " ")
}

type productRelease struct {
	ProductID string `arg:"" name:"product" help:"The product's id."`
	output
}

// Help is the longer text.
func (productRelease) Help() string {
	return `The auditor stops the sale of a product whose numbers do not add up; the log says in what they differ. Look at it first, with
"holdfast audit": the same difference does not stop it again.`
}

// Run releases a product.
func (c *productRelease) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	p, err := d.ReleaseProduct(ctx, c.ProductID)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showProduct(in, &p)
}

type productList struct {
	page
	output
}

// Run lists products.
func (c *productList) Run(ctx context.Context, in *invocation) error {
	if err := c.check(); err != nil {
		return err
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	products, more, err := collect(d.ListProducts(ctx), c.Limit)
	if err != nil {
		return d.told(ctx, err)
	}
	c.note(in, more)
	return c.showList(in, products, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "PRODUCT\tTITLE\tPRICE\tAVAILABLE\tON SALE")
		for i := range products {
			p := &products[i]
			say(w, "%s\t%s\t%s\t%d\t%s\n", p.ProductID, p.Title, price(p.Price), p.Available, onSale(p))
		}
	})
}
