package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/schollz/progressbar/v3"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/server"
)

type auditCommand struct {
	settings
	output
}

// Help is the longer text.
func (auditCommand) Help() string {
	return `Reads one snapshot of the record, beside a desk that may be serving it, and changes nothing. The checks are those of GET /v1/audit.

The exit code is 0 when everything adds up, 1 when something does not (the offending ids are shown), and 2 when the audit could not be run.`
}

// Run audits the record.
func (c *auditCommand) Run(ctx context.Context, in *invocation) error {
	cfg, _, err := in.settings(c.settings)
	if err != nil {
		return err
	}
	progress := newProgress(in.Stderr)
	report, err := server.Audit(ctx, cfg, progress.show)
	progress.clear()
	if err = orStopped(ctx, err); err != nil {
		return failure{exitUsage, err}
	}
	if err := c.write(in.Stdout, &report); err != nil {
		return failure{exitUsage, fmt.Errorf("write the report: %w", err)}
	}
	if !report.Clean {
		return failure{exitFailed, fmt.Errorf("the record does not add up: %s", strings.Join(broken(&report), ", "))}
	}
	return nil
}

func (c *auditCommand) write(w io.Writer, r *audit.Report) error {
	if c.json() {
		return writeJSON(w, reportJSON(r))
	}
	err := table(w, func(w *tabwriter.Writer) {
		for _, check := range r.Checks {
			state := "ok"
			if check.Violations > 0 {
				state = fmt.Sprintf("%d wrong", check.Violations)
			}
			say(w, "%s\t%s\t%s\n", check.ID, state, check.Name)
		}
	})
	if err != nil {
		return err
	}
	for _, check := range r.Checks {
		if check.Violations > 0 {
			say(w, "\n%s: %s\n", check.ID, strings.Join(check.Samples, ", "))
			if more := check.Violations - int64(len(check.Samples)); more > 0 {
				say(w, "and %d more\n", more)
			}
		}
	}
	return nil
}

// reportJSON is the report as GET /v1/audit gives it.
func reportJSON(r *audit.Report) api.Audit {
	report := api.Audit{Clean: r.Clean, CheckedAt: r.CheckedAt}
	for _, check := range r.Checks {
		report.Checks = append(report.Checks, api.Check(check))
	}
	return report
}

func broken(r *audit.Report) []string {
	var ids []string
	for _, check := range r.Checks {
		if check.Violations > 0 {
			ids = append(ids, check.ID)
		}
	}
	return ids
}

// progress shows how far a long command is: a bar on a terminal, lines elsewhere.
type progress struct {
	out io.Writer
	bar *progressbar.ProgressBar
}

func newProgress(out io.Writer) *progress { return &progress{out: out} }

func (p *progress) show(done, total int, name string) {
	if !terminal(p.out) {
		if done < total {
			say(p.out, "%d of %d: %s\n", done+1, total, name)
		}
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions(total, progressbar.OptionSetWriter(p.out), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetWidth(20), progressbar.OptionShowCount(), progressbar.OptionShowDescriptionAtLineEnd())
	}
	p.bar.Describe(name)
	_ = p.bar.Set(done) // a bar that cannot be drawn is no reason to stop
}

// clear makes room for the result.
func (p *progress) clear() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
