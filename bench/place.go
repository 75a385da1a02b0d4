package bench

import (
	"context"
	"fmt"
)

const ordersCounted = "orders"

// flashSale is orders for one hot product: while stock lasts, or with more buyers than units.
func (r *runner) flashSale(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, func(ctx context.Context, s *stand) (*Result, error) {
		return r.placeOn(ctx, s, "flash-sale", 1, r.o.Units)
	})
}

// catalogue is orders for any of many products.
func (r *runner) catalogue(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, func(ctx context.Context, s *stand) (*Result, error) {
		return r.placeOn(ctx, s, "catalogue", catalogueSize, plenty)
	})
}

func (r *runner) placeOn(ctx context.Context, s *stand, scenario string, products int, units int64) (*Result, error) {
	r.progress.stage("%s", scenario)
	sale, err := r.newSale(ctx, s, products, units, unhurried)
	if err != nil {
		return nil, err
	}
	l := r.newLoad(s)
	l.load.rate, l.load.requests = r.o.Rate, r.o.Buyers
	// As patient as the run is long: nothing is given up, a stall shows in the latencies of all who waited.
	l.load.patience = r.o.Duration
	m, err := sale.place(ctx, l.load, nil)
	if err != nil {
		return nil, err
	}
	result := l.result(scenario, m, done, ordersCounted)
	if products > 1 {
		result.Note = fmt.Sprintf("%d products", products)
	}
	r.progress.stage("%s: checks", scenario)
	if result.Checks, err = sale.checkHoldfast(ctx); err != nil {
		return nil, err
	}
	if products == 1 && units < plenty {
		result.Note = fmt.Sprintf("%d units", units)
		result.Checks = append(result.Checks, checkSoldAll(sale, units, r.o.Buyers))
	}
	return result, nil
}

// checkSoldAll proves that neither too much nor too little was sold. Without a number of buyers only too much is wrong.
func checkSoldAll(s *sale, units, buyers int64) Check {
	placed := int64(len(s.acknowledged))
	want := fmt.Sprintf("at most %d", units)
	ok := placed <= units
	if buyers > 0 {
		want = fmt.Sprint(min(units, buyers))
		ok = placed == min(units, buyers)
	}
	return Check{Name: "sold", OK: ok, Detail: fmt.Sprintf("%d units placed, want %s", placed, want)}
}
