package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// patience is how long a test waits for what has to come.
const patience = 20 * time.Second

// message is one message of a stream.
type message struct {
	name string
	id   int64
	data string
}

// ear reads a stream as a browser does.
type ear struct {
	t      testing.TB
	answer *http.Response
	lines  *bufio.Reader
	late   *time.Timer
	leave  context.CancelFunc
	lastID int64
	keeps  int
}

// front serves the desk over TCP. No request may take longer than most.
func (d *desk) front(most time.Duration) *httptest.Server {
	d.t.Helper()
	d.server.streams.beat = 5 * time.Millisecond
	s := httptest.NewUnstartedServer(d.server)
	s.Config.ReadTimeout, s.Config.WriteTimeout, s.Config.IdleTimeout = most, most, time.Minute
	s.Config.RegisterOnShutdown(d.server.Drain)
	s.Start()
	d.t.Cleanup(s.Close)
	return s
}

// listen opens a stream. since: the Last-Event-ID, or -1.
func (d *desk) listen(s *httptest.Server, target, secret string, since int64) *ear {
	d.t.Helper()
	ctx, leave := context.WithCancel(d.t.Context())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+target, nil)
	d.must(err)
	if secret != "" {
		r.Header.Set("Authorization", "Bearer "+secret)
	}
	if since >= 0 {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(since, 10))
	}
	answer, err := s.Client().Do(r)
	if err != nil {
		d.t.Fatalf("GET %s: %v", target, err)
	}
	e := &ear{t: d.t, answer: answer, lines: bufio.NewReader(answer.Body), leave: leave, lastID: since}
	e.late = time.AfterFunc(time.Minute, leave)
	d.t.Cleanup(e.close)
	return e
}

func (e *ear) close() {
	e.late.Stop()
	e.leave()
	_ = e.answer.Body.Close()
}

// next waits for a message; io.EOF when the stream has ended.
func (e *ear) next() (m message, err error) {
	data, id := false, e.lastID
	for {
		line, err := e.lines.ReadString('\n')
		if err != nil {
			return message{}, err
		}
		field, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		switch field {
		case "":
			if strings.HasPrefix(line, ":") {
				e.keeps++
				continue
			}
			m.id, e.lastID = id, id // now, and not before: a message that was cut off was not heard
			if data {
				return m, nil
			}
			m = message{}
		case "event":
			m.name = value
		case "id":
			if id, err = strconv.ParseInt(value, 10, 64); err != nil {
				e.t.Errorf("id %q", value)
			}
		case "data":
			m.data, data = value, true
		}
	}
}

// hear waits for a message that has to come.
func (e *ear) hear() message {
	e.t.Helper()
	m, err := e.next()
	if err != nil {
		e.t.Fatalf("the stream ended: %v", err)
	}
	return m
}

// wantsEnd fails unless the stream ends.
func (e *ear) wantsEnd() {
	e.t.Helper()
	for {
		if _, err := e.next(); errors.Is(err, context.Canceled) {
			e.t.Fatal("the stream did not end")
		} else if err != nil {
			return
		}
	}
}

func (e *ear) hearOrder(name, status string) api.Order {
	e.t.Helper()
	m := e.hear()
	var o api.Order
	if err := json.Unmarshal([]byte(m.data), &o); err != nil {
		e.t.Fatalf("%s: %v", m.data, err)
	}
	if m.name != name || o.Status != status {
		e.t.Fatalf("heard %s of an order that is %s, want %s and %s", m.name, o.Status, name, status)
	}
	return o
}

func submitted[R any](d *desk, c ledger.Command[R]) R {
	d.t.Helper()
	answer, err := ledger.Submit(d.t.Context(), d.ledger, c)
	d.must(err)
	return answer
}

func number(tb testing.TB, text string) order.Number {
	tb.Helper()
	no, err := order.ParseNumber(text)
	if err != nil {
		tb.Fatal(err)
	}
	return no
}

func TestOrderStreamTellsTheOrderAndThenWhatHappensToIt(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	s := d.front(time.Minute)
	o := d.placed("k-1", "u-1", "sku-1")
	other := d.placed("k-2", "u-1", "sku-1")
	d.relay()
	e := d.listen(s, "/v1/orders/"+o.OrderNo+"/stream", d.keys[apikey.OrdersRead], -1)
	if got := e.answer.Header; got.Get("Content-Type") != "text/event-stream" || got.Get("Cache-Control") != "no-store" || got.Get("X-Accel-Buffering") != "no" {
		t.Errorf("header: %v", got)
	}
	e.hearOrder("order", "pending")
	d.clock.advance(26 * time.Minute)
	d.pay(other, "t-other")
	submitted(d, ledger.Remind{Number: number(t, o.OrderNo), Lead: 5 * time.Minute})
	d.relay()
	if told := e.hearOrder("order.expiring", "pending"); told.SecondsLeft != 240 {
		t.Errorf("seconds_left is %d, want 240", told.SecondsLeft)
	}
	d.pay(o, "t-1")
	d.relay()
	e.hearOrder("order.paid", "paid")
	d.pay(o, "t-2") // money that nobody needed: the events are of a payment and a refund, what is told is the order
	d.wantsStatus(d.send("POST", "/v1/orders/"+o.OrderNo+"/fulfil", "", apikey.OrdersWrite), 200)
	d.relay()
	var names []string
	for range 10 {
		m := e.hear()
		if names = append(names, m.name); m.name == "order.fulfilled" {
			break
		}
		if !strings.Contains(m.data, `"order_no":"`+o.OrderNo) {
			t.Errorf("%s tells %s, want the order", m.name, m.data)
		}
	}
	if !slices.Contains(names, "refund.due") {
		t.Errorf("heard %q, want refund.due among them", names)
	}
}

// The order may have changed without the log having said so yet. Its reader must not see the order paid, then the reminder that it
// is to be paid, then the payment.
func TestOrderStreamBeginsWhereTheLogIs(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	s := d.front(time.Minute)
	o := d.placed("k-1", "u-1", "sku-1")
	d.relay()
	d.clock.advance(26 * time.Minute)
	submitted(d, ledger.Remind{Number: number(t, o.OrderNo), Lead: 5 * time.Minute})
	d.pay(o, "t-1")
	e := d.listen(s, "/v1/orders/"+o.OrderNo+"/stream", d.keys[apikey.OrdersRead], -1)
	testenv.Until(t, patience, "the stream to open", func() bool { return d.server.Streams() == 1 })
	d.relay()
	e.hearOrder("order", "paid")
	d.wantsStatus(d.send("POST", "/v1/orders/"+o.OrderNo+"/fulfil", "", apikey.OrdersWrite), 200)
	d.relay()
	e.hearOrder("order.fulfilled", "fulfilled")
}

func TestQuietStreamIsKeptOpenBeyondTheLimitsOfRequests(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	s := d.front(400 * time.Millisecond)
	e := d.listen(s, "/v1/users/u-1/stream", d.keys[apikey.OrdersRead], -1)
	other := d.listen(s, "/v1/users/u-2/stream", d.keys[apikey.OrdersRead], -1)
	began := time.Now()
	testenv.Until(t, patience, "a second of quiet", func() bool { return time.Since(began) > time.Second })
	d.placed("k-1", "u-1", "sku-1")
	d.relay()
	e.hearOrder("order.placed", "pending")
	if e.keeps < 2 {
		t.Errorf("%d comments in a second with one every 50 ms, want some", e.keeps)
	}
	// Who hears nothing learns all the same how far that is true.
	end, err := d.store.LogEnd(t.Context())
	d.must(err)
	testenv.Until(t, patience, "the other stream to come up", func() bool {
		line, err := other.lines.ReadString('\n')
		d.must(err)
		id, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(line, "id: ")), 10, 64)
		return strings.HasPrefix(line, "id: ") && id >= end
	})
}

// TestCutStreamsMissNothingAndHearNothingTwice: listeners of orders, of users, of all events and of some, each cut off again and
// again at random, while orders are placed, paid and cancelled. What each has heard in the end is what the log has, in its order.
func TestCutStreamsMissNothingAndHearNothingTwice(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100_000)
	s := d.front(time.Minute)
	const users, early, placed = 8, 12, 250
	var orders []api.Order
	for i := range early {
		orders = append(orders, d.placed(fmt.Sprint("early-", i), fmt.Sprint("u-", i%users), "sku-1"))
	}
	d.relay()
	begin, err := d.store.LogEnd(t.Context())
	d.must(err)

	type listener struct {
		target string
		filter checkout.EventFilter
		heard  []int64
	}
	var listeners []*listener
	for _, o := range orders {
		listeners = append(listeners, &listener{target: "/v1/orders/" + o.OrderNo + "/stream", filter: checkout.EventFilter{OrderNo: number(t, o.OrderNo)}})
	}
	for u := range users {
		id := fmt.Sprint("u-", u)
		listeners = append(listeners, &listener{target: "/v1/users/" + id + "/stream", filter: checkout.EventFilter{UserID: user.ID(id)}})
	}
	for range 3 {
		listeners = append(listeners, &listener{target: "/v1/events/stream"})
	}
	paid := []event.Type{event.OrderPaid, event.OrderCancelled}
	listeners = append(listeners, &listener{target: "/v1/events/stream?types=order.paid,order.cancelled", filter: checkout.EventFilter{Types: paid}})
	var all []message
	var allMu sync.Mutex

	stop := make(chan int64) // closed when the log is complete
	var end int64
	var listening sync.WaitGroup
	for n, l := range listeners {
		listening.Go(func() {
			random := rand.New(rand.NewPCG(uint64(n), 7))
			last := begin
			for {
				e := d.listen(s, l.target, d.keys[apikey.Admin], last)
				if e.answer.StatusCode != http.StatusOK {
					t.Errorf("%s: %d", l.target, e.answer.StatusCode)
					return
				}
				cut := time.AfterFunc(time.Duration(random.IntN(120))*time.Millisecond, e.leave)
				for range 1 + random.IntN(60) {
					m, err := e.next()
					if err != nil {
						break
					}
					l.heard = append(l.heard, m.id)
					if l.filter.OrderNo == 0 && l.filter.UserID == "" && l.filter.Types == nil {
						allMu.Lock()
						all = append(all, m)
						allMu.Unlock()
					}
				}
				last = max(last, e.lastID)
				cut.Stop()
				e.close()
				select {
				case <-stop:
					if last >= end {
						return
					}
				default:
				}
			}
		})
	}
	random := rand.New(rand.NewPCG(3, 9))
	for i := range placed {
		o := d.placed(fmt.Sprint("k-", i), fmt.Sprint("u-", random.IntN(users+2)), "sku-1")
		orders = append(orders, o)
		chosen := orders[random.IntN(len(orders))]
		switch random.IntN(3) {
		case 0:
			d.send("POST", "/v1/orders/"+chosen.OrderNo+"/cancel", "", apikey.OrdersWrite)
		case 1:
			d.pay(chosen, fmt.Sprint("t-", i)) // sometimes late, sometimes a second time
		}
		if i%7 == 0 {
			d.relay()
		}
	}
	for i := range early { // so that each stream has something at the end
		d.pay(orders[i], fmt.Sprint("last-", i))
	}
	d.relay()
	end, err = d.store.LogEnd(t.Context())
	d.must(err)
	close(stop)
	listening.Wait()

	for _, l := range listeners {
		l.filter.After, l.filter.Limit = begin, 100_000
		events, err := d.store.Events(t.Context(), l.filter)
		d.must(err)
		want := make([]int64, len(events))
		for i := range events {
			want[i] = events[i].Position
		}
		if len(want) == 0 {
			t.Errorf("%s: there was nothing to hear", l.target)
		}
		if !slices.Equal(l.heard, want) {
			t.Errorf("%s: heard %d events %v\nwant %d %v", l.target, len(l.heard), l.heard, len(want), want)
		}
	}
	for _, m := range all {
		var e api.Event
		if err := json.Unmarshal([]byte(m.data), &e); err != nil || e.Type != m.name {
			t.Fatalf("%s tells %s: %v", m.name, m.data, err)
		}
	}
}

func TestStreamGoesOnOnlyWhereTheLogHasBeen(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	no := d.placed("k", "u-1", "sku-1").OrderNo
	d.relay()
	end, err := d.store.LogEnd(t.Context())
	d.must(err)
	for _, target := range []string{"/v1/orders/" + no + "/stream", "/v1/users/u-1/stream", "/v1/events/stream"} {
		for _, position := range []string{strconv.FormatInt(end+1, 10), "-1", "+1", "1.0", "x", "01", "9223372036854775808", "1, 2", "\"1\""} {
			d.wants(d.send("GET", target, "", apikey.Admin, "Last-Event-ID", position), 422, api.CodeInvalidRequest)
			d.wants(d.get(target+"?last_event_id="+url.QueryEscape(position), apikey.Admin), 422, api.CodeInvalidRequest)
		}
		d.wants(d.send("GET", target, "", apikey.Admin, "Last-Event-ID", "1", "Last-Event-ID", "2"), 422, api.CodeInvalidRequest)
		d.wantsStatus(d.send("GET", target, "", apikey.Admin, "Last-Event-ID", strconv.FormatInt(end, 10)), 200)
		// The header is what a browser has heard since it opened the address.
		d.wantsStatus(d.send("GET", target+"?last_event_id=0", "", apikey.Admin, "Last-Event-ID", "1"), 200)
	}
	d.wants(d.get("/v1/orders/202611200009999/stream", apikey.Admin), 404, api.CodeNotFound)
	d.wants(d.get("/v1/events/stream?types=order.eaten", apikey.Admin), 422, api.CodeInvalidRequest)
}

// A stream that goes on before what the log still has would leave events out; one that begins needs none of them.
func TestStreamBeforeTheLogsBeginningIsGone(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	old := d.placed("old", "u-1", "sku-1")
	d.relay()
	d.clock.advance(100 * 24 * time.Hour)
	d.placed("young", "u-1", "sku-1")
	d.relay()
	d.forgetEvents(24 * time.Hour)
	for _, path := range []string{"/v1/orders/" + old.OrderNo + "/stream", "/v1/users/u-1/stream", "/v1/events/stream"} {
		a := d.get(path+"?last_event_id=1", apikey.Admin)
		d.wants(a, 410, api.CodeEventsPruned)
		if got := string(d.problem(a).Members["earliest_position"]); got != "4" {
			t.Errorf("%s: the earliest position is %s, want 4: %s", path, got, a.body)
		}
	}
	d.server.streams.behind = time.Hour // nothing is waited for: what was forgotten will not come
	s := d.front(time.Minute)
	path := "/v1/orders/" + old.OrderNo + "/stream"
	d.listen(s, path, d.keys[apikey.OrdersRead], -1).hearOrder("order", "pending")
	// Where the log has yet to tell what the order shows already, it is not told again.
	d.pay(old, "t-late")
	e := d.listen(s, path, d.keys[apikey.OrdersRead], -1)
	e.hearOrder("order", "paid")
	d.relay()
	d.wantsStatus(d.send("POST", "/v1/orders/"+old.OrderNo+"/fulfil", "", apikey.OrdersWrite), 200)
	d.relay()
	e.hearOrder("order.fulfilled", "fulfilled")
}

// Pages are open to everyone: as many as like may be, and merchants still listen.
func TestPagesStreamsHavePlacesOfTheirOwn(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.StreamsMax = 1 }, withStatusPages)
	d.offer("sku-1", 10)
	o := d.placed("k-1", "u-1", "sku-1")
	d.relay()
	d.server.streams.pages.most = 2
	s := d.front(time.Minute)
	page := "/status/" + o.OrderNo
	first := d.listen(s, page, "", -1)
	d.listen(s, page, "", -1).hear()
	if got := d.listen(s, page, "", -1).answer.StatusCode; got != http.StatusServiceUnavailable {
		t.Errorf("a third page: got %d, want 503", got)
	}
	d.listen(s, "/v1/orders/"+o.OrderNo+"/stream", d.keys[apikey.OrdersRead], -1).hearOrder("order", "pending")
	d.wants(d.get("/v1/events/stream", apikey.Admin), 503, api.CodeOverloaded)
	if open, most := d.server.PageStreams(); open != 2 || most != 2 || d.server.Streams() != 1 {
		t.Errorf("%d of %d pages and %d streams are open, want 2 of 2 and 1", open, most, d.server.Streams())
	}
	first.close()
	testenv.Until(t, patience, "the place to be free", func() bool { open, _ := d.server.PageStreams(); return open == 1 })
}

// withStatusPages serves a page's stream of each order, as a provider's cashier does.
func withStatusPages(o *Options, _ *ledger.Options) {
	o.Pages = map[string]http.Handler{"/status/{order_no}": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x, _ := w.(*exchange)
		no, err := order.ParseNumber(r.PathValue("order_no"))
		if err != nil {
			x.refuse(err)
			return
		}
		x.s.FollowOrder(w, r, no, func(b []byte, o *order.Order) []byte { return strconv.AppendQuote(b, string(o.Status)) })
	})}
}

// An EventSource comes back by itself when its stream ends, until it is told 204.
func TestPagesStreamEndsWhenItsOrderCanChangeNoMore(t *testing.T) {
	d := newDesk(t, withStatusPages)
	d.offer("sku-1", 10)
	o := d.placed("k-1", "u-1", "sku-1")
	d.relay()
	s := d.front(time.Minute)
	page := "/status/" + o.OrderNo
	hear := func(e *ear, name, status string) {
		t.Helper()
		if m := e.hear(); m.name != name || m.data != strconv.Quote(status) {
			t.Errorf("heard %+v, want %s and %s", m, name, status)
		}
	}
	e := d.listen(s, page, "", -1)
	hear(e, "order", "pending")
	pending := e.lastID
	d.wantsStatus(d.send("POST", "/v1/orders/"+o.OrderNo+"/cancel", "", apikey.OrdersWrite), 200)
	// Who comes back before the log has told the end waits for it.
	early := d.listen(s, page, "", pending)
	if early.answer.StatusCode != http.StatusOK {
		t.Errorf("came back with the end still to be told: got %d, want 200", early.answer.StatusCode)
	}
	d.relay()
	for _, e := range []*ear{e, early, d.listen(s, page, "", pending)} {
		hear(e, "order.cancelled", "cancelled")
		e.wantsEnd()
	}
	if again := d.listen(s, page, "", e.lastID); again.answer.StatusCode != http.StatusNoContent {
		t.Errorf("came back with all told: got %d, want 204", again.answer.StatusCode)
	}
	// A page that was made before the end and listens after it is told.
	late := d.listen(s, page, "", -1)
	hear(late, "order", "cancelled")
	late.wantsEnd()
	if again := d.listen(s, page, "", late.lastID); again.answer.StatusCode != http.StatusNoContent {
		t.Errorf("came back after a late look: got %d, want 204", again.answer.StatusCode)
	}
}

// Money can come for an order that is over, at any time: whoever follows the order hears of it.
func TestOrderStreamGoesOnBehindTheOrdersEnd(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	s := d.front(time.Minute)
	o := d.placed("k-1", "u-1", "sku-1")
	d.wantsStatus(d.send("POST", "/v1/orders/"+o.OrderNo+"/cancel", "", apikey.OrdersWrite), 200)
	d.relay()
	e := d.listen(s, "/v1/orders/"+o.OrderNo+"/stream", d.keys[apikey.OrdersRead], -1)
	e.hearOrder("order", "cancelled")
	resumed := d.listen(s, "/v1/orders/"+o.OrderNo+"/stream", d.keys[apikey.OrdersRead], e.lastID)
	d.pay(o, "t-1")
	d.relay()
	e.hearOrder("payment.late", "cancelled")
	resumed.hearOrder("payment.late", "cancelled")
}

func TestRevokedKeysStreamEnds(t *testing.T) {
	d := newDesk(t)
	s := d.front(time.Minute)
	id, secret := apikey.Make()
	d.must(d.store.AddKey(t.Context(), &apikey.Key{ID: id, Name: "brief", Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{apikey.Admin}, CreatedAt: d.clock.Now()}))
	revoked := []*ear{d.listen(s, "/v1/events/stream", secret, -1), d.listen(s, "/v1/users/u-1/stream", secret, 0)}
	ticket := read[api.StreamTicket](d, d.do(withKey(d.request("POST", "/v1/stream-tickets", `{"stream":"/v1/events/stream"}`, ""), secret)))
	revoked = append(revoked, d.listen(s, "/v1/events/stream?ticket="+ticket.Ticket, "", -1))
	kept := d.listen(s, "/v1/events/stream", d.keys[apikey.Admin], -1)
	_, err := d.store.RevokeKey(t.Context(), id) // by another process
	d.must(err)
	d.clock.advance(keyStale)
	for _, e := range revoked {
		e.wantsEnd()
	}
	d.offer("sku-1", 1)
	d.relay()
	if m := kept.hear(); m.name != "stock.changed" {
		t.Errorf("the other key's stream heard %+v", m)
	}
}

// slowReader takes what is written one piece at a time, when it is let.
type slowReader struct {
	*httptest.ResponseRecorder
	begun chan struct{} // a piece was written, and waits
	let   chan struct{} // one may go; closed: all
	took  int
}

func (r *slowReader) Write(b []byte) (int, error) {
	r.begun <- struct{}{}
	<-r.let
	r.took++
	return r.ResponseRecorder.Write(b)
}

// To a slow reader what is queued takes minutes: he is looked after between two pieces, not only at the end.
func TestSlowReadersStreamEndsWithinWhatIsQueued(t *testing.T) {
	for what, end := range map[string]func(*desk, string){
		"the desk stops": func(d *desk, _ string) { d.server.Drain() },
		"the key is revoked": func(d *desk, id string) {
			_, err := d.store.RevokeKey(d.t.Context(), id) // by another process
			d.must(err)
			d.clock.advance(keyStale)
		},
	} {
		d := newDesk(t)
		d.offer("sku-1", 1000)
		id, secret := d.newKey("slow", apikey.Admin)
		r := &slowReader{ResponseRecorder: httptest.NewRecorder(), begun: make(chan struct{}, 1000), let: make(chan struct{})}
		done := make(chan struct{})
		go func() {
			defer close(done)
			d.server.ServeHTTP(r, withKey(d.request("GET", "/v1/events/stream", "", ""), secret))
		}()
		<-r.begun // it stands at the end of the log, and has not said so yet
		for i := range 100 {
			d.placed(fmt.Sprint("k-", i), "u-1", "sku-1")
		}
		d.relay()
		last, err := d.store.LogEnd(t.Context())
		d.must(err)
		testenv.Until(t, patience, "all to be queued", func() bool { return d.feed.Position() >= last })
		for range 2 { // how long to wait before coming back, and where it stands
			r.let <- struct{}{}
			<-r.begun
		}
		end(d, id)
		close(r.let)
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatalf("%s: the stream did not end", what)
		}
		if queued := strings.Count(r.Body.String(), "event: "); r.took != 3 || queued == 0 || queued >= 100 {
			t.Errorf("%s: the reader was told %d events in %d pieces, want the one piece that was on its way", what, queued, r.took-2)
		}
	}
}

// A record that cannot be asked for keys must not cut everybody off, or they would all come back to it at once.
func TestStreamsOutliveARecordOutOfReach(t *testing.T) {
	d := newDesk(t)
	s := d.front(time.Minute)
	e := d.listen(s, "/v1/events/stream", d.keys[apikey.Admin], -1)
	d.record.unreachable.Store(true)
	d.clock.advance(time.Hour)
	keeps := 0
	done := make(chan message, 1)
	go func() {
		m, _ := e.next()
		done <- m
	}()
	testenv.Until(t, patience, "some beats", func() bool { keeps++; return keeps > 100 })
	d.record.unreachable.Store(false)
	d.offer("sku-1", 1)
	d.relay()
	if m := <-done; m.name != "stock.changed" {
		t.Errorf("heard %+v, want the stock", m)
	}
}

func TestStreamsEndWhenTheDeskStops(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1)
	no := d.placed("k", "u-1", "sku-1").OrderNo
	s := d.front(time.Minute)
	ears := []*ear{
		d.listen(s, "/v1/events/stream", d.keys[apikey.Admin], -1),
		d.listen(s, "/v1/users/u-1/stream", d.keys[apikey.Admin], 0),
		d.listen(s, "/v1/orders/"+no+"/stream", d.keys[apikey.Admin], -1), // waits for the log
	}
	testenv.Until(t, patience, "all to listen", func() bool { return d.server.Streams() == 3 })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	began := time.Now()
	d.must(s.Config.Shutdown(ctx))
	if took := time.Since(began); took > patience/2 {
		t.Errorf("the stop waited %v for streams", took)
	}
	for _, e := range ears {
		e.wantsEnd()
	}
	d.wants(d.get("/v1/events/stream", apikey.Admin), 503, api.CodeUnavailable)
}

func TestStreamsAreBounded(t *testing.T) {
	d := newDesk(t, func(o *Options, _ *ledger.Options) { o.StreamsMax = 2 })
	s := d.front(time.Minute)
	first := d.listen(s, "/v1/events/stream", d.keys[apikey.Admin], -1)
	d.listen(s, "/v1/users/u-1/stream", d.keys[apikey.Admin], -1)
	a := d.get("/v1/events/stream", apikey.Admin)
	d.wants(a, 503, api.CodeOverloaded)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	first.close()
	testenv.Until(t, patience, "the place to be free", func() bool { return d.server.Streams() == 1 })
	d.wantsStatus(d.get("/v1/events/stream", apikey.Admin), 200)
}

func TestHeadOfAStreamIsOnlyItsHeader(t *testing.T) {
	d := newDesk(t)
	a := d.send("HEAD", "/v1/events/stream", "", apikey.Admin)
	if a.status != 200 || a.header.Get("Content-Type") != "text/event-stream" || len(a.body) > 0 {
		t.Errorf("got %d %v %q", a.status, a.header, a.body)
	}
	if n := d.server.Streams(); n != 0 {
		t.Errorf("%d streams are open", n)
	}
}

func TestStreamOverHTTP10(t *testing.T) {
	d := newDesk(t)
	s := d.front(time.Minute)
	c, err := net.Dial("tcp", s.Listener.Addr().String())
	d.must(err)
	defer c.Close()
	d.must(c.SetDeadline(time.Now().Add(patience)))
	fmt.Fprintf(c, "GET /v1/events/stream HTTP/1.0\r\nAuthorization: Bearer %s\r\n\r\n", d.keys[apikey.Admin])
	lines := bufio.NewReader(c)
	answer, err := http.ReadResponse(lines, nil)
	d.must(err)
	if answer.StatusCode != http.StatusOK || len(answer.TransferEncoding) > 0 {
		t.Fatalf("got %d %v", answer.StatusCode, answer.TransferEncoding)
	}
	e := &ear{t: t, lines: bufio.NewReader(answer.Body)}
	testenv.Until(t, patience, "the stream to open", func() bool { return d.server.Streams() == 1 })
	d.offer("sku-1", 1)
	d.relay()
	if m := e.hear(); m.name != "stock.changed" {
		t.Errorf("heard %+v", m)
	}
}

// However readers leave, nothing of them stays.
func TestStreamsLeaveNothingBehind(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 100)
	no := d.placed("k", "u-1", "sku-1").OrderNo
	d.relay()
	s := d.front(time.Minute)
	d.server.streams.beat = time.Millisecond
	before := goleak.IgnoreCurrent()
	for i := range 60 {
		target := []string{"/v1/events/stream", "/v1/users/u-1/stream", "/v1/orders/" + no + "/stream"}[i%3]
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		d.must(err)
		tcp, _ := c.(*net.TCPConn)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n\r\n", target, d.keys[apikey.Admin])
		switch i % 4 {
		case 0: // leaves before he has heard anything
		case 1:
			_, _ = io.ReadFull(c, make([]byte, 100))
		case 2:
			d.must(tcp.CloseWrite())
			_, _ = io.ReadFull(c, make([]byte, 100))
		case 3:
			d.must(tcp.SetLinger(0)) // cut, not closed
			_, _ = io.ReadFull(c, make([]byte, 100))
		}
		d.must(c.Close())
	}
	testenv.Until(t, patience, "all to be gone", func() bool { return d.server.Streams() == 0 })
	s.Client().CloseIdleConnections()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

func TestTicketOpensOneStreamOnce(t *testing.T) {
	d, _ := newShop(t)
	d.relay()
	const stream = "/v1/users/u-1/stream"
	ticket := func(scope apikey.Scope, path string) api.StreamTicket {
		t.Helper()
		return read[api.StreamTicket](d, d.send("POST", "/v1/stream-tickets", `{"stream":"`+path+`"}`, scope))
	}
	with := func(path, secret string) answer { return d.get(path+"?ticket="+url.QueryEscape(secret), "") }

	got := ticket(apikey.OrdersRead, stream)
	if got.Stream != stream || !got.ExpiresAt.Equal(d.clock.Now().Add(time.Minute)) || len(got.Ticket) < 32 {
		t.Errorf("got %+v", got)
	}
	for _, path := range []string{"/v1/users/u-2/stream", "/v1/events/stream", "/v1/users/u%2d1/stream", "/v1/users/u-1", "/v1/orders"} {
		a := with(path, got.Ticket)
		if a.status != 401 {
			t.Errorf("%s opens with %d by a ticket of %s, want 401", path, a.status, stream)
		}
	}
	for _, made := range []string{"", "x", got.Ticket[:len(got.Ticket)-1], got.Ticket + "x", strings.ToLower(got.Ticket), d.keys[apikey.Admin], "hf_ticket_" + strings.Repeat("0", 32)} {
		if a := with(stream, made); a.status != 401 {
			t.Errorf("ticket %q: got %d, want 401", made, a.status)
		}
	}
	d.wants(d.get(stream+"?ticket="+got.Ticket+"&ticket="+got.Ticket, ""), 401, api.CodeUnauthenticated)
	d.wants(d.get(stream+"?ticket="+got.Ticket, apikey.Admin), 422, api.CodeInvalidRequest)
	d.wantsStatus(with(stream, got.Ticket), 200)
	d.wants(with(stream, got.Ticket), 401, api.CodeUnauthenticated)

	late := ticket(apikey.OrdersRead, stream)
	d.clock.advance(time.Minute)
	d.wants(with(stream, late.Ticket), 401, api.CodeUnauthenticated)

	id, secret := apikey.Make()
	d.must(d.store.AddKey(t.Context(), &apikey.Key{ID: id, Name: "brief", Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{apikey.OrdersRead}, CreatedAt: d.clock.Now()}))
	orphan := read[api.StreamTicket](d, d.do(withKey(d.request("POST", "/v1/stream-tickets", `{"stream":"`+stream+`"}`, ""), secret)))
	_, err := d.store.RevokeKey(t.Context(), id)
	d.must(err)
	d.wants(with(stream, orphan.Ticket), 401, api.CodeUnauthenticated)

	resumed := ticket(apikey.OrdersRead, stream)
	d.wantsStatus(d.get(stream+"?last_event_id=1&ticket="+resumed.Ticket, ""), 200)
}

func TestTicketNeedsTheScopeOfItsStream(t *testing.T) {
	d := newDesk(t)
	for path, needed := range map[string]apikey.Scope{
		"/v1/events/stream":                 apikey.EventsRead,
		"/v1/users/u-1/stream":              apikey.OrdersRead,
		"/v1/users/a%2Fb/stream":            apikey.OrdersRead,
		"/v1/orders/202611200000001/stream": apikey.OrdersRead,
	} {
		for _, scope := range apikey.Scopes() {
			a := d.send("POST", "/v1/stream-tickets", `{"stream":"`+path+`"}`, scope)
			if scope.Includes(needed) {
				d.wantsStatus(a, 201)
			} else {
				d.wants(a, 403, api.CodeForbidden)
			}
		}
	}
	for _, path := range []string{
		"", "/", "/v1/orders", "/v1/events", "/v1/events/stream/", "/v1/events/stream?types=order.paid", "/v1/events/stream#a", "v1/events/stream",
		"//v1/events/stream", "http://x/v1/events/stream", "/v1/../v1/events/stream", "/V1/events/stream", "*", "/v1/orders/{order_no}/streams",
	} {
		d.wants(d.send("POST", "/v1/stream-tickets", `{"stream":"`+path+`"}`, apikey.Admin), 422, api.CodeInvalidRequest)
	}
}

func TestOfManyWhoComeWithOneTicketOneGetsIn(t *testing.T) {
	d := newDesk(t)
	ticket := read[api.StreamTicket](d, d.send("POST", "/v1/stream-tickets", `{"stream":"/v1/events/stream"}`, apikey.EventsRead))
	statuses := make([]int, 12)
	var coming sync.WaitGroup
	for i := range statuses {
		coming.Go(func() {
			statuses[i] = recorded(d.server, d.request("GET", "/v1/events/stream?ticket="+ticket.Ticket, "", "")).Code
		})
	}
	coming.Wait()
	in := 0
	for _, status := range statuses {
		if status == 200 {
			in++
		} else if status != 401 {
			t.Errorf("got %d, want 200 once and 401", status)
		}
	}
	if in != 1 {
		t.Errorf("%d got in with one ticket: %v", in, statuses)
	}
	if strings.Contains(d.log.String(), ticket.Ticket) {
		t.Error("the ticket is in the log")
	}
}
