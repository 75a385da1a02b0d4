package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the reminder.
const (
	remindMax    = 512         // orders in one turn
	reminderLook = time.Second // between two looks
)

// Unreminded is where the record tells pending orders that were not reminded, by their pay_by.
type Unreminded interface {
	Unreminded(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error)
}

// Reminder tells, once per order, that the time to pay is running out. It walks along the deadlines with the time: what it
// has passed it does not look at again, and after a restart it begins at now.
type Reminder struct {
	ledger *ledger.Ledger
	record Unreminded
	lead   time.Duration
	clock  func() time.Time
	log    *slog.Logger
	passed order.Deadline

	// Observe is told how late each order was reminded; nil: nobody is.
	Observe func(late time.Duration)
}

// NewReminder makes a reminder that tells lead before pay_by.
func NewReminder(l *ledger.Ledger, record Unreminded, lead time.Duration, clock func() time.Time, log *slog.Logger) *Reminder {
	return &Reminder{ledger: l, record: record, lead: lead, clock: clock, log: log}
}

// Run works until ctx ends.
func (r *Reminder) Run(ctx context.Context) {
	every(ctx, reminderLook, r.log, "reminder", r.RunOnce)
}

// RunOnce reminds up to remindMax orders. more: there may be further ones.
func (r *Reminder) RunOnce(ctx context.Context) (more bool, err error) {
	now := r.clock()
	if r.passed.PayBy.Before(now) || r.passed.PayBy.After(now.Add(r.lead)) { // beyond: the clock was set back
		r.passed = order.Deadline{PayBy: now}
	}
	found, err := r.record.Unreminded(ctx, r.passed, now.Add(r.lead), remindMax)
	if err != nil || len(found) == 0 {
		return false, err
	}
	commands := make([]ledger.Command[ledger.Reminded], len(found))
	for i, d := range found {
		commands[i] = ledger.Remind{Number: d.Number, Lead: r.lead}
	}
	ledger.SubmitAll(ctx, r.ledger, commands, func(i int, done ledger.Reminded, failed error) {
		switch {
		case failed != nil:
			err = failed
		case bool(done) && r.Observe != nil:
			r.Observe(r.clock().Sub(found[i].PayBy.Add(-r.lead)))
		}
	})
	if err != nil {
		return false, err // the same ones are looked at again
	}
	r.passed = found[len(found)-1]
	return len(found) == remindMax, nil
}
