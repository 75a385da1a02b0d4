package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
)

// replayed asks again under a key and wants the very bytes of the first answer.
func replayed(t *testing.T, d *desk, first []byte, key, user string, lines ...api.PlaceLine) {
	t.Helper()
	a, err := d.place(key, user, lines...)
	if err != nil || a.status != http.StatusCreated || !bytes.Equal(a.body, first) {
		t.Errorf("the same key again: got %v, %v, want 201 with the bytes of the first answer:\n%s", a, err, first)
	}
}

func TestTheSameKeyGetsTheSameBytesWhateverHasHappenedSince(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("one", 1, nil)
		wish := line("one", 1)
		a, err := s.place("key-a", "u-a", wish)
		if err != nil || a.status != http.StatusCreated {
			t.Fatalf("A: got %v, %v, want 201", a, err)
		}
		first := a.body
		if b, err := s.place("key-b", "u-b", wish); err != nil || b.status != http.StatusConflict || b.problem().Code != api.CodeOutOfStock {
			t.Fatalf("B: got %v, %v, want 409 out_of_stock", b, err)
		}
		var o api.Order
		read(t, first, &o)

		replayed(t, s.desk, first, "key-a", "u-a", wish)

		s.want(http.StatusOK, nil, "PUT", "/v1/products/one", map[string]any{
			"title": "Dearer now", "price": api.Money{Amount: 9999, Currency: "EUR"}, "active": false,
		})
		replayed(t, s.desk, first, "key-a", "u-a", wish)

		s.stop()
		s = w.serve(t, w.usual(), db)
		replayed(t, s.desk, first, "key-a", "u-a", wish)

		if a, err := s.notify(moneyFor(o, "tx-a")); err != nil || a.status != http.StatusOK {
			t.Fatalf("pay: got %v, %v, want 200", a, err)
		}
		replayed(t, s.desk, first, "key-a", "u-a", wish)

		s.kill()
		s = w.serve(t, w.usual(), db)
		replayed(t, s.desk, first, "key-a", "u-a", wish)

		if now := s.look(o.OrderNo); now.Status != api.OrderPaid || now.Total != o.Total || now.Lines[0] != o.Lines[0] {
			t.Errorf("the order now: got %+v, want it paid and otherwise as it was placed: %+v", now, o)
		}
		wantReused(t, s.desk)
		if found := s.orders(); len(found) != 1 {
			t.Errorf("got %d orders, want 1", len(found))
		}
		auditClean(t, db)
	})
}

// wantReused asks under A's key for something else than he did.
func wantReused(t *testing.T, d *desk) {
	t.Helper()
	for what, want := range map[string]api.PlaceOrder{
		"another user":     {UserID: "u-b", Lines: []api.PlaceLine{line("one", 1)}},
		"another quantity": {UserID: "u-a", Lines: []api.PlaceLine{line("one", 2)}},
		"another product":  {UserID: "u-a", Lines: []api.PlaceLine{line("other", 1)}},
		"metadata":         {UserID: "u-a", Lines: []api.PlaceLine{line("one", 1)}, Metadata: api.Metadata(`{"a":1}`)},
	} {
		a := d.ask("POST", "/v1/orders", want, "Idempotency-Key", "key-a")
		if a.status != http.StatusUnprocessableEntity || a.problem().Code != api.CodeIdempotencyKeyReused {
			t.Errorf("%s under the same key: got %v, want 422 idempotency_key_reused", what, a)
		}
	}
}

// A key belongs to the shop, not to the API key that it came with: a key that was rotated still replays.
func TestARotatedAPIKeyStillReplays(t *testing.T) {
	s := serve(t, database(t))
	s.product("one", 1, nil)
	old := s.as(newKey(s.desk, "orders:write"))
	a, err := old.place("key-a", "u-a", line("one", 1))
	if err != nil || a.status != http.StatusCreated {
		t.Fatalf("place: got %v, %v, want 201", a, err)
	}
	replayed(t, s.as(newKey(s.desk, "orders:write")), a.body, "key-a", "u-a", line("one", 1))
}

func newKey(d *desk, scopes ...string) string {
	d.t.Helper()
	var made api.CreatedKey
	d.want(http.StatusCreated, &made, "POST", "/v1/keys", api.CreateKey{Name: "made for a test", Scopes: scopes})
	return made.Key
}

func TestSixtyFourConnectionsWithOneKeyMakeOneOrder(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		const n = 64
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("hot", 1000, nil)
		answers := make([]answer, n)
		atOnce(n, func(i int) {
			var err error
			if answers[i], err = s.place("the-one-key", "u-1", line("hot", 2)); err != nil {
				t.Error(err)
			}
		})
		for i, a := range answers {
			if a.status != http.StatusCreated || !bytes.Equal(a.body, answers[0].body) {
				t.Errorf("connection %d: got %v, want 201 with the bytes of all others:\n%s", i, a, answers[0].body)
			}
		}
		if found := s.orders(); len(found) != 1 {
			t.Errorf("got %d orders, want 1", len(found))
		}
		wantHeld(s.desk, "hot", 1000, 2)
		auditClean(t, db)
	})
}

// The last unit, one buyer who asks on many connections under one key, and many others: whoever gets it, the connections of
// the one are told the same. Being told "sold out" while another of them holds the order would be the bug.
func TestTheLastUnitUnderOneKeyIsToldTheSameOnEveryConnection(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		rounds, each := 20, 24
		if w.processes > 1 {
			rounds = 4 // of a second and more
		}
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		got := 0
		for round := range rounds {
			id := fmt.Sprintf("last-%d", round)
			s.product(id, 1, nil)
			answers := make([]answer, 2*each)
			atOnce(len(answers), func(i int) {
				key, user := id+"-same", "u-same"
				if i%2 == 1 {
					key, user = fmt.Sprintf("%s-%d", id, i), fmt.Sprintf("u-%d", i)
				}
				var err error
				if answers[i], err = s.place(key, user, line(id, 1)); err != nil {
					t.Error(err)
				}
			})
			numbers := map[string]bool{}
			for _, a := range answers {
				if a.status == http.StatusCreated {
					var o api.Order
					read(t, a.body, &o)
					numbers[o.OrderNo] = true
				}
			}
			if len(numbers) != 1 {
				t.Errorf("round %d: the unit went to %d orders, want 1", round, len(numbers))
			}
			same := slices.Collect(everySecond(answers))
			if same[0].status == http.StatusCreated {
				got++
			}
			for _, a := range same {
				if a.status == http.StatusCreated != (same[0].status == http.StatusCreated) {
					t.Errorf("round %d: one key was told %v and %v", round, same[0], a)
				}
			}
		}
		t.Logf("the buyer on many connections got the unit %d times of %d", got, rounds)
		auditClean(t, db)
	})
}

func everySecond(answers []answer) func(yield func(answer) bool) {
	return func(yield func(answer) bool) {
		for i := 0; i < len(answers); i += 2 {
			if !yield(answers[i]) {
				return
			}
		}
	}
}
