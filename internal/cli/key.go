package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

type keyCommand struct {
	settings
	Create keyCreate `cmd:"" help:"Make a key and print it, this once."`
	List   keyList   `cmd:"" help:"List the keys; of each, what it may do and when it was last used."`
	Revoke keyRevoke `cmd:"" help:"End a key for good, at once."`
}

// Help is the longer text.
func (keyCommand) Help() string {
	return `These commands call a running desk (HOLDFAST_URL) with a key of the scope admin (HOLDFAST_API_KEY).`
}

type keyCreate struct {
	Name      string        `arg:"" help:"What the key is for, such as \"checkout service\"."`
	Scope     []string      `required:"" placeholder:"SCOPE" help:"What the key may do: orders:read, orders:write, catalogue:read, catalogue:write, users:read, users:write, events:read, sessions:write, admin. May be given again; writing includes reading the same, admin everything."`
	ExpiresIn time.Duration `placeholder:"720h" help:"How long it is valid; for ever, if left out."`
	output
}

// Help is the longer text.
func (keyCreate) Help() string {
	return `The key alone goes to standard output, so that it can be caught: KEY=$(holdfast key create ci --scope orders:read). Only its hash is kept: it cannot be shown again.`
}

// Run makes a key.
func (c *keyCreate) Run(ctx context.Context, in *invocation) error {
	want := api.CreateKey{Name: c.Name, Scopes: c.Scope}
	switch {
	case c.ExpiresIn < 0:
		return failure{exitUsage, errors.New("--expires-in must be in the future")}
	case c.ExpiresIn > 0:
		want.ExpiresAt = time.Now().Add(c.ExpiresIn).UTC()
	}
	d, err := in.caller()
	if err != nil {
		return err
	}
	made, err := d.CreateKey(ctx, want)
	if err != nil {
		return d.told(ctx, err)
	}
	if c.json() {
		return writeJSON(in.Stdout, made)
	}
	say(in.Stderr, "Key %s (%s) may: %s. It is shown this once:\n", made.KeyID, made.Name, strings.Join(made.Scopes, ", "))
	say(in.Stdout, "%s\n", made.Key)
	return nil
}

type keyList struct {
	output
}

// Run lists all keys.
func (c *keyList) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	keys, _, err := collect(d.ListKeys(ctx), itemsMax)
	if err != nil {
		return d.told(ctx, err)
	}
	now := time.Now()
	return c.showList(in, keys, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "KEY\tNAME\tSCOPES\tCREATED\tLAST USED\tSTATE")
		for i := range keys {
			k := &keys[i]
			say(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.KeyID, k.Name, strings.Join(k.Scopes, " "), day(&k.CreatedAt), day(k.LastUsedAt), state(k, now))
		}
	})
}

func state(k *api.Key, now time.Time) string {
	switch {
	case k.RevokedAt != nil:
		return "revoked " + day(k.RevokedAt)
	case k.ExpiresAt == nil:
		return "valid"
	case now.Before(*k.ExpiresAt):
		return "valid until " + day(k.ExpiresAt)
	default:
		return "expired " + day(k.ExpiresAt)
	}
}

func day(t *time.Time) string {
	if t == nil {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04")
}

type keyRevoke struct {
	KeyID string `arg:"" help:"The key's id, as \"holdfast key list\" shows it."`
	output
}

// Run ends a key.
func (c *keyRevoke) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	ended, err := d.RevokeKey(ctx, c.KeyID)
	if err != nil {
		return d.told(ctx, err)
	}
	if c.json() {
		return writeJSON(in.Stdout, ended)
	}
	say(in.Stderr, "Key %s (%s) is revoked.\n", ended.KeyID, ended.Name)
	return nil
}
