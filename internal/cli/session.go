package cli

import (
	"context"
	"fmt"
)

type sessionCommand struct {
	settings
	Create sessionCreate `cmd:"" help:"Log a user in and print the token, this once."`
	End    sessionEnd    `cmd:"" help:"Log a user out everywhere."`
}

// Help is the longer text.
func (sessionCommand) Help() string { return callHelp }

type sessionCreate struct {
	UserID string `arg:"" name:"user" help:"Whose session it is."`
	output
}

// Help is the longer text.
func (sessionCreate) Help() string {
	return `The token alone goes to standard output, so that it can be caught: TOKEN=$(holdfast session create u-7). It is used like a key, and sees and touches what belongs to this user only.`
}

// Run makes a session.
func (c *sessionCreate) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	made, err := d.CreateSession(ctx, c.UserID)
	if err != nil {
		return d.told(ctx, err)
	}
	if c.json() {
		return writeJSON(in.Stdout, made)
	}
	fmt.Fprintf(in.Stderr, "Session %s of %s lasts until %s unless it is used, and until %s at most. Its token is shown this once:\n",
		oneLine(made.SessionID), oneLine(made.UserID), day(&made.ExpiresAt), day(&made.EndsAt))
	fmt.Fprintln(in.Stdout, oneLine(made.Token))
	return nil
}

type sessionEnd struct {
	UserID string `arg:"" name:"user" help:"Whose sessions are ended."`
	output
}

// Run ends all sessions of a user.
func (c *sessionEnd) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	ended, err := d.EndSessionsOf(ctx, c.UserID)
	if err != nil {
		return d.told(ctx, err)
	}
	if c.json() {
		return writeJSON(in.Stdout, ended)
	}
	fmt.Fprintf(in.Stderr, "%d sessions of %s are ended.\n", ended.Ended, oneLine(ended.UserID))
	return nil
}
