package httpapi

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

// as sends a request with a session's token.
func (d *desk) as(token, method, target, body string, header ...string) answer {
	d.t.Helper()
	return d.do(withKey(d.request(method, target, body, "", header...), token))
}

func (d *desk) loggedIn(user string) api.CreatedSession {
	d.t.Helper()
	return read[api.CreatedSession](d, d.send("POST", "/v1/sessions", `{"user_id":"`+user+`"}`, apikey.SessionsWrite))
}

func TestASessionLastsAsLongAsItIsUsedAndNoLonger(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.SessionIdle, o.SessionMax = 10*time.Minute, time.Hour })
	made := d.loggedIn("u-1")
	began := d.clock.Now()
	if got := made.ExpiresAt.Sub(began); got != 10*time.Minute || made.EndsAt.Sub(began) != time.Hour {
		t.Errorf("got %+v, want it to rest for 10 minutes and to last for an hour", made)
	}
	current := func() (api.Session, int) {
		t.Helper()
		a := d.as(made.Token, "GET", "/v1/sessions/current", "")
		d.must(d.server.sessions.close(t.Context())) // its use is noted
		if a.status != 200 {
			return api.Session{}, a.status
		}
		return read[api.Session](d, a), 200
	}
	for d.clock.Now().Before(began.Add(54 * time.Minute)) {
		d.clock.advance(9 * time.Minute)
		if s, status := current(); status != 200 || s.ExpiresAt.After(made.EndsAt) {
			t.Fatalf("after %s: got %d %+v, want it to be good", d.clock.Now().Sub(began), status, s)
		}
	}
	d.clock.advance(began.Add(time.Hour).Sub(d.clock.Now()) - time.Millisecond)
	if _, status := current(); status != 200 {
		t.Errorf("a moment before its end: got %d, want 200", status)
	}
	d.clock.advance(time.Millisecond)
	if _, status := current(); status != 401 {
		t.Errorf("at its end: got %d, want 401", status)
	}

	idle := d.loggedIn("u-1")
	d.clock.advance(10 * time.Minute)
	d.wants(d.as(idle.Token, "GET", "/v1/sessions/current", ""), 401, api.CodeUnauthenticated)
}

func TestASessionThatWasEndedIsDeadAtOnceHereAndWithinASecondElsewhere(t *testing.T) {
	d := newDesk(t)
	here, elsewhere := d.loggedIn("u-1"), d.loggedIn("u-1")
	look := func(token string) int { return d.as(token, "GET", "/v1/orders", "").status }
	if a, b := look(here.Token), look(elsewhere.Token); a != 200 || b != 200 {
		t.Fatalf("got %d and %d before anything, want 200", a, b)
	}
	d.wantsStatus(d.as(here.Token, "DELETE", "/v1/sessions/current", ""), 200)
	if got := look(here.Token); got != 401 {
		t.Errorf("got %d with a session ended here, want 401", got)
	}
	d.must(d.store.EndSession(t.Context(), elsewhere.SessionID)) // by another process
	d.clock.advance(sessionStale)
	if got := look(elsewhere.Token); got != 401 {
		t.Errorf("got %d with a session ended elsewhere %s ago, want 401", got, sessionStale)
	}

	first, second, other := d.loggedIn("u-1"), d.loggedIn("u-1"), d.loggedIn("u-2")
	look(first.Token)
	if got := read[api.EndedSessions](d, d.send("DELETE", "/v1/users/u-1/sessions", "", apikey.SessionsWrite)).Ended; got != 2 {
		t.Errorf("%d sessions were ended, want 2", got)
	}
	for token, want := range map[string]int{first.Token: 401, second.Token: 401, other.Token: 200} {
		if got := look(token); got != want {
			t.Errorf("after all of a user were ended: got %d, want %d", got, want)
		}
	}
}

// word is how two processes tell each other what was ended, while they can.
type word struct {
	mu    sync.Mutex
	ended []apikey.Hash
	away  bool
}

func (w *word) Tell(_ context.Context, sessions []apikey.Hash) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = append(w.ended, sessions...)
	return !w.away
}

func (w *word) Ended(_ context.Context, session apikey.Hash) (ended, known bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.away && slices.Contains(w.ended, session), !w.away
}

// What another process remembers of a session opens nothing once ending it was answered; and where processes cannot ask each other,
// the record is asked each time.
func TestASessionThatWasEndedIsDeadAtOnceEverywhere(t *testing.T) {
	w := &word{}
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.Ended = w })
	opt := d.server.opt
	elsewhere := New(d.server.desk, opt)
	look := func(token string) int {
		return recorded(elsewhere, withKey(d.request("GET", "/v1/orders", "", ""), token)).Code
	}
	asked := func() int64 { return elsewhere.Load().SessionLookups }
	for about, end := range map[string]func(api.CreatedSession){
		"by its buyer": func(s api.CreatedSession) {
			d.wantsStatus(d.as(s.Token, "DELETE", "/v1/sessions/current", ""), 200)
		},
		"with all of its user": func(api.CreatedSession) {
			d.wantsStatus(d.send("DELETE", "/v1/users/u-1/sessions", "", apikey.SessionsWrite), 200)
		},
		"by new ones": func(api.CreatedSession) {
			for range limits.SessionsOfUser {
				d.clock.advance(time.Millisecond)
				d.loggedIn("u-1")
			}
		},
	} {
		s := d.loggedIn("u-1")
		before := asked()
		if a, b := look(s.Token), look(s.Token); a != 200 || b != 200 || asked()-before != 1 {
			t.Errorf("%s: got %d and %d after %d looks, want 200 and one look", about, a, b, asked()-before)
		}
		end(s)
		if got := look(s.Token); got != 401 {
			t.Errorf("%s: got %d elsewhere, want 401", about, got)
		}
	}
	s := d.loggedIn("u-1")
	look(s.Token)
	w.away = true
	d.clock.advance(time.Millisecond)
	d.must(d.store.EndSession(t.Context(), s.SessionID)) // by a process that could tell nobody
	if got := look(s.Token); got != 401 {
		t.Errorf("got %d while nobody can be asked what was ended, want 401", got)
	}
}

// Whoever ended them may have been killed before he told anybody, and whoever asked him asks again.
func TestSessionsThatSomebodyElseHasEndedAreDeadWhenEndingThemIsAnswered(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.Ended = &word{} })
	s := d.loggedIn("u-1")
	d.wantsStatus(d.as(s.Token, "GET", "/v1/orders", ""), 200)
	_, err := d.store.EndSessionsOf(t.Context(), "u-1")
	d.must(err)
	began := time.Now()
	d.wantsStatus(d.send("DELETE", "/v1/users/u-1/sessions", "", apikey.SessionsWrite), 200)
	if took := time.Since(began); took < sessionStale {
		t.Errorf("answered after %s, while other processes may remember them for %s", took, sessionStale)
	}
	d.wantsStatus(d.as(s.Token, "GET", "/v1/orders", ""), 401)
}

func TestAUserHasSoManySessionsAndTheLeastUsedGoFirst(t *testing.T) {
	d := newDesk(t)
	var all []api.CreatedSession
	for range limits.SessionsOfUser + 3 {
		all = append(all, d.loggedIn("u-1"))
		d.clock.advance(2 * time.Second)
	}
	other := d.loggedIn("u-2")
	for i, s := range append(all, other) {
		want := 200
		if i < 3 {
			want = 401
		}
		if got := d.as(s.Token, "GET", "/v1/sessions/current", "").status; got != want {
			t.Errorf("session %d: got %d, want %d", i, got, want)
		}
	}
}

// What a buyer's session shows and changes is his: the same things of somebody else are not found, in the words for what is not
// there.
func TestABuyerSeesAndTouchesOnlyWhatIsHis(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100)
	const wish = `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`
	his, other := d.loggedIn("u-1").Token, d.loggedIn("u-2").Token
	place := func(token, key, body string) answer {
		return d.as(token, "POST", "/v1/orders", body, "Idempotency-Key", key)
	}
	mine := read[api.Order](d, place(his, "k", wish))
	d.wants(place(other, "k2", wish), 404, api.CodeNotFound)

	// A key of his means his order, and nobody else's.
	if again := place(his, "k", wish); again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("the same key again: got %d %s, want the same order", again.status, again.body)
	}
	theirs := read[api.Order](d, place(other, "k", strings.Replace(wish, "u-1", "u-2", 1)))
	shops := read[api.Order](d, d.place("k", wish))
	if theirs.OrderNo == mine.OrderNo || shops.OrderNo == mine.OrderNo {
		t.Error("one Idempotency-Key of two callers is one order")
	}

	list := func(token, query string) (numbers []string) {
		for _, o := range read[api.Page[api.Order]](d, d.as(token, "GET", "/v1/orders"+query, "")).Data {
			numbers = append(numbers, o.OrderNo)
		}
		slices.Sort(numbers)
		return numbers
	}
	if got, want := list(his, ""), []string{mine.OrderNo, shops.OrderNo}; !slices.Equal(got, want) {
		t.Errorf("his list is %v, want %v", got, want)
	}
	if got, want := list(other, "?user_id=u-2"), []string{theirs.OrderNo}; !slices.Equal(got, want) {
		t.Errorf("the other's list is %v, want %v", got, want)
	}
	d.wants(d.as(other, "GET", "/v1/orders?user_id=u-1", ""), 404, api.CodeNotFound)

	// A foreign thing and none are answered alike.
	const same = "6f1c1f0e-2b7a-4a53-9d0b-3d8f6c1e7a90"
	payment := read[api.Payment](d, d.as(his, "POST", "/v1/orders/"+mine.OrderNo+"/payments", `{"provider":"toy"}`))
	for _, c := range []struct{ method, foreign, none, body string }{
		{"GET", "/v1/orders/" + mine.OrderNo, "/v1/orders/202611200009999", ""},
		{"GET", "/v1/orders/" + mine.OrderNo + "?expand=user", "/v1/orders/202611200009999?expand=user", ""},
		{"GET", "/v1/orders/" + mine.OrderNo + "/stream", "/v1/orders/202611200009999/stream", ""},
		{"POST", "/v1/orders/" + mine.OrderNo + "/payments", "/v1/orders/202611200009999/payments", `{"provider":"toy"}`},
		{"GET", "/v1/orders/" + mine.OrderNo + "/payments", "/v1/orders/202611200009999/payments", ""},
		{"GET", "/v1/payments/" + payment.PaymentID, "/v1/payments/pay_none", ""},
		{"POST", "/v1/orders/" + mine.OrderNo + "/cancel", "/v1/orders/202611200009999/cancel", ""},
		{"GET", "/v1/users/u-1", "/v1/users/u-2", ""}, // of whom nothing is known
	} {
		foreign := d.as(other, c.method, c.foreign, c.body, "X-Request-Id", same)
		none := d.as(other, c.method, c.none, c.body, "X-Request-Id", same)
		if foreign.status != 404 || !bytes.Equal(foreign.body, none.body) {
			t.Errorf("%s %s: got %d %s, and where there is none %d %s", c.method, c.foreign, foreign.status, foreign.body, none.status, none.body)
		}
		if a := d.as(his, c.method, c.foreign, c.body); a.status >= 300 && !(a.status == 404 && c.foreign == "/v1/users/u-1") {
			t.Errorf("%s %s by its owner: got %d %s", c.method, c.foreign, a.status, a.body)
		}
	}
	if got := read[api.Order](d, d.as(his, "GET", "/v1/orders/"+mine.OrderNo, "")).Status; got != api.OrderCancelled {
		t.Errorf("his order is %s, want it cancelled by himself", got)
	}
	if got := read[api.Order](d, d.as(other, "GET", "/v1/orders/"+theirs.OrderNo, "")).Status; got != api.OrderPending {
		t.Errorf("the other's order is %s, want it untouched", got)
	}

	// His own particulars, but for what the shop keeps there.
	d.wantsStatus(d.as(his, "PUT", "/v1/users/u-1", `{"name":"Li"}`), 201)
	d.wants(d.as(his, "PUT", "/v1/users/u-1", `{"metadata":{"tier":"gold"}}`), 422, api.CodeInvalidRequest)
	d.wants(d.as(other, "PUT", "/v1/users/u-1", `{"name":"Me"}`), 404, api.CodeNotFound)
}

// A ticket opens what its session would, as long as the session is good.
func TestABuyersTicketOpensHisOwnStreamsOnly(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	o := d.placed("k", "u-1", "sku-1")
	his, other := d.loggedIn("u-1"), d.loggedIn("u-2")
	ticket := func(token, stream string) answer {
		return d.as(token, "POST", "/v1/stream-tickets", `{"stream":"`+stream+`"}`)
	}
	for _, stream := range []string{"/v1/orders/" + o.OrderNo + "/stream", "/v1/users/u-1/stream"} {
		d.wants(ticket(other.Token, stream), 404, api.CodeNotFound)
		made := read[api.StreamTicket](d, ticket(his.Token, stream))
		d.wantsStatus(d.get(stream+"?ticket="+made.Ticket, ""), 200)
		d.wants(d.get(stream+"?ticket="+made.Ticket, ""), 401, api.CodeUnauthenticated)
	}
	d.wants(ticket(his.Token, "/v1/events/stream"), 403, api.CodeForbidden)
	d.wants(ticket(his.Token, "/v1/orders/202611200009999/stream"), 404, api.CodeNotFound)
	late := read[api.StreamTicket](d, ticket(his.Token, "/v1/users/u-1/stream"))
	d.wantsStatus(d.as(his.Token, "DELETE", "/v1/sessions/current", ""), 200)
	d.wants(d.get("/v1/users/u-1/stream?ticket="+late.Ticket, ""), 401, api.CodeUnauthenticated)
}

func TestNoTokenOfASessionIsInTheRecord(t *testing.T) {
	d := newDesk(t)
	made := d.loggedIn("u-1")
	d.wantsStatus(d.as(made.Token, "GET", "/v1/sessions/current", ""), 200)
	rows := d.watch().look()
	if !rows.holds(made.SessionID) {
		t.Error("the session's id is not in the record: the look was blind")
	}
	parts := strings.Split(made.Token, "_")
	for _, secret := range []string{made.Token, parts[len(parts)-2]} {
		if rows.holds(secret) || strings.Contains(d.log.String(), secret) {
			t.Errorf("a session's token is in the record or the log as %q", secret)
		}
	}
}

func TestASessionIsLookedUpSeldomAndAMistypedOneNever(t *testing.T) {
	d := newDesk(t)
	made := d.loggedIn("u-1")
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() { d.as(made.Token, "GET", "/v1/sessions/current", "") })
	}
	all.Wait()
	d.as(made.Token[:len(made.Token)-1]+"!", "GET", "/v1/sessions/current", "")
	if got := d.server.sessions.asked.Load(); got != 1 {
		t.Errorf("the record was asked %d times, want once", got)
	}
}

// The user of a session is limited wherever he goes, and once for each request.
func TestASessionsUserIsLimitedOnEveryRoute(t *testing.T) {
	d := limitedTo(t, "* user 3/m")
	d.offer("sku-1", 10)
	his, again, other := d.loggedIn("u-1").Token, d.loggedIn("u-1").Token, d.loggedIn("u-2").Token
	d.wantsStatus(d.as(his, "GET", "/v1/orders", ""), 200)
	d.wantsStatus(d.as(again, "GET", "/v1/products", ""), 200)
	d.wantsStatus(d.as(his, "POST", "/v1/orders", `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`, "Idempotency-Key", "k"), 201)
	d.wants(d.as(again, "GET", "/v1/orders", ""), 429, api.CodeRateLimited)
	d.wantsStatus(d.as(other, "GET", "/v1/orders", ""), 200)
	d.wantsStatus(d.get("/v1/orders", apikey.OrdersRead), 200)
}

// What the record says may have been overtaken while its answer was under way: a moment that counts like any other.
func TestASessionIsBelievedFromTheMomentOfTheQuestion(t *testing.T) {
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	ended := false
	ring := newRing(func() time.Time { return now }, slog.New(slog.DiscardHandler), ringRules[*apikey.Session]{
		look: func(context.Context, apikey.Hash) (*apikey.Session, error) {
			if ended {
				return nil, fault.ErrNotFound
			}
			now = now.Add(sessionStale) // the answer is slow
			return &apikey.Session{ExpiresAt: now.Add(time.Hour), EndsAt: now.Add(time.Hour)}, nil
		},
		note:  func(context.Context, *apikey.Session, time.Time) error { return nil },
		used:  func(*apikey.Session) time.Time { return now },
		every: time.Hour, fresh: sessionFresh, stale: sessionStale, kept: 1, looksAtOnce: 1,
	})
	look := func() error {
		_, err := ring.look(t.Context(), apikey.Hash{1}, now, true)
		return err
	}
	if err := look(); err != nil {
		t.Fatal(err)
	}
	ended = true
	if err := look(); !errors.Is(err, fault.ErrUnauthenticated) {
		t.Errorf("got %v with a session that was ended while the record answered, %s after the question", err, sessionStale)
	}
}
