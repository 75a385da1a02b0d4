package cli

import (
	"context"
	"text/tabwriter"

	"github.com/holdfast-oms/holdfast/api"
)

type userCommand struct {
	settings
	Put userPut `cmd:"" help:"Tell the desk of a user, or change what it knows."`
	Get userGet `cmd:"" help:"Look at a user."`
}

// Help is the longer text.
func (userCommand) Help() string { return callHelp }

type userPut struct {
	UserID   string  `arg:"" name:"user" help:"Your own name of the user."`
	Name     *string `placeholder:"TEXT" help:"None of these is needed; none clears it."`
	Phone    *string `placeholder:"TEXT"`
	Email    *string `placeholder:"TEXT"`
	Address  *string `placeholder:"TEXT"`
	Metadata string  `placeholder:"JSON" help:"A JSON object of your own; it replaces the old one."`
	output
}

// Run creates or changes a user.
func (c *userPut) Run(ctx context.Context, in *invocation) error {
	var change api.PutUser
	metadata, err := object("--metadata", c.Metadata)
	if err != nil {
		return err
	}
	if metadata != nil {
		change.Metadata = api.Set(metadata)
	}
	change.Name, _ = optional(c.Name, text)
	change.Phone, _ = optional(c.Phone, text)
	change.Email, _ = optional(c.Email, text)
	change.Address, _ = optional(c.Address, text)
	d, err := in.caller()
	if err != nil {
		return err
	}
	u, err := d.PutUser(ctx, c.UserID, change)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showUser(in, &u)
}

type userGet struct {
	UserID string `arg:"" name:"user" help:"The user's id."`
	output
}

// Run shows a user.
func (c *userGet) Run(ctx context.Context, in *invocation) error {
	d, err := in.caller()
	if err != nil {
		return err
	}
	u, err := d.GetUser(ctx, c.UserID)
	if err != nil {
		return d.told(ctx, err)
	}
	return c.showUser(in, &u)
}

func (c output) showUser(in *invocation, u *api.User) error {
	return c.show(in, u, func(w *tabwriter.Writer) {
		say(w, "user\t%s\n", u.UserID)
		for name, value := range pairs("name", u.Name, "phone", u.Phone, "email", u.Email, "address", u.Address) {
			say(w, "%s\t%s\n", name, value)
		}
		say(w, "metadata\t%s\n", string(u.Metadata))
	})
}
