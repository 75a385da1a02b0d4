package bench

import (
	"context"
	"fmt"
	"slices"
)

// suiteRun is one measurement of a round.
type suiteRun struct {
	name     string
	scenario string
	change   func(*Options)
}

// With Redis, some scenarios run once more.
const (
	saleWithoutRedis = "flash-sale without Redis"
	mixedWithoutGate = "mixed with the gate off"
)

// suiteRuns are the measurements of a round, in their order. What is compared stands close together.
func suiteRuns(o *Options) []suiteRun {
	names := []string{"echo", "flash-sale", "catalogue", rowLockScenario, unitRowsScenario, "read", "sold-out"}
	if d, _ := dialectOf(o.DatabaseURL); !d.skips { // the options were validated
		names = slices.DeleteFunc(names, func(name string) bool { return name == unitRowsScenario })
	}
	if o.RedisURL != "" {
		names = []string{
			"echo", "flash-sale", saleWithoutRedis, "catalogue", rowLockScenario, mixedScenario, mixedWithoutGate, stormScenario, "read",
		}
	}
	runs := make([]suiteRun, len(names))
	for i, name := range names {
		runs[i] = suiteRun{name, name, func(*Options) {}}
		switch name {
		case saleWithoutRedis:
			runs[i].scenario, runs[i].change = "flash-sale", func(o *Options) { o.RedisURL = "" }
		case mixedWithoutGate:
			runs[i].scenario, runs[i].change = mixedScenario, func(o *Options) { o.ServeFlags = flags(o.ServeFlags, "--gate=off") }
		}
	}
	return runs
}

// steadySale is an open loop at a share of what the closed loop before it has reached: there latency is looked at.
const (
	steadySale  = "flash-sale at 70 % of its peak"
	steadyShare = 0.7
)

// Summary is one scenario over all rounds of a suite.
type Summary struct {
	Scenario        string  `json:"scenario"`
	Median          float64 `json:"median_per_second"`
	Min             float64 `json:"min_per_second"`
	Max             float64 `json:"max_per_second"`
	P99             float64 `json:"p99_ms"`
	ServerMicros    float64 `json:"server_cpu_us_per_request"`
	GeneratorMicros float64 `json:"generator_cpu_us_per_request"`
	PeakMemoryMB    float64 `json:"peak_memory_mb"`
}

// runSuite runs every comparison in rounds (A B C, C B A, …), so that a machine that gets slower does so for all of them, and then what is
// run once: the deadlines.
func (r *runner) runSuite(ctx context.Context, report *Report) error {
	runs := suiteRuns(&r.o)
	if err := r.tuneAll(ctx, runs); err != nil {
		return err
	}
	rounds := make(map[string][]*Result)
	measure := func(round int, run suiteRun) (*Result, error) {
		prefix := fmt.Sprintf("round %d of %d, ", round+1, r.o.Rounds)
		if run.name != run.scenario {
			prefix += run.name + ": "
		}
		result, err := r.with(prefix, run.change).scenario(ctx, run.scenario)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", run.name, err)
		}
		rounds[run.name] = append(rounds[run.name], result)
		report.Results = append(report.Results, result)
		return result, nil
	}
	for round := range r.o.Rounds {
		for _, run := range runs {
			result, err := measure(round, run)
			if err == nil && run.name == "flash-sale" {
				rate := steadyShare * result.PerSecond
				_, err = measure(round, suiteRun{steadySale, run.scenario, func(o *Options) { o.Rate = rate }})
			}
			if err != nil {
				return err
			}
		}
		slices.Reverse(runs)
	}
	for _, run := range suiteRuns(&r.o) {
		report.Summary = append(report.Summary, summarize(run.name, rounds[run.name]))
		if run.name == "flash-sale" {
			report.Summary = append(report.Summary, summarize(steadySale, rounds[steadySale]))
		}
	}
	lag, err := r.with("", func(*Options) {}).scenario(ctx, "expiry-lag")
	if err != nil {
		return err
	}
	lag.once = true
	report.Results = append(report.Results, lag)
	report.Bars = r.bars(rounds, lag)
	return nil
}

// with is the runner with other options.
func (r *runner) with(prefix string, change func(*Options)) *runner {
	other := *r
	change(&other.o)
	other.progress.prefix = prefix
	return &other
}

// tuneAll finds the best pool of each rival with short runs.
func (r *runner) tuneAll(ctx context.Context, runs []suiteRun) error {
	r.pools = make(map[string]int)
	short := r.with("tuning, ", func(o *Options) { o.Duration = min(o.Duration, tuningRun) })
	for _, run := range runs {
		if keepers[run.scenario].make == nil || r.o.Pool > 0 {
			continue
		}
		tried, err := short.tune(ctx, run.scenario)
		if err != nil {
			return err
		}
		r.pools[run.scenario] = bestPool(tried).pool
	}
	return nil
}

func summarize(name string, results []*Result) Summary {
	speeds := each(results, func(r *Result) float64 { return r.PerSecond })
	s := Summary{
		Scenario: name, Median: median(speeds), Min: slices.Min(speeds), Max: slices.Max(speeds),
		P99:             median(each(results, func(r *Result) float64 { return r.Latency.P99 })),
		ServerMicros:    median(each(results, func(r *Result) float64 { return r.Server.micros() })),
		GeneratorMicros: median(each(results, func(r *Result) float64 { return r.Generator.micros() })),
		PeakMemoryMB:    slices.Max(each(results, func(r *Result) float64 { return r.Server.peak() })),
	}
	if keepers[name].make != nil {
		s.Scenario += ", " + results[0].Note
	}
	return s
}

func (u *Use) micros() float64 {
	if u == nil {
		return 0
	}
	return u.CPUMicrosPerRequest
}

func (u *Use) peak() float64 {
	if u == nil {
		return 0
	}
	return u.PeakMemoryMB
}

func each(results []*Result, take func(*Result) float64) []float64 {
	values := make([]float64, len(results))
	for i, r := range results {
		values[i] = take(r)
	}
	return values
}

// median is the middle one; of an even number, the mean of the two in the middle.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
