package sqlstore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// process is one of several desks over one record, put together as the server does it where the record is shared. They hear
// nothing of each other.
type process struct {
	*checkout.Desk
	t         *testing.T
	store     *sqlstore.Store
	gate      *inproc.Gate
	countdown *inproc.Countdown
	expirer   *worker.Expirer
	asked     int    // orders that the expirer handed to the ledger
	pause     func() // between the expirer's question what is pending and what it does about it
}

// several starts n processes over one record, on a clock that the test owns. On a server each has a store of its own.
func several(t *testing.T, on database, n int) ([]*process, *sqlstore.Store, *conform.Clock) {
	t.Helper()
	clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	url := on.url(t)
	store := openRecord(t, url, clock.Now).Store
	all := make([]*process, n)
	for i := range all {
		own := store
		if on.server && i > 0 {
			own = openRecord(t, url, clock.Now).Store
		}
		all[i] = newProcess(t, own, clock, uint64(i))
	}
	return all, store, clock
}

func newProcess(t *testing.T, store *sqlstore.Store, clock *conform.Clock, self uint64) *process {
	t.Helper()
	p := &process{t: t, store: store, countdown: inproc.NewCountdown(), pause: func() {}}
	marks := inproc.NewSmallKeyMarks(clock.Now, 1<<12)
	marks.Ready()
	p.gate = inproc.NewGate(store.Shelf, marks, clock.Now)
	p.gate.Keys = inproc.NewKeyLooks(store.KeysUsed)
	l := ledger.New(store, ledger.Options{
		Using:   p.gate.Using,
		Applied: func(a *ledger.Applied) { p.gate.Applied(a); p.countdown.Applied(a) },
	})
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	p.Desk = &checkout.Desk{Ledger: l, Record: record{store}, Gate: p.gate, Orders: inproc.Uncached{}, Clock: clock.Now}
	p.expirer = worker.NewExpirer(l, store, p.countdown, worker.ExpirerOptions{
		Clock: clock.Now, Steady: func() time.Duration { return time.Duration(clock.Now().UnixNano()) }, Self: self,
		Pending: func(ctx context.Context, numbers []order.Number) ([]order.Number, error) {
			pending, err := store.StillPending(ctx, numbers)
			p.asked += len(pending)
			p.pause()
			return pending, err
		},
	})
	return p
}

func (p *process) put(c ledger.PutProduct) {
	p.t.Helper()
	if _, err := ledger.Submit(p.t.Context(), p.Ledger, c); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) offer(id product.ID, units int64) {
	p.t.Helper()
	p.put(ledger.PutProduct{ID: id, Title: is("T"), Price: is(money.Money{Amount: 100, Currency: "CNY"}), PayWindow: is(10 * time.Second)})
	if _, err := ledger.Submit(p.t.Context(), p.Ledger, ledger.AdjustStock{ProductID: id, Delta: units}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *process) buy(key string, id product.ID) (ledger.Placed, error) {
	p.t.Helper()
	return p.Place(p.t.Context(), checkout.Order{
		Scope: checkout.Merchant, IdempotencyKey: key, UserID: user.ID("u-" + key), Lines: []checkout.Line{{ProductID: id, Quantity: 1}},
	})
}

func (p *process) bought(key string, id product.ID) ledger.Placed {
	p.t.Helper()
	placed, err := p.buy(key, id)
	if err != nil {
		p.t.Fatalf("%s: %v", key, err)
	}
	return placed
}

func (p *process) cancel(no order.Number) {
	p.t.Helper()
	if _, err := ledger.Submit(p.t.Context(), p.Ledger, ledger.Cancel{Number: no}); err != nil {
		p.t.Fatal(err)
	}
}

// Whatever made one process refuse, and whatever another did about it: within a second the first one sells.
func TestARefusalAnywhereHealsWithinASecond(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			active := func(yes bool) ledger.PutProduct { return ledger.PutProduct{ID: "a", Active: is(yes)} }
			for _, c := range []struct {
				name    string
				refusal error
				spoil   func(b *process, now time.Time)
				heal    func(b *process)
				atOnce  bool // it was the ledger that refused, by the rows as they are
			}{
				{
					name: "not on sale", refusal: fault.ErrNotOnSale,
					spoil: func(b *process, _ time.Time) { b.put(active(false)) }, heal: func(b *process) { b.put(active(true)) },
				},
				{
					name: "not open yet", refusal: fault.ErrNotOnSale,
					spoil: func(b *process, now time.Time) { b.put(ledger.PutProduct{ID: "a", OnSaleFrom: is(now.Add(time.Hour))}) },
					heal:  func(b *process) { b.put(ledger.PutProduct{ID: "a", OnSaleFrom: is(time.Time{})}) },
				},
				{
					name: "the sale has ended", refusal: fault.ErrNotOnSale,
					spoil: func(b *process, now time.Time) {
						b.put(ledger.PutProduct{ID: "a", OnSaleUntil: is(now.Add(-time.Hour))})
					},
					heal: func(b *process) { b.put(ledger.PutProduct{ID: "a", OnSaleUntil: is(time.Time{})}) },
				},
				{
					name: "written off", refusal: fault.ErrOutOfStock,
					spoil: func(b *process, _ time.Time) { b.offer("a", -5) }, heal: func(b *process) { b.offer("a", 5) },
				},
				{
					name: "quarantine", refusal: fault.ErrNotOnSale,
					spoil: func(b *process, now time.Time) {
						if _, err := ledger.Submit(t.Context(), b.Ledger, ledger.Quarantine{ProductID: "a", Reason: "held +1", SeenAt: now}); err != nil {
							t.Fatal(err)
						}
					},
					heal: func(b *process) {
						if _, err := ledger.Submit(t.Context(), b.Ledger, ledger.Release{ProductID: "a"}); err != nil {
							t.Fatal(err)
						}
					},
				},
				{
					name: "purchase limit", refusal: fault.ErrPurchaseLimit, atOnce: true,
					spoil: func(b *process, _ time.Time) {
						b.put(ledger.PutProduct{ID: "a", MaxPerUser: is(int64(1))})
						b.bought("buyer", "a")
					},
					heal: func(b *process) { b.put(ledger.PutProduct{ID: "a", MaxPerUser: is(int64(0))}) },
				},
			} {
				t.Run(c.name, func(t *testing.T) {
					all, store, clock := several(t, on, 3)
					all[0].offer("a", 5)
					n := 0
					wish := func(p *process) error {
						n++
						_, err := p.Place(t.Context(), checkout.Order{
							Scope: checkout.Merchant, IdempotencyKey: fmt.Sprint("k-", n), UserID: "u-buyer", Lines: []checkout.Line{{ProductID: "a", Quantity: 1}},
						})
						return err
					}
					c.spoil(all[1], clock.Now())
					for i, p := range all { // no gate can know of it yet but one's own, so it is the ledger that refuses
						if err := wish(p); !errors.Is(err, c.refusal) {
							t.Fatalf("process %d: got %v, want %v", i, err, c.refusal)
						}
					}
					clock.Step(10 * time.Millisecond)
					c.heal(all[1])
					if err := wish(all[0]); c.atOnce == (err != nil) {
						t.Fatalf("at once: got %v, so the test proves nothing", err)
					}
					clock.Step(time.Second)
					for i, p := range all {
						if err := wish(p); err != nil {
							t.Errorf("process %d, a second later: %v", i, err)
						}
					}
					wantClean(t, store)
				})
			}
		})
	}
}

func TestSoldOutSeenHereAndCancelledThereIsSoldHereWithinASecond(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 3)
			a, b := all[0], all[1]
			a.offer("a", 1)
			placed := b.bought("first", "a")
			if _, err := a.buy("second", "a"); !errors.Is(err, fault.ErrOutOfStock) {
				t.Fatalf("the last unit is sold twice: %v", err)
			}
			b.cancel(placed.Number)
			clock.Step(999 * time.Millisecond)
			if _, err := a.buy("third", "a"); !errors.Is(err, fault.ErrOutOfStock) {
				t.Fatalf("got %v: the gate was not what refused, so the test proves nothing", err)
			}
			clock.Step(time.Millisecond)
			a.bought("fourth", "a")
			wantClean(t, store)
		})
	}
}

func TestAPriceChangedHereIsChargedThereAtOnce(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, _ := several(t, on, 3)
			all[0].offer("a", 5)
			all[1].bought("before", "a")
			all[0].put(ledger.PutProduct{ID: "a", Price: is(money.Money{Amount: 250, Currency: "CNY"})})
			for i, p := range all {
				o, err := p.Order(t.Context(), p.bought(fmt.Sprint("after-", i), "a").Number)
				if err != nil || o.Total.Amount != 250 {
					t.Errorf("process %d charged %v (%v), want 250", i, o.Total, err)
				}
			}
			wantClean(t, store)
		})
	}
}

// The buyer of the last unit lost his answer and asks another process, whose gate knows that all are gone and nothing of him.
func TestAReplayFindsItsOrderAtAProcessWhoseGateRefuses(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, _, _ := several(t, on, 3)
			a, b := all[0], all[1]
			a.offer("a", 1)
			first := a.bought("k", "a")
			if _, err := b.buy("other", "a"); !errors.Is(err, fault.ErrOutOfStock) {
				t.Fatal(err) // from here on b's gate refuses
			}
			again, err := b.buy("k", "a")
			if err != nil || !again.Replayed || !bytes.Equal(again.Body, first.Body) {
				t.Errorf("the key again: got %+v %v, want the bytes of the first answer", again, err)
			}
			before := b.store.Health().Statements
			if _, err := b.buy("another", "a"); !errors.Is(err, fault.ErrOutOfStock) {
				t.Error(err)
			}
			if after := b.store.Health().Statements; after["select"] != before["select"]+1 || after["transaction"] != before["transaction"] {
				t.Errorf("a refusal cost %v, was %v: want one look at the key and no transaction", after, before)
			}
		})
	}
}

// A reader whom now this process answers and now that one never sees an order go back.
func TestAnOrderChangedHereIsReadThereAtOnce(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, _, _ := several(t, on, 3)
			all[0].offer("a", 5)
			no := all[0].bought("k", "a").Number
			look := func(want order.Status) {
				t.Helper()
				for i, p := range all {
					if o, err := p.Order(t.Context(), no); err != nil || o.Status != want {
						t.Errorf("process %d: got %v %v, want %s", i, o, err, want)
					}
				}
			}
			look(order.Pending)
			if _, err := all[2].Notice(t.Context(), payment.Notice{
				Provider: "sandbox", OrderNumber: no, TransactionID: "t", Amount: money.Money{Amount: 100, Currency: "CNY"}, Succeeded: true,
			}); err != nil {
				t.Fatal(err)
			}
			look(order.Paid)
		})
	}
}

func (p *process) expires() {
	p.t.Helper()
	for more := true; more; {
		var err error
		if more, err = p.expirer.RunOnce(p.t.Context()); err != nil {
			p.t.Fatal(err)
		}
	}
}

// Three processes know the same deadlines. Each order is expired once, within a moment of its time, and hardly any is tried
// twice.
func TestProcessesShareExpiry(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			const orders = 90
			all, store, clock := several(t, on, 3)
			all[0].offer("a", orders)
			for i := range orders {
				all[i%3].bought(fmt.Sprint(i), "a")
			}
			for _, p := range all {
				p.expires() // all deadlines are loaded by all
				p.asked = 0
			}
			clock.Step(10*time.Second - 5*time.Millisecond)
			for range 100 / 5 {
				clock.Step(5 * time.Millisecond)
				for _, p := range all {
					p.expires()
				}
			}
			n, err := store.Pending(t.Context())
			if err != nil || n > 0 {
				t.Errorf("%d are pending 95 ms after their time, %v", n, err)
			}
			asked := 0
			for i, p := range all {
				asked += p.asked
				if p.asked == 0 {
					t.Errorf("process %d had nothing to do", i)
				}
			}
			if asked != orders {
				t.Errorf("%d expiries were tried for %d orders", asked, orders)
			}
			wantClean(t, store)
		})
	}
}

// One process goes to sleep between its question and its deed, for half a minute, while another expires the orders, or takes
// the money for them.
func TestAProcessThatWasPausedInExpiryDoesNoHarm(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 3)
			all[0].offer("a", 20)
			var paid []order.Number
			for i := range 20 {
				no := all[0].bought(fmt.Sprint(i), "a").Number
				if i%2 == 0 {
					paid = append(paid, no)
				}
			}
			for _, p := range all {
				p.expires()
				p.asked = 0
			}
			clock.Step(10*time.Second + 100*time.Millisecond)
			all[0].pause = func() {
				all[0].pause = func() {}
				for i, no := range paid {
					if got, err := all[1].Notice(t.Context(), payment.Notice{
						Provider: "sandbox", OrderNumber: no, TransactionID: fmt.Sprint("t-", i), Amount: money.Money{Amount: 100, Currency: "CNY"}, Succeeded: true,
					}); err != nil || got != ledger.PaidNow {
						t.Fatal(got, err)
					}
				}
				all[1].expires()
				clock.Step(30 * time.Second)
			}
			all[0].expires()
			if all[0].asked != 20 {
				t.Fatalf("the paused process tried %d orders: the test proves nothing", all[0].asked)
			}
			for _, no := range paid {
				if o, err := all[2].Order(t.Context(), no); err != nil || o.Status != order.Paid {
					t.Errorf("order %s: got %v %v, want paid", no, o, err)
				}
			}
			wantClean(t, store)
		})
	}
}

// A process dies with the deadlines it alone was told of: the others find them.
func TestOrdersOfAProcessThatDiedExpire(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 3)
			all[0].offer("a", 5)
			for _, p := range all {
				p.expires()
			}
			for i := range 5 {
				all[0].bought(fmt.Sprint(i), "a") // and never runs again
			}
			clock.Step(10*time.Second + 500*time.Millisecond)
			all[2].expires()
			if n, err := store.Pending(t.Context()); err != nil || n > 0 {
				t.Errorf("%d are pending half a second after their time, %v", n, err)
			}
			wantClean(t, store)
		})
	}
}

// All relays run; one of them sleeps for half a minute with shards in its hand, and goes on as if nothing had happened.
func TestARelayThatWasPausedPutsNothingIntoTheLog(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 3)
			moved := make([]int, 3)
			relays := make([]*worker.Relay, 3)
			for i := range relays {
				relays[i] = worker.NewRelay(store, fmt.Sprint("process-", i), nil, func(n int) { moved[i] += n })
			}
			turn := func(i int) {
				t.Helper()
				if _, err := relays[i].RunOnce(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
			all[0].offer("a", 50)
			for i := range relays {
				turn(i)
			}
			if moved[0] == 0 || moved[1]+moved[2] > 0 {
				t.Fatalf("moved %v: want the first to have all shards", moved)
			}
			for i := range 10 {
				all[i%3].bought(fmt.Sprint(i), "a")
			}
			clock.Step(30 * time.Second)
			if _, err := store.LeaseShards(t.Context(), "process-1", time.Minute); err != nil { // its own look at the leases is due later
				t.Fatal(err)
			}
			before := moved[0]
			turn(0)
			if moved[0] != before {
				t.Errorf("the relay that had slept moved %d events by leases that were taken from it", moved[0]-before)
			}
			other := worker.NewRelay(store, "process-1", nil, func(n int) { moved[1] += n })
			if _, err := other.RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
			if moved[1] == 0 {
				t.Error("nobody moved what waits")
			}
			events, err := store.Events(t.Context(), checkout.EventFilter{Limit: 1000})
			if err != nil {
				t.Fatal(err)
			}
			next := map[event.Subject]int64{}
			for _, e := range events {
				if next[e.Subject]++; e.Sequence != next[e.Subject] {
					t.Errorf("%v: got sequence %d, want %d", e.Subject, e.Sequence, next[e.Subject])
				}
			}
			wantClean(t, store)
		})
	}
}

// Reminders of three processes: each order is reminded of once, by whoever comes first.
func TestProcessesRemindOnce(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 3)
			all[0].offer("a", 10)
			var told int
			reminders := make([]*worker.Reminder, 3)
			for i, p := range all {
				reminders[i] = worker.NewReminder(p.Ledger, store, 5*time.Second, clock.Now, nil)
				reminders[i].Observe = func(time.Duration) { told++ }
			}
			for i := range 10 {
				all[i%3].bought(fmt.Sprint(i), "a")
			}
			for range 12 {
				for i := range reminders {
					if _, err := reminders[i].RunOnce(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				clock.Step(time.Second)
			}
			if told != 10 {
				t.Errorf("told %d times of 10 orders", told)
			}
		})
	}
}
