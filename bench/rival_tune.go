package bench

import (
	"cmp"
	"context"
	"fmt"
	"time"
)

// The scenarios that measure a rival, and the modes of this program that serve one.
const (
	rowLockScenario  = "row-lock"
	unitRowsScenario = "unit-rows"
	serveMode        = "serve-"
)

// rivalPools are the sizes of the pool that a rival may choose from.
var rivalPools = []int{1, 4, 16, 64}

// tuned is what the rival did with a pool.
type tuned struct {
	pool   int
	result *Result
}

// bestPool is the one that placed most; of equals the smaller.
func bestPool(tried []tuned) tuned {
	best := tried[0]
	for _, t := range tried[1:] {
		if t.result.PerSecond > best.result.PerSecond || t.result.PerSecond == best.result.PerSecond && t.pool < best.pool {
			best = t
		}
	}
	return best
}

func (r *runner) rowLock(ctx context.Context) (*Result, error) {
	return r.atRival(ctx, rowLockScenario)
}

func (r *runner) unitRows(ctx context.Context) (*Result, error) {
	return r.atRival(ctx, unitRowsScenario)
}

// atRival is a flash sale at a rival, with each of its pools unless one is asked for or known; the best one counts.
func (r *runner) atRival(ctx context.Context, scenario string) (*Result, error) {
	if pool := cmp.Or(r.o.Pool, r.pools[scenario]); pool > 0 {
		return r.atRivalWith(ctx, scenario, pool)
	}
	tried, err := r.tune(ctx, scenario)
	if err != nil {
		return nil, err
	}
	best := bestPool(tried)
	for _, t := range tried {
		best.result.figure(fmt.Sprintf("with a pool of %d", t.pool), t.result.PerSecond, "orders/s")
	}
	return best.result, nil
}

func (r *runner) tune(ctx context.Context, scenario string) (tried []tuned, err error) {
	for _, pool := range rivalPools {
		result, err := r.atRivalWith(ctx, scenario, pool)
		if err != nil {
			return nil, fmt.Errorf("pool of %d: %w", pool, err)
		}
		tried = append(tried, tuned{pool, result})
	}
	return tried, nil
}

func (r *runner) atRivalWith(ctx context.Context, scenario string, pool int) (*Result, error) {
	return r.onRival(ctx, scenario, pool, func(ctx context.Context, s *stand) (*Result, error) {
		r.progress.stage("%s, pool of %d", scenario, pool)
		units := int64(plenty)
		if scenario == unitRowsScenario {
			units = r.unitsFor(r.o.warmUp() + r.o.Duration)
		}
		sale, err := r.newSale(ctx, s, 1, units, unhurried)
		if err != nil {
			return nil, err
		}
		l := r.newLoad(s)
		m, err := sale.place(ctx, l.load, nil)
		if err != nil {
			return nil, err
		}
		result := l.result(scenario, m, done, ordersCounted)
		result.Note = fmt.Sprintf("pool of %d", pool)
		result.Checks, err = sale.check(ctx)
		lasted := Check{Name: "stock", OK: m.count(outOfStock) == 0, Detail: "it lasted"}
		if !lasted.OK {
			lasted.Detail = fmt.Sprintf("%d units were too few", units)
		}
		result.Checks = append(result.Checks, lasted)
		return result, err
	})
}

// unitsFor is how many units, a row each, are put on the shelf for a run: more than it can sell.
func (r *runner) unitsFor(run time.Duration) int64 {
	const perSecond = 20_000
	return min(int64(run.Seconds()*perSecond)+perSecond, seriesMax)
}
