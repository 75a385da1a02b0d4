package bench

import (
	"context"
	"fmt"
)

// rowLockPools are the sizes of the pool that the rival may choose from.
var rowLockPools = []int{1, 4, 16, 64}

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

// rowLock is a flash sale at the rival, with each of its pools unless one is asked for; the best one counts.
func (r *runner) rowLock(ctx context.Context) (*Result, error) {
	if r.o.Pool > 0 {
		return r.rowLockWith(ctx, r.o.Pool)
	}
	tried, err := r.tune(ctx)
	if err != nil {
		return nil, err
	}
	best := bestPool(tried)
	for _, t := range tried {
		best.result.figure(fmt.Sprintf("with a pool of %d", t.pool), t.result.PerSecond, "orders/s")
	}
	return best.result, nil
}

func (r *runner) tune(ctx context.Context) (tried []tuned, err error) {
	for _, pool := range rowLockPools {
		result, err := r.rowLockWith(ctx, pool)
		if err != nil {
			return nil, fmt.Errorf("pool of %d: %w", pool, err)
		}
		tried = append(tried, tuned{pool, result})
	}
	return tried, nil
}

func (r *runner) rowLockWith(ctx context.Context, pool int) (*Result, error) {
	flags := []string{"--database", "row-lock.db", "--pool", fmt.Sprint(pool)}
	return r.onRival(ctx, "serve-row-lock", flags, func(ctx context.Context, s *stand) (*Result, error) {
		r.progress.stage("row-lock, pool of %d", pool)
		sale, err := r.newSale(ctx, s, 1, plenty, unhurried)
		if err != nil {
			return nil, err
		}
		l := r.newLoad(s)
		m, err := sale.place(ctx, l.load, nil)
		if err != nil {
			return nil, err
		}
		result := l.result("row-lock", m, done, ordersCounted)
		result.Note = fmt.Sprintf("pool of %d", pool)
		result.Checks, err = sale.check(ctx)
		return result, err
	})
}
