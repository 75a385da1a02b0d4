package cli

import (
	"encoding/json"
	"io"
	"text/tabwriter"
	"time"

	"github.com/holdfast-oms/holdfast/internal/wire"
)

// output is the flag of commands that show something.
type output struct {
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"table" help:"How to show it: table or json."`
}

func (o output) json() bool { return o.Output == "json" }

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// table writes rows whose cells are separated by tabs.
func table(w io.Writer, rows func(*tabwriter.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(t)
	return t.Flush()
}

// stamp is a time as the API writes it.
type stamp time.Time

// MarshalJSON writes milliseconds, in UTC.
func (s stamp) MarshalJSON() ([]byte, error) { return wire.AppendTime(nil, time.Time(s)), nil }
