package bench

import (
	"fmt"
	"slices"
)

// Bar is something Holdfast must reach, and what was measured.
type Bar struct {
	Name     string   `json:"name"`
	Unit     string   `json:"unit,omitempty"`
	Measured float64  `json:"measured"` // median of the rounds
	Min      float64  `json:"min"`
	Max      float64  `json:"max"`
	AtMost   bool     `json:"at_most"` // otherwise: at least
	Bar      float64  `json:"bar"`
	Goal     *float64 `json:"goal,omitempty"`
	Met      bool     `json:"met"`
}

// bars holds what was measured against what must be reached. A missed bar is no failed check: a benchmark on a noisy
// machine proves nothing by itself.
func (r *runner) bars(rounds map[string][]*Result, lag *Result) []Bar {
	d, _ := dialectOf(r.o.DatabaseURL) // the options were validated
	ratio := func(of, to string, t target) Bar {
		bar := barOf(of+" ÷ "+to, "", ratios(rounds[of], rounds[to]), false, t.bar, nil)
		if t.goal > 0 {
			bar.Goal = goal(t.goal)
		}
		return bar
	}
	sale := rounds["flash-sale"]
	p99 := func(results []*Result) []float64 {
		return each(results, func(r *Result) float64 { return r.Latency.P99 })
	}
	all := []Bar{
		ratio("flash-sale", "echo", d.echo),
		ratio("flash-sale", rowLockScenario, d.rowLock),
		ratio("catalogue", "flash-sale", target{0.8, 0.9}),
	}
	refused := "sold-out"
	if r.o.RedisURL == "" {
		all = append(all, ratio("read", "echo", target{0.6, 0.9}), ratio(refused, "echo", target{0.5, 0.9}))
	} else {
		refused = stormScenario
		all = append(all,
			ratio("flash-sale", saleWithoutRedis, target{bar: 0.75}),
			ratio(mixedScenario, "echo", target{bar: 0.6}),
			ratio(mixedScenario, mixedWithoutGate, target{bar: 1.5}),
			ratio("read", "echo", target{0.7, 0.9}),
			ratio(refused, "echo", target{0.6, 0.9}))
	}
	all = append(all,
		barOf(fmt.Sprintf("flash-sale p99 at %d connections", sale[0].Connections), "ms", p99(sale), true, 80, nil),
		barOf("flash-sale p99 at 70 % of its peak", "ms", p99(rounds[steadySale]), true, 40, goal(15)))
	var memory, passedBy []float64
	for name, results := range rounds {
		if name == "echo" || keepers[name].make != nil {
			continue
		}
		memory = append(memory, each(results, func(r *Result) float64 { return r.Server.peak() })...)
		for _, result := range results {
			if name != mixedWithoutGate {
				passedBy = append(passedBy, result.values(figurePassedBy)...)
			}
		}
	}
	peak := barOf("server memory at its peak", "MB", memory, true, 300, goal(150))
	peak.Measured, peak.Met = peak.Max, peak.Max > 0 && peak.Max <= peak.Bar
	all = append(all, peak)
	if statements := extraStatements(rounds[refused]); len(statements) > 0 {
		all = append(all, barOf(refused+", SQL statements beyond idle", "/s", statements, true, 1, nil))
	}
	if len(passedBy) > 0 {
		all = append(all, barOf(figurePassedBy, "", passedBy, true, 0, nil))
	}
	return append(all, ownBars(lag)...)
}

// ownBars are the bars that a scenario is held against by itself. What was not measured has none.
func ownBars(r *Result) []Bar {
	var all []Bar
	add := func(name, unit string, atMost bool, bar float64, goal *float64) {
		if values := r.values(name); values != nil {
			all = append(all, barOf(name, unit, values, atMost, bar, goal))
		}
	}
	switch r.Scenario {
	case "expiry-lag":
		if r.Redis {
			add(figureLagP99, "ms", true, 50, goal(25))
			add(figureLagMax, "ms", true, 1000, nil)
		} else {
			add(figureLagP99, "ms", true, 100, goal(25))
		}
		add(figureEarly, "orders", true, 0, nil)
		add(figureBurst, "s", true, 5, nil)
		add(figureBurstEarly, "orders", true, 0, nil)
	case "streams":
		add(figureStreamLag, "ms", true, 200, nil)
		add(figureStreamMissed, "", true, 0, nil)
	case historyScenario:
		add(figureHistoryRatio, "", false, 0.8, nil)
		add(figureSlowestList, "ms", true, 100, nil)
		add(figureSlowestAudit, "ms", true, 100, nil)
	case "sold-out", stormScenario:
		if values := extraStatements([]*Result{r}); values != nil {
			all = append(all, barOf("SQL statements beyond idle", "/s", values, true, 1, nil))
		}
	case "overload":
		add(figureOverPeak, "", false, 0.8, nil)
		add(figureNoticeP99, "ms", true, 500, nil)
		add(figureOverloadLagP99, "ms", true, 500, nil)
		add(figureMemoryGrowth, "", true, 1.5, nil)
	}
	return all
}

func goal(v float64) *float64 { return &v }

func barOf(name, unit string, values []float64, atMost bool, bar float64, goal *float64) Bar {
	b := Bar{
		Name: name, Unit: unit, Measured: median(values), Min: slices.Min(values), Max: slices.Max(values),
		AtMost: atMost, Bar: bar, Goal: goal,
	}
	b.Met = b.Measured >= bar
	if atMost {
		b.Met = b.Measured <= bar
	}
	return b
}

// ratios compares round by round: what the machine did to one of the two it did to the other.
func ratios(of, to []*Result) []float64 {
	values := make([]float64, len(of))
	for i := range of {
		if to[i].PerSecond > 0 {
			values[i] = of[i].PerSecond / to[i].PerSecond
		}
	}
	return values
}

func extraStatements(results []*Result) []float64 {
	var values []float64
	for _, r := range results {
		busy, idle := r.values(figureStatements), r.values(figureStatementsIdle)
		if len(busy) > 0 && len(idle) > 0 {
			values = append(values, max(busy[0]-idle[0], 0))
		}
	}
	return values
}

// values is a figure of a result by its name, nothing when it was not measured.
func (r *Result) values(name string) []float64 {
	for _, f := range r.Figures {
		if f.Name == name {
			return []float64{f.Value}
		}
	}
	return nil
}
