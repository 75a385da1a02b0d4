package sqlstore_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/user"
)

func TestSessionsAndBuyersThatAreOverAreForgottenAndOthersStay(t *testing.T) {
	clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	path := filepath.Join(t.TempDir(), "desk.db")
	s := openRecord(t, "sqlite:"+path, clock.Now)
	d := liver{l: ledger.New(s, ledger.Options{Guards: ledger.Guards{UnpaidMax: 1}}), orders: nil}
	login := func(id string, lasts time.Duration) apikey.Hash {
		h := apikey.HashOf(id)
		d.must(s.AddSession(t.Context(), &apikey.Session{
			ID: id, UserID: "u", Hash: h, CreatedAt: clock.Now(), ExpiresAt: clock.Now().Add(lasts), EndsAt: clock.Now().Add(lasts),
		}, 20))
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
	if n := one(t, path, `SELECT COUNT(*) FROM buyers WHERE user_id = 'new'`); removed != 1 || last != "old" || more || n != 1 {
		t.Errorf("%d buyers are gone up to %q (more: %v), want the old one; of the new one there are %d rows", removed, last, more, n)
	}
	if d.err != nil {
		t.Fatal(d.err)
	}
}
