package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	overloadFactor   = 10
	peakMore         = 4 // times the connections of the first look at the peak
	overloadPatience = 50 * time.Millisecond
	trickleRate      = 50 // notices a second, and orders that come due a second
	trickleCrowd     = 64 // connections: never what keeps a notice waiting
	trickleAhead     = 5 * time.Second
	trickleTimeout   = time.Minute
)

// The figures that bars are set for.
const (
	figureOverPeak       = "placed in overload ÷ peak"
	figureNoticeP99      = "notice p99, from the intended start"
	figureOverloadLagP99 = "expiry lag p99 in overload"
	figureMemoryGrowth   = "server memory, end of overload ÷ beginning"
)

// overload is what a server is worth when ten times the orders come that it can place: how many it still places, how fast
// it refuses the others, and whether payments and deadlines get through.
func (r *runner) overload(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, func(ctx context.Context, s *stand) (*Result, error) {
		sale, err := r.newSale(ctx, s, 1, plenty, unhurried)
		if err != nil {
			return nil, err
		}
		peak, err := r.peak(ctx, s, sale)
		if err != nil {
			return nil, err
		}
		return r.tenTimes(ctx, s, sale, peak)
	})
}

// peak is the most that can be placed: the better of two closed loops, because a server may need more connections than the
// options say to be fully at work.
func (r *runner) peak(ctx context.Context, s *stand, sale *sale) (float64, error) {
	var peak float64
	for _, connections := range []int{r.o.Connections, peakMore * r.o.Connections} {
		r.progress.stage("overload: the peak, with %d connections", connections)
		l := r.newLoad(s).load
		l.connections, l.duration = connections, min(r.o.Duration, DefaultDuration)/2
		m, err := sale.place(ctx, l, nil)
		if err != nil {
			return 0, err
		}
		peak = max(peak, m.perSecond(done))
	}
	if peak == 0 {
		return 0, fmt.Errorf("no order was placed: %s", sale.strange)
	}
	return peak, nil
}

// trickle is what has to get through while orders are refused.
type trickle struct {
	toPay, toExpire *sale
	paid            atomic.Int64
	notices         *measured // nil: the sandbox's secret is not known
}

func (r *runner) tenTimes(ctx context.Context, s *stand, sale *sale, peak float64) (*Result, error) {
	r.progress.stage("overload: orders to be paid and to expire")
	t, err := r.newTrickle(ctx, s)
	if err != nil {
		return nil, err
	}
	r.progress.stage("overload: %s orders/s offered", thousands(overloadFactor*peak))
	l := r.newLoad(s)
	l.load.connections, l.load.rate, l.load.patience = r.o.Crowd, overloadFactor*peak, overloadPatience
	var m *measured
	group, both := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		m, err = sale.place(both, l.load, nil)
		return err
	})
	group.Go(func() error { return r.sendNotices(both, s, t) })
	if err := group.Wait(); err != nil {
		return nil, err
	}
	result := l.result("overload", m, done, ordersCounted)
	result.figure("peak before", peak, "orders/s")
	result.figure(figureOverPeak, result.PerSecond/peak, "")
	result.figure("refused", m.perSecond(overloaded), "/s")
	result.figure("refusal p50, from the sending", milliseconds(m.service[overloaded].Quantile(0.5)), "ms")
	result.figure("refusal p99, from the sending", milliseconds(m.service[overloaded].Quantile(0.99)), "ms")
	result.figure("placed p99, from the sending", milliseconds(m.service[done].Quantile(0.99)), "ms")
	if l.server != nil && l.server.err == nil {
		result.figure("server memory when it began", float64(l.server.before.memoryKB)/1024, "MB")
		result.figure("server memory when it ended", float64(l.server.after.memoryKB)/1024, "MB")
		result.figure(figureMemoryGrowth, float64(l.server.after.memoryKB)/float64(l.server.before.memoryKB), "")
	}
	r.progress.stage("overload: checks")
	checks, err := sale.checkHoldfast(ctx)
	if err != nil {
		return nil, err
	}
	result.Checks = checks
	return result, t.report(ctx, result)
}

// newTrickle places orders to be paid, and orders that come due one lot a second all through the overload.
func (r *runner) newTrickle(ctx context.Context, s *stand) (t *trickle, err error) {
	t = &trickle{}
	length := r.o.warmUp() + r.o.Duration
	if t.toPay, err = r.newSale(ctx, s, 1, plenty, unhurried); err != nil {
		return nil, err
	}
	l := r.newLoad(s).load
	l.connections, l.requests = trickleCrowd, int64(trickleRate*(length.Seconds()+1))
	if _, err := t.toPay.place(ctx, l, nil); err != nil {
		return nil, err
	}
	lots := max(int((length-trickleAhead)/time.Second), 1)
	t.toExpire, err = r.newSale(ctx, s, lots, plenty, func(i int) time.Duration { return trickleAhead + time.Duration(i)*time.Second })
	if err != nil {
		return nil, err
	}
	l = r.newLoad(s).load
	l.connections, l.requests = trickleCrowd, int64(trickleRate*lots)
	var n atomic.Int64
	_, err = t.toExpire.place(ctx, l, func() int { return int(n.Add(1)-1) % lots })
	return t, err
}

// sendNotices tells the server at a steady pace that orders were paid.
func (r *runner) sendNotices(ctx context.Context, s *stand, t *trickle) (err error) {
	if s.shop.secret == "" || len(t.toPay.acknowledged) == 0 {
		return nil
	}
	l := r.newLoad(s).load
	l.addr, l.connections, l.rate, l.patience, l.progress = s.shop.base.Host, trickleCrowd, trickleRate, r.o.Duration, silent()
	var taken atomic.Int64
	l.visit = func(int) visitor {
		return &payer{shop: s.shop, orders: t.toPay.acknowledged, taken: &taken, paid: &t.paid, secret: []byte(s.shop.secret)}
	}
	t.notices, err = l.run(ctx)
	return err
}

func (t *trickle) report(ctx context.Context, result *Result) error {
	shop := t.toPay.stand.shop
	if m := t.notices; m != nil {
		result.figure("notices applied", float64(m.count(done)), "")
		result.figure(figureNoticeP99, milliseconds(m.latency[done].Quantile(0.99)), "ms")
		result.figure("notice max", milliseconds(m.latency[done].Max()), "ms")
		level, err := shop.stock(ctx, t.toPay.products[0])
		if err != nil {
			return err
		}
		check := checkAnswers("notices", m.odd, m.unanswered+m.count(overloaded), m.strange.String())
		if check.OK {
			check.OK = level.Sold == t.paid.Load()
			check.Detail = fmt.Sprintf("%d answered 200, %d units sold", t.paid.Load(), level.Sold)
		}
		result.Checks = append(result.Checks, check)
	}
	lag, _, err := lagsOf(ctx, shop, "", t.toExpire.acknowledged, trickleTimeout)
	if err != nil {
		return err
	}
	result.figure("expired in overload", float64(lag.Count()), "orders")
	result.figure(figureOverloadLagP99, milliseconds(lag.Quantile(0.99)), "ms")
	result.figure("expiry lag max in overload", milliseconds(lag.Max()), "ms")
	free, err := checkFree(ctx, t.toExpire)
	result.Checks = append(result.Checks, lag.check("deadlines"), free)
	return err
}
