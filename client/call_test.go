package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/api"
)

// wire stands for the network and the desk behind it: each attempt gets the next answer, the last one again and again. It keeps
// what was sent.
type wire struct {
	answers []func(*http.Request) (*http.Response, error)
	sent    []*http.Request
	at      []time.Time
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	answer := w.answers[min(len(w.sent), len(w.answers)-1)]
	w.sent, w.at = append(w.sent, r), append(w.at, time.Now())
	return answer(r)
}

func (w *wire) client(t *testing.T, opt Options) *Client {
	t.Helper()
	opt.HTTPClient = &http.Client{Transport: w}
	return newClient(t, "http://desk", opt)
}

// answered is a whole answer. Headers are names and values in turn.
func answered(status int, body string, header ...string) func(*http.Request) (*http.Response, error) {
	return func(r *http.Request) (*http.Response, error) {
		h := http.Header{"Content-Type": {"application/json"}}
		for pair := range slices.Chunk(header, 2) {
			h.Set(pair[0], pair[1])
		}
		return &http.Response{StatusCode: status, Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	}
}

func refused(status int, code string, header ...string) func(*http.Request) (*http.Response, error) {
	return answered(status, fmt.Sprintf(`{"type":"about:blank","title":"t","status":%d,"code":%q,"detail":"d","request_id":"r"}`, status, code), header...)
}

var errNetwork = errors.New("the network is out of order")

// neverSent fails before there is a connection, lost after there was one, and of unseen one cannot tell.
func neverSent(r *http.Request) (*http.Response, error) {
	if hooks := httptrace.ContextClientTrace(r.Context()); hooks != nil && hooks.GetConn != nil {
		hooks.GetConn("desk:80")
	}
	return nil, errNetwork
}

func unseen(*http.Request) (*http.Response, error) { return nil, errNetwork }

func lost(r *http.Request) (*http.Response, error) {
	_, err := neverSent(r)
	httptrace.ContextClientTrace(r.Context()).GotConn(httptrace.GotConnInfo{})
	return nil, err
}

// cut breaks off in the middle of the answer.
func cut(r *http.Request) (*http.Response, error) {
	_, _ = lost(r)
	resp, err := answered(200, "")(r)
	resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"or`), failingReader{}))
	return resp, err
}

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errNetwork }

// twice are the calls that may be made twice; no others are, unless they were not made at all.
var twice = []string{
	"PutProduct", "GetProduct", "ListProducts", "AdjustStock with a ref", "GetStock", "PutUser", "GetUser", "PlaceOrder", "GetOrder", "GetOrderWithUser",
	"ListOrders", "ListPayments", "GetPayment", "ListEvents", "ReadEvents", "RunAudit", "ListNumbers", "FillNumbers", "PurgeNumbers", "WarmCache", "ListKeys", "RevokeKey",
	"GetSession", "EndSessionsOf", "GetHealth",
}

func TestCallsAreRepeatedOnlyWhereThatIsSafe(t *testing.T) {
	for name, call := range calls {
		if strings.HasPrefix(name, "Stream") {
			continue // they go on by their own rules
		}
		safe := slices.Contains(twice, name)
		for _, c := range []struct {
			what  string
			first func(*http.Request) (*http.Response, error)
			again bool
		}{
			{"overloaded", refused(503, api.CodeOverloaded), safe},
			{"unavailable", refused(503, api.CodeUnavailable), safe},
			{"too many", refused(429, api.CodeRateLimited, "Retry-After", "1"), safe},
			{"a proxy without a desk", answered(502, "<html>"), safe},
			{"the answer is lost", lost, safe},
			{"the answer is cut", cut, safe},
			{"the request was not sent", neverSent, true},
			{"a transport that does not show whether it was sent", unseen, safe},
			{"a mistake of ours", refused(500, api.CodeInternal), false},
			{"a refusal", refused(409, api.CodeOutOfStock), false},
			{"a longer wait than anybody has time for", refused(503, api.CodeOverloaded, "Retry-After", "31"), false},
		} {
			synctest.Test(t, func(t *testing.T) {
				w := &wire{answers: []func(*http.Request) (*http.Response, error){c.first, c.first, answered(200, `{}`)}}
				err := call(t.Context(), w.client(t, Options{}))
				if c.again && (err != nil || len(w.sent) != 3) {
					t.Errorf("%s, %s: got %v after %d attempts, want it made again until it is answered", name, c.what, err, len(w.sent))
				}
				if !c.again && (err == nil || len(w.sent) != 1) {
					t.Errorf("%s, %s: got %v after %d attempts, want the error of the one attempt", name, c.what, err, len(w.sent))
				}
			})
		}
	}
}

func TestAnOrderKeepsItsKeyThroughAllAttemptsAndTellsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []func(*http.Request) (*http.Response, error){
			neverSent, lost, cut, refused(409, api.CodeIdempotencyProgress), answered(201, `{"order_no":"202611200000042"}`, "Idempotency-Replayed", "true"),
		}}
		c := w.client(t, Options{})
		p, err := c.PlaceOrder(t.Context(), "", api.PlaceOrder{UserID: "u"})
		if err != nil || p.OrderNo != orderNo || !p.Replayed || len(p.IdempotencyKey) < 20 {
			t.Errorf("got %+v and %v, want the order, replayed, and its key", p, err)
		}
		for _, r := range w.sent {
			if got := r.Header.Get("Idempotency-Key"); got != p.IdempotencyKey {
				t.Errorf("an attempt had the key %q, want %q", got, p.IdempotencyKey)
			}
			if body, _ := io.ReadAll(r.Body); string(body) != `{"user_id":"u","lines":null}` {
				t.Errorf("an attempt sent %q", body)
			}
		}

		w.answers, w.sent = []func(*http.Request) (*http.Response, error){refused(409, api.CodeOutOfStock)}, nil
		p, err = c.PlaceOrder(t.Context(), "mine", api.PlaceOrder{})
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.IdempotencyKey != "mine" || p.IdempotencyKey != "mine" || w.sent[0].Header.Get("Idempotency-Key") != "mine" {
			t.Errorf("refused: got %+v and %v, want both with the key", p, err)
		}
		w.answers, w.sent = []func(*http.Request) (*http.Response, error){lost}, nil
		p, err = c.PlaceOrder(t.Context(), "", api.PlaceOrder{})
		var none *NoAnswer
		if !errors.As(err, &none) || !none.Sent || none.IdempotencyKey != p.IdempotencyKey || p.IdempotencyKey == "" || len(w.sent) != 1+defaultRetries {
			t.Errorf("lost: got %+v and %v after %d attempts, want both with the key", p, err, len(w.sent))
		}
		if !errors.Is(err, errNetwork) {
			t.Errorf("lost: got %v, want the reason in it", err)
		}
	})
}

func TestWaitsGrowVaryAndRespectTheDesk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []func(*http.Request) (*http.Response, error){refused(503, api.CodeOverloaded)}}
		c := w.client(t, Options{Retries: 8, Wait: 100 * time.Millisecond, WaitMax: time.Second})
		_, err := c.GetStock(t.Context(), "a")
		if !HasCode(err, api.CodeOverloaded) || len(w.sent) != 9 {
			t.Fatalf("got %v after %d attempts, want overloaded after 9", err, len(w.sent))
		}
		waits := map[time.Duration]bool{}
		for i := range len(w.at) - 1 {
			wait, longest := w.at[i+1].Sub(w.at[i]), min(100*time.Millisecond<<i, time.Second)
			if wait < longest/2 || wait > longest {
				t.Errorf("wait %d: got %v, want %v to %v", i, wait, longest/2, longest)
			}
			waits[wait] = true
		}
		if len(waits) < 3 {
			t.Errorf("the waits are the same: %v", slices.Collect(maps.Keys(waits)))
		}

		w.answers, w.sent, w.at = []func(*http.Request) (*http.Response, error){
			refused(429, api.CodeRateLimited, "Retry-After", "7"), answered(200, `{}`),
		}, nil, nil
		if _, err := c.GetStock(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if wait := w.at[1].Sub(w.at[0]); wait < 7*time.Second || wait > 8*time.Second {
			t.Errorf("asked to wait 7 s, and waited %v", wait)
		}
	})
}

func TestNobodyWaitsBeyondHisContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []func(*http.Request) (*http.Response, error){refused(503, api.CodeUnavailable, "Retry-After", "5")}}
		c := w.client(t, Options{})
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		if _, err := c.GetStock(ctx, "a"); !HasCode(err, api.CodeUnavailable) || time.Since(begun) != 0 {
			t.Errorf("got %v after %v, want the refusal at once: there is no time for another attempt", err, time.Since(begun))
		}
		ctx, cancel = context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		if _, err := c.GetStock(ctx, "a"); !errors.Is(err, context.Canceled) || !HasCode(err, api.CodeUnavailable) || time.Since(begun) != time.Second {
			t.Errorf("got %v after %v, want to be let go, with what was the matter", err, time.Since(begun))
		}
	})
}

func TestAnAttemptEndsInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &wire{answers: []func(*http.Request) (*http.Response, error){func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}}}
		c := w.client(t, Options{Retries: -1, Timeout: 3 * time.Second})
		begun := time.Now()
		_, err := c.GetStock(t.Context(), "a")
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "after 3s") || time.Since(begun) != 3*time.Second || len(w.sent) != 1 {
			t.Errorf("got %v after %v, want no answer after 3s", err, time.Since(begun))
		}
		begun = time.Now()
		if _, err := c.RunAudit(t.Context()); err == nil || time.Since(begun) != auditTimeout {
			t.Errorf("an audit: got %v after %v, want %v for it", err, time.Since(begun), auditTimeout)
		}
	})
}

// The desk's own refusals, as its golden files have them, become typed errors.
func TestRefusalsAreTyped(t *testing.T) {
	for name, want := range map[string]Error{
		"out_of_stock":       {Status: 409, Code: api.CodeOutOfStock, ProductID: "sku-2"},
		"insufficient_stock": {Status: 409, Code: api.CodeInsufficientStock, ProductID: "sku-1", Available: 8},
		"purchase_limit":     {Status: 409, Code: api.CodePurchaseLimit, ProductID: "sku-1", MaxPerUser: 4},
		"order_not_payable":  {Status: 409, Code: api.CodeOrderNotPayable, OrderStatus: api.OrderFulfilled},
		"unauthenticated":    {Status: 401, Code: api.CodeUnauthenticated},
		"forbidden":          {Status: 403, Code: api.CodeForbidden},
		"not_found":          {Status: 404, Code: api.CodeNotFound},
		"key_reused":         {Status: 422, Code: api.CodeIdempotencyKeyReused},
		"invalid":            {Status: 422, Code: api.CodeInvalidRequest},
	} {
		text, err := os.ReadFile(filepath.Join("..", "internal", "httpapi", "testdata", "problem_"+name+".http"))
		if err != nil {
			t.Fatal(err)
		}
		head, body, _ := strings.Cut(string(text), "\n\n")
		status, _, _ := strings.Cut(head, "\n")
		number, err := strconv.Atoi(status)
		if err != nil {
			t.Fatal(err)
		}
		var p api.Problem
		if err := json.Unmarshal([]byte(body), &p); err != nil {
			t.Fatal(err)
		}
		w := &wire{answers: []func(*http.Request) (*http.Response, error){answered(number, body, "X-Request-Id", "r-1", "Retry-After", "3")}}
		_, err = w.client(t, Options{Retries: -1}).GetOrder(t.Context(), orderNo)
		var got *Error
		if !errors.As(err, &got) {
			t.Fatalf("%s: got %v, want an Error", name, err)
		}
		want.Operation, want.Detail, want.RequestID, want.Fields, want.RetryAfter = "getOrder", p.Detail, "r-1", p.Errors, 3*time.Second
		if name == "out_of_stock" {
			want.Available = got.Available // 0 or more: the story of the golden files decides
			if _, there := p.Members["available"]; !there {
				t.Errorf("%s does not tell what is left", name)
			}
		}
		if diff := cmp.Diff(want, *got); diff != "" {
			t.Errorf("%s, wanted - and got +:\n%s", name, diff)
		}
		if !HasCode(err, "other", want.Code) || HasCode(err, "other") || HasCode(nil, want.Code) {
			t.Errorf("%s: HasCode does not find its code, or finds another", name)
		}
		if !strings.HasPrefix(err.Error(), "getOrder: "+want.Code+": "+p.Detail) {
			t.Errorf("%s: it says %q", name, err)
		}
	}
}

func TestAnswersThatNoDeskGivesAreNotTaken(t *testing.T) {
	var keys []string
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { keys = append(keys, r.Header.Get("Authorization")) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/payments/html":
			_, _ = io.WriteString(w, "<html>")
		case "/v1/payments/moved":
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		default:
			piece := make([]byte, 1<<20)
			for range answerBytesMax/len(piece) + 2 {
				if _, err := w.Write(piece); err != nil {
					return
				}
			}
		}
	}))
	defer server.Close()
	c := newClient(t, server.URL+"/", Options{})
	if _, err := c.GetPayment(t.Context(), "html"); !errors.Is(err, ErrForeign) {
		t.Errorf("a page: got %v, want %v", err, ErrForeign)
	}
	if _, err := c.GetPayment(t.Context(), "endless"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an endless answer: got %v, want %v", err, ErrTooLarge)
	}
	var e *Error
	if _, err := c.GetPayment(t.Context(), "moved"); !errors.As(err, &e) || e.Status != 307 || e.Code != "" || len(keys) > 0 {
		t.Errorf("a redirect: got %v, and the keys %q went elsewhere", err, keys)
	}
}

func TestErrorsDoNotNameTheAddress(t *testing.T) {
	c := newClient(t, "http://127.0.0.1:1", Options{Retries: -1})
	_, err := c.GetUser(t.Context(), "canary")
	var none *NoAnswer
	if !errors.As(err, &none) || none.Sent || strings.Contains(err.Error(), "canary") || !strings.HasPrefix(err.Error(), "getUser: no answer: dial") {
		t.Errorf("got %v, want no answer, not sent, without the path", err)
	}
}

func TestListsGoOnToTheirEnd(t *testing.T) {
	var asked []url.Values
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		query := r.URL.Query()
		asked = append(asked, query)
		at, _ := strconv.Atoi(query.Get("cursor"))
		switch {
		case query.Get("user_id") == "stuck":
			_, _ = io.WriteString(w, `{"data":[{"order_no":"1"}],"next_cursor":"same"}`)
		case at == 2:
			_, _ = io.WriteString(w, `{"data":[{"order_no":"5"}],"next_cursor":null}`)
		default:
			_, _ = fmt.Fprintf(w, `{"data":[{"order_no":"%d"},{"order_no":"%d"}],"next_cursor":"%d"}`, 2*at+1, 2*at+2, at+1)
		}
	}))
	defer server.Close()
	c := newClient(t, server.URL, Options{})
	after := time.Date(2026, 11, 20, 10, 0, 0, 5e6, time.FixedZone("east", 8*3600))
	var got []string
	for o, err := range c.ListOrders(t.Context(), OrderFilter{Status: api.OrderPaid, CreatedAfter: after}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.OrderNo)
	}
	if want := []string{"1", "2", "3", "4", "5"}; !slices.Equal(got, want) || len(asked) != 3 {
		t.Errorf("got %v in %d pages, want %v in 3", got, len(asked), want)
	}
	want := url.Values{"limit": {"200"}, "status": {"paid"}, "created_after": {"2026-11-20T02:00:00.005Z"}, "cursor": {"2"}}
	if diff := cmp.Diff(want, asked[2]); diff != "" {
		t.Errorf("the last page was asked for with, wanted - and got +:\n%s", diff)
	}
	asked = nil
	for _, err := range c.ListOrders(t.Context(), OrderFilter{}) {
		if err != nil {
			t.Error(err)
		}
		break
	}
	if len(asked) != 1 {
		t.Errorf("a loop that was left asked for %d pages, want 1", len(asked))
	}
	if err := drain(c.ListOrders(t.Context(), OrderFilter{UserID: "stuck"})); !errors.Is(err, ErrStuck) {
		t.Errorf("got %v, want %v", err, ErrStuck)
	}
}

// A page of the log may have nothing of the types that are wanted; the end is an empty page that leaves the cursor where it is.
func TestEmptyPagesBeforeTheEndOfTheLogAreGoneThrough(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		at, _ := strconv.Atoi(r.URL.Query().Get("cursor"))
		data := ""
		if at == 2 {
			data = `{"id":"order:1:1"}`
		}
		_, _ = fmt.Fprintf(w, `{"data":[%s],"next_cursor":"%d"}`, data, min(at+1, 4))
	}))
	defer server.Close()
	var got []string
	for e, err := range newClient(t, server.URL, Options{}).ListEvents(t.Context(), EventFilter{Types: []string{"order.paid"}}) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e.ID)
	}
	if want := []string{"order:1:1"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestTheDesksClockIsFoundByItsAnswers(t *testing.T) {
	for _, ahead := range []time.Duration{0, -300 * time.Millisecond, 90*time.Second + 400*time.Millisecond, -time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			w := &wire{answers: []func(*http.Request) (*http.Response, error){func(r *http.Request) (*http.Response, error) {
				return answered(200, `{}`, "Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))(r)
			}}}
			c := w.client(t, Options{})
			if c.ClockOffset() != 0 {
				t.Errorf("before any answer: got %v, want 0", c.ClockOffset())
			}
			for range 20 {
				if _, err := c.GetHealth(t.Context()); err != nil {
					t.Fatal(err)
				}
				time.Sleep(370 * time.Millisecond) //nolint:forbidigo // the bubble's clock, not a real one
			}
			got := c.ClockOffset()
			if off := got - ahead; off.Abs() > 100*time.Millisecond && !(ahead.Abs() < time.Second && off.Abs() < time.Second) {
				t.Errorf("a desk that is %v ahead: got %v", ahead, got)
			}
			ahead += 10 * time.Minute // somebody sets it
			if _, err := c.GetHealth(t.Context()); err != nil {
				t.Fatal(err)
			}
			if off := c.ClockOffset() - ahead; off.Abs() > time.Second {
				t.Errorf("set to %v ahead: got %v", ahead, c.ClockOffset())
			}
		})
	}
}
