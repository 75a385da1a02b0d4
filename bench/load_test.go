package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// testStand is a server of the test's own that a load can be run against.
func testStand(t *testing.T, handler http.Handler) *stand {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	shop, err := newShop(server.URL, "", "")
	if err != nil {
		t.Fatal(err)
	}
	return &stand{shop: shop}
}

func testSale(t *testing.T, handler http.Handler) *sale {
	t.Helper()
	return &sale{stand: testStand(t, handler), products: []string{"sku-1"}}
}

// numbering answers every order with the next number.
func numbering() http.HandlerFunc {
	var n atomic.Int64
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, `{"order_no":"20261120%07d"}`, n.Add(1))
	}
}

func TestClosedLoopCountsEveryAnswerOnce(t *testing.T) {
	sale := testSale(t, numbering())
	l := &load{connections: 8, requests: 500, progress: newProgress(io.Discard)}
	m, err := sale.place(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.count(done); got != 500 {
		t.Errorf("done: got %d, want 500", got)
	}
	slices.Sort(sale.acknowledged)
	if n := len(slices.Compact(sale.acknowledged)); n != 500 {
		t.Errorf("acknowledged: got %d different numbers, want 500", n)
	}
}

func TestClosedLoopLeavesTheWarmUpOut(t *testing.T) {
	var answered atomic.Int64
	orders := numbering()
	sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answered.Add(1)
		orders(w, r)
	}))
	begun, ended := int64(0), int64(0)
	l := &load{
		connections: 4, warmUp: 100 * time.Millisecond, duration: 200 * time.Millisecond, progress: newProgress(io.Discard),
		begin: func() { begun = answered.Load() }, end: func() { ended = answered.Load() },
	}
	m, err := sale.place(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.count(done); begun == 0 || got > ended-begun+4 || got < ended-begun-8 {
		t.Errorf("done: got %d, want what was answered between %d and %d", got, begun, ended)
	}
	if got := int64(len(sale.acknowledged)); got != answered.Load() {
		t.Errorf("acknowledged: got %d, want all %d, those of the warm-up too", got, answered.Load())
	}
}

func TestEveryOrderHasAKeyAndAnIntactBody(t *testing.T) {
	var keys sync.Map
	orders := numbering()
	sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !strings.Contains(string(body), `"lines":[{"product_id":"sku-`) {
			t.Errorf("body: got %q, %v", body, err)
		}
		if _, twice := keys.LoadOrStore(r.Header.Get("Idempotency-Key"), true); twice {
			t.Errorf("key %q came twice", r.Header.Get("Idempotency-Key"))
		}
		orders(w, r)
	}))
	sale.products = []string{"sku-1", "sku-2", "sku-3"}
	if _, err := sale.place(t.Context(), &load{connections: 4, requests: 300, progress: newProgress(io.Discard)}, nil); err != nil {
		t.Fatal(err)
	}
}

func TestOpenLoopKeepsItsRate(t *testing.T) {
	sale := testSale(t, numbering())
	l := &load{
		connections: 16, warmUp: 100 * time.Millisecond, duration: 500 * time.Millisecond, rate: 400, patience: time.Minute,
		progress: newProgress(io.Discard),
	}
	m, err := sale.place(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.count(done); got < 150 || got > 201 {
		t.Errorf("done in 500 ms at 400/s: got %d, want about 200", got)
	}
	if m.offered < 190 || m.offered > 201 {
		t.Errorf("offered in 500 ms at 400/s: got %d, want about 200", m.offered)
	}
}

// One request that takes long must not hide behind itself: those that had to wait for it are as late as they are.
func TestOpenLoopChargesAStallToAllWhoWaited(t *testing.T) {
	const stall = 300 * time.Millisecond
	var n atomic.Int64
	orders := numbering()
	sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1) == 20 {
			select {
			case <-time.After(stall):
			case <-r.Context().Done():
			}
		}
		orders(w, r)
	}))
	l := &load{connections: 1, duration: 600 * time.Millisecond, rate: 200, patience: time.Minute, progress: newProgress(io.Discard)}
	m, err := sale.place(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	// 60 of the 120 requests were due during the stall; the one in the middle waited for half of it.
	if got := m.latency[done].Quantile(0.75); got < stall/4 {
		t.Errorf("p75 from the intended start: got %v, want at least %v", got, stall/4)
	}
	if got := m.service[done].Quantile(0.5); got > stall/4 {
		t.Errorf("median from the sending: got %v, want little", got)
	}
}

func TestWhatCannotBeSentInTimeIsCounted(t *testing.T) {
	release := make(chan struct{})
	orders := numbering()
	sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-release:
		case <-time.After(20 * time.Millisecond):
		}
		orders(w, r)
	}))
	l := &load{
		connections: 2, duration: 400 * time.Millisecond, rate: 1000, patience: 5 * time.Millisecond, progress: newProgress(io.Discard),
		end: func() { close(release) },
	}
	m, err := sale.place(t.Context(), l, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.offered < 390 || m.offered > 401 || m.count(done)+m.unsent.Load() != m.offered || m.unsent.Load() < 300 {
		t.Errorf("got %d offered, %d done, %d unsent; want about 400 that are done or unsent, most of them unsent",
			m.offered, m.count(done), m.unsent.Load())
	}
}

func TestAnswersAreJudged(t *testing.T) {
	for _, c := range []struct {
		status int
		body   string
		want   outcome
	}{
		{201, `{"order_no":"202611200000042"}`, done},
		{201, `{"order_no": "202611200000042"}`, done},
		{201, `{"order_no":"42"}`, unexpected},
		{201, `{}`, unexpected},
		{409, `{"code":"out_of_stock"}`, outOfStock},
		{409, `{"code":"purchase_limit"}`, unexpected},
		{503, `{"code":"overloaded"}`, overloaded},
		{429, `{"code":"rate_limited"}`, overloaded},
		{500, `{}`, unexpected},
	} {
		if got := new(buyer).judge(c.status, []byte(c.body)); got != c.want {
			t.Errorf("%d %s: got %s, want %s", c.status, c.body, outcomeNames[got], outcomeNames[c.want])
		}
	}
}

func TestBrokenConnectionsAreCountedAndMadeAgain(t *testing.T) {
	var n atomic.Int64
	orders := numbering()
	sale := testSale(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n.Add(1)%10 == 0 {
			panic(http.ErrAbortHandler)
		}
		orders(w, r)
	}))
	m, err := sale.place(t.Context(), &load{connections: 2, requests: 100, progress: newProgress(io.Discard)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.count(done) != 90 || m.unanswered != 10 {
		t.Errorf("got %d done and %d unanswered, want 90 and 10", m.count(done), m.unanswered)
	}
}

func TestARunEndsWithItsContext(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	sale := testSale(t, numbering())
	l := &load{connections: 2, duration: time.Minute, progress: newProgress(io.Discard), begin: func() { cancel(reason) }}
	if _, err := sale.place(ctx, l, nil); !errors.Is(err, reason) {
		t.Errorf("got %v, want %v", err, reason)
	}
}
