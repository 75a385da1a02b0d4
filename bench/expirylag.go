package bench

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	dueAhead      = 2 * time.Second // from the last one placed to the first one due
	expiryRate    = 1000            // orders a second placed meanwhile
	expiryAfter   = 2 * time.Second // placed on after the last one is due
	expiryCrowd   = 64              // connections
	expiryTimeout = time.Minute

	// The second lot is placed over 10 s and comes due in one second: every quarter of a second it goes on with a product
	// whose pay window is shorter by a little less than that, so that the last is due 1 s after the first.
	burstSlots  = 40
	burstSlot   = 250 * time.Millisecond
	burstStep   = 231 * time.Millisecond
	burstWindow = burstSlots*burstSlot + 4*time.Second
)

// expiryLag is how late orders expire: a lot that comes due over 10 s while many more are pending and others are placed, and
// a lot that comes due in one second.
func (r *runner) expiryLag(ctx context.Context) (*Result, error) {
	if r.o.RedisURL != "" {
		r = r.with(r.progress.prefix, func(o *Options) {
			o.ServeFlags = append(o.ServeFlags[:len(o.ServeFlags):len(o.ServeFlags)], "--redis-url="+o.RedisURL)
		})
	}
	return r.onHoldfast(ctx, r.bothLots)
}

// countdowns compares what counts down: one run after the other, on the same machine.
func (r *runner) countdowns(ctx context.Context) (results []*Result, err error) {
	for _, driver := range r.o.Countdowns {
		one := r.with(driver+", ", func(o *Options) {
			o.ServeFlags = append(o.ServeFlags[:len(o.ServeFlags):len(o.ServeFlags)], "--countdown="+driver)
			if driver == countdownInProcess {
				o.ServeFlags[len(o.ServeFlags)-1], o.RedisURL = "--countdown=auto", ""
			}
		})
		result, err := one.scenario(ctx, "expiry-lag")
		if err != nil {
			return nil, err
		}
		result.Note, result.once = "countdown "+driver, true
		results = append(results, result)
	}
	return results, nil
}

// countdownInProcess is what a desk without Redis has.
const countdownInProcess = "inproc"

func (r *runner) bothLots(ctx context.Context, s *stand) (*Result, error) {
	calm, err := r.newSale(ctx, s, 1, plenty, unhurried)
	if err != nil {
		return nil, err
	}
	r.progress.stage("expiry-lag: place %s orders that stay pending", thousands(float64(r.o.Pending)))
	l := r.newLoad(s).load
	l.requests = int64(r.o.Pending)
	memory, err := r.redisMemory(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := calm.place(ctx, l, nil); err != nil {
		return nil, err
	}
	filled, err := r.redisMemory(ctx)
	if err != nil {
		return nil, err
	}
	pending := len(calm.acknowledged)
	result, cursor, err := r.dueInAWhile(ctx, s, calm)
	if err != nil {
		return nil, err
	}
	if filled > memory && pending > 0 {
		result.figure("memory of Redis per pending order", float64(filled-memory)/float64(pending), "bytes")
	}
	if err := r.dueInOne(ctx, s, calm, cursor, result); err != nil {
		return nil, err
	}
	r.progress.stage("expiry-lag: checks")
	checks, err := calm.checkHoldfast(ctx)
	result.Checks = append(result.Checks, checks...)
	return result, err
}

func (r *runner) dueInAWhile(ctx context.Context, s *stand, calm *sale) (*Result, string, error) {
	brief, err := r.newSale(ctx, s, 1, plenty, func(int) time.Duration { return r.o.DueWithin + dueAhead })
	if err != nil {
		return nil, "", err
	}
	r.progress.stage("expiry-lag: place %s orders to come due over %v", thousands(float64(r.o.Due)), r.o.DueWithin)
	l := r.steadyLoad(s, r.o.DueWithin)
	l.load.rate = float64(r.o.Due) / r.o.DueWithin.Seconds()
	if _, err := brief.place(ctx, l.load, nil); err != nil {
		return nil, "", err
	}
	r.progress.stage("expiry-lag: they come due while others are placed")
	l = r.steadyLoad(s, dueAhead+r.o.DueWithin+expiryAfter)
	m, err := calm.place(ctx, l.load, nil)
	if err != nil {
		return nil, "", err
	}
	lag, cursor, err := lagsOf(ctx, s.shop, "", brief.acknowledged, expiryTimeout)
	if err != nil {
		return nil, "", err
	}
	result := l.result("expiry-lag", m, done, ordersCounted)
	result.figure("expired while placing", float64(lag.Count()), "orders")
	result.figure("expiry lag p50", milliseconds(lag.Quantile(0.5)), "ms")
	result.figure(figureLagP99, milliseconds(lag.Quantile(0.99)), "ms")
	result.figure("expiry lag max", milliseconds(lag.Max()), "ms")
	result.figure(figureEarly, float64(lag.early), "orders")
	free, err := checkFree(ctx, brief)
	result.Checks = []Check{lag.check("due over a while"), free, brief.checkAnswers("answers to the first lot")}
	return result, cursor, err
}

func (r *runner) dueInOne(ctx context.Context, s *stand, calm *sale, cursor string, result *Result) error {
	rush, err := r.newSale(ctx, s, burstSlots, plenty, func(i int) time.Duration { return burstWindow - time.Duration(i)*burstStep })
	if err != nil {
		return err
	}
	r.progress.stage("expiry-lag: %s orders come due in one second", thousands(float64(r.o.Due)))
	begun := time.Now()
	group, ctx2 := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := calm.place(ctx2, r.steadyLoad(s, burstWindow+expiryAfter).load, nil)
		return err
	})
	group.Go(func() error {
		l := r.steadyLoad(s, burstSlots*burstSlot).load
		l.rate, l.progress = float64(r.o.Due)/(burstSlots*burstSlot).Seconds(), silent()
		_, err := rush.place(ctx2, l, func() int { return min(int(time.Since(begun)/burstSlot), burstSlots-1) })
		return err
	})
	if err := group.Wait(); err != nil {
		return err
	}
	lag, _, err := lagsOf(ctx, s.shop, cursor, rush.acknowledged, expiryTimeout)
	if err != nil {
		return err
	}
	result.figure("second lot: expired", float64(lag.Count()), "orders")
	result.figure("second lot: came due within", lag.lastDue.Sub(lag.firstDue).Seconds(), "s")
	result.figure(figureBurst, lag.lastOver.Sub(lag.lastDue).Seconds(), "s")
	result.figure("second lot: expiry lag p99", milliseconds(lag.Quantile(0.99)), "ms")
	result.figure(figureBurstEarly, float64(lag.early), "orders")
	free, err := checkFree(ctx, rush)
	result.Checks = append(result.Checks, lag.check("due in one second"), free, rush.checkAnswers("answers to the second lot"))
	return err
}

// The figures that bars are set for.
const (
	figureLagP99 = "expiry lag p99"
	figureEarly  = "expired early"
	figureBurst  = "second lot: all over after its last deadline"

	figureBurstEarly = "second lot: expired early"
)

// steadyLoad is orders at the rate that goes on while others expire.
func (r *runner) steadyLoad(s *stand, length time.Duration) *metered {
	l := r.newLoad(s)
	l.load.connections, l.load.rate, l.load.warmUp, l.load.duration, l.load.patience = expiryCrowd, expiryRate, 0, length, length
	return l
}
