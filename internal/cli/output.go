package cli

import (
	"io"
	"text/tabwriter"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/internal/wire"
)

// output is the flag of commands that show something.
type output struct {
	Output string `short:"o" enum:"table,json" default:"table" placeholder:"table" help:"How to show it: table or json."`
}

func (c output) json() bool { return c.Output == "json" }

// show writes a thing as JSON, or as a table.
func (c output) show(in *invocation, thing any, rows func(*tabwriter.Writer)) error {
	if c.json() {
		return writeJSON(in.Stdout, thing)
	}
	return table(in.Stdout, rows)
}

// showList writes a list as JSON in the API's form, or as a table.
func (c output) showList(in *invocation, list any, rows func(*tabwriter.Writer)) error {
	return c.show(in, map[string]any{"data": list}, rows)
}

// asAPI writes times as the API does: milliseconds, in UTC.
var asAPI = json.WithMarshalers(json.MarshalFunc(func(t time.Time) ([]byte, error) { return wire.AppendTime(nil, t), nil }))

func writeJSON(w io.Writer, v any) error {
	if err := json.MarshalWrite(w, v, asAPI, json.Deterministic(true), jsontext.WithIndent("  ")); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// writeJSONLine writes one line of a stream.
func writeJSONLine(w io.Writer, v any) error {
	b, err := json.Marshal(v, asAPI, json.Deterministic(true))
	if err != nil {
		return err
	}
	_, err = w.Write(append(b, '\n'))
	return err
}

// table writes rows whose cells are separated by tabs.
func table(w io.Writer, rows func(*tabwriter.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(t)
	return t.Flush()
}
