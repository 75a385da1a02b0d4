package sqlstore_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// onEach runs a test over each kind of database.
func onEach(t *testing.T, test func(t *testing.T, s record, clock *conform.Clock)) {
	t.Helper()
	for _, kind := range []struct {
		name string
		url  func(testing.TB) string
	}{
		{"SQLite", func(testing.TB) string { return "sqlite::memory:" }},
		{"PostgreSQL", testenv.PostgresURL},
		{"MariaDB", testenv.MariaDBURL},
	} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
			test(t, openRecord(t, kind.url(t), clock.Now), clock)
		})
	}
}

func TestSessionsAndBuyersThatAreOverAreForgottenAndOthersStay(t *testing.T) {
	t.Parallel()
	onEach(t, forgetsWhatIsOver)
}

func forgetsWhatIsOver(t *testing.T, s record, clock *conform.Clock) {
	t.Helper()
	d := liver{l: ledger.New(s, ledger.Options{Guards: ledger.Guards{UnpaidMax: 1}}), orders: nil}
	login := func(id string, lasts time.Duration) apikey.Hash {
		h := apikey.HashOf(id)
		_, err := s.AddSession(t.Context(), &apikey.Session{
			ID: id, UserID: "u", Hash: h, CreatedAt: clock.Now(), ExpiresAt: clock.Now().Add(lasts), EndsAt: clock.Now().Add(lasts),
		}, 20)
		d.must(err)
		return h
	}
	login("over", time.Minute)
	good := login("good", 3*time.Hour)
	_, err := ledger.Submit(t.Context(), d.l, ledger.PutProduct{ID: "a", Title: is("T"), Price: is(money.Money{Amount: 1, Currency: "CNY"})})
	d.must(err)
	_, err = ledger.Submit(t.Context(), d.l, ledger.AdjustStock{ProductID: "a", Delta: 9})
	d.must(err)
	buy := func(u user.ID, key byte) {
		_, err := ledger.Submit(t.Context(), d.l, ledger.Place{Key: ledger.Key{key}, UserID: u, Lines: []ledger.PlaceLine{{ProductID: "a", Quantity: 1}}})
		d.must(err)
	}
	buy("old", 1)
	clock.Step(2 * time.Hour)
	buy("new", 2)
	d.must(d.l.Close(t.Context()))

	removed, err := s.PruneSessions(t.Context(), clock.Now(), 10)
	d.must(err)
	if _, err := s.SessionByHash(t.Context(), good); removed != 1 || err != nil {
		t.Errorf("%d sessions are gone, want the one that is over (%v)", removed, err)
	}
	removed, last, more, err := s.PruneBuyers(t.Context(), clock.Now().Add(-time.Hour), "", 10)
	d.must(err)
	n, err := s.CountRows(t.Context(), "buyers")
	d.must(err)
	if removed != 1 || last != "old" || more || n != 1 {
		t.Errorf("%d buyers are gone up to %q (more: %v), want the old one; %d are left, want the new one", removed, last, more, n)
	}
	if d.err != nil {
		t.Fatal(d.err)
	}
}

func TestSessionsAreKeptExtendedAndEnded(t *testing.T) {
	t.Parallel()
	onEach(t, func(t *testing.T, s record, clock *conform.Clock) {
		t.Helper()
		ctx, start := t.Context(), clock.Now()
		var told []apikey.Hash // that they were ended by a new one
		add := func(id, of string, idle, ends time.Duration) apikey.Hash {
			t.Helper()
			session := &apikey.Session{
				ID: id, UserID: user.ID(of), Hash: apikey.HashOf(id), CreatedAt: start, ExpiresAt: start.Add(idle), EndsAt: start.Add(ends),
			}
			ended, err := s.AddSession(ctx, session, 2)
			if err != nil {
				t.Fatal(err)
			}
			told = append(told, ended...)
			return session.Hash
		}
		wantGood := func(id string, good bool) {
			t.Helper()
			got, err := s.SessionByHash(ctx, apikey.HashOf(id))
			if !good && !errors.Is(err, fault.ErrNotFound) || good && (err != nil || got.ID != id) {
				t.Errorf("%s: got %v %v, want it to be good: %v", id, got, err, good)
			}
		}
		add("first", "u", 10*time.Minute, time.Hour)
		add("second", "u", 20*time.Minute, time.Hour)
		add("another's", "v", 10*time.Minute, time.Hour)
		add("third", "u", 5*time.Minute, time.Hour)
		if want := []apikey.Hash{apikey.HashOf("first")}; !slices.Equal(told, want) {
			t.Errorf("%d sessions were told to be ended, want the first", len(told))
		}
		wantGood("first", false) // a new one is never the one too many; of the others the first would be used up before the second
		wantGood("second", true)
		wantGood("third", true)

		extend := func(id string, until time.Duration) {
			t.Helper()
			if err := s.ExtendSession(ctx, id, start.Add(until)); err != nil {
				t.Fatal(err)
			}
		}
		extend("third", 30*time.Minute)
		extend("second", 2*time.Hour) // beyond its end
		extend("another's", time.Minute)
		clock.Step(9 * time.Minute)
		wantGood("another's", true) // never shorter
		clock.Step(2 * time.Minute)
		wantGood("another's", false)
		extend("another's", time.Hour)
		wantGood("another's", false) // over is over
		clock.Step(10 * time.Minute)
		wantGood("second", false)
		wantGood("third", true)

		ticket := func(name string, session string) apikey.Hash {
			t.Helper()
			h := apikey.HashOf(name)
			err := s.AddTicket(ctx, &apikey.Ticket{Hash: h, Stream: "/s", SessionID: session, ExpiresAt: clock.Now().Add(time.Minute)})
			if err != nil {
				t.Fatal(err)
			}
			return h
		}
		good, over := ticket("good", "third"), ticket("over", "second")
		if key, session, err := s.TakeTicket(ctx, good, "/s"); err != nil || key != nil || session == nil || session.UserID != "u" {
			t.Errorf("a session's ticket: got %v %v %v", key, session, err)
		}
		for _, h := range []apikey.Hash{good, over} { // used, and of a session that is over
			if _, _, err := s.TakeTicket(ctx, h, "/s"); !errors.Is(err, fault.ErrNotFound) {
				t.Errorf("got %v, want the ticket to be unknown", err)
			}
		}

		add("fourth", "u", time.Hour, time.Hour)
		if err := s.EndSession(ctx, "fourth"); err != nil {
			t.Fatal(err)
		}
		wantGood("fourth", false)
		add("fifth", "u", time.Hour, time.Hour)
		ended, err := s.EndSessionsOf(ctx, "u")
		if err != nil || !slices.Contains(ended, apikey.HashOf("fifth")) || slices.Contains(ended, apikey.HashOf("another's")) {
			t.Errorf("%d sessions were ended (%v), want all of the user, and told so", len(ended), err)
		}
		wantGood("fifth", false)
		wantGood("third", false)
	})
}
