package sqlstore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// reader follows the log as any client would: by the position of the last event it saw.
type reader struct {
	store *sqlstore.Store
	seen  []event.Event
}

func (r *reader) read(ctx context.Context) (n int, err error) {
	after := int64(0)
	if len(r.seen) > 0 {
		after = r.seen[len(r.seen)-1].Position
	}
	events, err := r.store.Events(ctx, checkout.EventFilter{After: after, Limit: 200})
	r.seen = append(r.seen, events...)
	return len(events), err
}

// sharing is a relay that leases shards and moves what waits in them.
type sharing struct {
	*sqlstore.Store
	owner string
	lasts time.Duration
	moved atomic.Int64
}

func (r *sharing) turn(ctx context.Context) (leased int, err error) {
	leases, err := r.LeaseShards(ctx, r.owner, r.lasts)
	if err != nil {
		return 0, err
	}
	moved, err := r.Relay(ctx, leases, 7)
	r.moved.Add(int64(moved))
	return len(leases), err
}

// A relay that remembers the last id it saw loses what commits later with a lower one: under 16 writers a third of all events.
// Here three relays share the shards, of which one dies with leases in its hand, and one sleeps until its own were taken and goes
// on with them, while a reader follows. On a server every writer, every relay and the reader is a process of its own.
func TestEveryEventReachesTheLogInOrderUnderAWriterStorm(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			ctx := t.Context()
			url := on.onDisk().url(t)
			store := openRecord(t, url, time.Now).Store
			process := func() *sqlstore.Store {
				if !on.server {
					return store
				}
				return openRecord(t, url, time.Now).Store
			}
			road := func() *ledger.Ledger {
				l := ledger.New(process(), ledger.Options{BatchMax: 16, BlockSize: 50, OpenWait: time.Minute, WaitMax: time.Minute})
				t.Cleanup(func() { _ = l.Close(context.Background()) })
				return l
			}
			first := road()
			const products, writers, each = 4, 16, 40
			for p := range products {
				if _, err := ledger.Submit(ctx, first, ledger.PutProduct{
					ID: productID(p), Title: is("Ticket"), Price: is(money.Money{Amount: 1, Currency: "CNY"}),
				}); err != nil {
					t.Fatal(err)
				}
				if _, err := ledger.Submit(ctx, first, ledger.AdjustStock{ProductID: productID(p), Delta: 100_000}); err != nil {
					t.Fatal(err)
				}
			}
			var writing, relaying sync.WaitGroup
			var ended atomic.Int64 // orders
			for w := range writers {
				l := first
				if on.server {
					l = road()
				}
				writing.Go(func() {
					for i := range each {
						placed, err := ledger.Submit(ctx, l, ledger.Place{
							Key: ledger.Key{byte(w), byte(i)}, UserID: user.ID(fmt.Sprint("u-", w)),
							Lines: []ledger.PlaceLine{{ProductID: productID(i % products), Quantity: 1, Field: "lines[0]"}},
						})
						if err == nil && i%2 == 0 {
							_, err = ledger.Submit(ctx, l, ledger.Cancel{Number: placed.Number, Reason: "storm"})
						} else if err == nil {
							_, err = ledger.Submit(ctx, l, payFor(placed.Number, 1))
						}
						if err != nil {
							t.Error(err)
							return
						}
						ended.Add(1)
					}
				})
			}

			// The first relay has all shards, and sleeps as soon as it has moved something; the second takes over when they lapse,
			// and dies; the third takes over from it. The leases are short: shards change hands all the time.
			const lasts = 50 * time.Millisecond
			relay := func(owner string) *sharing { return &sharing{Store: process(), owner: owner, lasts: lasts} }
			sleeper, victim, heir := relay("sleeper"), relay("victim"), relay("heir")
			asleep, died, written, over := make(chan struct{}), make(chan struct{}), make(chan struct{}), make(chan struct{})
			until := func(r *sharing, done func(leased int) bool) bool {
				for {
					leased, err := r.turn(ctx)
					if err != nil {
						t.Errorf("relay %s: %v", r.owner, err)
						return false
					}
					if done(leased) {
						return true
					}
				}
			}
			empty := func(r *sharing) bool {
				select {
				case <-written:
				default:
					return false
				}
				n, _, err := r.Waiting(ctx, 1)
				return err != nil || n == 0
			}
			relaying.Go(func() {
				defer close(over)
				stale, err := sleeper.LeaseShards(ctx, sleeper.owner, lasts)
				if err != nil || len(stale) == 0 {
					t.Errorf("the first relay leased %d shards, %v", len(stale), err)
				}
				until(sleeper, func(int) bool { return sleeper.moved.Load() > 0 })
				close(asleep)
				<-died // long after its leases were taken
				if n, err := sleeper.Relay(ctx, stale, 1000); err != nil || n != 0 {
					t.Errorf("a relay whose shards were taken moved %d events, err %v; want 0", n, err)
				}
				until(sleeper, func(int) bool { return empty(sleeper) })
			})
			relaying.Go(func() {
				<-asleep
				until(victim, func(leased int) bool { return leased > 0 && victim.moved.Load() > 0 })
				close(died) // and nothing is released
			})
			relaying.Go(func() {
				<-died
				until(heir, func(int) bool { return empty(heir) })
			})
			follower := reader{store: process()}
			relaying.Go(func() {
				for last := false; ; {
					select {
					case <-over:
						last = true
					default:
					}
					n, err := follower.read(ctx)
					if err != nil {
						t.Error(err)
						return
					}
					if last && n == 0 {
						return
					}
				}
			})
			writing.Wait()
			close(written)
			relaying.Wait()
			if n := ended.Load(); n != writers*each {
				t.Errorf("%d orders were ended, want %d", n, writers*each)
			}
			if sleeper.moved.Load() == 0 || victim.moved.Load() == 0 {
				t.Errorf("moved were %d, %d and %d events: the test proves nothing", sleeper.moved.Load(), victim.moved.Load(), heir.moved.Load())
			}
			t.Logf("moved were %d, %d and %d events", sleeper.moved.Load(), victim.moved.Load(), heir.moved.Load())
			wantWholeLog(t, store, 2*writers*each)
			whole, err := store.CountRows(ctx, "event_log")
			if err != nil || int64(len(follower.seen)) != whole {
				t.Errorf("who followed saw %d events, the log has %d, %v: some appeared behind him", len(follower.seen), whole, err)
			}
		})
	}
}

// wantWholeLog asks for every event that was written, of which there are so many at least: once each, in order, without a hole, and none
// that waits.
func wantWholeLog(t *testing.T, store *sqlstore.Store, least int) {
	t.Helper()
	r, last := reader{store: store}, map[event.Subject]int64{}
	for n := 1; n > 0; {
		var err error
		if n, err = r.read(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for i, e := range r.seen {
		if e.Position != int64(i)+1 || e.Sequence != last[e.Subject]+1 {
			t.Fatalf("%v: sequence %d after %d, position %d at place %d", e.Subject, e.Sequence, last[e.Subject], e.Position, i+1)
		}
		last[e.Subject] = e.Sequence
	}
	written, err := store.CountRows(t.Context(), "outbox")
	if err != nil || int64(len(r.seen)) != written || len(r.seen) < least {
		t.Errorf("the log has %d events of %d that were written, want %d at least; %v", len(r.seen), written, least, err)
	}
	if waiting, _, err := store.Waiting(t.Context(), 1); err != nil || waiting > 0 {
		t.Errorf("%d events wait, %v", waiting, err)
	}
}

func productID(n int) product.ID { return product.ID(fmt.Sprint("sku-", n)) }
