package worker

import (
	"context"
	"log/slog"
	"time"
)

const (
	batchesKept   = 24 * time.Hour // far longer than any commit is in doubt
	janitorRounds = time.Minute
	janitorMax    = 5000 // rows in one statement: others wait for it
)

// Batches is where the record keeps the ids of committed batches.
type Batches interface {
	PruneBatches(ctx context.Context, before time.Time, limit int) (int64, error)
}

// Janitor throws away what nobody needs any more.
type Janitor struct {
	batches Batches
	clock   func() time.Time
	log     *slog.Logger

	// Observe is told of what was thrown away, and how many of it; nil: nobody is.
	Observe func(what string, n int64)
}

// NewJanitor makes a janitor.
func NewJanitor(batches Batches, clock func() time.Time, log *slog.Logger) *Janitor {
	return &Janitor{batches: batches, clock: clock, log: log}
}

// Run works until ctx ends.
func (j *Janitor) Run(ctx context.Context) { every(ctx, janitorRounds, j.log, "janitor", j.RunOnce) }

// RunOnce makes one round.
func (j *Janitor) RunOnce(ctx context.Context) (more bool, err error) {
	n, err := j.batches.PruneBatches(ctx, j.clock().Add(-batchesKept), janitorMax)
	if n > 0 {
		j.log.Debug("janitor: batch ids forgotten", "count", n)
		if j.Observe != nil {
			j.Observe("batches", n)
		}
	}
	return n == janitorMax, err
}
