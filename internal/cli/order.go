package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/money"
)

type orderCommand struct {
	settings
	Place  orderPlace  `cmd:"" help:"Place an order."`
	Get    orderGet    `cmd:"" help:"Look at an order."`
	List   orderList   `cmd:"" help:"List orders, newest first."`
	Pay    orderPay    `cmd:"" help:"Pay an order at the sandbox, or say where to pay it."`
	Cancel orderCancel `cmd:"" help:"Cancel a pending order and give its stock back."`
	Fulfil orderFulfil `cmd:"" help:"Say that a paid order was handed over."`
	Watch  orderWatch  `cmd:"" help:"Watch an order's countdown and what becomes of it."`
}

// Help is the longer text.
func (orderCommand) Help() string { return callHelp }

const callHelp = `These commands call a running desk (HOLDFAST_URL) with an API key (HOLDFAST_API_KEY).`

type orderPlace struct {
	Lines          []string `arg:"" name:"product" placeholder:"PRODUCT[=QUANTITY]" help:"What is ordered: sku-ticket=2, or sku-ticket for one of it."`
	User           string   `required:"" placeholder:"USER" help:"Who orders; need not be known."`
	IdempotencyKey string   `placeholder:"KEY" help:"Names this wish: the same key with the same wish is the same order, for 72 hours. One is made unless given."`
	Metadata       string   `placeholder:"JSON" help:"A JSON object of your own, kept with the order."`
	output
}

// Run places an order.
func (c *orderPlace) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	wish := api.PlaceOrder{UserID: c.User}
	if wish.Metadata, err = object("--metadata", c.Metadata); err != nil {
		return err
	}
	for _, l := range c.Lines {
		wish.Lines = append(wish.Lines, lineOf(l))
	}
	p, err := d.PlaceOrder(ctx, c.IdempotencyKey, wish)
	if err != nil {
		return d.told(ctx, err)
	}
	if p.Replayed {
		fmt.Fprintln(in.Stderr, "This order had been placed with this key before.")
	}
	return c.showOrder(in, &p.Order, d.now())
}

// lineOf reads sku-ticket=2. A product's id may hold "=" itself; what follows the last one is a quantity if it is a number.
func lineOf(text string) api.PlaceLine {
	if at := strings.LastIndexByte(text, '='); at > 0 {
		if n, err := strconv.ParseInt(text[at+1:], 10, 64); err == nil {
			return api.PlaceLine{ProductID: text[:at], Quantity: n}
		}
	}
	return api.PlaceLine{ProductID: text, Quantity: 1}
}

// object reads a JSON object that was given by a flag.
func object(flag, text string) (api.Metadata, error) {
	var fields map[string]json.RawMessage
	if text != "" && (json.Unmarshal([]byte(text), &fields) != nil || fields == nil) {
		return nil, failure{exitUsage, fmt.Errorf("%s must be a JSON object, such as '{\"channel\":\"web\"}'", flag)}
	}
	if text == "" {
		return nil, nil
	}
	return api.Metadata(text), nil
}

// now is the desk's time, as well as it is known.
func (d *caller) now() time.Time { return time.Now().Add(d.ClockOffset()) }

// orderNumber is the argument of commands about one order.
type orderNumber struct {
	OrderNo string `arg:"" help:"The order's number."`
}

type orderGet struct {
	orderNumber
	WithUser bool `name:"with-user" help:"Show what is known of its user, too."`
	output
}

// Run shows an order.
func (c *orderGet) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	look := d.GetOrder
	if c.WithUser {
		look = d.GetOrderWithUser
	}
	o, err := look(ctx, c.OrderNo)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showOrder(in, &o, d.now())
}

type orderList struct {
	User   string        `placeholder:"USER" help:"Of this user."`
	Status string        `placeholder:"STATUS" help:"In this status: pending, paid, fulfilled, cancelled, expired or refunded."`
	Since  time.Duration `placeholder:"1h" help:"Placed within this time."`
	page
	output
}

// Run lists orders.
func (c *orderList) Run(ctx context.Context, in *invocation) error {
	if err := c.check(); err != nil {
		return err
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	filter := client.OrderFilter{UserID: c.User, Status: c.Status}
	if c.Since > 0 {
		filter.CreatedAfter = d.now().Add(-c.Since)
	}
	orders, more, err := collect(d.ListOrders(ctx, filter), c.Limit)
	if err != nil {
		return d.told(ctx, err)
	}
	c.note(in, more)
	now := d.now()
	return c.showList(in, orders, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "ORDER\tUSER\tSTATUS\tTOTAL\tPLACED\tLEFT TO PAY")
		for i := range orders {
			o := &orders[i]
			say(w, "%s\t%s\t%s\t%s\t%s\t%s\n", o.OrderNo, o.UserID, o.Status, price(o.Total), day(&o.CreatedAt), left(o, now))
		}
	})
}

type orderCancel struct {
	orderNumber
	Reason string `placeholder:"TEXT" help:"Why; the order keeps it."`
	output
}

// Run cancels an order.
func (c *orderCancel) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	o, err := d.CancelOrder(ctx, c.OrderNo, c.Reason)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showOrder(in, &o, d.now())
}

type orderFulfil struct {
	orderNumber
	Reason string `placeholder:"TEXT" help:"A note; the order keeps it."`
	output
}

// Run fulfils an order.
func (c *orderFulfil) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	o, err := d.FulfilOrder(ctx, c.OrderNo, c.Reason)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showOrder(in, &o, d.now())
}

// showOrder shows one order.
func (c output) showOrder(in *invocation, o *api.Order, now time.Time) error {
	return c.show(in, o, func(w *tabwriter.Writer) {
		say(w, "order\t%s\n", o.OrderNo)
		say(w, "status\t%s\n", statusLine(o, now))
		say(w, "user\t%s\n", o.UserID)
		if u := o.User; u != nil {
			for name, value := range pairs("name", u.Name, "phone", u.Phone, "email", u.Email, "address", u.Address) {
				say(w, "  %s\t%s\n", name, value)
			}
		}
		for _, l := range o.Lines {
			say(w, "line\t%d × %s, %s, %s each\n", l.Quantity, l.ProductID, l.Title, price(l.UnitPrice))
		}
		say(w, "total\t%s\n", price(o.Total))
		say(w, "placed\t%s\n", day(&o.CreatedAt))
		if o.CloseReason != nil {
			say(w, "reason\t%s\n", *o.CloseReason)
		}
	})
}

// pairs goes through names and values, leaving out those that are not there.
func pairs(all ...any) func(func(string, string) bool) {
	return func(yield func(string, string) bool) {
		for i := 0; i+1 < len(all); i += 2 {
			name, _ := all[i].(string)
			if value, _ := all[i+1].(*string); value != nil && !yield(name, *value) {
				return
			}
		}
	}
}

func statusLine(o *api.Order, now time.Time) string {
	switch {
	case o.Status == api.OrderPending:
		return fmt.Sprintf("pending, %s left to pay", left(o, now))
	case o.PaidLate:
		return o.Status + ", paid in the last moment"
	}
	return o.Status
}

// left is the countdown of a pending order.
func left(o *api.Order, now time.Time) string {
	if o.Status != api.OrderPending {
		return ""
	}
	return clockText(o.PayBy.Sub(now))
}

// clockText shows what is left as 29:41, 1:29:41 or 2 d 1:29:41, rounded up like seconds_left.
func clockText(d time.Duration) string {
	seconds := int64((max(d, 0) + time.Second - 1) / time.Second)
	switch {
	case seconds < 3600:
		return fmt.Sprintf("%d:%02d", seconds/60, seconds%60)
	case seconds < 86_400:
		return fmt.Sprintf("%d:%02d:%02d", seconds/3600, seconds/60%60, seconds%60)
	}
	return fmt.Sprintf("%d d %d:%02d:%02d", seconds/86_400, seconds/3600%24, seconds/60%60, seconds%60)
}

func price(m api.Money) string { return money.Money(m).Text() }
