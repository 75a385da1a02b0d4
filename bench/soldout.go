package bench

import (
	"context"
	"fmt"
	"time"
)

const (
	statementsMetric = "holdfast_sql_statements_total"
	idleLook         = 6 * time.Second // and no longer than the load is: it is compared with it. What the desk does every two seconds comes as often

	figureStatements     = "SQL statements while refusing"
	figureStatementsIdle = "SQL statements while idle"
)

// soldOut is orders for a product whose only unit is gone: the normal state of a flash sale, and it should cost no SQL.
func (r *runner) soldOut(ctx context.Context) (*Result, error) { return r.onHoldfast(ctx, r.refuse) }

func (r *runner) refuse(ctx context.Context, s *stand) (*Result, error) {
	r.progress.stage("sold-out")
	sale, err := r.newSale(ctx, s, 1, 1, unhurried)
	if err != nil {
		return nil, err
	}
	last := r.newLoad(s).load
	last.connections, last.requests = 1, 1
	if _, err := sale.place(ctx, last, nil); err != nil {
		return nil, err
	}
	if len(sale.acknowledged) != 1 {
		return nil, fmt.Errorf("the last unit could not be ordered: %s", sale.strange)
	}
	idle, err := statementsPerSecond(ctx, s.shop, min(idleLook, r.o.Duration))
	if err != nil {
		return nil, err
	}

	l := r.newLoad(s)
	statements := statementsOf(s.shop)
	begin, end := l.load.begin, l.load.end
	l.load.begin = func() { begin(); statements.begin(ctx) }
	l.load.end = func() { end(); statements.end(ctx) }
	r.progress.counts = outOfStock
	m, err := sale.place(ctx, l.load, nil)
	if err != nil {
		return nil, err
	}
	result := l.result("sold-out", m, outOfStock, "refusals")
	if idle != nil && statements.ok {
		result.figure(figureStatements, statements.perSecond(), "/s")
		result.figure(figureStatementsIdle, *idle, "/s")
	}
	r.progress.stage("sold-out: checks")
	if result.Checks, err = sale.checkHoldfast(ctx); err != nil {
		return nil, err
	}
	result.Checks = append(result.Checks, checkSoldAll(sale, 1, 1))
	return result, nil
}

// statementsOf counts what a server asks of its database, but for its auditor: that looks at what happened a while ago, whoever is refused now.
func statementsOf(shop *shop) *counter {
	return &counter{shop: shop, name: statementsMetric, but: []string{`kind="audit"`}}
}

// counter reads a metric of the server twice.
type counter struct {
	shop     *shop
	name     string
	but      []string // labels of what is not counted
	from, to float64
	since    time.Time
	took     time.Duration
	ok       bool
}

func (c *counter) begin(ctx context.Context) {
	c.from, c.ok, _ = c.shop.metric(ctx, c.name, c.but...)
	c.since = time.Now()
}

func (c *counter) end(ctx context.Context) {
	if !c.ok {
		return
	}
	c.to, c.ok, _ = c.shop.metric(ctx, c.name, c.but...)
	c.took = time.Since(c.since)
}

func (c *counter) perSecond() float64 { return (c.to - c.from) / c.took.Seconds() }

// statementsPerSecond is what the server's own loops ask of the database without any load; nil when it does not tell.
func statementsPerSecond(ctx context.Context, shop *shop, look time.Duration) (*float64, error) {
	c := statementsOf(shop)
	c.begin(ctx)
	if !c.ok {
		return nil, nil
	}
	select {
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(look):
	}
	c.end(ctx)
	if !c.ok {
		return nil, nil
	}
	rate := c.perSecond()
	return &rate, nil
}
