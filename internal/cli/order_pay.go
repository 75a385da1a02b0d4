package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"github.com/holdfast-oms/holdfast/api"
)

const sandbox = "sandbox"

type orderPay struct {
	orderNumber
	Provider string `default:"sandbox" placeholder:"sandbox" help:"The provider to pay through. Other than at the sandbox, you pay at the address that is shown."`
	Open     bool   `help:"Only open the payment and show where it can be paid."`
	Decline  bool   `help:"Decline at the sandbox's cashier instead of paying."`
	output
}

// Help is the longer text.
func (orderPay) Help() string {
	return `At the sandbox no money moves: the command opens a payment and presses Pay on its cashier page, as a buyer would. What comes back is the payment; "holdfast order get" shows the order.`
}

// Run opens a payment and, at the sandbox, pays it.
func (c *orderPay) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	p, err := d.CreatePayment(ctx, c.OrderNo, c.Provider)
	if err != nil {
		return d.told(ctx, err)
	}
	if c.Provider != sandbox || c.Open {
		return c.showPayment(in, &p)
	}
	if p.PayURL == nil {
		return errors.New(line("payment %s is %s: it can be paid no more", p.PaymentID, p.Status))
	}
	button, want := "pay", api.PaymentSucceeded
	if c.Decline {
		button, want = "decline", api.PaymentFailed
	}
	if err := press(ctx, *p.PayURL, button); err != nil {
		return orStopped(ctx, fmt.Errorf("at the cashier: %w", err))
	}
	if p, err = d.GetPayment(ctx, p.PaymentID); err != nil {
		return d.told(ctx, err)
	}
	if err := c.showPayment(in, &p); err != nil {
		return err
	}
	if p.Status != want {
		return errors.New(line("the payment is %s, not %s: the order was over before; what was paid goes back", p.Status, want))
	}
	return nil
}

func (c *orderPay) showPayment(in *invocation, p *api.Payment) error {
	return c.show(in, p, func(w *tabwriter.Writer) {
		say(w, "payment\t%s\n", p.PaymentID)
		say(w, "order\t%s\n", p.OrderNo)
		say(w, "status\t%s\n", p.Status)
		say(w, "amount\t%s\n", price(p.Amount))
		for name, value := range pairs("transaction", p.TransactionID, "pay at", p.PayURL) {
			say(w, "%s\t%s\n", name, value)
		}
	})
}

const cashierBytesMax = 1 << 20

// press presses a button of the sandbox's cashier page. It needs no key: whoever knows a payment may pay it.
func press(ctx context.Context, payURL, button string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	form := strings.NewReader(url.Values{"action": {button}}.Encode())
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, payURL, form)
	if err != nil {
		return errors.New("its address cannot be read")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	var cashier http.Client
	defer cashier.CloseIdleConnections()
	resp, err := cashier.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("%w; is %s://%s, the desk's public_url, reachable from here?", err, r.URL.Scheme, r.URL.Host)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, cashierBytesMax)) // so that it has said everything
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("it answered %s", resp.Status)
	}
	return nil
}
