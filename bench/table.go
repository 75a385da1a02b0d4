package bench

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
)

// table writes a report for people.
func (r *Report) table(out io.Writer) error {
	w := &printer{tabs: tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)}
	w.row("machine", r.Machine.String())
	if len(r.Summary) > 0 {
		w.summary(r.Summary)
	}
	if len(r.Results) > 1 && len(r.Summary) == 0 {
		w.countdowns(r.Results)
	}
	if len(r.Bars) > 0 {
		w.bars(r.Bars)
	}
	if len(r.Summary) > 0 {
		w.checks(r.Results)
	}
	for _, result := range r.Results {
		if len(r.Summary) == 0 || result.once {
			w.result(result)
		}
	}
	return w.tabs.Flush()
}

type printer struct {
	tabs *tabwriter.Writer
}

func (w *printer) row(cells ...string) {
	fmt.Fprintln(w.tabs, strings.Join(cells, "\t"))
}

// heading ends the columns of what was above it.
func (w *printer) heading(text string) {
	fmt.Fprintf(w.tabs, "\n%s\n", text)
}

func (w *printer) result(r *Result) {
	title := r.Scenario
	if r.Redis {
		title += ", Redis in front"
	}
	if r.Note != "" {
		title += ", " + r.Note
	}
	w.heading(title)
	if r.Loop != "" {
		w.load(r)
	}
	for _, f := range r.Figures {
		w.row("  "+f.Name, strings.TrimSpace(number(f.Value)+" "+f.Unit))
	}
	for _, c := range r.Checks {
		w.row("  "+verdict(c.OK), c.Name+": "+c.Detail)
	}
	if r.Plans != "" {
		w.heading("query plans\n" + r.Plans)
	}
}

func (w *printer) load(r *Result) {
	w.row("  load", fmt.Sprintf("%s loop, %d connections, %.1f s", r.Loop, r.Connections, r.Seconds))
	w.row("  "+r.Counted, thousands(r.PerSecond)+"/s")
	l := r.Latency
	w.row("  latency", fmt.Sprintf("p50 %.1f  p90 %.1f  p99 %.1f  p99.9 %.1f  max %.1f ms", l.P50, l.P90, l.P99, l.P999, l.Max))
	w.row("  answers", r.Answers.String())
	w.use("  server", r.Server)
	w.use("  generator", r.Generator)
	if r.ServerCPU > 0 {
		w.row("  server, in all", fmt.Sprintf("%.1f s of CPU from its start to its end", r.ServerCPU))
	}
}

// countdowns puts those that were compared side by side.
func (w *printer) countdowns(results []*Result) {
	w.heading("side by side: how late what came due over a while was")
	w.row("  what", "p50 ms", "p99 ms", "max ms", "early", "expired", "bytes of Redis each")
	for _, r := range results {
		row := []string{"  " + r.Note}
		for _, name := range []string{figureLagP50, figureLagP99, figureLagMax, figureEarly, figureExpired, figureMemory} {
			cell := ""
			for _, value := range r.values(name) {
				cell = number(value)
			}
			row = append(row, cell)
		}
		w.row(row...)
	}
}

func (w *printer) use(name string, u *Use) {
	if u != nil {
		w.row(name, fmt.Sprintf("%.1f s of CPU, %.1f µs a request, %.0f MB at its peak", u.CPUSeconds, u.CPUMicrosPerRequest, u.PeakMemoryMB))
	}
}

func (w *printer) summary(all []Summary) {
	w.heading("per second, medians of all rounds")
	w.row("  scenario", "median", "min", "max", "p99 ms", "server µs", "generator µs", "peak MB")
	for _, s := range all {
		w.row("  "+s.Scenario, thousands(s.Median), thousands(s.Min), thousands(s.Max), number(s.P99),
			number(s.ServerMicros), number(s.GeneratorMicros), number(s.PeakMemoryMB))
	}
}

func (w *printer) bars(all []Bar) {
	w.heading("against the bars; of several rounds, the median of each round's own ratio")
	w.row("  what", "measured", "min", "max", "bar", "goal", "")
	for _, b := range all {
		sign, goal := "≥ ", ""
		if b.AtMost {
			sign = "≤ "
		}
		if b.Goal != nil {
			goal = sign + number(*b.Goal)
		}
		met := "met"
		if !b.Met {
			met = "MISSED"
		}
		w.row("  "+b.Name, strings.TrimSpace(number(b.Measured)+" "+b.Unit), number(b.Min), number(b.Max), sign+number(b.Bar), goal, met)
	}
}

// checks tells those of a suite: one line when all held.
func (w *printer) checks(results []*Result) {
	w.heading("checks")
	held := 0
	for _, result := range results {
		for _, c := range result.Checks {
			if c.OK {
				held++
				continue
			}
			w.row("  "+verdict(false), result.Scenario+": "+c.Name+": "+c.Detail)
		}
	}
	w.row("  "+verdict(true), fmt.Sprintf("%d checks held: answers, numbers, acknowledged = found, samples, audits", held))
}

func verdict(ok bool) string {
	if ok {
		return "ok"
	}
	return "FAILED"
}

func (a Answers) String() string {
	var parts []string
	for o, count := range []int64{a.Done, a.OutOfStock, a.Overloaded, a.Unexpected, a.Broken} {
		if count > 0 {
			parts = append(parts, thousands(float64(count))+" "+outcomeNames[o])
		}
	}
	if a.Offered > 0 {
		parts = append(parts, fmt.Sprintf("%s were due, %s could not be sent in time", thousands(float64(a.Offered)), thousands(float64(a.Unsent))))
	}
	return strings.Join(parts, ", ")
}

// thousands is a whole number with its digits in threes.
func thousands(v float64) string {
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + " " + text[at:]
	}
	return text
}

// number is a figure with as many digits as mean something.
func number(v float64) string {
	switch {
	case v >= 1000 || v == float64(int64(v)):
		return thousands(v)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	default:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
}
