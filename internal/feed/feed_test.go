package feed_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// book is a log in memory, and the orders that its events are of.
type book struct {
	mu     sync.Mutex // the hub reads beside the test
	events []event.Event
	reads  int
	page   weak.Pointer[event.Event] // what was read last
	broken error
}

func (b *book) Events(_ context.Context, f checkout.EventFilter) ([]event.Event, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reads++
	if b.broken != nil {
		return nil, b.broken
	}
	from := min(f.After, int64(len(b.events)))
	page := slices.Clone(b.events[from:min(from+int64(f.Limit), int64(len(b.events)))])
	if len(page) > 0 {
		b.page = weak.Make(&page[0])
	}
	return page, nil
}

func (b *book) LogEnd(context.Context) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int64(len(b.events)), b.broken
}

func (b *book) Order(_ context.Context, no order.Number) (*order.Order, error) {
	if b.broken != nil {
		return nil, b.broken
	}
	return &order.Order{Number: no, UserID: userOf(no)}, nil
}

const day = 20261120

func numberOf(n int) order.Number { return order.NumberOf(day, int64(n)) }

// userOf: each user has three orders.
func userOf(no order.Number) user.ID { return user.ID(fmt.Sprint("u-", no.Count()/3)) }

// write puts an event of an order into the log; of a product when n is 0.
func (b *book) write(n int, t event.Type) {
	e := event.Event{Type: t, Subject: event.Subject{Kind: event.Product, ID: "sku-1"}, Position: int64(len(b.events) + 1), Data: []byte(`{}`)}
	if n > 0 {
		no := numberOf(n)
		e.Subject = event.Subject{Kind: event.Order, ID: no.String()}
		if t != event.RefundDue { // its data is a refund
			e.Data = fmt.Appendf(nil, `{"lines":[{"user_id":"nobody"}],"user_id":%q}`, userOf(no))
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
}

func newHub(b *book) *feed.Hub { return feed.NewHub(b, b, slog.New(slog.DiscardHandler)) }

func follow(t *testing.T, h *feed.Hub, in feed.Interest) *feed.Stream {
	t.Helper()
	s, err := h.Follow(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func handOut(t *testing.T, h *feed.Hub) {
	t.Helper()
	for {
		more, err := h.RunOnce(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			return
		}
	}
}

func positions(events []*event.Event) (all []int64) {
	for _, e := range events {
		all = append(all, e.Position)
	}
	return all
}

// One event that waits for a slow reader must not hold the hundreds that were read with it.
func TestAnEventThatWaitsKeepsNoneOfItsPage(t *testing.T) {
	b := &book{}
	h := newHub(b)
	s := follow(t, h, feed.Interest{OrderNo: numberOf(7)})
	for n := range 8 {
		b.write(n+1, event.OrderPlaced)
	}
	handOut(t, h)
	runtime.GC()
	if b.page.Value() != nil {
		t.Error("the page is kept by the event that waits")
	}
	if events, err := s.Take(); err != nil || len(events) != 1 {
		t.Errorf("took %d events, %v, want 1", len(events), err)
	}
}

// Streams of every kind, opened and closed at random while the log grows: each hears exactly what it wants of what comes behind
// the position where it began, in order.
func TestEachStreamHearsWhatItWantsFromWhereItBegan(t *testing.T) {
	types := []event.Type{event.OrderPlaced, event.OrderPaid, event.RefundDue, event.OrderCancelled}
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 1))
		b := &book{}
		h := newHub(b)
		type reader struct {
			in    feed.Interest
			s     *feed.Stream
			heard []int64
		}
		var readers []*reader
		for range 300 {
			switch random.IntN(6) {
			case 0:
				in := feed.Interest{}
				switch random.IntN(4) {
				case 0:
					in.OrderNo = numberOf(1 + random.IntN(12))
				case 1:
					in.UserID = user.ID(fmt.Sprint("u-", random.IntN(4)))
				case 2:
					in.Types = types[:1+random.IntN(3)]
				}
				readers = append(readers, &reader{in: in, s: follow(t, h, in)})
			case 1:
				if len(readers) > 0 {
					i := random.IntN(len(readers))
					readers[i].s.Close()
					readers = slices.Delete(readers, i, i+1)
				}
			case 2:
				if _, err := h.RunOnce(t.Context()); err != nil {
					t.Fatal(err)
				}
			case 3:
				b.write(0, event.StockChanged)
			default:
				b.write(1+random.IntN(12), types[random.IntN(len(types))])
			}
			if len(readers) > 0 {
				r := readers[random.IntN(len(readers))]
				events, err := r.s.Take()
				if err != nil {
					t.Fatal(err)
				}
				r.heard = append(r.heard, positions(events)...)
			}
		}
		handOut(t, h)
		for _, r := range readers {
			events, err := r.s.Take()
			if err != nil {
				t.Fatal(err)
			}
			r.heard = append(r.heard, positions(events)...)
			var want []int64
			for _, e := range b.events {
				no, _ := order.ParseNumber(e.Subject.ID)
				if e.Position > r.s.From() && r.in.Wants(e.Type) && (r.in.OrderNo == 0 || r.in.OrderNo == no) &&
					(r.in.UserID == "" || no != 0 && r.in.UserID == userOf(no)) {
					want = append(want, e.Position)
				}
			}
			if !slices.Equal(r.heard, want) {
				t.Fatalf("seed %d, %+v from %d: heard %v, want %v", seed, r.in, r.s.From(), r.heard, want)
			}
		}
	}
}

func TestSlowReaderIsEndedAndNobodyElse(t *testing.T) {
	b := &book{}
	h := newHub(b)
	slow, other := follow(t, h, feed.Interest{}), follow(t, h, feed.Interest{})
	one := follow(t, h, feed.Interest{OrderNo: numberOf(7)})
	heard := 0
	const rush = 10_000
	for i := range rush {
		b.write(1+i%9, event.OrderPaid)
		if i%100 == 99 {
			handOut(t, h)
			events, err := other.Take()
			if err != nil {
				t.Fatal(err)
			}
			heard += len(events)
		}
	}
	if heard != rush {
		t.Errorf("the reader who kept up heard %d of %d", heard, rush)
	}
	if events, err := one.Take(); err != nil || len(events) != rush/9 {
		t.Errorf("the reader of one order heard %d (%v), want %d", len(events), err, rush/9)
	}
	select {
	case <-slow.Ready():
	default:
		t.Error("the slow reader is not told")
	}
	if events, err := slow.Take(); !errors.Is(err, feed.ErrSlow) || len(events) > 0 {
		t.Errorf("the slow reader got %d events and %v, want %v", len(events), err, feed.ErrSlow)
	}
	if got := h.Slow(); got != 1 {
		t.Errorf("%d readers were too slow, want 1", got)
	}
	slow.Close()
}

func TestHubSleepsWhileNobodyListensAndAfterwardsBeginsAtTheEnd(t *testing.T) {
	b := &book{}
	h := newHub(b)
	for range 2000 {
		b.write(1, event.OrderPaid)
	}
	handOut(t, h)
	if b.reads != 0 {
		t.Errorf("the log was read %d times for nobody", b.reads)
	}
	s := follow(t, h, feed.Interest{})
	if s.From() != 2000 {
		t.Errorf("begins at %d, want 2000", s.From())
	}
	s.Close()
	b.write(1, event.OrderPaid)
	if s := follow(t, h, feed.Interest{}); s.From() != 2001 {
		t.Errorf("begins at %d, want 2001", s.From())
	}
}

// A page that could not be told whole is told again, and nothing of it twice.
func TestNothingIsLostWhileTheRecordIsAway(t *testing.T) {
	b := &book{}
	h := newHub(b)
	s := follow(t, h, feed.Interest{UserID: "u-0"})
	all := follow(t, h, feed.Interest{})
	b.write(1, event.OrderPaid)
	b.write(2, event.RefundDue) // whose it is has to be looked up
	b.broken = errors.New("away")
	for range 3 {
		if _, err := h.RunOnce(t.Context()); err == nil {
			t.Fatal("no error")
		}
	}
	b.broken = nil
	handOut(t, h)
	for _, s := range []*feed.Stream{s, all} {
		if events, err := s.Take(); err != nil || len(events) != 2 {
			t.Errorf("heard %v (%v), want both", positions(events), err)
		}
	}
}

func TestHubFindsWhatOthersWroteAndEndsItsStreams(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		h := newHub(b)
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); h.Run(ctx) }()
		s := follow(t, h, feed.Interest{OrderNo: numberOf(1)})
		synctest.Wait()
		b.write(1, event.OrderPaid) // and nobody wakes the hub
		time.Sleep(time.Second)     //nolint:forbidigo // of the bubble's clock
		synctest.Wait()
		select {
		case <-s.Ready():
		default:
			t.Error("not told within a second")
		}
		stop()
		<-done
		if _, err := s.Take(); !errors.Is(err, feed.ErrClosed) {
			t.Errorf("got %v, want %v", err, feed.ErrClosed)
		}
		if _, err := h.Follow(t.Context(), feed.Interest{}); !errors.Is(err, feed.ErrClosed) {
			t.Errorf("got %v, want %v", err, feed.ErrClosed)
		}
	})
}
