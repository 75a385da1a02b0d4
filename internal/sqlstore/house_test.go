package sqlstore_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// shop is a desk that lives through weeks in seconds: the road, the expirer and the janitor over the real record.
type shop struct {
	t       *testing.T
	clock   *conform.Clock
	jumped  time.Duration // of what the clock shows, what has not passed
	store   *sqlstore.Store
	ledger  *ledger.Ledger
	janitor *worker.Janitor
	expirer *worker.Expirer
	leases  []event.ShardLease
	removed map[string]int64
	orders  uint64
}

func newShop(t *testing.T, on database, eventsKept time.Duration) *shop {
	t.Helper()
	s := &shop{t: t, clock: conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)), removed: map[string]int64{}}
	s.store = openRecord(t, on.url(t), s.clock.Now).Store
	countdown := inproc.NewCountdown()
	s.ledger = ledger.New(s.store, ledger.Options{Applied: countdown.Applied})
	t.Cleanup(func() { _ = s.ledger.Close(context.Background()) })
	_, err := ledger.Submit(t.Context(), s.ledger, ledger.PutProduct{
		ID: "plain", Title: is("T"), Price: is(money.Money{Amount: 1, Currency: "CNY"}), PayWindow: is(30 * time.Minute),
	})
	s.must(err)
	_, err = ledger.Submit(t.Context(), s.ledger, ledger.AdjustStock{ProductID: "plain", Delta: 1_000_000})
	s.must(err)
	s.expirer = worker.NewExpirer(s.ledger, s.store, countdown, worker.ExpirerOptions{Clock: s.clock.Now, Steady: s.steady})
	s.opens(eventsKept)
	s.leases, err = s.store.LeaseShards(t.Context(), "relay", 1000*24*time.Hour)
	s.must(err)
	return s
}

func (s *shop) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// steady is a clock that nobody can set.
func (s *shop) steady() time.Duration { return time.Duration(s.clock.Now().UnixNano()) - s.jumped }

func (s *shop) jump(by time.Duration) {
	s.jumped += by
	s.clock.Step(by)
}

// opens starts the janitor, as a restart does.
func (s *shop) opens(eventsKept time.Duration) {
	s.janitor = worker.NewJanitor(s.store, worker.JanitorOptions{
		EventsKept: eventsKept, Written: s.written(), Steady: s.steady,
		Observe: func(kind string, n int64) { s.removed[kind] += n },
	})
}

func (s *shop) written() time.Time {
	s.t.Helper()
	at, err := s.store.LastWritten(s.t.Context())
	s.must(err)
	return at
}

func (s *shop) rows(table string) int64 {
	s.t.Helper()
	n, err := s.store.CountRows(s.t.Context(), table)
	s.must(err)
	return n
}

func (s *shop) wish(n uint64) ledger.Place {
	c := ledger.Place{
		UserID: user.ID(fmt.Sprint("u-", n)), Metadata: []byte(`{}`), Lines: []ledger.PlaceLine{{ProductID: "plain", Quantity: 1, Field: "lines[0]"}},
	}
	binary.BigEndian.PutUint64(c.Key[:], n*0x9e3779b97f4a7c15) // as random as a key is
	return c
}

// places lets n buyers order, and every other one pay.
func (s *shop) places(n int) {
	s.t.Helper()
	ctx := s.t.Context()
	wishes := make([]ledger.Command[ledger.Placed], n)
	for i := range wishes {
		s.orders++
		wishes[i] = s.wish(s.orders)
	}
	var pays []ledger.Command[ledger.PayOutcome]
	ledger.SubmitAll(ctx, s.ledger, wishes, func(i int, p ledger.Placed, err error) {
		if err != nil {
			s.t.Fatal(err)
		}
		if i%2 == 0 {
			pays = append(pays, ledger.Pay{PaymentID: "pay-" + p.Number.String(), Notice: payment.Notice{
				Provider: "sandbox", OrderNumber: p.Number, TransactionID: "t-" + p.Number.String(),
				Amount: money.Money{Amount: 1, Currency: "CNY"}, Succeeded: true,
			}})
		}
	})
	ledger.SubmitAll(ctx, s.ledger, pays, func(_ int, got ledger.PayOutcome, err error) {
		if err != nil || got != ledger.PaidNow {
			s.t.Fatal(got, err)
		}
	})
}

// works lets the loops do what is due.
func (s *shop) works() {
	s.t.Helper()
	s.settles()
	s.keeps()
}

// settles expires what is due and puts everything into the log.
func (s *shop) settles() {
	s.t.Helper()
	for more := true; more; {
		var err error
		more, err = s.expirer.RunOnce(s.t.Context())
		s.must(err)
	}
	for moved := 1; moved > 0; {
		var err error
		moved, err = s.store.Relay(s.t.Context(), s.leases, 512)
		s.must(err)
	}
}

func (s *shop) keeps() {
	s.t.Helper()
	for more := true; more; {
		var err error
		if more, err = s.janitor.RunOnce(s.t.Context()); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *shop) wantClean() {
	s.t.Helper()
	report, err := s.store.Audit(s.t.Context(), sqlstore.AuditOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range report.Checks {
		if c.Violations > 0 {
			s.t.Errorf("%s: %s: %d violations, such as %v", s.clock.Now().Format(time.DateTime), c.ID, c.Violations, c.Samples)
		}
	}
}

// Weeks of a steady load: what the janitor looks after grows for as long as it is kept, and then no more, while the audit finds
// nothing at any time. The process is started anew every day, so that nothing rests on what a janitor remembers.
func TestWeeksOfLoadLeaveTheHousekeepingTablesBounded(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			const (
				day     = 24 * time.Hour
				step    = time.Hour
				perStep = 8
				kept    = 7 * day
			)
			days := 21
			if on.server {
				days = 10
			}
			s := newShop(t, on, kept)
			most := map[string]int64{}
			for range days * int(day/step) {
				s.places(perStep)
				s.clock.Step(step)
				s.works()
				for _, table := range []string{
					"idempotency_keys", "ledger_batches", "outbox", "event_log", "outbox_waiting", "number_days",
					"orders", "order_lines", "order_transitions", "payments",
				} {
					most[table] = max(most[table], s.rows(table))
				}
				if s.clock.Now().Hour() == 9 {
					s.wantClean()
					s.opens(kept)
				}
			}

			hours := func(d time.Duration) int64 { return int64(d/time.Hour) + 1 }
			const perHour = perStep // orders; each is told twice: placed, and paid or expired. The stock is told of once a batch: at most as often.
			for table, bound := range map[string]int64{
				"idempotency_keys": perHour * hours(96*time.Hour+6*time.Hour),
				"ledger_batches":   2 * perHour * hours(day), // one for each command, should they never meet in a batch
				"outbox":           4 * perHour * hours(kept+6*time.Hour),
				"event_log":        4 * perHour * hours(kept+6*time.Hour),
				"outbox_waiting":   0,
				"number_days":      int64(days) + 2,
			} {
				if got := most[table]; got > bound {
					t.Errorf("%s: %d rows at its most, want at most %d", table, got, bound)
				}
			}
			orders := int64(days * int(day/step) * perStep)
			for table, n := range map[string]int64{"orders": orders, "order_lines": orders, "order_transitions": 2 * orders, "payments": orders / 2} {
				if got := most[table]; got < n-perStep || got > n {
					t.Errorf("%s: %d rows, want %d: the shop's own is kept", table, got, n)
				}
			}
			for _, kind := range []string{"ledger_batch", "idempotency_key", "event"} {
				if s.removed[kind] == 0 {
					t.Errorf("no row of kind %s was thrown away", kind)
				}
			}
			t.Logf("at their most: %v, thrown away: %v", most, s.removed)
		})
	}
}

// The promise: for 72 hours the same key gets the same bytes, whatever the janitor has thrown away meanwhile. Long after, it
// is like any other key.
func TestAKeyIsAnsweredAsLongAsWasPromisedAndForgottenAfterwards(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			s.clock.Step(300 * 24 * time.Hour) // an old desk, with nothing in it to hide behind
			s.works()
			wish := s.wish(1_000_000)
			first, err := ledger.Submit(t.Context(), s.ledger, wish)
			if err != nil {
				t.Fatal(err)
			}
			ask := func() ledger.Placed {
				t.Helper()
				got, err := ledger.Submit(t.Context(), s.ledger, wish)
				if err != nil {
					t.Fatal(err)
				}
				return got
			}
			const step = 6 * time.Hour
			for age := time.Duration(0); age <= 72*time.Hour; age += step {
				if got := ask(); !got.Replayed || !bytes.Equal(got.Body, first.Body) {
					t.Fatalf("after %s: replayed %v\n%s\nwant\n%s", age, got.Replayed, got.Body, first.Body)
				}
				s.places(3)
				s.clock.Step(step)
				s.works()
			}
			for range 8 {
				s.clock.Step(step)
				s.works()
			}
			if got := ask(); got.Replayed || got.Number == first.Number {
				t.Errorf("five days later: got %s, replayed %v, want a new order", got.Number, got.Replayed)
			}
			s.wantClean()
		})
	}
}

// Somebody sets the clock a year ahead. Nothing is thrown away by it, and what is due by the time that has really passed is.
func TestAWallClockThatJumpsAheadEmptiesNothing(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			s.places(4)
			s.works()
			s.jump(365 * 24 * time.Hour)
			before := len(s.log())
			for range 20 {
				s.clock.Step(time.Hour)
				s.keeps()
			}
			if got := len(s.log()); got != before || s.removed["idempotency_key"] > 0 {
				t.Errorf("%d of %d events and all but %d keys are left", got, before, s.removed["idempotency_key"])
			}
			s.jump(-365 * 24 * time.Hour)
			s.clock.Step(time.Hour)
			s.keeps()
			if got := len(s.log()); got != before {
				t.Errorf("the clock set right: %d of %d events are left", got, before)
			}
			s.jump(20 * 24 * time.Hour) // and nobody sets it right: it was meant
			for range 40 {
				s.clock.Step(time.Hour)
				s.keeps()
			}
			if got := len(s.log()); got == before || s.removed["idempotency_key"] != 4 {
				t.Errorf("two days after a jump that was left standing: %d of %d events are left, %d keys gone", got, before, s.removed["idempotency_key"])
			}
		})
	}
}

// The process comes up with a clock that is days ahead, and nobody has set it right when the janitor begins. What the record was
// last written at says so.
func TestAClockThatIsAheadFromTheStartForgetsNoKeyBeforeItsTime(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			s.places(4)
			s.settles()
			s.clock.Step(23 * time.Hour)
			s.jump(10 * 24 * time.Hour)
			s.opens(7 * 24 * time.Hour)
			s.places(1) // by the wrong clock
			for range 23 {
				s.clock.Step(time.Hour)
				s.keeps()
			}
			if n := s.removed["idempotency_key"]; n > 0 {
				t.Errorf("%d keys of two days are gone", n)
			}
			for range 8 { // and it was no mistake: the desk had been away for so long
				s.clock.Step(time.Hour)
				s.keeps()
			}
			if n := s.removed["idempotency_key"]; n != 4 {
				t.Errorf("%d keys are gone after a day, want the 4 old ones", n)
			}
		})
	}
}

// What was planned by a clock that was far ahead does not wait until that time comes.
func TestJobsGoOnWhenTheClockIsSetBack(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			s.jump(30 * 24 * time.Hour)
			s.opens(7 * 24 * time.Hour)
			s.keeps() // everything was done once, and is due again by that clock
			s.jump(-30 * 24 * time.Hour)
			s.places(4)
			s.works()
			for range 110 {
				s.clock.Step(time.Hour)
				s.works()
			}
			if s.removed["ledger_batch"] == 0 || s.removed["idempotency_key"] != 4 {
				t.Errorf("five days after the clock was set back, thrown away were %v, want the batches and the 4 keys", s.removed)
			}
			s.wantClean()
		})
	}
}

// Days that the janitor has walked through by a clock that was ahead come again. Their events do not go before their keys.
func TestEventsOutliveTheirKeysWhenTheClockIsSetBack(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			stuck := &stuckKeys{Rooms: s.store}
			s.janitor = worker.NewJanitor(stuck, worker.JanitorOptions{EventsKept: 7 * 24 * time.Hour, Steady: s.steady})
			s.keeps()
			s.jump(365 * 24 * time.Hour)
			for range 40 { // it is left standing, and believed
				s.clock.Step(time.Hour)
				s.keeps()
			}
			s.jump(-365 * 24 * time.Hour)
			s.keeps()
			wish := s.wish(1_000_000)
			first, err := ledger.Submit(t.Context(), s.ledger, wish)
			s.must(err)
			s.settles()
			stuck.fails = true
			for range 10 * 24 {
				s.clock.Step(time.Hour)
				if _, err := s.janitor.RunOnce(t.Context()); err != nil && !errors.Is(err, errStuck) {
					t.Fatal(err)
				}
			}
			if got, err := ledger.Submit(t.Context(), s.ledger, wish); err != nil || !bytes.Equal(got.Body, first.Body) {
				t.Errorf("the key again: got %q %v", got.Body, err)
			}
		})
	}
}

// Numbers of a day far ahead were given by a clock that was wrong for a while; their keys go when their orders are old enough.
func TestAKeyOfAFutureDaysNumberIsForgottenByItsAge(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			zone := time.FixedZone("ahead", 30*24*3600) // the day of a number is not the day of its order
			ahead := ledger.New(s.store, ledger.Options{TimeZone: zone})
			t.Cleanup(func() { _ = ahead.Close(context.Background()) })
			_, err := ledger.Submit(t.Context(), ahead, s.wish(1_000_000))
			s.must(err)
			s.settles()
			for range 12 * 24 {
				s.clock.Step(time.Hour)
				s.works()
			}
			if n := s.rows("idempotency_keys"); n != 0 {
				t.Errorf("%d keys are left of an order of twelve days ago", n)
			}
			s.wantClean()
		})
	}
}

func (s *shop) log() []event.Event {
	s.t.Helper()
	found, err := s.store.Events(s.t.Context(), checkout.EventFilter{Anew: true, Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// An answer is an event's data: no event goes before the keys that are answered with it, also when they cannot be thrown away.
func TestEventsDoNotGoBeforeTheirKeys(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			s.places(4)
			s.works()
			s.clock.Step(30 * 24 * time.Hour)
			stuck := &stuckKeys{Rooms: s.store, fails: true}
			j := worker.NewJanitor(stuck, worker.JanitorOptions{EventsKept: 7 * 24 * time.Hour, Steady: s.steady})
			before := len(s.log())
			for range 20 {
				_, err := j.RunOnce(t.Context())
				if err != nil && !errors.Is(err, errStuck) {
					t.Fatal(err)
				}
				s.clock.Step(time.Minute)
			}
			if got := len(s.log()); got != before {
				t.Errorf("%d of %d events are left beside keys that are still there", got, before)
			}
			if stuck.batches == 0 {
				t.Error("a job that fails keeps the others from their work")
			}
			stuck.fails = false
			for range 20 {
				if _, err := j.RunOnce(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.clock.Step(time.Minute)
			}
			if got := len(s.log()); got == before {
				t.Error("no event was thrown away when the keys were")
			}
			s.settles()
			s.wantClean()
		})
	}
}

var errStuck = errors.New("keys cannot be written")

type stuckKeys struct {
	worker.Rooms
	fails   bool
	batches int
}

func (k *stuckKeys) PruneKeys(ctx context.Context, before time.Time, after ledger.Key, limit int) (int64, ledger.Key, bool, error) {
	if k.fails {
		return 0, after, true, errStuck
	}
	return k.Rooms.PruneKeys(ctx, before, after, limit)
}

func (k *stuckKeys) PruneBatches(ctx context.Context, before time.Time, limit int) (int64, error) {
	k.batches++
	return k.Rooms.PruneBatches(ctx, before, limit)
}

// A day may have more orders than the database counts in time.
func TestDaysAreForgottenThoughOneCannotBeCounted(t *testing.T) {
	s := newShop(t, databases[0], 7*24*time.Hour)
	s.places(1)
	s.clock.Step(1000 * 24 * time.Hour)
	s.places(1)
	j := worker.NewJanitor(uncountable{s.store}, worker.JanitorOptions{EventsKept: 7 * 24 * time.Hour, Steady: s.steady})
	if _, err := j.RunOnce(t.Context()); !errors.Is(err, errUncountable) {
		t.Errorf("got %v, want %v", err, errUncountable)
	}
	if n := s.rows("number_days"); n != 1 {
		t.Errorf("%d days are left, want the last", n)
	}
}

var errUncountable = errors.New("it takes too long")

type uncountable struct{ worker.Rooms }

func (uncountable) CountDay(context.Context, order.Day) (bool, error) { return false, errUncountable }

// Two processes keep one house, and each is stopped in the middle of its work.
func TestTwoJanitorsAndOneThatIsStoppedDoNoHarm(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, on, 7*24*time.Hour)
			for range 30 {
				s.places(40)
			}
			s.clock.Step(time.Hour)
			s.settles()
			s.clock.Step(20 * 24 * time.Hour)
			s.places(1)
			opt := worker.JanitorOptions{EventsKept: 7 * 24 * time.Hour, Steady: s.steady}
			a, b := worker.NewJanitor(s.store, opt), worker.NewJanitor(s.store, opt)
			for i := range 40 {
				if i%5 == 4 {
					a = worker.NewJanitor(s.store, opt) // it was stopped, and begins anew
				}
				for _, j := range []*worker.Janitor{a, b} {
					if _, err := j.RunOnce(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
				s.clock.Step(time.Minute)
			}
			if keys, events := s.rows("idempotency_keys"), s.rows("outbox"); keys != 1 || events != 4 {
				t.Errorf("left are %d keys and %d events, want one, and the four of one order that was paid", keys, events)
			}
			s.wantClean()
		})
	}
}
