package cli

import (
	"context"
	"fmt"
	"text/tabwriter"

	"github.com/holdfast-oms/holdfast/internal/server"
)

type migrateCommand struct {
	settings
	Up     migrateUp     `cmd:"" default:"withargs" help:"Take every step that is missing. This is what happens without a command, too."`
	Status migrateStatus `cmd:"" help:"Show every step and whether it was taken."`
}

// Help is the longer text.
func (migrateCommand) Help() string {
	return `"serve" does this by itself when it starts; this command is for those who want it done before. Steps go forward only.`
}

type migrateUp struct {
	DryRun bool `help:"Only show what would be done."`
}

// Run takes the missing steps.
func (c *migrateUp) Run(ctx context.Context, in *invocation) error {
	missing, err := in.steps(ctx, true)
	if err != nil {
		return err
	}
	verb := "would take"
	if !c.DryRun {
		verb = "took"
		if _, err := in.steps(ctx, false); err != nil {
			return err
		}
	}
	count := 0
	for _, m := range missing {
		if !m.Applied {
			say(in.Stdout, "%s %s\n", verb, m.Name)
			count++
		}
	}
	if count == 0 {
		fmt.Fprintln(in.Stdout, "The schema is up to date.")
	}
	return nil
}

type migrateStatus struct {
	output
}

type stepJSON struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Run shows the steps.
func (c *migrateStatus) Run(ctx context.Context, in *invocation) error {
	steps, err := in.steps(ctx, true)
	if err != nil {
		return err
	}
	if c.json() {
		list := make([]stepJSON, len(steps))
		for i, m := range steps {
			list[i] = stepJSON(m)
		}
		return writeJSON(in.Stdout, map[string]any{"migrations": list})
	}
	return table(in.Stdout, func(w *tabwriter.Writer) {
		for _, m := range steps {
			state := "missing"
			if m.Applied {
				state = "taken"
			}
			say(w, "%s\t%s\n", m.Name, state)
		}
	})
}

// steps gives every step of the schema; unless dry, it takes those that are missing first.
func (in *invocation) steps(ctx context.Context, dry bool) ([]server.Migration, error) {
	cfg, _, err := in.settings(in.grammar.Migrate.settings)
	if err != nil {
		return nil, err
	}
	steps, err := server.Migrate(ctx, cfg, dry)
	return steps, orStopped(ctx, err)
}
