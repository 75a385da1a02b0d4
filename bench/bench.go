// Package bench is the load generator behind `holdfast bench`: scenarios, the servers Holdfast is compared with, and the
// proof after each run that every acknowledged order is there.
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Scenario is one kind of load.
type Scenario struct {
	Name string
	Help string
	run  func(*runner, context.Context) (*Result, error)
}

// Scenarios lists every scenario, the ones a newcomer wants first.
func Scenarios() []Scenario {
	return []Scenario{
		{"flash-sale", "orders for one hot product, while stock lasts or with more buyers than units", (*runner).flashSale},
		{"catalogue", "orders for any of 1 000 products", (*runner).catalogue},
		{"read", "one placed order read again and again, then a mix of many", (*runner).read},
		{"sold-out", "orders for a product that is sold out: all are refused", (*runner).soldOut},
		{mixedScenario, "sales of 1 000 units to 100 000 buyers each, one after the other: one in a hundred gets one", (*runner).mixed},
		{stormScenario, "500 000 orders for 1 000 units, and a buyer who lost his answer asks again amid them", (*runner).storm},
		{"echo", "the floor: a plain handler that decodes and encodes an order", (*runner).echo},
		{rowLockScenario, "the rival: a shop's own code, one transaction an order, its pool tuned", (*runner).rowLock},
		{unitRowsScenario, "the other rival: a row for each unit, SKIP LOCKED; not on SQLite, which has none", (*runner).unitRows},
		{"expiry-lag", "how late orders expire while others are placed, and 10 000 in one second", (*runner).expiryLag},
		{"streams", "2 000 open streams while orders are placed: every event in each, in order", (*runner).streams},
		{historyScenario, "flash-sale and lists with 5 000 000 orders before, beside a new record", (*runner).history},
		{"overload", "ten times the orders that can be placed, for a minute", (*runner).overload},
	}
}

// ErrChecks is returned by Run when the load went through and a check after it did not: an order is missing, the audit is not
// clean, or an answer was not one that the scenario allows.
var ErrChecks = errors.New("a check failed")

// Run runs a scenario or the suite and writes the outcome to stdout, progress to stderr.
func Run(ctx context.Context, o Options, stdout, stderr io.Writer) (err error) {
	if err := o.Validate(); err != nil {
		return err
	}
	r, err := newRunner(o, stderr)
	if err != nil {
		return err
	}
	if o.RedisURL != "" {
		if err := r.claimRedis(ctx); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, r.emptyRedis(context.WithoutCancel(ctx))) }()
	}
	report := &Report{Machine: r.machine(ctx)}
	switch {
	case o.Suite:
		err = r.runSuite(ctx, report)
	case len(o.Countdowns) > 0:
		err = r.countdowns(ctx, report)
	default:
		var result *Result
		if result, err = r.scenario(ctx, o.Scenario); err == nil {
			report.Results, report.Bars = []*Result{result}, ownBars(result)
		}
	}
	r.progress.clear()
	if err != nil {
		return err
	}
	if err := report.write(stdout, o.Output); err != nil {
		return err
	}
	return report.failed()
}

func (r *runner) scenario(ctx context.Context, name string) (*Result, error) {
	for _, s := range Scenarios() {
		if s.Name != name {
			continue
		}
		result, err := s.run(r, ctx)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return result, nil
	}
	return nil, fmt.Errorf("%w: no scenario %q", ErrOptions, name)
}

// Report is the outcome of a run.
type Report struct {
	Machine Machine   `json:"machine"`
	Results []*Result `json:"results"`
	Summary []Summary `json:"summary,omitempty"` // of a suite
	Bars    []Bar     `json:"bars,omitempty"`
}

func (r *Report) write(w io.Writer, output string) error {
	if output == OutputJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	return r.table(w)
}

func (r *Report) failed() error {
	var failures []error
	for _, result := range r.Results {
		for _, check := range result.Checks {
			if !check.OK {
				failures = append(failures, fmt.Errorf("%s: %s: %s", result.Scenario, check.Name, check.Detail))
			}
		}
	}
	if len(failures) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrChecks, errors.Join(failures...))
}
