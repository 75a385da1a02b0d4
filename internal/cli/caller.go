package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/config"
)

// Somebody waits in front of a command: it does not try for as long as a program would.
const (
	callTimeout = 30 * time.Second
	callRetries = 3
)

// caller calls the running desk for a command.
type caller struct {
	*client.Client
	url string
}

// caller finds out which desk to call, and with which key.
func (in *invocation) caller() (*caller, error) {
	flags := map[string]string{}
	g := in.grammar
	for _, of := range []settings{g.Order.settings, g.Product.settings, g.Stock.settings, g.User.settings, g.Key.settings, g.Numbers.settings} {
		for name, value := range of.given() {
			flags[name] += value // one of them was parsed
		}
	}
	cfg, _, err := config.Load(config.Sources{Flags: flags, Environ: in.Environ, File: g.ConfigFile, Folder: in.Folder})
	if err != nil {
		return nil, err
	}
	if cfg.APIKey == "" {
		return nil, failure{exitUsage, errors.New("an API key is needed: set HOLDFAST_API_KEY; a desk shows its first one when it starts for the first time")}
	}
	c, err := client.New(cfg.URL, cfg.APIKey, client.Options{Timeout: callTimeout, Retries: callRetries, UserAgent: "holdfast-cli"})
	if err != nil {
		return nil, failure{exitUsage, err}
	}
	return &caller{c, cfg.URL}, nil
}

// told says in one line what the desk had against it, and what to do about it.
func (d *caller) told(ctx context.Context, err error) error {
	var refusal *client.Error
	var none *client.NoAnswer
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.As(err, &refusal) && refusal.Code == "":
		return fmt.Errorf("that is not a Holdfast desk, or something stands before it: it answered %d; HOLDFAST_URL is %s", refusal.Status, d.url)
	case errors.As(err, &refusal):
		return errors.New("the desk refused: " + oneLine(said(refusal)))
	case errors.As(err, &none):
		return errors.New(oneLine(d.unanswered(none)))
	case errors.Is(err, client.ErrForeign):
		return fmt.Errorf("that is not a Holdfast desk: its answer cannot be read; HOLDFAST_URL is %s", d.url)
	}
	return errors.New(oneLine(err.Error()))
}

func said(e *client.Error) string {
	text := e.Code + ": " + e.Detail
	for _, f := range e.Fields {
		text += fmt.Sprintf(" (%s %s)", f.Field, f.Detail)
	}
	if step := nextStep(e); step != "" {
		text = strings.TrimSuffix(text, ".") + "; " + step
	}
	return text
}

// nextStep is what to do about a refusal, where it does not say so itself.
func nextStep(e *client.Error) string {
	switch e.Code {
	case api.CodeUnauthenticated:
		return "set HOLDFAST_API_KEY to a key of this desk"
	case api.CodeForbidden:
		return "use a key with that scope: holdfast key create NAME --scope SCOPE"
	case api.CodeOutOfStock, api.CodeInsufficientStock:
		return fmt.Sprintf("%d of %s are left: holdfast stock adjust %s --add N", e.Available, e.ProductID, e.ProductID)
	case api.CodeNotOnSale:
		return "see when: holdfast product get " + e.ProductID
	case api.CodePurchaseLimit:
		return fmt.Sprintf("one user may have %d of %s", e.MaxPerUser, e.ProductID)
	case api.CodeOrderNotPayable, api.CodeOrderNotCancellable, api.CodeOrderNotFulfillable:
		return "the order is " + e.OrderStatus
	case api.CodeIdempotencyKeyReused:
		return "take another --idempotency-key for another order"
	case api.CodeOverloaded, api.CodeUnavailable, api.CodeRateLimited, api.CodeAuditRunning, api.CodeTooManyUnpaidOrders:
		return "try again in a moment"
	}
	return ""
}

func (d *caller) unanswered(e *client.NoAnswer) string {
	text := fmt.Sprintf("no answer from %s: %s", d.url, e.Err)
	switch {
	case !e.Sent:
		return text + "; is the desk running (holdfast serve), and is HOLDFAST_URL right?"
	case e.IdempotencyKey != "":
		return text + "; whether the order was placed is not known: ask again with --idempotency-key " + e.IdempotencyKey
	}
	return text + "; whether it was carried out is not known: look before you ask again"
}

// collect reads a list, up to a number of items, and says whether there are more.
func collect[T any](each func(func(T, error) bool), most int) (all []T, more bool, err error) {
	all = []T{} // [] in JSON
	for item, err := range each {
		if err != nil {
			return nil, false, err
		}
		if len(all) == most {
			return all, true, nil
		}
		all = append(all, item)
	}
	return all, false, nil
}

// page is how many items of a list are shown.
type page struct {
	Limit int `default:"50" placeholder:"50" help:"How many to show at most."`
}

func (p page) check() error {
	if p.Limit < 1 || p.Limit > itemsMax {
		return failure{exitUsage, fmt.Errorf("--limit must be 1 to %d", itemsMax)}
	}
	return nil
}

const itemsMax = 100_000 // of a list, in memory

// note says that a list goes on.
func (p page) note(in *invocation, more bool) {
	if more {
		say(in.Stderr, "There are more than %d; see them with --limit.\n", p.Limit)
	}
}
