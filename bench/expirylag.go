package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
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
	burstMax    = DefaultDue // orders
	burstSlots  = 40
	burstSlot   = 250 * time.Millisecond
	burstStep   = 231 * time.Millisecond
	burstWindow = burstSlots*burstSlot + 4*time.Second
)

// expiryLag is how late orders expire: a lot that comes due over 10 s while many more are pending and others are placed, and
// a lot that comes due in one second.
func (r *runner) expiryLag(ctx context.Context) (*Result, error) {
	return r.onHoldfast(ctx, r.bothLots)
}

// countdowns compares what counts down, and asynq if it is there: one run after the other, on the same machine.
func (r *runner) countdowns(ctx context.Context, report *Report) error {
	for _, driver := range r.o.Countdowns {
		one := r.with(driver+", ", func(o *Options) {
			o.ServeFlags = flags(o.ServeFlags, "--countdown="+driver)
			if driver == countdownInProcess {
				o.ServeFlags[len(o.ServeFlags)-1], o.RedisURL = "--countdown=auto", ""
			}
		})
		result, err := one.scenario(ctx, "expiry-lag")
		if err != nil {
			return err
		}
		result.Note = "countdown " + driver
		report.Results = append(report.Results, result)
		if driver == countdownRedis {
			report.Bars = ownBars(result)
		}
	}
	if r.o.Asynq == "" {
		return nil
	}
	result, err := r.with("", func(*Options) {}).asynq(ctx)
	report.Results = append(report.Results, result)
	return err
}

// flags are those that a server has anyway, and more.
func flags(had []string, more ...string) []string { return append(had[:len(had):len(had)], more...) }

const (
	countdownRedis     = "redis"
	countdownInProcess = "inproc" // what a desk without Redis has
)

// asynq has the program of bench/asynq do the first lot, with as many tasks as there are orders.
func (r *runner) asynq(ctx context.Context) (*Result, error) {
	r.progress.stage("asynq: %s tasks that stay pending, %s that come due over %v",
		thousands(float64(r.o.Pending)), thousands(float64(r.o.Due)), r.o.DueWithin)
	if err := r.emptyRedis(ctx); err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, r.o.Asynq, "-redis-url", r.o.RedisURL, "-pending", strconv.Itoa(r.o.Pending), //nolint:gosec // the operator's own
		"-due", strconv.Itoa(r.o.Due), "-due-within", r.o.DueWithin.String())
	var problem strings.Builder
	command.Stderr = &problem
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("asynq: %w: %s", err, problem.String())
	}
	var said struct {
		Handled float64       `json:"handled"`
		Early   float64       `json:"early"`
		Bytes   float64       `json:"bytes_each"`
		P50     time.Duration `json:"p50_ns"`
		P99     time.Duration `json:"p99_ns"`
		Max     time.Duration `json:"max_ns"`
	}
	if err := json.Unmarshal(out, &said); err != nil {
		return nil, fmt.Errorf("asynq said %.300q: %w", out, err)
	}
	result := &Result{Scenario: "expiry-lag", Note: "asynq", Redis: true}
	result.figure(figureExpired, said.Handled, "tasks")
	result.figure(figureLagP50, milliseconds(said.P50), "ms")
	result.figure(figureLagP99, milliseconds(said.P99), "ms")
	result.figure(figureLagMax, milliseconds(said.Max), "ms")
	result.figure(figureEarly, said.Early, "tasks")
	result.figure(figureMemory, said.Bytes, "bytes")
	if said.Handled < float64(r.o.Due) {
		result.Checks = []Check{{Name: "asynq", Detail: fmt.Sprintf("%.0f of %d tasks were handled", said.Handled, r.o.Due)}}
	}
	return result, nil
}

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
	if err := r.settleRecord(ctx, s); err != nil {
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
		result.figure(figureMemory, float64(filled-memory)/float64(pending), "bytes")
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
	result.figure(figureExpired, float64(lag.Count()), "orders")
	result.figure(figureLagP50, milliseconds(lag.Quantile(0.5)), "ms")
	result.figure(figureLagP99, milliseconds(lag.Quantile(0.99)), "ms")
	result.figure(figureLagMax, milliseconds(lag.Max()), "ms")
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
	due := min(r.o.Due, burstMax)
	r.progress.stage("expiry-lag: %s orders come due in one second", thousands(float64(due)))
	begun := time.Now()
	group, ctx2 := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := calm.place(ctx2, r.steadyLoad(s, burstWindow+expiryAfter).load, nil)
		return err
	})
	group.Go(func() error {
		l := r.steadyLoad(s, burstSlots*burstSlot).load
		l.rate, l.progress = float64(due)/(burstSlots*burstSlot).Seconds(), silent()
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
	figureLagMax = "expiry lag max"
	figureEarly  = "expired early"
	figureBurst  = "second lot: all over after its last deadline"

	figureBurstEarly = "second lot: expired early"
)

// The figures that countdowns are compared by, besides.
const (
	figureExpired = "expired while placing"
	figureLagP50  = "expiry lag p50"
	figureMemory  = "memory of Redis per pending order"
)

// steadyLoad is orders at the rate that goes on while others expire.
func (r *runner) steadyLoad(s *stand, length time.Duration) *metered {
	l := r.newLoad(s)
	l.load.connections, l.load.rate, l.load.warmUp, l.load.duration, l.load.patience = expiryCrowd, expiryRate, 0, length, length
	return l
}
