package sqlstore_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
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

// A relay that remembers the last id it saw loses what commits later with a lower one: under 16 writers a third of all events.
// Here two relays share the shards, one of them with leases that were taken from it, and a reader follows all the while.
func TestEveryEventReachesTheLogInOrderUnderAWriterStorm(t *testing.T) {
	ctx := t.Context()
	store, err := sqlstore.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "storm.db"), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // the end of the test
	if _, err := store.Migrate(ctx); err != nil {
		t.Fatal(err)
	}
	l := ledger.New(store, ledger.Options{BatchMax: 16, WaitMax: time.Minute})
	for p := range 4 {
		if _, err := ledger.Submit(ctx, l, ledger.PutProduct{
			ID: productID(p), Title: ledger.Patch[string]{Set: true, Value: "Ticket"},
			Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 1, Currency: "CNY"}},
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Submit(ctx, l, ledger.AdjustStock{ProductID: productID(p), Delta: 100_000}); err != nil {
			t.Fatal(err)
		}
	}

	const writers, each = 16, 40
	var writing, relaying sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				placed, err := ledger.Submit(ctx, l, ledger.Place{
					Key: ledger.Key{byte(w), byte(i)}, UserID: user.ID(fmt.Sprint("u-", w)),
					Lines: []ledger.PlaceLine{{ProductID: productID(i % 4), Quantity: 1, Field: "lines[0]"}},
				})
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := ledger.Submit(ctx, l, ledger.Cancel{Number: placed.Number, Reason: "storm"}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	done := make(chan struct{})
	stale, err := store.LeaseShards(ctx, "paused", -time.Second) // lapsed before it was given
	if err != nil {
		t.Fatal(err)
	}
	for _, owner := range []string{"a", "b"} {
		relaying.Go(func() {
			for {
				leases, err := store.LeaseShards(ctx, owner, 20*time.Millisecond) // short: the shards change hands all the time
				if err != nil {
					t.Error(err)
					return
				}
				moved, err := store.Relay(ctx, leases, 7)
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					if moved == 0 && len(leases) > 0 {
						return
					}
				default:
				}
			}
		})
	}
	follower := reader{store: store}
	relaying.Go(func() {
		for over := false; ; {
			waiting, _, err := store.Waiting(ctx, 1) // looked at first: what stops waiting now is read now
			if err != nil {
				t.Error(err)
				return
			}
			n, err := follower.read(ctx)
			if err != nil {
				t.Error(err)
				return
			}
			if over && n == 0 && waiting == 0 {
				return
			}
			select {
			case <-done:
				over = true
			default:
			}
		}
	})
	writing.Wait()
	if n, err := store.Relay(ctx, stale, 1000); err != nil || n != 0 {
		t.Errorf("a relay whose shards were taken moved %d events, err %v; want 0", n, err)
	}
	close(done)
	relaying.Wait()
	if err := l.Close(ctx); err != nil {
		t.Fatal(err)
	}

	whole := reader{store: store}
	for {
		n, err := whole.read(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
	}
	if len(whole.seen) < 2*writers*each {
		t.Fatalf("the log has %d events, want at least %d", len(whole.seen), 2*writers*each)
	}
	if len(follower.seen) != len(whole.seen) {
		t.Errorf("who followed saw %d events, the log has %d: some appeared behind him", len(follower.seen), len(whole.seen))
	}
	last := map[event.Subject]int64{}
	for i, e := range whole.seen {
		if e.Position != int64(i)+1 {
			t.Fatalf("position %d at place %d: the log has a hole", e.Position, i+1)
		}
		if e.Sequence != last[e.Subject]+1 {
			t.Fatalf("%v: sequence %d after %d", e.Subject, e.Sequence, last[e.Subject])
		}
		last[e.Subject] = e.Sequence
	}
}

func productID(n int) product.ID { return product.ID(fmt.Sprint("sku-", n)) }
