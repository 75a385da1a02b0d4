package redisfront_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// books is the record of one order with its payments, one user and some products, which several processes change and read.
type books struct {
	turn     sync.Mutex // the locks of the rows
	mu       sync.Mutex
	order    order.Order
	payments []*payment.Payment
	user     *user.User // nil: not there
	shelves  map[product.ID]checkout.Shelf
	looks    map[string]int64  // by the kind that was looked at
	slow     func(kind string) // after a row was read
}

const (
	bookedOrder   = order.Number(202611200000042)
	bookedUser    = user.ID("u}{1")
	bookedProduct = product.ID("sku-1")
	bookedPayment = "pay_1"
)

func newBooks() *books {
	now := time.Now().UTC().Truncate(time.Millisecond)
	b := &books{
		order: order.Order{
			Number: bookedOrder, UserID: bookedUser, Status: order.Pending, PayBy: now.Add(30 * time.Minute),
			CreatedAt: now, Lines: []order.Line{{ProductID: bookedProduct, Title: "Ticket", Quantity: 2, UnitPrice: 9900}},
			Total: money.Money{Amount: 19800, Currency: "CNY"}, Version: 1, Events: 1, Metadata: []byte(`{"seat":"4"}`),
		},
		user:    &user.User{ID: bookedUser, Name: "Ada", Metadata: []byte(`{"vip":true}`), Version: 1, CreatedAt: now, UpdatedAt: now},
		shelves: map[product.ID]checkout.Shelf{}, looks: map[string]int64{}, slow: func(string) {},
	}
	b.payments = []*payment.Payment{b.newPayment(bookedPayment)}
	b.stock(bookedProduct)
	return b
}

func (b *books) newPayment(id string) *payment.Payment {
	return &payment.Payment{ID: id, OrderNumber: bookedOrder, Provider: "sandbox", Status: payment.Pending, Amount: b.order.Total, CreatedAt: b.order.CreatedAt}
}

// stock puts a product on the shelf.
func (b *books) stock(id product.ID) {
	b.shelves[id] = checkout.Shelf{
		Product: &product.Product{
			ID: id, Title: "Ticket", Price: money.Money{Amount: 9900, Currency: "CNY"}, PayWindow: time.Minute, Active: true, Version: 1,
			OnSaleFrom: b.order.CreatedAt, CreatedAt: b.order.CreatedAt, UpdatedAt: b.order.CreatedAt,
		},
		Stock: &stock.Stock{ProductID: id, Received: 1000, Version: 1, Events: 1},
	}
}

// look reads a row.
func look[T any](b *books, kind string, row func() (T, error)) (T, error) {
	b.mu.Lock()
	b.looks[kind]++
	value, err := row()
	slow := b.slow
	b.mu.Unlock()
	slow(kind)
	return value, err
}

// slowed has something done after a row is read.
func (b *books) slowed(slow func(kind string)) {
	b.mu.Lock()
	b.slow = slow
	b.mu.Unlock()
}

func (b *books) lookedAt(kind string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.looks[kind]
}

func (b *books) Order(_ context.Context, no order.Number) (*order.Order, error) {
	return look(b, "order", func() (*order.Order, error) {
		if o := b.order; no == o.Number {
			return &o, nil
		}
		return nil, fault.ErrNotFound
	})
}

func (b *books) PaymentsOf(context.Context, order.Number) ([]*payment.Payment, error) {
	return look(b, "payments", func() ([]*payment.Payment, error) { return slices.Clone(b.payments), nil })
}

func (b *books) Payment(_ context.Context, id string) (*payment.Payment, error) {
	return look(b, "payment", func() (*payment.Payment, error) {
		if i := slices.IndexFunc(b.payments, func(p *payment.Payment) bool { return p.ID == id }); i >= 0 {
			return b.payments[i], nil
		}
		return nil, fault.ErrNotFound
	})
}

func (b *books) User(context.Context, user.ID) (*user.User, error) {
	return look(b, "user", func() (*user.User, error) {
		if b.user == nil {
			return nil, fault.ErrNotFound
		}
		return b.user, nil
	})
}

func (b *books) Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error) {
	s, err := look(b, "product", func() (checkout.Shelf, error) {
		s, ok := b.shelves[id]
		if !ok {
			return s, fault.ErrNotFound
		}
		return s, nil
	})
	return s, errors.Join(err, ctx.Err())
}

func (b *books) Shelves(_ context.Context, after product.ID, limit int) ([]checkout.Shelf, error) {
	return look(b, "products", func() (page []checkout.Shelf, _ error) {
		for id, s := range b.shelves {
			if id > after {
				page = append(page, s)
			}
		}
		slices.SortFunc(page, func(a, b checkout.Shelf) int { return strings.Compare(string(a.ID), string(b.ID)) })
		return page[:min(len(page), limit)], nil
	})
}

// commit carries out a change of some process as its ledger does; told: the process lives to tell of it.
func (b *books) commit(c *redisfront.Cache, told bool, changes *ledger.Changes, write func(), applied *ledger.Applied) {
	c.Changing(changes)
	b.mu.Lock()
	write()
	b.mu.Unlock()
	if told {
		c.Applied(applied)
	}
}

func (b *books) changeOrder(c *redisfront.Cache, told bool) {
	b.turn.Lock()
	defer b.turn.Unlock()
	o := b.order
	o.Events++
	o.Version++
	b.commit(c, told, &ledger.Changes{Orders: []ledger.OrderChange{{Order: &o, Had: o.Events - 1}}}, func() { b.order = o },
		&ledger.Applied{Orders: []*order.Order{&o}, Payments: map[order.Number][]*payment.Payment{o.Number: b.payments}})
}

// changePayments has the newest attempt to pay fail, and opens another.
func (b *books) changePayments(c *redisfront.Cache, told bool) {
	b.turn.Lock()
	defer b.turn.Unlock()
	failed, fresh := *b.payments[len(b.payments)-1], b.newPayment("pay_"+strconv.Itoa(len(b.payments)+1))
	failed.Status, failed.TransactionID = payment.Failed, "t-"+failed.ID
	payments := append(slices.Clone(b.payments[:len(b.payments)-1]), &failed, fresh)
	o := b.order
	backwards := slices.Clone(payments)
	slices.Reverse(backwards) // a batch has them in whatever order
	b.commit(c, told, &ledger.Changes{NewPayments: []*payment.Payment{fresh}, Payments: []*payment.Payment{&failed}}, func() { b.payments = payments },
		&ledger.Applied{Paying: []*order.Order{&o}, Payments: map[order.Number][]*payment.Payment{o.Number: backwards}})
}

func (b *books) changeUser(c *redisfront.Cache, told bool) {
	b.turn.Lock()
	defer b.turn.Unlock()
	u := *b.user
	u.Version++
	u.Name = "Ada " + strconv.FormatInt(u.Version, 10)
	b.commit(c, told, &ledger.Changes{Users: []*user.User{&u}}, func() { b.user = &u }, &ledger.Applied{Users: []*user.User{&u}})
}

// sell changes a product's stock, and its row every third time.
func (b *books) sell(c *redisfront.Cache, told bool) {
	b.turn.Lock()
	defer b.turn.Unlock()
	was := b.shelves[bookedProduct]
	p, s := *was.Product, *was.Stock
	s.Held++
	s.Version++
	ch := &ledger.Changes{Stock: []ledger.StockChange{{Stock: &s, Was: s.Version - 1}}}
	if s.Version%3 == 0 {
		p.Version++
		ch.Products = []*product.Product{&p}
	}
	b.commit(c, told, ch, func() { b.shelves[bookedProduct] = checkout.Shelf{Product: &p, Stock: &s} },
		&ledger.Applied{Products: []*product.Product{&p}, Stock: []*stock.Stock{&s}, Changed: map[product.ID]bool{p.ID: true}})
}

// remembered is one kind of what is remembered: how it is read, up to what it has come, and how it changes.
type remembered struct {
	kind   string
	look   string // at the record, once for a value
	read   func(b *books, c *redisfront.Cache) (value any, upTo int64, err error)
	change func(b *books, c *redisfront.Cache, told bool)
	counts func(redisfront.CacheCounts) redisfront.ReadCounts
}

func everythingRemembered() []remembered {
	return []remembered{
		{
			"an order", "order", func(_ *books, c *redisfront.Cache) (any, int64, error) {
				o, err := c.Order(context.Background(), bookedOrder)
				if err != nil {
					return nil, 0, err
				}
				return *o, o.Events, nil
			}, (*books).changeOrder, func(n redisfront.CacheCounts) redisfront.ReadCounts { return n.Orders },
		},
		{
			"the payments of an order", "payments", func(_ *books, c *redisfront.Cache) (any, int64, error) {
				payments, err := c.PaymentsOf(context.Background(), bookedOrder)
				return payments, int64(len(payments)), err
			}, (*books).changePayments, func(n redisfront.CacheCounts) redisfront.ReadCounts { return n.Orders },
		},
		{
			"a payment", "payments", func(_ *books, c *redisfront.Cache) (any, int64, error) {
				p, err := c.Payment(context.Background(), bookedPayment)
				if err != nil {
					return nil, 0, err
				}
				if p.Status == payment.Pending {
					return *p, 1, nil
				}
				return *p, 2, nil
			}, (*books).changePayments, func(n redisfront.CacheCounts) redisfront.ReadCounts { return n.Orders },
		},
		{
			"a user", "user", func(_ *books, c *redisfront.Cache) (any, int64, error) {
				u, err := c.User(context.Background(), bookedUser)
				if err != nil {
					return nil, 0, err
				}
				return *u, u.Version, nil
			}, (*books).changeUser, func(n redisfront.CacheCounts) redisfront.ReadCounts { return n.Users },
		},
		{
			"a product", "product", func(_ *books, c *redisfront.Cache) (any, int64, error) {
				s, err := c.Shelf(context.Background(), bookedProduct)
				if err != nil {
					return nil, 0, err
				}
				return s, s.Stock.Version, nil
			}, (*books).sell, func(n redisfront.CacheCounts) redisfront.ReadCounts { return n.Products },
		},
	}
}

// up reads how far a value has come.
func (k *remembered) up(t *testing.T, b *books, c *redisfront.Cache) int64 {
	t.Helper()
	_, upTo, err := k.read(b, c)
	if err != nil {
		t.Fatal(err)
	}
	return upTo
}

// cachedBy gives the cache of a process, at work.
func cachedBy(t *testing.T, p *process, b *books) *redisfront.Cache {
	t.Helper()
	c := redisfront.NewCache(p.front, b)
	ctx, stop := context.WithCancel(context.Background())
	var loop sync.WaitGroup
	loop.Go(func() { c.Run(ctx) })
	t.Cleanup(func() {
		stop()
		loop.Wait()
	})
	return c
}

// twoProcesses share a record and a Redis. Nothing is warm: the products are on the shelf once the warm-up is over.
type twoProcesses struct {
	server *testenv.Server
	proxy  *testenv.Proxy // the first reaches Redis by it
	books  *books
	ps     [2]*process
	a, b   *redisfront.Cache
}

func twoCaches(t *testing.T, b *books, settings map[string]string) *twoProcesses {
	t.Helper()
	return twoCachesOf(t, b, settings, quick)
}

func twoCachesOf(t *testing.T, b *books, settings map[string]string, options func(address string) redisfront.Options) *twoProcesses {
	t.Helper()
	two := &twoProcesses{server: testenv.StartRedis(t, testenv.Options{Settings: settings}), books: b}
	var address string
	two.proxy, address = overProxy(t, two.server)
	r := newRecord()
	two.ps = [2]*process{working(t, r, options(address)), working(t, r, options(two.server.URL()))}
	shelves := b.shelves
	b.shelves = nil
	two.a, two.b = cachedBy(t, two.ps[0], b), cachedBy(t, two.ps[1], b)
	testenv.Until(t, patience, "both have looked for products", func() bool { return b.lookedAt("products") >= 2 })
	b.mu.Lock()
	b.shelves, b.looks = shelves, map[string]int64{}
	b.mu.Unlock()
	return two
}

func TestAStampedeOnAColdValueCostsOneQuery(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			do(t, direct(t, two.server.URL()), "EVAL", `for _, k in ipairs(redis.call('KEYS', '*}:*')) do if not k:find('^used') then redis.call('DEL', k); end; end`, "0")
			book.mu.Lock()
			book.looks = map[string]int64{}
			book.mu.Unlock()
			book.slowed(func(string) { time.Sleep(20 * time.Millisecond) }) //nolint:forbidigo // as long as a slow query takes
			var all sync.WaitGroup
			for i := range 1000 {
				all.Go(func() {
					c := []*redisfront.Cache{two.a, two.b}[i%2]
					if _, upTo, err := k.read(book, c); err != nil || upTo != 1 {
						t.Errorf("reader %d: got version %d, %v", i, upTo, err)
					}
				})
			}
			all.Wait()
			if got := book.lookedAt(k.look); got != 1 {
				t.Errorf("the record was asked %d times, want once", got)
			}
			if got := book.lookedAt("payment"); got > 1 {
				t.Errorf("the record was asked %d times which order a payment is for, want once at most", got)
			}
		})
	}
}

func TestAValueComesBackFromRedisAsItIs(t *testing.T) {
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			book := newBooks()
			two := twoCaches(t, book, nil)
			want, _, err := k.read(book, two.a)
			if err != nil {
				t.Fatal(err)
			}
			got, _, err := k.read(book, two.b)
			if diff := cmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("another process reads (-want +got): %v\n%s", err, diff)
			}
			k.up(t, book, two.b)
			if got := k.counts(two.b.Counts()); got != (redisfront.ReadCounts{Near: 1, Far: 1}) || book.lookedAt(k.look) != 1 {
				t.Errorf("the other process has read %+v and the record was asked %d times; want once from each of Redis and itself, once", got, book.lookedAt(k.look))
			}
			k.change(book, two.a, true)
			if got := k.up(t, book, two.b); got != 2 {
				t.Errorf("after the change another process reads version %d, want 2", got)
			}
			testenv.Until(t, patience, "the change is in Redis", func() bool {
				before := book.lookedAt(k.look)
				return k.up(t, book, two.b) == 2 && book.lookedAt(k.look) == before
			})
			got, upTo, err := k.read(book, two.a)
			if err != nil || upTo != 2 {
				t.Fatalf("got version %d from Redis, %v, want 2", upTo, err)
			}
			alone := redisfront.NewCache(begin(t, newRecord(), quick("redis://127.0.0.1:1")).front, book) // reads the record
			want, _, _ = k.read(book, alone)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("what the commit has told is not what the record has (-record +told):\n%s", diff)
			}
		})
	}
}

func TestAnOrderIsKeptAsLongAsItCanBePaidAndALittle(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	if _, err := two.a.Order(t.Context(), bookedOrder); err != nil {
		t.Fatal(err)
	}
	c := direct(t, two.server.URL())
	keys, err := do(t, c, "KEYS", "order:{202611200000042}:*").AsStrSlice()
	if err != nil || len(keys) != 1 {
		t.Fatalf("got keys %q (%v), want one", keys, err)
	}
	ttl, err := do(t, c, "PTTL", keys[0]).AsInt64()
	if err != nil || ttl < (29*time.Minute).Milliseconds() || ttl > (33*time.Minute).Milliseconds() {
		t.Errorf("it is kept for %d ms (%v), want as long as it can be paid, and a little", ttl, err)
	}
}

// Of most orders of a sale nobody reads anything before they change: they take no room.
func TestANewOrderIsRememberedOnceSomebodyReadsIt(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	o, u := book.order, *book.user
	two.a.Changing(&ledger.Changes{NewOrders: []*order.Order{&o}, Users: []*user.User{&u}})
	two.a.Applied(&ledger.Applied{Orders: []*order.Order{&o}, Users: []*user.User{&u}})
	c := direct(t, two.server.URL())
	testenv.Until(t, patience, "the batch is told", func() bool {
		keys, err := do(t, c, "KEYS", "user:*").AsStrSlice()
		return err == nil && len(keys) == 1 && hash(t, c, keys[0])["version"] != ""
	})
	if keys, err := do(t, c, "KEYS", "order:*").AsStrSlice(); err != nil || len(keys) != 0 {
		t.Errorf("got %q, %v, want nothing of an order that nobody has read", keys, err)
	}
	for _, cache := range []*redisfront.Cache{two.a, two.b, two.a} {
		if got, err := cache.Order(t.Context(), o.Number); err != nil || got.Events != 1 {
			t.Errorf("got %v, %v", got, err)
		}
	}
	if got := book.lookedAt("order"); got != 1 {
		t.Errorf("the record was asked %d times, want once", got)
	}
}

// Readers go to any of two processes while both change a value: what was seen anywhere is never unseen.
func TestNoReaderGoesBackInTime(t *testing.T) {
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			book := newBooks()
			two := twoCaches(t, book, nil)
			caches := []*redisfront.Cache{two.a, two.b}
			var seen atomic.Int64 // the latest that anybody was shown
			see := func(upTo int64) {
				for was := seen.Load(); was < upTo && !seen.CompareAndSwap(was, upTo); was = seen.Load() {
				}
			}
			record := redisfront.NewCache(begin(t, newRecord(), quick("redis://127.0.0.1:1")).front, book)
			change := func(c *redisfront.Cache, told bool) {
				k.change(book, c, told)
				_, made, _ := k.read(book, record)
				see(made) // it was answered
			}
			near := func() int64 { return k.counts(two.a.Counts()).Near + k.counts(two.b.Counts()).Near }
			var readers sync.WaitGroup
			var over atomic.Bool
			defer readers.Wait()
			defer over.Store(true)
			for r := range 16 {
				readers.Go(func() {
					for n := r; !over.Load(); n++ {
						before := seen.Load()
						_, upTo, err := k.read(book, caches[n%2])
						if err != nil || upTo < before {
							t.Errorf("read version %d (%v), after somebody has read %d", upTo, err, before)
							return
						}
						see(upTo)
					}
				})
			}
			for range 3 { // they meet it at rest, and then changing
				var writers sync.WaitGroup
				for _, c := range caches {
					writers.Go(func() {
						for n := range 20 {
							change(c, n%7 != 0)
							time.Sleep(2 * time.Millisecond) //nolint:forbidigo // what is told is to get there now and then
						}
					})
				}
				writers.Wait()
				for _, c := range caches {
					change(c, true)
				}
				if before := near(); !t.Failed() {
					testenv.Until(t, patience, "it is read from the cache", func() bool { return near() > before })
				}
			}
		})
	}
}

func TestALateFillerLeavesNothing(t *testing.T) {
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			book := newBooks()
			two := twoCaches(t, book, nil)
			loaded, goOn := make(chan struct{}), make(chan struct{})
			once := sync.OnceFunc(func() {
				close(loaded)
				<-goOn
			})
			var filler atomic.Bool
			book.slowed(func(kind string) {
				if kind == k.look && filler.CompareAndSwap(false, true) {
					once()
				}
			})
			var late sync.WaitGroup
			late.Go(func() {
				if _, upTo, err := k.read(book, two.a); err != nil || upTo != 1 {
					t.Errorf("the filler: got version %d, %v", upTo, err)
				}
			})
			<-loaded
			k.change(book, two.b, true)
			testenv.Until(t, patience, "the change is in Redis", func() bool {
				before := book.lookedAt(k.look)
				return k.up(t, book, two.b) == 2 && book.lookedAt(k.look) == before
			})
			close(goOn)
			late.Wait()
			for _, c := range []*redisfront.Cache{two.a, two.b} {
				if got := k.up(t, book, c); got != 2 {
					t.Errorf("got version %d, want 2", got)
				}
			}
		})
	}
}

// A commit that Redis cannot be told of is not made while anybody believes what Redis has.
func TestNobodyReadsAnOldValueWhenRedisIsLost(t *testing.T) {
	book := newBooks()
	two := twoCachesOf(t, book, nil, strict)
	everything := everythingRemembered()
	for i := range everything {
		everything[i].up(t, book, two.b)
		everything[i].up(t, book, two.b)
		if everything[i].counts(two.b.Counts()).Near == 0 {
			t.Fatalf("got %+v, want a read from the cache", two.b.Counts())
		}
	}
	two.proxy.Blackhole(true)
	for i := range everything {
		was := everything[i].up(t, book, two.b)
		everything[i].change(book, two.a, true)
		if got := everything[i].up(t, book, two.b); got <= was && was < 2 {
			t.Errorf("got version %d of %s after the commit of %d", got, everything[i].kind, was+1)
		}
	}
}

// A snapshot has values that were true once, unmarked, under an epoch that was whole.
func TestNobodyReadsAnOldValueFromARedisThatCameBackWithASnapshot(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, map[string]string{"appendonly": "no"})
	everything := everythingRemembered()
	for i := range everything {
		everything[i].up(t, book, two.b)
	}
	c := direct(t, two.server.URL())
	do(t, c, "SAVE")
	folder, err := do(t, c, "CONFIG", "GET", "dir").AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder["dir"], "dump.rdb")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := range everything {
		everything[i].change(book, two.a, true)
	}
	two.server.Kill()
	if err := os.WriteFile(file, old, 0o644); err != nil {
		t.Fatal(err)
	}
	two.server.Start()
	if keys, err := do(t, direct(t, two.server.URL()), "KEYS", "product:*").AsStrSlice(); err != nil || len(keys) == 0 {
		t.Fatalf("the snapshot has no product (%v): this shows nothing", err)
	}
	for end := false; !end; {
		end = two.ps[0].front.State().Working && two.ps[1].front.State().Working
		for i := range everything {
			for n, cache := range []*redisfront.Cache{two.a, two.b} {
				if got := everything[i].up(t, book, cache); got < 2 {
					t.Fatalf("process %d reads %s at version %d, want 2", n, everything[i].kind, got)
				}
			}
		}
	}
}

func TestAMarkWhoseProcessIsGoneCountsForAMinuteOnlyHoweverOftenOthersChangeTheValue(t *testing.T) {
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			book := newBooks()
			two := twoCaches(t, book, nil)
			k.up(t, book, two.b)
			k.change(book, two.a, false) // and it is gone
			c := direct(t, two.server.URL())
			//nolint:dupword // "end end" closes two blocks of Lua
			do(t, c, "EVAL", `for _, k in ipairs(redis.call('KEYS', '*}:*')) do
				local all = redis.call('TYPE', k).ok == 'hash' and redis.call('HGETALL', k) or {}
				for i = 1, #all, 2 do
					if all[i] == 'marked' then redis.call('HINCRBY', k, 'marked', -61) end
					local batch, at = all[i + 1]:match('^(%d+) (%d+)$')
					if all[i]:sub(1, 2) == 'd:' and at then redis.call('HSET', k, all[i], batch .. ' ' .. (at - 61)) end
				end
			end`, "0")
			k.change(book, two.b, true)
			testenv.Until(t, patience, "it is read in Redis again", func() bool {
				before := book.lookedAt(k.look)
				return k.up(t, book, two.b) >= 2 && book.lookedAt(k.look) == before
			})
		})
	}
}

func TestAfterAFlushWhatWasRememberedIsReadAnew(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	everything := everythingRemembered()
	for i := range everything {
		everything[i].up(t, book, two.b)
	}
	epoch := two.ps[0].front.State()
	do(t, direct(t, two.server.URL()), "FLUSHALL")
	testenv.Until(t, patience, "the flush was noticed", func() bool { return two.ps[0].front.State() != epoch })
	two.ps[0].works(t)
	two.ps[1].works(t)
	for i := range everything {
		k := &everything[i]
		k.change(book, two.a, false)
		if got := k.up(t, book, two.b); got < 2 {
			t.Errorf("%s is read at version %d, want 2", k.kind, got)
		}
	}
}

// What a process is about to change is read in the record, by one reader of each process at a time.
func TestReadersOfAChangingValueShareALook(t *testing.T) {
	for _, k := range everythingRemembered() {
		t.Run(k.kind, func(t *testing.T) {
			book := newBooks()
			two := twoCaches(t, book, nil)
			k.change(book, two.b, false)                                    // and the process dies
			book.slowed(func(string) { time.Sleep(50 * time.Millisecond) }) //nolint:forbidigo // as long as a slow query takes
			k.up(t, book, two.a)
			before := book.lookedAt(k.look)
			var all sync.WaitGroup
			for range 200 {
				all.Go(func() {
					if _, upTo, err := k.read(book, two.a); err != nil || upTo != 2 {
						t.Errorf("got version %d, %v, want 2", upTo, err)
					}
				})
			}
			all.Wait()
			if got := book.lookedAt(k.look) - before; got > 20 {
				t.Errorf("200 readers have cost %d queries", got)
			}
			if k.counts(two.a.Counts()).Shared == 0 {
				t.Error("nobody has shared a look")
			}
		})
	}
}

// A reader who leaves takes nobody along.
func TestAReaderWhoLeavesDoesNotSpoilTheLookOfOthers(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	ctx, leave := context.WithCancel(t.Context())
	book.slowed(func(string) { leave() })
	if _, err := two.a.Shelf(ctx, bookedProduct); err != nil {
		t.Errorf("the look that others wait for: got %v", err)
	}
	if _, err := two.b.Shelf(t.Context(), bookedProduct); err != nil || book.lookedAt("product") != 1 {
		t.Errorf("got %v, and the record was asked %d times, want once", err, book.lookedAt("product"))
	}
}

func TestThatAUserOrAProductDoesNotExistIsKeptUntilItDoes(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	book.user, book.shelves = nil, map[product.ID]checkout.Shelf{}
	for range 3 {
		for _, c := range []*redisfront.Cache{two.a, two.b} {
			if _, err := c.User(t.Context(), bookedUser); !errors.Is(err, fault.ErrNotFound) {
				t.Fatalf("got %v, want not found", err)
			}
			if _, err := c.Shelf(t.Context(), bookedProduct); !errors.Is(err, fault.ErrNotFound) {
				t.Fatalf("got %v, want not found", err)
			}
		}
	}
	if u, p := book.lookedAt("user"), book.lookedAt("product"); u != 1 || p != 1 {
		t.Errorf("the record was asked %d times for the user and %d times for the product, want once", u, p)
	}
	fresh := &user.User{ID: bookedUser, Name: "Ada", Version: 1}
	book.commit(two.a, false, &ledger.Changes{NewUsers: []*user.User{fresh}}, func() { book.user = fresh }, nil)
	made := &product.Product{ID: bookedProduct, Version: 1}
	book.commit(two.a, false, &ledger.Changes{NewProducts: []*product.Product{made}}, func() { book.stock(bookedProduct) }, nil)
	if _, err := two.b.User(t.Context(), bookedUser); err != nil {
		t.Errorf("the new user: got %v", err)
	}
	if _, err := two.b.Shelf(t.Context(), bookedProduct); err != nil {
		t.Errorf("the new product: got %v", err)
	}
}

func TestAnOrderOrPaymentThatDoesNotExistIsNotKept(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	book.order.Number++
	if _, err := two.a.Order(t.Context(), bookedOrder); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	if _, err := two.a.Payment(t.Context(), "pay_2"); !errors.Is(err, fault.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
	book.order.Number = bookedOrder
	book.payments = append(book.payments, book.newPayment("pay_2"))
	if o, err := two.b.Order(t.Context(), bookedOrder); err != nil || o.Events != 1 {
		t.Errorf("got %v, %v once it exists", o, err)
	}
	if p, err := two.b.Payment(t.Context(), "pay_2"); err != nil || p.ID != "pay_2" {
		t.Errorf("got %v, %v once it exists", p, err)
	}
}

// A batch of a rush has looked at many products and changed few.
func TestWhatABatchOnlyLookedAtIsNotTold(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	seen := book.shelves[bookedProduct]
	book.stock("sku-2")
	other := book.shelves["sku-2"]
	two.a.Changing(&ledger.Changes{Stock: []ledger.StockChange{{Stock: other.Stock, Was: 0}}})
	two.a.Applied(&ledger.Applied{
		Products: []*product.Product{seen.Product, other.Product}, Stock: []*stock.Stock{seen.Stock, other.Stock}, Changed: map[product.ID]bool{"sku-2": true},
	})
	c := direct(t, two.server.URL())
	testenv.Until(t, patience, "the other is told", func() bool {
		keys, err := do(t, c, "KEYS", "product:{sku-2}:*").AsStrSlice()
		return err == nil && len(keys) == 1 && hash(t, c, keys[0])["version"] != ""
	})
	if keys, err := do(t, c, "KEYS", "product:{sku-1}:*").AsStrSlice(); err != nil || len(keys) != 0 {
		t.Errorf("got %q, %v, want nothing of a product that was only looked at", keys, err)
	}
}

func TestProductsAreWarmBeforeAnybodyAsks(t *testing.T) {
	book := newBooks()
	for i := range 1100 { // three pages
		book.stock(product.ID("more-" + strconv.Itoa(i)))
	}
	s := testenv.StartRedis(t, testenv.Options{})
	r := newRecord()
	p := working(t, r, quick(s.URL()))
	a := cachedBy(t, p, book)
	warm := func(c *redisfront.Cache) {
		t.Helper()
		was := book.lookedAt("product")
		for _, id := range []product.ID{bookedProduct, "more-0", "more-1099"} {
			if _, err := c.Shelf(t.Context(), id); err != nil {
				t.Fatal(err)
			}
		}
		if n := book.lookedAt("product") - was; n != 0 {
			t.Errorf("the record was asked %d times for a product that was to be warm", n)
		}
	}
	testenv.Until(t, patience, "they are loaded", func() bool { return a.Counts().Warmed == 1101 })
	warm(a)
	c := direct(t, s.URL())
	keys, err := do(t, c, "KEYS", "product:*").AsStrSlice()
	if err != nil || len(keys) != 1101 {
		t.Fatalf("got %d keys, %v", len(keys), err)
	}
	var lapse []int64
	for _, key := range keys {
		ttl, err := do(t, c, "PTTL", key).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		lapse = append(lapse, ttl)
	}
	if first, last := slices.Min(lapse), slices.Max(lapse); last-first < (30 * time.Second).Milliseconds() {
		t.Errorf("what was loaded together lapses within %d ms, want it spread over a minute", last-first)
	}
	b := cachedBy(t, working(t, r, quick(s.URL())), book)
	w, err := b.Warm(t.Context())
	if want := (checkout.Warmed{Products: 1101}); err != nil || w != want {
		t.Errorf("another process: got %+v, %v, want %+v", w, err, want)
	}
	warm(b)
	do(t, c, "FLUSHALL")
	testenv.Until(t, patience, "they are loaded again", func() bool { return a.Counts().Warmed+b.Counts().Warmed >= 2202 })
	testenv.Until(t, patience, "the first believes what was loaded", func() bool { // until then it may look where nothing is
		was := book.lookedAt("product")
		if _, err := a.Shelf(t.Context(), bookedProduct); err != nil {
			t.Fatal(err)
		}
		return book.lookedAt("product") == was
	})
	warm(a)
	if w, err := redisfront.NewCache(begin(t, r, quick("redis://127.0.0.1:1")).front, book).Warm(t.Context()); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("without Redis: got %+v, %v, want unavailable", w, err)
	}
}

// What is sold between the look at the catalogue and the end of the warm-up is not put back on the shelf.
func TestALateWarmUpLeavesNothing(t *testing.T) {
	book := newBooks()
	two := twoCaches(t, book, nil)
	var pages atomic.Int64
	book.slowed(func(kind string) {
		if kind == "products" && pages.Add(1) == 2 { // the first only tells what there is
			book.sell(two.b, false)
		}
	})
	if w, err := two.a.Warm(t.Context()); err != nil || w.Loaded != 0 {
		t.Errorf("got %+v, %v, want none loaded", w, err)
	}
	for _, c := range []*redisfront.Cache{two.a, two.b} {
		if s, err := c.Shelf(t.Context(), bookedProduct); err != nil || s.Stock.Version != 2 {
			t.Errorf("got %+v, %v, want version 2", s.Stock, err)
		}
	}
}

// What a real ledger tells of its commits is remembered at another process, and is what the record has.
func TestWhatALedgerTellsIsWhatTheRecordHas(t *testing.T) {
	redis := testenv.StartRedis(t, testenv.Options{})
	s := openSale(t, 20, saleGrace, func(int) string { return redis.URL() }, func(g checkout.Gate) checkout.Gate { return g })
	s.works()
	l, record, other := s.processes[0].desk.Ledger, s.processes[1].store, s.processes[1].cache
	placed, err := ledger.Submit(t.Context(), l, ledger.Place{Key: key(1), UserID: "u-1", Lines: want("hot", 2)})
	if err != nil {
		t.Fatal(err)
	}
	no, total := placed.Number, money.Money{Amount: 200, Currency: "CNY"}
	notice := func(id string, succeeded bool) payment.Notice {
		return payment.Notice{Provider: "sandbox", OrderNumber: no, TransactionID: id, Amount: total, Succeeded: succeeded}
	}
	var payments []string
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"placed", func() error { return nil }},
		{"a user is told", func() error {
			_, err := ledger.Submit(t.Context(), l, ledger.PutUser{ID: "u-1", Name: ledger.Patch[string]{Set: true, Value: "Ada"}})
			return err
		}},
		{"a payment is opened", func() error {
			payments = append(payments, "pay_1")
			_, err := ledger.Submit(t.Context(), l, ledger.CreatePayment{Number: no, Provider: "sandbox", PaymentID: "pay_1"})
			return err
		}},
		{"it fails", func() error {
			_, err := ledger.Submit(t.Context(), l, ledger.FailPayment{Notice: notice("t-1", false), PaymentID: "pay_x"})
			return err
		}},
		{"another is opened at another provider", func() error {
			payments = append(payments, "pay_2")
			_, err := ledger.Submit(t.Context(), l, ledger.CreatePayment{Number: no, Provider: "bank", PaymentID: "pay_2"})
			return err
		}},
		{"the first succeeds after all", func() error {
			_, err := ledger.Submit(t.Context(), l, ledger.Pay{Notice: notice("t-1", true), PaymentID: "pay_x"})
			return err
		}},
		{"it is paid twice", func() error {
			payments = append(payments, "pay_3")
			_, err := ledger.Submit(t.Context(), l, ledger.Pay{Notice: notice("t-2", true), PaymentID: "pay_3"})
			return err
		}},
		{"a delivery comes", func() error {
			_, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "hot", Delta: 5})
			return err
		}},
		{"the price changes", func() error {
			_, err := ledger.Submit(t.Context(), l, ledger.PutProduct{ID: "hot", Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 300, Currency: "CNY"}}})
			return err
		}},
	} {
		if err := step.do(); err != nil {
			t.Fatalf("%s: %v", step.what, err)
		}
		everything := func(r checkout.Reads) (all []any) {
			keep := func(value any, err error) {
				if err != nil && !errors.Is(err, fault.ErrNotFound) {
					t.Fatal(err)
				}
				all = append(all, value)
			}
			o, err := r.Order(t.Context(), no)
			keep(o, err)
			list, err := r.PaymentsOf(t.Context(), no)
			keep(list, err)
			u, err := r.User(t.Context(), "u-1")
			keep(u, err)
			shelf, err := r.Shelf(t.Context(), "hot")
			keep(shelf, err)
			for _, id := range payments {
				p, err := r.Payment(t.Context(), id)
				keep(p, err)
			}
			return all
		}
		want := everything(record)
		if diff := cmp.Diff(want, everything(other), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: another process says at once (-record +says):\n%s", step.what, diff)
		}
		var told []any
		testenv.Until(t, patience, "all of it is remembered", func() bool {
			before := other.Counts()
			told = everything(other)
			after := other.Counts()
			return before.Orders.Record == after.Orders.Record && before.Products.Record == after.Products.Record && before.Users.Record == after.Users.Record
		})
		if diff := cmp.Diff(want, told, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: it is remembered otherwise (-record +remembered):\n%s", step.what, diff)
		}
	}
}
