package cli

import (
	"bytes"
	"fmt"
	"io"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

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

func writeJSON(w io.Writer, v any) error { return writeJSONLine(w, v, jsontext.WithIndent("  ")) }

// writeJSONLine writes one line of a stream.
func writeJSONLine(w io.Writer, v any, more ...json.Options) error {
	b, err := json.Marshal(v, append(more, asAPI, json.Deterministic(true))...)
	if err != nil {
		return err
	}
	_, err = w.Write(append(escaped(b), '\n'))
	return err
}

// escaped writes what a terminal might obey, and JSON lets stand in a string, the other way that JSON has for it.
func escaped(text []byte) []byte {
	if bytes.IndexFunc(text, obeyed) < 0 {
		return text
	}
	var b []byte
	for _, r := range string(text) {
		if !obeyed(r) {
			b = utf8.AppendRune(b, r)
			continue
		}
		for _, half := range utf16.AppendRune(nil, r) {
			b = fmt.Appendf(b, `\u%04x`, half)
		}
	}
	return b
}

func obeyed(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' }

// table writes rows whose cells are separated by tabs.
func table(w io.Writer, rows func(*tabwriter.Writer)) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	rows(t)
	return t.Flush()
}
