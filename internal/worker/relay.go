package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
)

// Limits of the relay.
const (
	relayMax     = 4096                   // events in one turn
	relayLook    = 500 * time.Millisecond // between two looks when nobody wakes it
	relayPace    = 50 * time.Millisecond  // between two turns under load: each is a transaction
	relayLease   = 6 * time.Second        // so long may the events of a process that was killed wait for another one
	relayRenew   = 2 * time.Second
	relayGoodbye = 2 * time.Second // to let the leases go at the end
)

// Outbox is where the record keeps events that are not in the log yet.
type Outbox interface {
	LeaseShards(ctx context.Context, owner string, lasts time.Duration) ([]event.ShardLease, error)
	ReleaseShards(ctx context.Context, owner string) error
	Relay(ctx context.Context, leases []event.ShardLease, limit int) (moved int, err error)
}

// Relay moves events from the outbox into the log, in the order they were written per subject.
type Relay struct {
	outbox  Outbox
	owner   string
	log     *slog.Logger
	observe func(moved int)
	wake    chan struct{}

	leases  []event.ShardLease
	renewed time.Time
}

// NewRelay makes a relay. owner names this process and no other.
func NewRelay(outbox Outbox, owner string, log *slog.Logger, observe func(moved int)) *Relay {
	return &Relay{outbox: outbox, owner: owner, log: log, observe: observe, wake: make(chan struct{}, 1)}
}

// Wake tells that events were written. It never blocks.
func (r *Relay) Wake() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// Run works until ctx ends, and lets its shards go.
func (r *Relay) Run(ctx context.Context) {
	defer r.goodbye(ctx)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-timer.C:
		}
		more, err := r.RunOnce(ctx)
		if err != nil && ctx.Err() == nil {
			r.log.Error("relay", "err", err)
		}
		if more && err == nil {
			r.Wake()
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(relayPace):
		}
		timer.Reset(relayLook)
	}
}

// RunOnce moves what waits, up to relayMax events. more: there may be further ones.
func (r *Relay) RunOnce(ctx context.Context) (more bool, err error) {
	if time.Since(r.renewed) > relayRenew {
		if r.leases, err = r.outbox.LeaseShards(ctx, r.owner, relayLease); err != nil {
			return false, err
		}
		r.renewed = time.Now()
	}
	moved, err := r.outbox.Relay(ctx, r.leases, relayMax)
	if moved > 0 {
		r.observe(moved)
	}
	return moved >= relayMax, err
}

func (r *Relay) goodbye(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relayGoodbye)
	defer cancel()
	if err := r.outbox.ReleaseShards(ctx, r.owner); err != nil {
		r.log.Warn("relay: shards not let go", "err", err)
	}
}
