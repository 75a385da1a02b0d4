package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
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
	Scope     []string      `required:"" placeholder:"SCOPE" help:"What the key may do: orders:read, orders:write, catalogue:read, catalogue:write, users:read, users:write, events:read, admin. May be given again; writing includes reading the same, admin everything."`
	ExpiresIn time.Duration `placeholder:"720h" help:"How long it is valid; for ever, if left out."`
	output
}

// Help is the longer text.
func (keyCreate) Help() string {
	return `The key alone goes to standard output, so that it can be caught: KEY=$(holdfast key create ci --scope orders:read). Only its hash is kept: it cannot be shown again.`
}

// Run makes a key.
func (c *keyCreate) Run(ctx context.Context, in *invocation) error {
	call, err := in.caller()
	if err != nil {
		return err
	}
	want := api.CreateKey{Name: c.Name, Scopes: c.Scope}
	switch {
	case c.ExpiresIn < 0:
		return failure{exitUsage, fmt.Errorf("--expires-in must be in the future")}
	case c.ExpiresIn > 0:
		want.ExpiresAt = time.Now().Add(c.ExpiresIn).UTC()
	}
	var raw json.RawMessage
	if err := call(ctx, http.MethodPost, "/v1/keys", want, &raw); err != nil {
		return err
	}
	if c.json() {
		return writeJSON(in.Stdout, raw)
	}
	var made api.CreatedKey
	if err := json.Unmarshal(raw, &made); err != nil {
		return fmt.Errorf("read the answer: %w", err)
	}
	fmt.Fprintf(in.Stderr, "Key %s (%s) may: %s. It is shown this once:\n", made.KeyID, made.Name, strings.Join(made.Scopes, ", "))
	fmt.Fprintln(in.Stdout, made.Key)
	return nil
}

type keyList struct {
	output
}

const keyPagesMax = 100 // of 200 keys each

// Run lists all keys.
func (c *keyList) Run(ctx context.Context, in *invocation) error {
	call, err := in.caller()
	if err != nil {
		return err
	}
	keys := []json.RawMessage{}
	path := "/v1/keys?limit=200"
	for range keyPagesMax {
		var page api.Page[json.RawMessage]
		if err := call(ctx, http.MethodGet, path, nil, &page); err != nil {
			return err
		}
		keys = append(keys, page.Data...)
		if page.NextCursor == nil {
			break
		}
		path = "/v1/keys?limit=200&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if c.json() {
		return writeJSON(in.Stdout, map[string]any{"data": keys})
	}
	return keyTable(in, keys)
}

func keyTable(in *invocation, raw []json.RawMessage) error {
	keys := make([]api.Key, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &keys[i]); err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
	}
	now := time.Now()
	return table(in.Stdout, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "KEY\tNAME\tSCOPES\tCREATED\tLAST USED\tSTATE")
		for i := range keys {
			k := &keys[i]
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", k.KeyID, k.Name, strings.Join(k.Scopes, " "), day(&k.CreatedAt), day(k.LastUsedAt), state(k, now))
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
}

// Run ends a key.
func (c *keyRevoke) Run(ctx context.Context, in *invocation) error {
	call, err := in.caller()
	if err != nil {
		return err
	}
	var ended api.Key
	if err := call(ctx, http.MethodDelete, "/v1/keys/"+url.PathEscape(c.KeyID), nil, &ended); err != nil {
		return err
	}
	fmt.Fprintf(in.Stderr, "Key %s (%s) is revoked.\n", ended.KeyID, ended.Name)
	return nil
}
