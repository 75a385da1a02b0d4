package redisfront_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// orderBook is the record of one order, which several processes change and read.
type orderBook struct {
	turn  sync.Mutex // the lock of the row
	mu    sync.Mutex
	kept  order.Order
	reads atomic.Int64
	slow  func() // after the row was read
}

func newOrderBook() *orderBook {
	return &orderBook{kept: order.Order{
		Number: order.NumberOf(20261120, 42), UserID: "u-1", Status: order.Pending, PayBy: time.Now().Add(30 * time.Minute),
		CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Lines: []order.Line{{ProductID: "sku-1", Title: "Ticket", Quantity: 2, UnitPrice: 9900}},
		Version: 1, Events: 1, Metadata: []byte(`{"seat":"4"}`),
	}}
}

func (b *orderBook) load() (*order.Order, error) {
	b.reads.Add(1)
	b.mu.Lock()
	o := b.kept
	b.mu.Unlock()
	if b.slow != nil {
		b.slow()
	}
	return &o, nil
}

// change commits a change of the order by a process, in the ledger's order; told: the process lives to tell of it.
func (b *orderBook) change(c *redisfront.Cache, told bool, how func(*order.Order)) {
	b.turn.Lock()
	defer b.turn.Unlock()
	b.mu.Lock()
	o := b.kept
	b.mu.Unlock()
	o.Events++
	o.Version++
	how(&o)
	c.Changing(&ledger.Changes{Orders: []ledger.OrderChange{{Order: &o, Had: o.Events - 1}}})
	b.mu.Lock()
	b.kept = o
	b.mu.Unlock()
	if told {
		c.Applied(&ledger.Applied{Orders: []*order.Order{&o}})
	}
}

func nothing(*order.Order) {}

// cachedBy gives the cache of a process, at work.
func cachedBy(t *testing.T, p *process) *redisfront.Cache {
	t.Helper()
	c := redisfront.NewCache(p.front)
	ctx, stop := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		stop()
		loop.Wait()
	})
	return c
}

func twoCaches(t *testing.T) (s *testenv.Server, a, b *redisfront.Cache) {
	t.Helper()
	s = testenv.StartRedis(t, testenv.Options{})
	r := newRecord()
	return s, cachedBy(t, working(t, r, quick(s.URL()))), cachedBy(t, working(t, r, quick(s.URL())))
}

func read(t *testing.T, c *redisfront.Cache, b *orderBook) *order.Order {
	t.Helper()
	o, err := c.Orders.Read(b.kept.Number.String(), b.load)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestAStampedeOnAColdOrderCostsOneQuery(t *testing.T) {
	_, a, b := twoCaches(t)
	book := newOrderBook()
	book.slow = func() { time.Sleep(20 * time.Millisecond) } //nolint:forbidigo // as long as a slow query takes
	no := book.kept.Number.String()
	var all sync.WaitGroup
	for i := range 1000 {
		all.Go(func() {
			c := a
			if i%2 == 1 {
				c = b
			}
			if o, err := c.Orders.Read(no, book.load); err != nil || o.UserID != "u-1" {
				t.Errorf("reader %d: got %+v, %v", i, o, err)
			}
		})
	}
	all.Wait()
	if got := book.reads.Load(); got != 1 {
		t.Errorf("the record was asked %d times, want once", got)
	}
}

func TestAnOrderComesBackFromRedisAsItIs(t *testing.T) {
	s, a, b := twoCaches(t)
	book := newOrderBook()
	want := string(read(t, a, book).AppendJSON(nil, time.Unix(0, 0)))
	if got := string(read(t, b, book).AppendJSON(nil, time.Unix(0, 0))); got != want {
		t.Errorf("another process reads\n%s, want\n%s", got, want)
	}
	read(t, b, book)
	if got := b.Orders.Counts(); got != (redisfront.ReadCounts{Near: 1, Far: 1}) || book.reads.Load() != 1 {
		t.Errorf("the other process has read %+v and the record was asked %d times; want once from each of Redis and itself, once", got, book.reads.Load())
	}
	keys, err := do(t, direct(t, s.URL()), "KEYS", "order:{202611200000042}:*").AsStrSlice()
	if err != nil || len(keys) != 1 {
		t.Fatalf("got keys %q (%v), want one", keys, err)
	}
	ttl, err := do(t, direct(t, s.URL()), "PTTL", keys[0]).AsInt64()
	if err != nil || ttl < (29*time.Minute).Milliseconds() || ttl > (33*time.Minute).Milliseconds() {
		t.Errorf("it is kept for %d ms (%v), want as long as it can be paid, and a little", ttl, err)
	}
	book.change(a, true, func(o *order.Order) { o.Status = order.Paid })
	if o := read(t, b, book); o.Status != order.Paid {
		t.Errorf("after the payment another process reads %s", o.Status)
	}
	until(t, "the paid order is in Redis", func() bool {
		before := book.reads.Load()
		read(t, b, book)
		return book.reads.Load() == before
	})
	if got := read(t, a, book).Status; got != order.Paid {
		t.Errorf("got %s from Redis, want paid", got)
	}
}

// Readers go to any of two processes while both change the order: what was seen anywhere is never unseen.
func TestNoReaderGoesBackInTime(t *testing.T) {
	_, a, b := twoCaches(t)
	book := newOrderBook()
	no := book.kept.Number.String()
	caches := []*redisfront.Cache{a, b}
	var seen atomic.Int64 // the latest that anybody was shown
	see := func(events int64) {
		for was := seen.Load(); was < events && !seen.CompareAndSwap(was, events); was = seen.Load() {
		}
	}
	var writers, readers sync.WaitGroup
	var over atomic.Bool
	for i, c := range caches {
		writers.Go(func() {
			for n := range 150 {
				var made int64
				book.change(c, (n+i)%7 != 0, func(o *order.Order) { made = o.Events })
				see(made)                        // it was answered
				time.Sleep(2 * time.Millisecond) //nolint:forbidigo // readers are to meet it at rest, too
			}
		})
	}
	for r := range 16 {
		readers.Go(func() {
			for n := r; !over.Load(); n++ {
				before := seen.Load()
				o, err := caches[n%2].Orders.Read(no, book.load)
				if err != nil || o.Events < before {
					t.Errorf("read %v (%v), after somebody has read event %d", o, err, before)
					return
				}
				see(o.Events)
			}
		})
	}
	writers.Wait()
	over.Store(true)
	readers.Wait()
	if near := a.Orders.Counts().Near + b.Orders.Counts().Near; near == 0 {
		t.Error("nobody has read anything from the cache: this has shown nothing")
	}
}

func TestALateFillerLeavesNothing(t *testing.T) {
	_, a, b := twoCaches(t)
	book := newOrderBook()
	loaded, goOn := make(chan struct{}), make(chan struct{})
	var late sync.WaitGroup
	late.Go(func() {
		o, err := a.Orders.Read(book.kept.Number.String(), func() (*order.Order, error) {
			o, err := book.load()
			close(loaded)
			<-goOn
			return o, err
		})
		if err != nil || o.Events != 1 {
			t.Errorf("the filler: got %v, %v", o, err)
		}
	})
	<-loaded
	book.change(b, false, nothing)
	close(goOn)
	late.Wait()
	for _, c := range []*redisfront.Cache{a, b} {
		if o := read(t, c, book); o.Events != 2 {
			t.Errorf("got event %d, want 2", o.Events)
		}
	}
}

// A commit that Redis cannot be told of is not made while anybody believes what Redis has.
func TestNobodyReadsAnOldOrderWhenRedisIsLost(t *testing.T) {
	server := testenv.StartRedis(t, testenv.Options{})
	proxy := testenv.NewProxy(t, server.Addr())
	r := newRecord()
	a := working(t, r, quick(strings.Replace(server.URL(), server.Addr(), proxy.Addr(), 1)))
	b := working(t, r, quick(server.URL()))
	ca, cb := cachedBy(t, a), cachedBy(t, b)
	book := newOrderBook()
	read(t, cb, book)
	read(t, cb, book)
	if cb.Orders.Counts().Near != 1 {
		t.Fatalf("got %+v, want a read from the cache", cb.Orders.Counts())
	}
	proxy.Blackhole(true)
	book.change(ca, true, nothing)
	if o := read(t, cb, book); o.Events != 2 {
		t.Errorf("got event %d after the commit of 2", o.Events)
	}
}

func TestAUserIsReadOnceAndReadAnewWhenHeChanges(t *testing.T) {
	_, a, b := twoCaches(t)
	kept := user.User{ID: "u}{1", Name: "Ada", Version: 1}
	loads := 0
	load := func() (*user.User, error) { loads++; u := kept; return &u, nil }
	for _, c := range []*redisfront.Cache{a, b, a} {
		if u, err := c.Users.Read("u}{1", load); err != nil || u.Name != "Ada" {
			t.Fatalf("got %v, %v", u, err)
		}
	}
	if loads != 1 {
		t.Errorf("the record was asked %d times, want once", loads)
	}
	kept = user.User{ID: "u}{1", Name: "Ida", Version: 2}
	a.Changing(&ledger.Changes{Users: []*user.User{&kept}})
	if u, err := b.Users.Read("u}{1", load); err != nil || u.Name != "Ida" {
		t.Errorf("got %v, %v, want the new name", u, err)
	}
}

func TestWhatDoesNotExistIsNotKept(t *testing.T) {
	_, a, _ := twoCaches(t)
	book := newOrderBook()
	_, err := a.Orders.Read(book.kept.Number.String(), func() (*order.Order, error) { return nil, fault.ErrNotFound })
	if !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	if o := read(t, a, book); o.Events != 1 {
		t.Errorf("got %v once it exists", o)
	}
}
