package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// The scenarios of a sale that far more buyers come to than there are units.
const (
	mixedScenario = "mixed"
	stormScenario = "storm"
)

const (
	saleUnits     = 1000
	buyersPerUnit = 100    // mixed: 99 of them are refused
	mixedRate     = 30_000 // orders for each second that the options want it to last
)

// defaultUnits is how many units of each product are for sale, unless the options say so.
func defaultUnits(scenario string) int64 {
	if scenario == mixedScenario || scenario == stormScenario {
		return saleUnits
	}
	return plenty
}

// mixed is one sale after the other, each of a product that a hundred times as many buyers want as there are units: so that from
// beginning to end one order in a hundred is placed. The first sale warms up.
func (r *runner) mixed(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, func(ctx context.Context, s *stand) (*Result, error) {
		r.progress.stage(mixedScenario)
		orders := r.ordersFor(mixedRate)
		units := max(min(r.unitsOfSale(), orders/buyersPerUnit), 1)
		each := units * buyersPerUnit
		sales := max(orders/each, 1)
		sale, err := r.newSale(ctx, s, 1+int(sales), units, unhurried)
		if err != nil {
			return nil, err
		}
		var came atomic.Int64
		next := func() int { return int((came.Add(1) - 1) / each) }
		warm := r.newLoad(s).load
		warm.requests = each
		if _, err := sale.place(ctx, warm, next); err != nil {
			return nil, err
		}
		l := r.newLoad(s)
		l.load.requests = sales * each
		r.progress.counts = outOfStock
		m, err := sale.place(ctx, l.load, next)
		if err != nil {
			return nil, err
		}
		result := l.result(mixedScenario, m, outOfStock, "orders, placed or refused")
		result.PerSecond += m.perSecond(done)
		result.Note = fmt.Sprintf("%d sales of %s units to %s buyers each", sales, thousands(float64(units)), thousands(float64(each)))
		r.progress.stage("mixed: checks")
		if result.Checks, err = sale.checkHoldfast(ctx); err != nil {
			return nil, err
		}
		result.Checks = append(result.Checks, checkSoldAll(sale, (1+sales)*units, (1+sales)*each))
		return result, nil
	})
}

// ordersFor is how many orders come: as the options say, or so many for each second of their duration.
func (r *runner) ordersFor(rate int64) int64 {
	if r.o.Buyers > 0 {
		return r.o.Buyers
	}
	return max(rate*int64(r.o.Duration/time.Millisecond)/1000, 1)
}

// unitsOfSale is for a suite, too: its options are those of all its scenarios.
func (r *runner) unitsOfSale() int64 {
	if r.o.Units == plenty {
		return saleUnits
	}
	return r.o.Units
}
