package sqlstore_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// forgotten is a record twenty days old whose first half is forgotten: its keys, and the beginning of its log.
var forgotten = sync.OnceValues(func() (*life, error) {
	dir, err := os.MkdirTemp("", "holdfast-prune-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	return forget(filepath.Join(dir, "forgotten.db"))
})

// forget lets orders be placed, paid and expired on the first day; one of them is paid late, one fulfilled and others are
// placed on the last. One waits all the while.
func forget(path string) (*life, error) {
	ctx := context.Background()
	clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	s, err := sqlstore.Open(ctx, "sqlite:"+path, sqlstore.Options{Clock: clock.Now})
	if err != nil {
		return nil, err
	}
	if _, err := s.Migrate(ctx); err != nil {
		return nil, err
	}
	d := liver{l: ledger.New(s, ledger.Options{}), orders: map[string]order.Number{}}
	for id, window := range map[string]time.Duration{"plain": time.Hour, "patient": 30 * 24 * time.Hour, "quiet": time.Hour} {
		_, err := ledger.Submit(ctx, d.l, ledger.PutProduct{
			ID: productNamed(id), Title: is("T"), Price: is(money.Money{Amount: 1000, Currency: "CNY"}), PayWindow: is(window),
		})
		d.must(err)
		_, err = ledger.Submit(ctx, d.l, ledger.AdjustStock{ProductID: productNamed(id), Delta: 50})
		d.must(err)
	}
	for _, name := range []string{"paid", "late", "expired"} {
		d.place(name, "u", "plain")
	}
	d.place("gone", "u", "quiet")
	d.place("waiting", "u", "patient")
	clock.Step(time.Second)
	d.pay("paid", "first")
	clock.Step(2 * time.Hour)
	for _, name := range []string{"late", "expired", "gone"} {
		_, err = ledger.Submit(ctx, d.l, ledger.Expire{Number: d.orders[name]})
		d.must(err)
	}
	d.relay(s)

	clock.Step(20 * 24 * time.Hour)
	d.pay("late", "late")
	_, err = ledger.Submit(ctx, d.l, ledger.Fulfil{Number: d.orders["paid"]})
	d.must(err)
	d.relay(s)
	d.place("new", "u", "plain")
	d.relay(s)
	clock.Step(time.Second)
	d.place("last", "u", "plain")
	d.must(d.l.Close(ctx))
	_, _, more, err := s.PruneKeys(ctx, clock.Now().Add(-96*time.Hour), ledger.Key{}, 1000)
	d.must(err)
	if more {
		d.must(errors.New("a thousand keys were not enough"))
	}
	for n := int64(-1); n != 0 && d.err == nil; {
		n, err = s.PruneEvents(ctx, clock.Now().Add(-7*24*time.Hour), 3)
		d.must(err)
	}
	d.must(s.Close())
	file, err := os.ReadFile(path)
	d.must(err)
	return &life{file, d.orders, clock.Now()}, d.err
}

func (d *liver) relay(s *sqlstore.Store) {
	leases, err := s.LeaseShards(context.Background(), "relay", time.Minute)
	d.must(err)
	_, err = s.Relay(context.Background(), leases, 1000)
	d.must(err)
}

// one asks a record for a number.
func one(t *testing.T, path, query string) (n int64) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // it was only looked at
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

func TestARecordThatForgotItsPastIsClean(t *testing.T) {
	v, err := forgotten()
	if err != nil {
		t.Fatal(err)
	}
	report := v.audited(t)
	if diff := cmp.Diff(map[string][]string{}, offenders(report)); diff != "" || !report.Clean {
		t.Errorf("clean %v, violations:\n%s", report.Clean, diff)
	}
	path := filepath.Join(t.TempDir(), "look.db")
	if err := os.WriteFile(path, v.file, 0o600); err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int64{
		`SELECT COUNT(*) FROM idempotency_keys`:                                              2,
		v.fill(`SELECT COUNT(*) FROM idempotency_keys WHERE order_no IN ($new, $last)`):      2,
		v.fill(`SELECT COUNT(*) FROM outbox WHERE subject IN ('#expired', '#gone')`):         0,
		v.fill(`SELECT COUNT(*) FROM outbox WHERE subject = '#late'`):                        2,
		`SELECT COUNT(*) FROM outbox WHERE subject = 'quiet'`:                                0,
		`SELECT COUNT(*) FROM orders`:                                                        7,
		`SELECT COUNT(*) FROM order_transitions`:                                             12,
		`SELECT MIN(position) - (SELECT pruned + 1 FROM log_head) FROM event_log`:            0,
		`SELECT (SELECT position - pruned FROM log_head) - (SELECT COUNT(*) FROM event_log)`: 0,
	} {
		if got := one(t, path, query); got != want {
			t.Errorf("%s: got %d, want %d", query, got, want)
		}
	}
}

// cut forgets one event more than it should, and says so in the log's head: whoever only counts finds nothing.
const cut = `; DELETE FROM outbox WHERE id = (SELECT event_id FROM event_log WHERE position = (SELECT pruned + 1 FROM log_head));
	DELETE FROM event_log WHERE position = (SELECT pruned + 1 FROM log_head);
	UPDATE log_head SET pruned = pruned + 1; `

// toFront makes an event the first in the log.
func toFront(event string) string {
	return `UPDATE event_log SET position = -1 WHERE position = (SELECT pruned + 1 FROM log_head);
		UPDATE event_log SET position = (SELECT pruned + 1 FROM log_head) WHERE event_id = (SELECT id FROM outbox WHERE ` + event + `);
		UPDATE event_log SET position = (SELECT MIN(n) FROM (SELECT pruned + 1 AS n FROM log_head UNION ALL SELECT position + 1 FROM event_log WHERE position > 0)
			WHERE n NOT IN (SELECT position FROM event_log)) WHERE position = -1`
}

var forgottenWrongly = []struct {
	story string
	plant string
	want  map[string][]string
}{
	{
		"an event too many, and the head does not know",
		`DELETE FROM outbox WHERE id = (SELECT event_id FROM event_log WHERE position = (SELECT pruned + 1 FROM log_head));
		DELETE FROM event_log WHERE position = (SELECT pruned + 1 FROM log_head)`,
		map[string][]string{"V8": {"#late", "log"}},
	},
	{
		"a head that says more was forgotten than was",
		`UPDATE log_head SET pruned = pruned + 1`,
		map[string][]string{"V8": {"log"}},
	},
	{
		"a head that says less was forgotten than was",
		`UPDATE log_head SET pruned = pruned - 1`,
		map[string][]string{"V8": {"log"}},
	},
	{
		"a young step",
		toFront(`subject = '#paid' AND type = 'order.fulfilled'`) + cut,
		map[string][]string{"V8": {"#paid"}},
	},
	{
		"the young first event of an order with a key",
		toFront(`subject = '#new' AND sequence = 1`) + cut,
		map[string][]string{"V8": {"#new"}},
	},
	{
		"young late money",
		toFront(`subject = '#late' AND type = 'payment.late'`) + cut,
		map[string][]string{"V8": {"#late"}},
	},
	{
		"a young debt",
		toFront(`subject = '#late' AND type = 'payment.late'`) + cut + toFront(`subject = '#late' AND type = 'refund.due'`) + cut,
		map[string][]string{"V8": {"#late"}},
	},
	{
		"what a product's stock did lately",
		toFront(`subject = 'plain' AND sequence = (SELECT MIN(sequence) FROM outbox WHERE subject = 'plain')`) + cut,
		map[string][]string{"V8": {"plain"}},
	},
	{
		"an event in the middle",
		`DELETE FROM event_log WHERE event_id = (SELECT id FROM outbox WHERE subject = '#late' AND type = 'refund.due');
		DELETE FROM outbox WHERE subject = '#late' AND type = 'refund.due'`,
		map[string][]string{"V8": {"#late", "log"}},
	},
	{
		"a fact that was left behind",
		insertEvent + `('order', '#expired', 2, 'order.expired', 0, '')`,
		map[string][]string{"V8": {"order:#expired:2"}},
	},
	{
		"a subject that lacks more than was forgotten, another less",
		`UPDATE orders SET events = events + 1 WHERE order_no = $gone; UPDATE stock SET events = events - 2 WHERE product_id = 'quiet'`,
		map[string][]string{"V8": {"log"}},
	},
	{
		"a key that can still be sent again",
		`DELETE FROM idempotency_keys WHERE order_no = $new`,
		map[string][]string{"V3": {"#new"}},
	},
	{
		"an answer before its key",
		`INSERT INTO idempotency_keys (key, fingerprint, order_no) VALUES (randomblob(16), randomblob(16), $paid)`,
		map[string][]string{"V8": {"#paid"}},
	},
	{
		"that a number was granted",
		`UPDATE number_days SET next = 1 WHERE day = 20261120`,
		map[string][]string{"V3": {"202611200000005"}},
	},
}

func TestTheAuditFindsWhatWasForgottenWrongly(t *testing.T) {
	v, err := forgotten()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range forgottenWrongly {
		t.Run(c.story, func(t *testing.T) {
			t.Parallel()
			got := offenders(v.audited(t, c.plant))
			want := map[string][]string{}
			for id, samples := range c.want {
				for _, s := range samples {
					want[id] = append(want[id], v.fill(s))
				}
			}
			for id := range got {
				for i, s := range got[id] {
					if len(s) > 4 && s[:4] == "log:" {
						got[id][i] = "log" // the figures are the implementation's
					}
				}
				slices.Sort(got[id])
				got[id] = slices.Compact(got[id])
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("want (-), got (+):\n%s", diff)
			}
		})
	}
}

// Whoever stopped reading behind the log's beginning is told so, and where it begins; whoever begins, begins there.
func TestAPlaceBeforeTheLogsBeginningIsTold(t *testing.T) {
	v, err := forgotten()
	if err != nil {
		t.Fatal(err)
	}
	s := v.open(t, sqlstore.Options{})
	start, err := s.LogStart(t.Context())
	if err != nil || start == 0 {
		t.Fatalf("the log begins behind %d, %v", start, err)
	}
	for _, after := range []int64{0, start - 1} {
		_, err := s.Events(t.Context(), checkout.EventFilter{After: after, Limit: 10})
		if !errors.Is(err, fault.ErrEventsPruned) || fmt.Sprint(fault.Of(err).Members) != fmt.Sprint([]fault.Member{{Name: "earliest_position", Value: start + 1}}) {
			t.Errorf("after %d: got %v %v", after, err, fault.Of(err).Members)
		}
	}
	for name, f := range map[string]checkout.EventFilter{
		"at the beginning": {After: start, Limit: 1},
		"anew":             {Anew: true, Limit: 1},
	} {
		found, err := s.Events(t.Context(), f)
		if err != nil || len(found) != 1 || found[0].Position != start+1 {
			t.Errorf("%s: got %v, %v, want the event at %d", name, found, err, start+1)
		}
	}
	if found, err := s.Events(t.Context(), checkout.EventFilter{Anew: true, OrderNo: v.orders["late"], Limit: 10}); err != nil ||
		len(found) != 2 || found[0].Type != event.PaymentLate || found[0].Sequence != 3 {
		t.Errorf("of one order: got %v, %v, want what is kept of it", found, err)
	}
}

// The number of the newest fact is where the next one's comes from: it stays, whatever its age.
func TestTheNewestFactIsNeverForgotten(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, l := openDesk(t, on)
			placeSome(t, l, 0, 3)
			relayed(t, s)
			clock.Step(1000 * 24 * time.Hour)
			forgetKeys(t, s, clock.Now(), 10)
			for n := int64(-1); n != 0; {
				var err error
				if n, err = s.PruneEvents(t.Context(), clock.Now(), 2); err != nil {
					t.Fatal(err)
				}
			}
			left, err := s.Events(t.Context(), checkout.EventFilter{Anew: true, Limit: 10})
			if err != nil || len(left) == 0 || left[0].Subject != (event.Subject{Kind: event.Product, ID: "plain"}) {
				t.Fatalf("left are %v, %v, want the newest and what the log has behind it", left, err)
			}
			placeSome(t, l, 3, 1)
			relayed(t, s)
			wantClean(t, s)
		})
	}
}

func TestEventsAreForgottenInOrderAndNoneTooYoung(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, l := openDesk(t, on)
			placeSome(t, l, 0, 4)
			relayed(t, s)
			clock.Step(100 * time.Hour)
			edge := clock.Now()
			placeSome(t, l, 4, 4)
			relayed(t, s)
			all, err := s.Events(t.Context(), checkout.EventFilter{Limit: 200})
			if err != nil {
				t.Fatal(err)
			}
			old := int64(0)
			for _, e := range all {
				if e.Time.Before(edge) {
					old = e.Position
				}
			}
			forgetKeys(t, s, edge, 10)
			for _, want := range []int64{3, 3} {
				if n, err := s.PruneEvents(t.Context(), edge, 3); err != nil || n != want {
					t.Fatalf("a page of three: %d, %v", n, err)
				}
			}
			for n := int64(-1); n != 0; {
				if n, err = s.PruneEvents(t.Context(), edge, 3); err != nil {
					t.Fatal(err)
				}
			}
			if start, err := s.LogStart(t.Context()); err != nil || start != old {
				t.Errorf("forgotten up to %d, %v, want %d", start, err, old)
			}
			if n, err := s.PruneEvents(t.Context(), edge.Add(-time.Minute), 3); err != nil || n != 0 {
				t.Errorf("an earlier time forgets %d, %v", n, err)
			}
			wantClean(t, s)
		})
	}
}

func TestKeysAreForgottenToTheMillisecond(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, l := openDesk(t, on)
			for i, step := range []time.Duration{0, time.Millisecond, time.Millisecond, 30 * time.Hour} {
				clock.Step(step)
				placeSome(t, l, 2*i, 2)
			}
			first := clock.Now().Add(-30*time.Hour - 2*time.Millisecond)
			for _, c := range []struct {
				before time.Time
				want   int64
			}{{first, 0}, {first.Add(time.Millisecond), 2}, {first.Add(2 * time.Millisecond), 2}, {first.Add(2 * time.Millisecond), 0}, {clock.Now(), 2}} {
				if got := forgetKeys(t, s, c.before, 3); got != c.want {
					t.Errorf("before %s: %d forgotten, want %d", c.before, got, c.want)
				}
			}
		})
	}
}

// forgetKeys walks through all keys once.
func forgetKeys(t *testing.T, s *sqlstore.Store, before time.Time, page int) (removed int64) {
	t.Helper()
	var at ledger.Key
	for more := true; more; {
		var n int64
		var err error
		if n, at, more, err = s.PruneKeys(t.Context(), before, at, page); err != nil {
			t.Fatal(err)
		}
		removed += n
	}
	return removed
}

// The orders of a day that is over are counted once; should its numbers be asked for again, they are counted anew.
func TestTheOrdersOfADayAreCountedWhenItIsOver(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			s, clock, l := openDesk(t, on)
			placeSome(t, l, 0, 5)
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			today := order.DayOf(clock.Now())
			count := func(before order.Day) bool {
				t.Helper()
				counted, err := s.CountDay(t.Context(), before)
				if err != nil {
					t.Fatal(err)
				}
				return counted
			}
			used := func() int64 {
				t.Helper()
				days, err := s.NumberDays(t.Context(), today+1, 10)
				if err != nil || len(days) != 1 {
					t.Fatalf("got %v, %v, want one day", days, err)
				}
				return days[0].Used
			}
			if count(today) {
				t.Error("a day that is not over was counted")
			}
			if !count(today+1) || count(today+1) {
				t.Error("a day that is over was not counted once")
			}
			if err := s.Plant(t.Context(), `DELETE FROM orders WHERE order_no = (SELECT n FROM (SELECT MAX(order_no) AS n FROM orders) AS last)`); err != nil {
				t.Fatal(err)
			}
			if got := used(); got != 5 {
				t.Errorf("used: got %d, want the 5 that were counted", got)
			}
			if _, err := s.GrantAhead(t.Context(), today, 100); err != nil {
				t.Fatal(err)
			}
			if got := used(); got != 4 {
				t.Errorf("used, when numbers were asked for again: got %d, want the 4 there are", got)
			}
			if !count(today + 1) {
				t.Error("it was not counted again")
			}
		})
	}
}

// A day whose mark was forgotten is asked for again when a clock goes back: its numbers go on above those of its orders, and
// none of them is given twice.
func TestANumberIsNotGivenAgainWhenItsDayIsForgotten(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, l := openDesk(t, on)
			placeSome(t, l, 0, 5)
			if err := l.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n, err := s.PruneDays(t.Context(), order.DayOf(clock.Now()), 10); err != nil || n != 0 {
				t.Fatalf("of today: %d forgotten, %v", n, err)
			}
			if n, err := s.PruneDays(t.Context(), order.DayOf(clock.Now().AddDate(0, 0, 1)), 10); err != nil || n != 1 {
				t.Fatalf("of yesterday: %d forgotten, %v", n, err)
			}
			tx, err := s.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			first, err := tx.GrantNumbers(t.Context(), order.DayOf(clock.Now()), 100)
			if err != nil || first != 6 {
				t.Errorf("granted from %d, %v, want 6", first, err)
			}
			if again, err := tx.GrantNumbers(t.Context(), order.DayOf(clock.Now()), 100); err != nil || again != 106 {
				t.Errorf("then from %d, %v, want 106", again, err)
			}
			if next, err := tx.GrantNumbers(t.Context(), order.DayOf(clock.Now().AddDate(0, 0, 1)), 100); err != nil || next != 1 {
				t.Errorf("of a day without orders from %d, %v, want 1", next, err)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			again := ledger.New(s, ledger.Options{})
			defer again.Close(context.Background()) //nolint:errcheck // a test
			placeSome(t, again, 100, 3)
			wantClean(t, s)
		})
	}
}

func TestKeysOfTheAPIAreForgottenLongAfterTheirEnd(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, _ := openDesk(t, on)
			made := 0
			add := func(expires time.Time) string {
				made++
				k := &apikey.Key{ID: fmt.Sprintf("k%02d", made), Name: "x", Hash: apikey.HashOf(fmt.Sprint(made)), CreatedAt: clock.Now(), ExpiresAt: expires}
				if err := s.AddKey(t.Context(), k); err != nil {
					t.Fatal(err)
				}
				clock.Step(time.Second)
				return k.ID
			}
			revoke := func(id string) {
				if _, err := s.RevokeKey(t.Context(), id); err != nil {
					t.Fatal(err)
				}
				clock.Step(time.Second)
			}
			begun := clock.Now()
			revoke(add(time.Time{}))               // k01: the first of all
			add(time.Time{})                       // k02: good
			revoke(add(time.Time{}))               // k03
			add(begun.Add(time.Hour))              // k04: runs out
			revoke(add(begun.Add(10 * time.Hour))) // k05: revoked long before it would have run out
			add(begun.Add(1000 * time.Hour))       // k06: runs out later
			clock.Step(100 * time.Hour)
			revoke(add(time.Time{})) // k07
			revoke(add(time.Time{})) // k08
			left := func() (ids []string) {
				keys, err := s.Keys(t.Context(), "", 100)
				if err != nil {
					t.Fatal(err)
				}
				for _, k := range keys {
					ids = append(ids, k.ID)
				}
				return ids
			}
			prune := func(before time.Time, kept, limit int, want ...string) {
				t.Helper()
				if _, err := s.PruneAPIKeys(t.Context(), before, kept, limit); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(want, left()); diff != "" {
					t.Errorf("before %s, %d kept: want (-), got (+):\n%s", before, kept, diff)
				}
			}
			prune(begun, 10, 10, "k01", "k02", "k03", "k04", "k05", "k06", "k07", "k08")
			prune(begun.Add(time.Minute), 10, 1, "k01", "k02", "k04", "k05", "k06", "k07", "k08") // one at a time, the longest-ended first
			prune(begun.Add(time.Minute), 10, 10, "k01", "k02", "k04", "k06", "k07", "k08")
			prune(begun.Add(50*time.Hour), 10, 10, "k01", "k02", "k06", "k07", "k08")
			prune(begun.Add(50*time.Hour), 1, 10, "k01", "k02", "k06", "k08")
			clock.Step(10_000 * time.Hour)
			prune(clock.Now(), 10, 10, "k01", "k02")
		})
	}
}

func TestThereAreNotAsManyKeysAsAnybodyLikes(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, _ := openDesk(t, on)
			add := func(i int, expires time.Time) error {
				return s.AddKey(t.Context(), &apikey.Key{
					ID: fmt.Sprint("k", i), Name: "x", Hash: apikey.HashOf(fmt.Sprint(i)), CreatedAt: clock.Now(), ExpiresAt: expires,
				})
			}
			const most = 1000
			for i := range most {
				expires := time.Time{}
				if i == 7 {
					expires = clock.Now().Add(time.Hour)
				}
				if err := add(i, expires); err != nil {
					t.Fatalf("key %d: %v", i, err)
				}
			}
			if err := add(most, time.Time{}); !errors.Is(err, fault.ErrTooManyKeys) {
				t.Fatalf("one more: got %v", err)
			}
			clock.Step(time.Hour) // one runs out
			if err := add(most, time.Time{}); err != nil {
				t.Errorf("in place of one that ran out: %v", err)
			}
			if _, err := s.RevokeKey(t.Context(), "k3"); err != nil {
				t.Fatal(err)
			}
			if err := add(most+1, time.Time{}); err != nil {
				t.Errorf("in place of a revoked one: %v", err)
			}
			if err := add(most+2, time.Time{}); !errors.Is(err, fault.ErrTooManyKeys) {
				t.Errorf("one more: got %v", err)
			}
		})
	}
}

// What was forgotten makes room for what comes: the file does not grow by it.
func TestForgottenPagesAreUsedAgain(t *testing.T) {
	clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	path := filepath.Join(t.TempDir(), "room.db")
	s := openRecord(t, "sqlite:"+path, clock.Now).Store
	l := newRoad(t, s)
	const day, orders, kept = 24 * time.Hour, 400, 5
	var sizes []int64
	for i := range 4 * kept {
		clock.Step(day)
		placeSome(t, l, i*orders, orders)
		relayed(t, s)
		forgetKeys(t, s, clock.Now().Add(-kept*day), 1000)
		for n := int64(-1); n != 0; {
			var err error
			if n, err = s.PruneEvents(t.Context(), clock.Now().Add(-kept*day), 500); err != nil {
				t.Fatal(err)
			}
		}
		sizes = append(sizes, one(t, path, `SELECT page_count FROM pragma_page_count`))
	}
	// An order itself, with its line, its step and its stock entry, is kept; what is told of it takes more than all that.
	growing, steady := sizes[kept-1]-sizes[0], sizes[4*kept-1]-sizes[3*kept]
	t.Logf("pages: %v", sizes)
	if 2*steady > growing {
		t.Errorf("the file grew by %d pages in the first days, and still by %d when as much is forgotten as is written", growing, steady)
	}
}
