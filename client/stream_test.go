package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// logDesk speaks the contract of the streams over a log in memory: a message for each event behind Last-Event-ID, or, without
// it, the order as it is and then what follows; blocks of an id alone move the reader on. It cuts connections wherever it
// likes, in the middle of a line too. Behind an order that is fulfilled it ends the connection, as any stop does, and tells who
// comes back with 204 that nothing follows.
type logDesk struct {
	mu     sync.Mutex
	cond   *sync.Cond
	draw   *rand.Rand
	events []string // of one order; position = index + 1
	cuts   int      // connections that will be cut
	sloppy bool     // a reader who comes back is told things twice, which the contract does not ask for
}

func newLogDesk(seed uint64) *logDesk {
	d := &logDesk{draw: rand.New(rand.NewPCG(seed, 1)), sloppy: seed%2 == 1}
	d.cond = sync.NewCond(&d.mu)
	return d
}

func (d *logDesk) tell(status string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.events = append(d.events, status)
	d.cond.Broadcast()
}

func (d *logDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	calm := d.cuts <= 0
	d.cuts--
	cut := context.AfterFunc(r.Context(), func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.cond.Broadcast()
	})
	defer cut()
	last, err := strconv.Atoi(r.Header.Get("Last-Event-ID"))
	ofOrder := strings.HasPrefix(r.URL.Path, "/v1/orders/")
	fulfilled := func() bool {
		return last > 0 && last == len(d.events) && d.events[last-1] == api.OrderFulfilled && ofOrder
	}
	if err == nil && fulfilled() {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if !calm {
		switch d.draw.IntN(8) {
		case 0:
			panic(http.ErrAbortHandler)
		case 1:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
	}
	w.Header().Set("Content-Type", "text/event-stream")
	left := d.draw.IntN(600) // bytes until the cut
	send := func(format string, args ...any) {
		text := fmt.Sprintf(format, args...)
		if left -= len(text); left < 0 && !calm {
			_, _ = io.WriteString(w, text[:d.draw.IntN(len(text))])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, text)
		_ = http.NewResponseController(w).Flush()
	}
	send("retry: 1000\n\n")
	switch {
	case err == nil && d.sloppy:
		send("event: order\nid: %d\ndata: {\"order_no\":%q,\"status\":%q}\n\n", len(d.events), orderNo, d.events[len(d.events)-1])
		last = max(0, last-d.draw.IntN(3))
	case err == nil:
	case ofOrder:
		last = len(d.events)
		send("event: order\nid: %d\ndata: {\"order_no\":%q,\"status\":%q}\n\n", last, orderNo, d.events[last-1])
	default:
		last = len(d.events)
		send("id: %d\n\n", last)
	}
	for r.Context().Err() == nil {
		for ; last < len(d.events); last++ {
			if d.draw.IntN(4) == 0 {
				send(": keep\n\n")
			}
			send("event: order.%s\nid: %d\ndata: {\"order_no\":%q,\ndata: \"status\":%q}\n\n", d.events[last], last+1, orderNo, d.events[last])
		}
		if fulfilled() {
			return
		}
		d.cond.Wait()
	}
}

// within is a context for what should take no time, so that a stream that hangs fails its test.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func quick() Options { return Options{Wait: time.Millisecond, WaitMax: 5 * time.Millisecond} }

// Connections are cut everywhere, again and again; what the loop sees is the log, whole, in order, each once.
func TestAStreamThatIsCutMissesNothingAndTellsNothingTwice(t *testing.T) {
	for seed := range uint64(20) {
		d := newLogDesk(seed)
		d.cuts = 10
		server := httptest.NewServer(d)
		c := newClient(t, server.URL, quick())
		d.tell("pending")
		const steps = 100
		tell := func() {
			for i := range steps {
				d.tell("step-" + strconv.Itoa(i))
			}
			d.tell(api.OrderFulfilled)
		}
		var last int64
		var types []string
		for m, err := range c.StreamOrder(within(t), orderNo, StreamOptions{}) {
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			switch {
			case last == 0 && m.Type != EventOrder, last > 0 && (m.Type == EventOrder || m.Position != last+1):
				t.Fatalf("seed %d: got %s at %d after %d", seed, m.Type, m.Position, last)
			case m.Data.OrderNo != orderNo || m.Type != EventOrder && m.Type != "order."+m.Data.Status:
				t.Fatalf("seed %d: got %+v", seed, m)
			}
			if last == 0 {
				go tell()
			}
			last, types = m.Position, append(types, m.Type)
		}
		if d.cuts > 5 {
			t.Errorf("seed %d: %d of 10 cuts did not come", seed, d.cuts)
		}
		if last != steps+2 {
			t.Errorf("seed %d: the stream ended at %d of %d: %v", seed, last, steps+2, types)
		}
		server.Close()
	}
}

func TestAStreamGoesOnWhereAProgramLeftOff(t *testing.T) {
	d := newLogDesk(0)
	for i := range 10 {
		d.tell("step-" + strconv.Itoa(i))
	}
	server := httptest.NewServer(d)
	defer server.Close()
	c := newClient(t, server.URL, quick())
	var got []int64
	for m, err := range c.StreamUser(within(t), "u", StreamOptions{After: 7}) {
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, m.Position); m.Position == 10 {
			break
		}
	}
	if want := []int64{8, 9, 10}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// A stream from now on that is cut before anything happened knows where it stood: what happens until it is back is not lost.
func TestAStreamThatIsCutBeforeItsFirstMessageMissesNothing(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", "text/event-stream")
		if len(asked) == 1 {
			_, _ = io.WriteString(w, "retry: 1000\n\nid: 41\n\nevent: half\nid: 42\n")
			return
		}
		_, _ = io.WriteString(w, "event: order.paid\nid: 42\ndata: {\"specversion\":\"1.0\",\"type\":\"order.paid\"}\n\n")
	}))
	defer server.Close()
	c := newClient(t, server.URL, quick())
	for m, err := range c.StreamEvents(within(t), []string{"order.paid"}, StreamOptions{}) {
		if err != nil || m.Position != 42 || m.Data.Type != "order.paid" {
			t.Errorf("got %+v and %v, want the event at 42", m, err)
		}
		break
	}
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"", "41"}; !slices.Equal(asked, want) {
		t.Errorf("came with Last-Event-ID %q, want %q", asked, want)
	}
}

// flow answers with a stream of texts, then ends it.
func flow(texts ...string) func(*http.Request) (*http.Response, error) {
	return answered(200, strings.Join(texts, ""), "Content-Type", "text/event-stream; charset=utf-8")
}

func TestAStreamThatCannotGetBetterEndsWithItsReason(t *testing.T) {
	long := "event: a\nid: 1\ndata: " + strings.Repeat("x", lineBytesMax+1)
	for what, c := range map[string]struct {
		answer func(*http.Request) (*http.Response, error)
		says   string
	}{
		"no such order": {refused(404, api.CodeNotFound), "not_found"},
		"no right":      {refused(403, api.CodeForbidden), "forbidden"},
		"ahead":         {refused(422, api.CodeInvalidRequest), "invalid_request"},
		"our mistake":   {refused(500, api.CodeInternal), "internal"},
		"a page":        {answered(200, "<html>"), ErrForeign.Error()},
		"no position":   {flow("event: order\ndata: {}\n\n"), "no position"},
		"no number":     {flow("event: order\nid: -1\ndata: {}\n\n"), "no position"},
		"no type":       {flow("id: 1\ndata: {}\n\n"), "no type"},
		"no JSON":       {flow("event: order\nid: 1\ndata: {\n\n"), "not what it should be"},
		"too long":      {flow(long), errLine.Error()},
		"no text":       {flow("data: \xff\n\n"), errText.Error()},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{answers: []func(*http.Request) (*http.Response, error){c.answer}}
			var errs []error
			for _, err := range w.client(t, Options{}).StreamOrder(t.Context(), orderNo, StreamOptions{}) {
				errs = append(errs, err)
			}
			if len(errs) != 1 || errs[0] == nil || !strings.Contains(errs[0].Error(), c.says) || len(w.sent) != 1 {
				t.Errorf("%s: got %v after %d attempts, want it at once, saying %q", what, errs, len(w.sent), c.says)
			}
			if r := w.sent[0]; r.Header.Get("Accept") != "text/event-stream" || r.Header.Get("Authorization") != "Bearer a-key" {
				t.Errorf("%s: asked with %v", what, r.Header)
			}
		})
	}
}

func TestADeskThatStaysAwayIsGivenUpInTheEnd(t *testing.T) {
	for _, answer := range []func(*http.Request) (*http.Response, error){neverSent, refused(503, api.CodeUnavailable, "Retry-After", "2"), flow()} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{answers: []func(*http.Request) (*http.Response, error){answer}}
			begun := time.Now()
			err := drain(w.client(t, Options{}).StreamUser(t.Context(), "u", StreamOptions{}))
			if took := time.Since(begun); err == nil || len(w.sent) != streamFailuresMax+1 || took < time.Minute || took > 5*time.Minute {
				t.Errorf("got %v after %d attempts and %v", err, len(w.sent), took)
			}
		})
	}
}

// A desk that is stopped ends its connections as cleanly as it ends anything. Money can come late for an order that is over, so
// that only the desk's own word is the end of the stream.
func TestAStreamOfAnOrderThatIsOverGoesOnUntilTheDeskSaysThatNothingFollows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		expired := `{"status":"expired"}`
		w := &wire{answers: []func(*http.Request) (*http.Response, error){
			flow("event: order.expired\nid: 5\ndata: " + expired + "\n\n"),
			neverSent,
			flow("event: payment.late\nid: 9\ndata: " + expired + "\n\n"),
			answered(http.StatusNoContent, ""),
		}}
		var types []string
		for m, err := range w.client(t, Options{}).StreamOrder(t.Context(), orderNo, StreamOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			types = append(types, m.Type)
		}
		if want := []string{"order.expired", "payment.late"}; !slices.Equal(types, want) {
			t.Errorf("got %v, want %v", types, want)
		}
		var behind []string
		for _, r := range w.sent {
			behind = append(behind, r.Header.Get("Last-Event-ID"))
		}
		if want := []string{"", "5", "5", "9"}; !slices.Equal(behind, want) {
			t.Errorf("came with Last-Event-ID %q, want %q", behind, want)
		}
	})
}

// A proxy in front may ask for any wait.
func TestAStreamWaitsNoLongerThanACallWould(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []func(*http.Request) (*http.Response, error){
			refused(503, api.CodeUnavailable, "Retry-After", "86400"), answered(http.StatusNoContent, ""),
		}}
		if err := drain(w.client(t, Options{}).StreamUser(t.Context(), "u", StreamOptions{})); err != nil {
			t.Fatal(err)
		}
		if wait := w.at[1].Sub(w.at[0]); wait < retryAfterMax || wait > retryAfterMax+time.Second {
			t.Errorf("came back after %v, want %v", wait, retryAfterMax)
		}
	})
}

// A line that is silent for longer than a desk ever is has been cut without a word.
func TestASilentConnectionIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{}
		silent := func(r *http.Request) (*http.Response, error) {
			resp, err := flow()(r)
			reader, writer := io.Pipe()
			context.AfterFunc(r.Context(), func() { _ = writer.CloseWithError(r.Context().Err()) })
			go func() { _, _ = io.WriteString(writer, "event: order\nid: 5\ndata: {\"status\":\"pending\"}\n\n") }()
			resp.Body = reader
			return resp, err
		}
		w.answers = []func(*http.Request) (*http.Response, error){silent, flow("event: order.cancelled\nid: 6\ndata: {\"status\":\"cancelled\"}\n\n"), answered(http.StatusNoContent, "")}
		var types []string
		for m, err := range w.client(t, Options{}).StreamOrder(t.Context(), orderNo, StreamOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			if types = append(types, m.Type); m.Type == EventOrder {
				time.Sleep(10 * silenceMax) //nolint:forbidigo // the bubble's clock; a reader who takes his time is no silence of the desk's
			}
		}
		if want := []string{EventOrder, "order.cancelled"}; !slices.Equal(types, want) {
			t.Errorf("got %v, want %v", types, want)
		}
		if wait := w.at[1].Sub(w.at[0]); wait < 11*silenceMax || wait > 11*silenceMax+time.Second || w.sent[1].Header.Get("Last-Event-ID") != "5" {
			t.Errorf("came back after %v behind %q, want after %v of silence behind 5", wait, w.sent[1].Header.Get("Last-Event-ID"), silenceMax)
		}
	})
}

func TestAStreamEndsWithItsContextAndWithItsLoop(t *testing.T) {
	d := newLogDesk(0)
	d.tell("pending")
	server := httptest.NewServer(d)
	defer server.Close()
	c := newClient(t, server.URL, quick())
	ctx, cancel := context.WithCancel(within(t))
	defer cancel()
	var errs []error
	for _, err := range c.StreamOrder(ctx, orderNo, StreamOptions{}) {
		errs = append(errs, err)
		cancel()
	}
	if len(errs) != 2 || errs[0] != nil || !errors.Is(errs[1], context.Canceled) {
		t.Errorf("got %v, want the order, then the end of the context", errs)
	}
	stream := c.StreamOrder(within(t), orderNo, StreamOptions{})
	for range 2 { // each loop is a stream of its own
		for m, err := range stream {
			if err != nil || m.Type != EventOrder {
				t.Errorf("got %+v and %v, want the order as it is", m, err)
			}
			break
		}
	}
}

func TestTicketsAreRead(t *testing.T) {
	w := &wire{answers: []func(*http.Request) (*http.Response, error){
		answered(201, `{"ticket":"t","stream":"/v1/events/stream","expires_at":"2026-11-20T10:00:00.000Z"}`),
	}}
	got, err := w.client(t, Options{}).CreateStreamTicket(t.Context(), "/v1/events/stream")
	if err != nil || got.Ticket != "t" || !got.ExpiresAt.Equal(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)) {
		t.Errorf("got %+v and %v", got, err)
	}
	var sent map[string]string
	if err := json.NewDecoder(w.sent[0].Body).Decode(&sent); err != nil || len(sent) != 1 || sent["stream"] != "/v1/events/stream" {
		t.Errorf("sent %v, %v", sent, err)
	}
}
