package cli

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/holdfast-oms/holdfast/internal/config"
)

type configCommand struct {
	settings
	output
}

// Help is the longer text.
func (configCommand) Help() string {
	return `A flag goes before the environment, the environment before the file, the file before the default. Secrets are not shown. The same flags as those of the other commands can be given, to see what they would do.

When a setting is wrong, all are shown nevertheless, the mistakes are named, and the exit code is 2.`
}

// Run shows the settings.
func (c *configCommand) Run(_ context.Context, in *invocation) error {
	_, values, wrong := in.settings(c.settings)
	if err := c.write(in.Stdout, values); err != nil {
		return err
	}
	return wrong
}

type settingJSON struct {
	Name   string        `json:"name"`
	Value  *string       `json:"value"` // null: not set
	Source config.Source `json:"source"`
	Where  *string       `json:"where"` // null: nowhere, it is the default
}

func (c *configCommand) write(w io.Writer, values []config.Value) error {
	if c.json() {
		list := make([]settingJSON, len(values))
		for i := range values {
			v := &values[i]
			list[i] = settingJSON{v.Setting.Name, orNull(v.Text), v.Source, orNull(v.Where)}
		}
		return writeJSON(w, map[string]any{"settings": list})
	}
	return table(w, func(w *tabwriter.Writer) {
		fmt.Fprintln(w, "SETTING\tVALUE\tFROM")
		for i := range values {
			v := &values[i]
			text, from := v.Text, v.Where
			if text == "" {
				text = "(" + v.Setting.Unset + ")"
			}
			if from == "" {
				from = string(v.Source)
			}
			say(w, "%s\t%s\t%s\n", v.Setting.Name, text, from)
		}
	})
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
