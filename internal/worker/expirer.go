// Package worker holds the loops that act when nobody asks: each is named after its job and does one bounded batch a turn.
package worker

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the expirer.
const (
	expireMax       = 1024             // orders in one turn
	expirerAhead    = time.Minute      // how far ahead deadlines are kept in the countdown
	expirerLook     = time.Second      // between two looks at the record
	expirerLoadPage = 5000             // deadlines read in one statement
	clockJump       = 5 * time.Second  // a wall clock that moves so far against the monotonic one is not believed …
	clockPause      = 30 * time.Second // … until it has been steady for this long
)

// Countdown names what is due next. It is an accelerator: what it forgets, the look at the record finds.
type Countdown interface {
	Due(now time.Time, limit int) []order.Number
	Next() time.Time
	Woken() <-chan struct{}
	Horizon() time.Time
	Extend(to time.Time)
	Add(no order.Number, payBy time.Time)
}

// Deadlines is where the record tells pending orders by their pay_by.
type Deadlines interface {
	Deadlines(ctx context.Context, after, until time.Time, limit int) ([]order.Deadline, error)
}

// Expirer ends orders whose time to pay is over: those the countdown names, to the millisecond, and every second those that
// an index of the record shows overdue. Both only propose; the ledger decides, by the record's clock.
type Expirer struct {
	ledger    *ledger.Ledger
	record    Deadlines
	countdown Countdown
	clock     func() time.Time // the wall clock
	steady    func() time.Duration
	log       *slog.Logger
	observe   func(lag time.Duration)

	lastWall    time.Time
	lastSteady  time.Duration
	pausedUntil time.Duration
	paused      atomic.Bool
	lastLook    time.Time
}

// ExpirerOptions of an Expirer. Observe is told the lag of every expired order; Steady is a clock that never jumps.
type ExpirerOptions struct {
	Clock   func() time.Time
	Steady  func() time.Duration
	Log     *slog.Logger
	Observe func(lag time.Duration)
}

// NewExpirer makes an expirer; Run starts it.
func NewExpirer(l *ledger.Ledger, record Deadlines, countdown Countdown, opt ExpirerOptions) *Expirer {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	if opt.Steady == nil {
		start := time.Now()
		opt.Steady = func() time.Duration { return time.Since(start) }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Observe == nil {
		opt.Observe = func(time.Duration) {}
	}
	return &Expirer{
		ledger: l, record: record, countdown: countdown,
		clock: opt.Clock, steady: opt.Steady, log: opt.Log, observe: opt.Observe,
	}
}

// Paused reports whether expiry stands still because the wall clock jumped.
func (e *Expirer) Paused() bool { return e.paused.Load() }

// Run works until ctx ends.
func (e *Expirer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-e.countdown.Woken():
		}
		more, err := e.RunOnce(ctx)
		if err != nil && ctx.Err() == nil {
			e.log.Error("expirer", "err", err)
		}
		timer.Reset(e.wait(more && err == nil))
	}
}

// wait is the time to the next deadline, or to the next look.
func (e *Expirer) wait(more bool) time.Duration {
	if more {
		return 0
	}
	wait := expirerLook
	if next := e.countdown.Next(); !next.IsZero() && !e.paused.Load() {
		wait = min(wait, max(next.Sub(e.clock()), 0))
	}
	return wait
}

// RunOnce does one turn: keep the countdown filled, and expire what is due now. more: there may be further orders due.
func (e *Expirer) RunOnce(ctx context.Context) (more bool, err error) {
	if !e.clockBelieved() {
		return false, nil
	}
	now := e.clock()
	if err := e.fill(ctx, now); err != nil {
		return false, err
	}
	due := e.countdown.Due(now, expireMax)
	if len(due) < expireMax && now.Sub(e.lastLook) >= expirerLook {
		overdue, err := e.record.Deadlines(ctx, time.Time{}, now.Add(-expirerLook/2), expireMax-len(due))
		if err != nil {
			return false, err
		}
		if len(due)+len(overdue) < expireMax {
			e.lastLook = now
		}
		for _, d := range overdue {
			due = append(due, d.Number)
		}
	}
	e.expire(ctx, due)
	return len(due) >= expireMax, nil
}

// fill loads the next stretch of deadlines when the countdown's horizon comes near.
func (e *Expirer) fill(ctx context.Context, now time.Time) error {
	from := e.countdown.Horizon()
	if from.Sub(now) > expirerAhead/2 {
		return nil
	}
	if from.Before(now.Add(-expirerAhead)) {
		from = now.Add(-expirerAhead) // what is older is found by the look
	}
	until := now.Add(expirerAhead)
	e.countdown.Extend(until)
	for {
		page, err := e.record.Deadlines(ctx, from, until, expirerLoadPage)
		if err != nil {
			e.countdown.Extend(from)
			return err
		}
		for _, d := range page {
			e.countdown.Add(d.Number, d.PayBy)
		}
		if len(page) < expirerLoadPage {
			return nil
		}
		from = page[len(page)-1].PayBy.Add(-time.Millisecond) // others may share the last millisecond; twice does no harm
		if page[0].PayBy.Equal(page[len(page)-1].PayBy) {
			return nil // a full page within one millisecond: the look finds the rest
		}
	}
}

func (e *Expirer) expire(ctx context.Context, due []order.Number) {
	if len(due) == 0 {
		return
	}
	commands := make([]ledger.Command[ledger.Expired], len(due))
	for i, no := range due {
		commands[i] = ledger.Expire{Number: no}
	}
	failpoint.Hit("expirer.before_submit")
	ledger.SubmitAll(ctx, e.ledger, commands, func(i int, r ledger.Expired, err error) {
		switch {
		case err != nil:
			e.log.Warn("order not expired yet", "order_no", due[i].String(), "err", err) // the look finds it again
		case r.Done:
			e.observe(r.Lag)
		case !r.Early.IsZero():
			e.countdown.Add(due[i], r.Early)
		}
	})
}

// clockBelieved compares the wall clock with the monotonic one. When they disagree by more than clockJump, somebody set the
// clock: expiring by it could be far too early. Expiry stands still, loudly, until the clocks have agreed for a while.
func (e *Expirer) clockBelieved() bool {
	wall, steady := e.clock(), e.steady()
	if !e.lastWall.IsZero() {
		drift := wall.Sub(e.lastWall) - (steady - e.lastSteady)
		if drift > clockJump || drift < -clockJump {
			e.pausedUntil = steady + clockPause
			e.log.Error("the wall clock jumped: expiry pauses", "by", drift.String(), "for", clockPause.String())
		}
	}
	e.lastWall, e.lastSteady = wall, steady
	paused := steady < e.pausedUntil
	if e.paused.Swap(paused) && !paused {
		e.log.Warn("the wall clock is steady again: expiry goes on")
	}
	return !paused
}
