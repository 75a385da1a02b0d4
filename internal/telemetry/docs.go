package telemetry

import (
	"fmt"
	"strings"
)

//go:generate go test -count=1 -run ^TestTelemetryIsDocumented$ . -update

// Markdown is docs/metrics.md.
func Markdown() string {
	var b strings.Builder
	b.WriteString(`# What the desk tells of itself

<!-- Written by make generate from internal/telemetry. -->

` + "`/metrics`, `/healthz` and `/readyz`" + ` answer where the API does. [deploy/grafana/holdfast.json](../deploy/grafana/holdfast.json) is a
dashboard of these metrics, [deploy/prometheus/alerts.yaml](../deploy/prometheus/alerts.yaml) has the alarms as rules.

## Metrics

Of the process and of the Go runtime there are the usual ` + "`process_…` and `go_…`" + ` too. Labels have the values named here and
` + "`other`" + `; no client can make new ones.

| metric | | means | look at it when |
|---|---|---|---|
`)
	for _, m := range Catalogue() {
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.Name, m.kindInWords(), m.Help, m.Alarm)
	}
	b.WriteString("\n| label | values |\n|---|---|\n")
	for _, l := range labels() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", l.Name, l.valuesInWords())
	}
	b.WriteString(`
## Log

One line an event, as text or JSON (` + "`log_format`, `log_level`" + `); at level debug also one line a request. A line carries these
fields and no other, whatever the code hands to it. A user's id is personal data and is not among them; neither is anything a
client sent, but for ids that are ours or the catalogue's and a request id that is a UUID.

| field | means |
|---|---|
`)
	for _, f := range LogFields() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", f.Name, f.Means)
	}
	fmt.Fprintf(&b, `
Of the same message %d lines may come at once, and then one a second; how many were left out stands on the next one and in
`+"`holdfast_log_suppressed_total`"+`. Lines at level debug are never left out.

## Traces

Off unless `+"`otlp_endpoint`"+` names a collector that takes OTLP over HTTP. A request is traced when its `+"`traceparent`"+` says so (W3C
Trace Context), else by chance (`+"`trace_ratio`"+`); of both together %d a second at most. What a collector that is slow or away
does not take is dropped: %d spans wait, no request does.

| span | of | |
|---|---|---|
| `+"`POST /v1/orders`"+`, … | a request | child of the caller's span |
| `+"`ledger.wait`"+` | a command in its lane | child of the request, linked to the batch |
| `+"`ledger.batch`"+` | a transaction | a trace of its own, linked to the requests it carries, %d at most |
| `+"`ledger.begin` `load` `decide` `save` `commit`"+` | its stages | of a batch that was run again, the sums |
| `+"`relay.turn`"+` | events coming into the log | a trace of its own, linked to the batches they may be of |

Spans carry what a log line may: the order's number finds the trace of an order.
`, linesAtOnce, tracedPerSecond, spansWaiting, linksMax)
	return b.String()
}

func (c *Metric) kindInWords() string {
	text := string(c.Kind)
	for i, l := range c.Labels {
		if i == 0 {
			text += " by"
		}
		text += " `" + l.Name + "`"
	}
	return text
}

// labels are all labels of the catalogue, one for each set of values.
func labels() []Label {
	var all []Label
	seen := map[string]bool{}
	for _, m := range Catalogue() {
		for _, l := range m.Labels {
			if key := l.Name + l.valuesInWords(); !seen[key] {
				seen[key] = true
				all = append(all, l)
			}
		}
	}
	return all
}

func (l *Label) valuesInWords() string {
	if l.Values == nil {
		return l.Means
	}
	return strings.Join(l.Values, ", ")
}
