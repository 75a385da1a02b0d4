package bench

import (
	"context"
	"fmt"
)

const mixOfOrders = 1000

// read is one order read again and again, and then a mix of many.
func (r *runner) read(ctx context.Context) (*Result, error) { return r.onHoldfast(ctx, r.readFrom) }

func (r *runner) readFrom(ctx context.Context, s *stand) (*Result, error) {
	r.progress.stage("read: place %d orders", mixOfOrders)
	sale, err := r.newSale(ctx, s, 1, plenty, unhurried)
	if err != nil {
		return nil, err
	}
	setUp := r.newLoad(s).load
	setUp.connections, setUp.requests = callsAtOnce, mixOfOrders
	if _, err := sale.place(ctx, setUp, nil); err != nil {
		return nil, err
	}
	if len(sale.acknowledged) == 0 {
		return nil, fmt.Errorf("no order to read was placed: %s", sale.strange)
	}

	r.progress.stage("read")
	result, err := r.readOrders(ctx, s, sale.acknowledged[:1])
	if err != nil {
		return nil, err
	}
	r.progress.stage("read: mix of %d", len(sale.acknowledged))
	mix, err := r.readOrders(ctx, s, sale.acknowledged)
	if err != nil {
		return nil, err
	}
	result.figure("mix of 1 000 orders", mix.PerSecond, "reads/s")
	result.figure("mix of 1 000 orders, p99", mix.Latency.P99, "ms")
	mix.Checks[0].Name += " to the mix"
	result.Checks = append(result.Checks, mix.Checks...)
	return result, nil
}

func (r *runner) readOrders(ctx context.Context, s *stand, orders []uint64) (*Result, error) {
	l := r.newLoad(s)
	l.load.addr = s.shop.base.Host
	l.load.visit = func(int) visitor { return newReader(s.shop, orders) }
	m, err := l.load.run(ctx)
	if err != nil {
		return nil, err
	}
	result := l.result("read", m, done, "reads")
	result.Checks = []Check{checkAnswers("answers", m.odd, m.unanswered, m.strange.String())}
	return result, nil
}
