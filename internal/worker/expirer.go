// Package worker holds the loops that act when nobody asks: each is named after its job and does one bounded batch a turn.
package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/planted"
)

// Limits of the expirer.
const (
	expireMax       = 1024        // orders in one turn
	expirerAhead    = time.Minute // how far ahead deadlines are kept in the countdown
	expirerLook     = time.Second // between two looks at the record
	expirerLoadPage = 5000        // deadlines read in one statement
	expirerSlots    = 4           // of processes that share the work each takes a deadline up at its own of so many times …
	expirerSlot     = 20 * time.Millisecond
	earlyPause      = 5 * time.Millisecond // before an order is tried again that the record's clock found early
	clockJump       = 5 * time.Second      // a wall clock that moves so far against the monotonic one is not believed …
	clockPause      = 30 * time.Second     // … until it has been steady for this long
)

// Countdown names what is due next. It is an accelerator: what it forgets, the look at the record finds.
type Countdown interface {
	// Due takes out up to limit orders whose time is over. Leased: no other process is told of them for a while.
	Due(now time.Time, limit int) (due []order.Number, leased bool)
	// Driver names who answered Due last.
	Driver() string
	// Over tells that these were over when they were named. Of those that expire, the commit tells.
	Over(numbers []order.Number)
	Next() time.Time
	Woken() <-chan struct{}
	Horizon() time.Time
	Extend(to time.Time)
	// Add puts a deadline in that may be known already; Postpone one that was named too early.
	Add(no order.Number, payBy time.Time)
	Postpone(no order.Number, payBy time.Time)
}

// LookDriver names the look at the record, beside the drivers of countdowns.
const LookDriver = "sql"

// Deadlines is where the record tells pending orders by their pay_by.
type Deadlines interface {
	Deadlines(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error)
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
	observe   func(driver string, lag time.Duration)
	pending   func(ctx context.Context, numbers []order.Number) ([]order.Number, error)
	self      uint64

	lastWall    time.Time
	lastSteady  time.Duration
	pausedUntil time.Duration
	paused      atomic.Bool
	lastLook    time.Time
	looked      order.Deadline // where the look goes on; zero: from the beginning
}

// ExpirerOptions of an Expirer. Observe is told the lag of every expired order and who named it; Steady is a clock that never jumps.
//
// Pending says that other processes work on the same record: it picks those orders that are still pending. All processes know all
// deadlines, so that none of them can be missed for want of one; each takes them up at times of its own, worked out with Self, a
// random number that is its own too, and asks first what is left to be done. Nil: this process is alone.
type ExpirerOptions struct {
	Clock   func() time.Time
	Steady  func() time.Duration
	Log     *slog.Logger
	Observe func(driver string, lag time.Duration)
	Pending func(ctx context.Context, numbers []order.Number) ([]order.Number, error)
	Self    uint64
}

// NewExpirer makes an expirer; Run starts it. A nil countdown is none: only the look at the record finds what is due.
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
		opt.Observe = func(string, time.Duration) {}
	}
	return &Expirer{
		ledger: l, record: record, countdown: countdown,
		clock: opt.Clock, steady: opt.Steady, log: opt.Log, observe: opt.Observe, pending: opt.Pending, self: opt.Self,
	}
}

// Paused reports whether expiry stands still because the wall clock jumped.
func (e *Expirer) Paused() bool { return e.paused.Load() }

// Run works until ctx ends. After a turn that failed it rests for as long as between two looks, whoever wakes it.
func (e *Expirer) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var woken <-chan struct{}
	if e.countdown != nil {
		woken = e.countdown.Woken()
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-woken:
		}
		more, err := e.RunOnce(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Error("expirer: not everything that is due could be expired; it is tried again", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(expirerLook):
			}
		}
		timer.Reset(e.wait(more))
	}
}

// wait is the time to the next deadline, or to the next look.
func (e *Expirer) wait(more bool) time.Duration {
	if more {
		return 0
	}
	wait := expirerLook
	if e.countdown == nil {
		return wait
	}
	if next := e.countdown.Next(); !next.IsZero() && !e.paused.Load() {
		wait = min(wait, max(next.Sub(e.clock()), 0))
	}
	return wait
}

// RunOnce does one turn: expire what the countdown says is due, keep the countdown filled, and once a second expire what the
// record shows overdue. None of the three waits for another to work. more: there may be further orders due.
func (e *Expirer) RunOnce(ctx context.Context) (more bool, err error) {
	if !e.clockBelieved() {
		return false, nil
	}
	now := e.clock()
	if e.countdown == nil {
		return e.look(ctx, now)
	}
	due, leased := e.countdown.Due(now, expireMax)
	failed := e.expire(ctx, due, e.countdown.Driver(), !leased)
	unfilled := e.fill(ctx, now)
	overdue, unlooked := e.look(ctx, now)
	err = errors.Join(failed, unfilled, unlooked)
	return err == nil && (len(due) == expireMax || overdue), err
}

// look expires a page of what the record shows overdue, and reports whether there may be more. It goes on from page to page, so
// that orders which cannot be expired keep nobody behind them waiting, and begins again a second after the last page.
func (e *Expirer) look(ctx context.Context, now time.Time) (more bool, err error) {
	if planted.Bug(planted.LookForgotten) {
		return false, nil
	}
	since := now.Sub(e.lastLook) // below zero: the clock was set back
	if e.looked == (order.Deadline{}) && since >= 0 && since < expirerLook {
		return false, nil
	}
	until := now
	if e.countdown != nil {
		until = now.Add(-expirerLook / 2) // what is due just now is the countdown's
	}
	page, err := e.record.Deadlines(ctx, e.looked, until, expireMax)
	if err != nil {
		return false, err
	}
	e.lastLook, e.looked = now, order.Deadline{}
	if len(page) == expireMax {
		e.looked = page[len(page)-1]
	}
	numbers := make([]order.Number, len(page))
	for i, d := range page {
		numbers[i] = d.Number
	}
	return len(page) == expireMax, e.expire(ctx, numbers, LookDriver, false)
}

// fill loads the next stretch of deadlines when the countdown's horizon comes near.
func (e *Expirer) fill(ctx context.Context, now time.Time) error {
	horizon := e.countdown.Horizon()
	if horizon.After(now.Add(expirerAhead)) {
		failpoint.Hit("expirer.clock_set_back")
		horizon = time.Time{} // the clock was set back: what lies between was never loaded
	}
	if horizon.Sub(now) > expirerAhead/2 {
		return nil
	}
	from := order.Deadline{PayBy: horizon, Number: math.MaxInt64}
	if oldest := now.Add(-expirerAhead); horizon.Before(oldest) {
		from.PayBy = oldest // what is older is found by the look
	}
	until := now.Add(expirerAhead)
	e.countdown.Extend(until)
	for {
		page, err := e.record.Deadlines(ctx, from, until, expirerLoadPage)
		if err != nil {
			e.countdown.Extend(from.PayBy.Add(-time.Millisecond)) // that one may be half loaded; twice does no harm
			return err
		}
		for _, d := range page {
			e.countdown.Add(d.Number, d.PayBy.Add(e.turn(d.Number)))
		}
		if len(page) < expirerLoadPage {
			return nil
		}
		from = page[len(page)-1]
	}
}

// turn is how long after its deadline this process takes an order up that it was not told of by its own commit.
func (e *Expirer) turn(no order.Number) time.Duration {
	if e.pending == nil {
		return 0
	}
	mixed := (uint64(no) ^ e.self) * 0x9e3779b97f4a7c15 // Fibonacci hashing: the high bits depend on all others
	return time.Duration(mixed>>32%expirerSlots) * expirerSlot
}

// expire submits what a driver says is due. shared: another process may have done it.
func (e *Expirer) expire(ctx context.Context, due []order.Number, driver string, shared bool) (err error) {
	if len(due) > 0 && shared && e.pending != nil {
		if due, err = e.pending(ctx, due); err != nil {
			return fmt.Errorf("ask what is still pending: %w", err) // the look finds it again
		}
	}
	if len(due) == 0 {
		return nil
	}
	commands := make([]ledger.Command[ledger.Expired], len(due))
	for i, no := range due {
		commands[i] = ledger.Expire{Number: no}
	}
	failpoint.Hit("expirer.before_submit")
	failed, last := 0, error(nil)
	var over []order.Number
	ledger.SubmitAll(ctx, e.ledger, commands, func(i int, r ledger.Expired, err error) {
		switch {
		case err != nil:
			failed, last = failed+1, err // the look finds it again
		case !r.Early.IsZero():
			if e.countdown != nil {
				e.countdown.Postpone(due[i], later(r.Early, e.clock().Add(earlyPause)))
			}
		case r.Done:
			e.observe(driver, r.Lag)
		default:
			over = append(over, due[i])
		}
	})
	if e.countdown != nil && len(over) > 0 {
		e.countdown.Over(over)
	}
	if failed > 0 {
		failpoint.Hit("expirer.failed")
		return fmt.Errorf("%d of %d orders not expired yet: %w", failed, len(due), last)
	}
	return nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// clockBelieved compares the wall clock with the monotonic one. When they disagree by more than clockJump, somebody set the
// clock: expiring by it could be far too early. Expiry stands still, loudly, until the clocks have agreed for a while.
func (e *Expirer) clockBelieved() bool {
	wall, steady := e.clock().Round(0), e.steady() // without its monotonic reading, which would never disagree
	if !e.lastWall.IsZero() {
		drift := wall.Sub(e.lastWall) - (steady - e.lastSteady)
		if drift > clockJump || drift < -clockJump {
			failpoint.Hit("expirer.paused")
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
