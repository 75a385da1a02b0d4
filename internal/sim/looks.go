package sim

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// view is the record as one process has it, or, without a process, as the suite has it. What nobody here asks for stays with
// the nil interface.
type view struct {
	checkout.Record
	s *Store
	p *process
}

// look runs one statement outside of any transaction.
func look[R any](ctx context.Context, v *view, what string, read func(s *Store) (R, error)) (R, error) {
	f := v.s.turns.take(v.p, effect{ctx: ctx, what: what, fates: looks})
	defer v.s.turns.done()
	if f != well {
		var none R
		return none, errAway
	}
	return read(v.s)
}

func (v *view) Now(ctx context.Context) (time.Time, error) {
	return look(ctx, v, "now", func(s *Store) (time.Time, error) { return s.now(), nil })
}

func (v *view) Order(ctx context.Context, no order.Number) (*order.Order, error) {
	return look(ctx, v, "order", func(s *Store) (*order.Order, error) {
		o, there := s.orders[no]
		if !there {
			return nil, fault.ErrNotFound
		}
		return &o, nil
	})
}

// Orders reads as much of the filter as is asked for here: one user's.
func (v *view) Orders(ctx context.Context, f checkout.OrderFilter) ([]*order.Order, error) {
	return look(ctx, v, "orders", func(s *Store) (found []*order.Order, err error) {
		numbers := sortedKeys(s.orders)
		slices.Reverse(numbers)
		for _, no := range numbers {
			if o := s.orders[no]; o.UserID == f.UserID && len(found) < f.Limit {
				found = append(found, &o)
			}
		}
		return found, nil
	})
}

func (v *view) Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error) {
	return look(ctx, v, "shelf", func(s *Store) (checkout.Shelf, error) {
		p, there := s.products[id]
		if !there {
			return checkout.Shelf{}, fault.ErrNotFound
		}
		st := s.stock[id]
		return checkout.Shelf{Product: &p, Stock: &st}, nil
	})
}

func (v *view) User(ctx context.Context, id user.ID) (*user.User, error) {
	return look(ctx, v, "user", func(s *Store) (*user.User, error) {
		u, there := s.users[id]
		if !there {
			return nil, fault.ErrNotFound
		}
		return &u, nil
	})
}

func (v *view) PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error) {
	return look(ctx, v, "payments", func(s *Store) (found []*payment.Payment, err error) {
		for _, id := range s.paymentsOf[no] {
			p := s.payments[id]
			found = append(found, &p)
		}
		return found, nil
	})
}

func (v *view) Events(ctx context.Context, f checkout.EventFilter) ([]event.Event, error) {
	return look(ctx, v, "events", func(s *Store) (found []event.Event, err error) {
		for at := f.After; at < int64(len(s.log)) && len(found) < f.Limit; at++ {
			e := s.outbox[s.log[at]]
			e.Position = at + 1
			found = append(found, e)
		}
		return found, nil
	})
}

func (v *view) LogEnd(ctx context.Context) (int64, error) {
	return look(ctx, v, "log end", func(s *Store) (int64, error) { return int64(len(s.log)), nil })
}

func (v *view) Deadlines(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error) {
	return look(ctx, v, "deadlines", func(s *Store) ([]order.Deadline, error) { return s.deadlines(after, until, limit, false), nil })
}

func (v *view) Unreminded(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error) {
	return look(ctx, v, "unreminded", func(s *Store) ([]order.Deadline, error) { return s.deadlines(after, until, limit, true), nil })
}

func (v *view) StillPending(ctx context.Context, numbers []order.Number) ([]order.Number, error) {
	return look(ctx, v, "still pending", func(s *Store) (pending []order.Number, err error) {
		for _, no := range numbers {
			if s.orders[no].Status == order.Pending {
				pending = append(pending, no)
			}
		}
		return pending, nil
	})
}

func (v *view) KeysUsed(ctx context.Context, keys []ledger.Key) ([]ledger.Key, error) {
	return look(ctx, v, "keys used", func(s *Store) (used []ledger.Key, err error) {
		for _, k := range keys {
			if _, there := s.keys[k]; there {
				used = append(used, k)
			}
		}
		return used, nil
	})
}

func (s *Store) deadlines(after order.Deadline, until time.Time, limit int, unreminded bool) (found []order.Deadline) {
	from := whole(after.PayBy)
	for _, no := range sortedKeys(s.orders) {
		o := s.orders[no]
		if o.Status != order.Pending || unreminded && o.Reminded || o.PayBy.Before(from) || o.PayBy.After(whole(until)) ||
			o.PayBy.Equal(from) && no <= after.Number {
			continue
		}
		found = append(found, order.Deadline{Number: no, PayBy: o.PayBy})
	}
	slices.SortStableFunc(found, func(a, b order.Deadline) int { return a.PayBy.Compare(b.PayBy) })
	return found[:min(limit, len(found))]
}

func (v *view) UsedKeys(ctx context.Context, from order.Number, each func(ledger.Key)) error {
	_, err := look(ctx, v, "used keys", func(s *Store) (struct{}, error) {
		for k, used := range s.keys {
			if used.Number >= from {
				each(k)
			}
		}
		return struct{}{}, nil
	})
	return err
}

func (v *view) LeaseShards(ctx context.Context, owner string, lasts time.Duration) (held []event.ShardLease, err error) {
	t, err := v.begin(ctx, "begin lease")
	if err != nil {
		return nil, err
	}
	defer t.Rollback()
	err = t.step(ctx, "lease", func() error {
		if err := t.lock(ctx, lock{"leases", ""}); err != nil {
			return err
		}
		now, leases := v.s.now(), v.s.leases
		for shard := range leases {
			l := &leases[shard]
			if l.owner != owner && !l.until.Before(now) {
				continue
			}
			if l.owner != owner {
				if l.owner != "" {
					failpoint.Hit("record.lease_changed_hands")
				}
				l.token++
			}
			l.owner, l.until = owner, now.Add(lasts)
			held = append(held, event.ShardLease{Shard: shard, Token: l.token})
		}
		t.leased = &leases
		return nil
	})
	if err != nil {
		return nil, err
	}
	return held, t.Commit(ctx)
}

func (v *view) ReleaseShards(context.Context, string) error { return nil } // kill -9 says no goodbye

func (v *view) Relay(ctx context.Context, leases []event.ShardLease, limit int) (moved int, err error) {
	waiting, err := look(ctx, v, "waiting", func(s *Store) (bool, error) {
		return slices.ContainsFunc(s.waiting[:], func(w []int64) bool { return len(w) > 0 }), nil
	})
	if err != nil || !waiting {
		return 0, err
	}
	t, err := v.begin(ctx, "begin relay")
	if err != nil {
		return 0, err
	}
	defer t.Rollback()
	err = t.step(ctx, "relay", func() error {
		if err := t.lock(ctx, lock{"log head", ""}); err != nil {
			return err
		}
		for _, l := range leases {
			if v.s.leases[l.Shard].token != l.Token {
				failpoint.Hit("record.relay_fenced")
				continue
			}
			oldest := v.s.waiting[l.Shard]
			if planted.Bug(planted.CursorRelay) {
				seen := func(id int64) bool { return id <= v.s.cursor[l.Shard] }
				oldest = slices.DeleteFunc(slices.Clone(oldest), seen)
			}
			t.shards = append(t.shards, l.Shard)
			t.relayed = append(t.relayed, oldest[:min(limit, len(oldest))]...)
		}
		return nil
	})
	if err != nil || len(t.relayed) == 0 {
		return 0, err
	}
	if err := t.Commit(ctx); err != nil {
		return 0, err
	}
	return len(t.relayed), nil
}
