package redisfront_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// A sale is several processes over one PostgreSQL and one Redis, and buyers who come to any of them, lose answers and ask again
// elsewhere, pay and cancel. Whatever the gate does and whatever becomes of Redis, the record adds up, everybody who was told that he
// has an order has it, and in the end every unit is gone.
type sale struct {
	t         *testing.T
	processes []*salesProcess
	products  []product.ID

	placed, refused, unknown, cancelled, paid atomic.Int64
	lastPlaced                                atomic.Int64 // milliseconds
	longestGap                                atomic.Int64 // milliseconds without an order, while there was stock
	stockSince                                sync.Map     // product.ID → time.Time since when there has been stock; absent: there is none
	longestFalse                              atomic.Int64 // milliseconds into stock at which somebody was told there is none
	stalled                                   atomic.Int64 // milliseconds at once for which the machine was busy with something else
}

type salesProcess struct {
	desk  *checkout.Desk
	store *sqlstore.Store
	front *redisfront.Front
	gate  *redisfront.Gate
	cache *redisfront.Cache
}

// storeRecord is the read side of a store.
type storeRecord struct{ *sqlstore.Store }

func (r storeRecord) Audit(ctx context.Context) (audit.Report, error) {
	return r.Store.Audit(ctx, sqlstore.AuditOptions{})
}

const (
	saleProcesses = 3
	saleBuyers    = 40
	salePause     = 15 * time.Millisecond // between two orders of a buyer
	watchEvery    = 20 * time.Millisecond

	saleGrace = 2 * time.Second // in sales that are not about a late Redis
	falseMax  = 2 * time.Second // somebody is told sold out of what there is
)

// openSale opens a sale of some units of two products. address is that of Redis as each process sees it, grace what it may be late.
func openSale(t *testing.T, units int64, grace time.Duration, address func(process int) string, mood func(g checkout.Gate) checkout.Gate) *sale {
	t.Helper()
	s := &sale{t: t, products: []product.ID{"hot", "warm"}}
	url := testenv.PostgresURL(t)
	for i := range saleProcesses {
		s.processes = append(s.processes, newSalesProcess(t, url, address(i), grace, mood))
	}
	l := s.processes[0].desk.Ledger
	for i, id := range s.products {
		limit := ledger.Patch[int64]{Set: i == 1, Value: 3}
		if _, err := ledger.Submit(t.Context(), l, ledger.PutProduct{
			ID: id, Title: ledger.Patch[string]{Set: true, Value: "T"}, MaxPerUser: limit,
			Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 100, Currency: "CNY"}},
		}); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: id, Delta: units / 2}); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func newSalesProcess(t *testing.T, url, address string, grace time.Duration, mood func(checkout.Gate) checkout.Gate) *salesProcess {
	t.Helper()
	store, err := sqlstore.Open(t.Context(), url, sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	own := inproc.NewGate(store.Shelf, inproc.NewSmallKeyMarks(time.Now, 1<<16), time.Now)
	log := &testenv.Log{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("a process said:\n%s", log)
		}
	})
	front, err := redisfront.New(store, redisfront.Options{
		Address: address, Settle: 200 * time.Millisecond, Grace: grace,
		Log: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		t.Fatal(err)
	}
	gate := redisfront.NewGate(front, own, time.Now)
	cache := redisfront.NewCache(front, store)
	l := ledger.New(store, ledger.Options{
		Using: own.Using, Changing: cache.Changing,
		Applied: func(a *ledger.Applied) { own.Applied(a); gate.Applied(a); cache.Applied(a) },
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { front.Run(ctx) })
	all.Go(func() { gate.Run(ctx) })
	all.Go(func() { cache.Run(ctx) })
	t.Cleanup(func() {
		_ = l.Close(context.Background())
		cancel()
		all.Wait()
		_ = store.Close()
	})
	return &salesProcess{
		&checkout.Desk{Ledger: l, Record: storeRecord{store}, Gate: mood(gate), Orders: inproc.Uncached{}, Memory: cache, Clock: time.Now},
		store, front, gate, cache,
	}
}

func (s *sale) works() {
	s.t.Helper()
	for _, p := range s.processes {
		for end := time.Now().Add(*fullSpeedMax); !p.front.State().Working || !p.gate.KnowsKeys(); pause(5 * time.Millisecond) {
			if time.Now().After(end) {
				s.t.Fatalf("a front does not work after %v: %+v", *fullSpeedMax, p.front.State())
			}
		}
	}
}

// run sells until every unit is gone, while disturb does what it does. Then it checks everything.
func (s *sale) run(disturb func()) {
	s.t.Helper()
	ctx, stop := context.WithCancel(s.t.Context())
	var all sync.WaitGroup
	s.lastPlaced.Store(time.Now().UnixMilli())
	for n := range saleBuyers {
		all.Go(func() { s.buy(ctx, n) })
	}
	all.Go(func() { s.watch(ctx) })
	disturb()
	s.sellOut()
	stop()
	all.Wait()
	s.t.Logf("%d placed, %d refused, %d unknown at first, %d cancelled, %d paid; longest without an order %d ms, longest told sold out %d ms, stalled %d ms",
		s.placed.Load(), s.refused.Load(), s.unknown.Load(), s.cancelled.Load(), s.paid.Load(), s.longestGap.Load(), s.longestFalse.Load(), s.stalled.Load())
	s.check()
}

// goesOn looks whether Redis being lost has cost speed only, beside what the machine has cost.
func (s *sale) goesOn() {
	s.t.Helper()
	stalled := time.Duration(s.stalled.Load()) * time.Millisecond
	if gap := time.Duration(s.longestGap.Load()) * time.Millisecond; gap > *orderPauseMax+stalled {
		s.t.Errorf("for %v no order was placed though there was stock, want %v at most and %v of a busy machine", gap, *orderPauseMax, stalled)
	}
	if told := time.Duration(s.longestFalse.Load()) * time.Millisecond; told > falseMax+stalled {
		s.t.Errorf("somebody was told sold out %v after there was stock, want %v at most and %v of a busy machine", told, falseMax, stalled)
	}
}

// sellOut waits until every unit is gone: for as long as the machine needs, if only it goes on.
func (s *sale) sellOut() {
	s.t.Helper()
	left, since := s.available(), time.Now()
	for left > 0 {
		pause(50 * time.Millisecond)
		now := s.available()
		if now < left {
			left, since = now, time.Now()
		}
		if time.Since(since) > patience {
			s.t.Fatalf("%d units are left and stay so; %d placed, %d refused, %d unknown", left, s.placed.Load(), s.refused.Load(), s.unknown.Load())
		}
	}
}

// check compares with the record, and audits it.
func (s *sale) check() {
	s.t.Helper()
	report, err := storeRecord{s.processes[0].store}.Audit(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range report.Checks {
		if c.Violations > 0 {
			s.t.Errorf("%s %s: %d violations, such as %v", c.ID, c.Name, c.Violations, c.Samples)
		}
	}
}

func (s *sale) available() (left int64) {
	for _, id := range s.products {
		shelf, err := s.processes[0].store.Shelf(s.t.Context(), id)
		if err != nil {
			s.t.Fatal(err)
		}
		left += shelf.Stock.Available()
	}
	return left
}

// watch keeps since when there is stock. What is nearly gone counts as none: it is gone and comes back between two looks.
func (s *sale) watch(ctx context.Context) {
	for ctx.Err() == nil {
		for _, id := range s.products {
			asked := time.Now()
			shelf, err := s.processes[0].store.Shelf(ctx, id)
			if err != nil {
				continue
			}
			if shelf.Stock.Available() < 40 {
				s.stockSince.Delete(id)
			} else {
				s.stockSince.LoadOrStore(id, asked)
			}
		}
		if _, there := s.stockSince.Load(s.products[0]); there && ctx.Err() == nil {
			raise(&s.longestGap, time.Now().UnixMilli()-s.lastPlaced.Load())
		}
		slept := time.Now()
		time.Sleep(watchEvery) //nolint:forbidigo // it looks again and again
		raise(&s.stalled, (time.Since(slept) - watchEvery).Milliseconds())
	}
}

func raise(to *atomic.Int64, value int64) {
	for {
		old := to.Load()
		if old >= value || to.CompareAndSwap(old, value) {
			return
		}
	}
}

// buy is a buyer who comes again and again, each time as somebody else.
func (s *sale) buy(ctx context.Context, n int) {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	for i := 0; ctx.Err() == nil; i++ {
		id := s.products[random.IntN(len(s.products))]
		wish := checkout.Order{
			Scope: checkout.Merchant, IdempotencyKey: fmt.Sprintf("k-%d-%d", n, i), UserID: user.ID(fmt.Sprintf("u-%d-%d", n, i/3)),
			Lines: []checkout.Line{{ProductID: id, Quantity: 1 + random.Int64N(2)}},
		}
		asked := time.Now()
		placed, err := s.place(ctx, wish, random)
		switch {
		case err == nil:
			s.placed.Add(1)
			s.lastPlaced.Store(time.Now().UnixMilli())
			s.after(ctx, wish, placed, random)
		case errors.Is(err, fault.ErrOutOfStock):
			s.refused.Add(1)
			if since, there := s.stockSince.Load(id); there {
				if began, _ := since.(time.Time); asked.After(began) {
					raise(&s.longestFalse, asked.Sub(began).Milliseconds())
				}
			}
		case errors.Is(err, fault.ErrPurchaseLimit):
			s.refused.Add(1)
		case ctx.Err() == nil:
			s.t.Errorf("order %s: %v", wish.IdempotencyKey, err)
		}
		time.Sleep(salePause) //nolint:forbidigo // a buyer's pause
	}
}

// place asks until it is known what became of the order: each time another process, perhaps.
func (s *sale) place(ctx context.Context, wish checkout.Order, random *rand.Rand) (ledger.Placed, error) {
	for {
		p := s.processes[random.IntN(len(s.processes))]
		within, cancel := context.WithTimeout(ctx, 5*time.Second)
		placed, err := p.desk.Place(within, wish)
		cancel()
		known := err == nil || errors.Is(err, fault.ErrOutOfStock) || errors.Is(err, fault.ErrPurchaseLimit)
		if known || ctx.Err() != nil {
			return placed, err
		}
		s.unknown.Add(1)
	}
}

// after is what a buyer does with an order: he loses the answer and asks again elsewhere, he pays, or he cancels.
func (s *sale) after(ctx context.Context, wish checkout.Order, placed ledger.Placed, random *rand.Rand) {
	if random.IntN(2) == 0 {
		again, err := s.processes[random.IntN(len(s.processes))].desk.Place(context.WithoutCancel(ctx), wish)
		if err != nil && !errors.Is(err, fault.ErrUnavailable) && !errors.Is(err, fault.ErrOverloaded) {
			s.t.Errorf("order %s asked for again: %v", wish.IdempotencyKey, err)
		}
		if err == nil && (!bytes.Equal(again.Body, placed.Body) || !again.Replayed) {
			s.t.Errorf("order %s asked for again: got %s, want %s", wish.IdempotencyKey, again.Body, placed.Body)
		}
	}
	desk := s.processes[random.IntN(len(s.processes))].desk
	switch random.IntN(4) {
	case 0:
		if _, err := ledger.Submit(context.WithoutCancel(ctx), desk.Ledger, ledger.Cancel{Number: placed.Number}); err == nil {
			s.cancelled.Add(1)
		}
	case 1:
		if _, err := desk.Notice(context.WithoutCancel(ctx), payment.Notice{
			Provider: "sandbox", OrderNumber: placed.Number, TransactionID: "t-" + wish.IdempotencyKey, Succeeded: true,
			Amount: money.Money{Amount: 100 * wish.Lines[0].Quantity, Currency: "CNY"},
		}); err == nil {
			s.paid.Add(1)
		}
	}
}

// moody is a gate of a mood: it refuses when it feels like it, and only refuses.
type moody struct {
	checkout.Gate
	refuses func() bool
}

func (m moody) Admit(_ context.Context, _ user.ID, lines []ledger.PlaceLine) error {
	if m.refuses() {
		return fault.ErrOutOfStock.With("product_id", string(lines[0].ProductID)).With("available", int64(0))
	}
	return nil
}
func (m moody) Answered(user.ID, []ledger.PlaceLine, error) {}

func TestASaleIsRightWhateverTheGateSays(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	const units = 600
	for _, c := range []struct {
		mood    string
		address string
		gate    func(g checkout.Gate) checkout.Gate
	}{
		{"working", s.URL(), func(g checkout.Gate) checkout.Gate { return g }},
		{"always yes", s.URL(), func(g checkout.Gate) checkout.Gate { return moody{g, func() bool { return false }} }},
		{"random", s.URL(), func(g checkout.Gate) checkout.Gate { return moody{g, func() bool { return rand.IntN(2) == 0 }} }},
		{"away", "redis://127.0.0.1:1", func(g checkout.Gate) checkout.Gate { return g }},
	} {
		t.Run(c.mood, func(t *testing.T) {
			sale := openSale(t, units, saleGrace, func(int) string { return c.address }, c.gate)
			if c.mood != "away" {
				sale.works()
			}
			sale.run(func() {})
		})
	}
	t.Run("always no", func(t *testing.T) {
		sale := openSale(t, units, saleGrace, func(int) string { return s.URL() }, func(g checkout.Gate) checkout.Gate {
			return moody{g, func() bool { return true }}
		})
		sale.works()
		ctx, stop := context.WithTimeout(t.Context(), time.Second)
		defer stop()
		var all sync.WaitGroup
		for n := range saleBuyers {
			all.Go(func() { sale.buy(ctx, n) })
		}
		all.Wait()
		// A process that does not believe Redis for a moment, which happens on a busy machine, cannot tell that a buyer's key was never
		// used, and leaves him to the ledger.
		if placed, refused := sale.placed.Load(), sale.refused.Load(); placed > refused/4 {
			t.Errorf("%d orders were placed and %d refused, want hardly any placed", placed, refused)
		}
		sale.check()
	})
}

func TestAProductThatRedisDoesNotKnowIsLeftToTheLedgerAndKnownThen(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	var gate *redisfront.Gate
	p := newSalesProcess(t, "sqlite::memory:", s.URL(), saleGrace, func(g checkout.Gate) checkout.Gate {
		gate, _ = g.(*redisfront.Gate)
		return g
	})
	testenv.Until(t, patience, "the front works", func() bool { return p.front.State().Working })
	if _, err := ledger.Submit(t.Context(), p.desk.Ledger, ledger.PutProduct{
		ID: "gone", Title: ledger.Patch[string]{Set: true, Value: "T"},
		Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 100, Currency: "CNY"}},
	}); err != nil {
		t.Fatal(err)
	}
	isKnown := func() bool { return hash(t, c, "inventory:{gone}")["quantity"] == "0" }
	testenv.Until(t, patience, "it is known", isKnown)
	do(t, c, "DEL", "inventory:{gone}")
	for i, refused := range []int64{0, 1} {
		_, err := p.desk.Place(t.Context(), checkout.Order{
			Scope: checkout.Merchant, IdempotencyKey: fmt.Sprint(i), UserID: "u", Lines: []checkout.Line{{ProductID: "gone", Quantity: 1}},
		})
		if !errors.Is(err, fault.ErrOutOfStock) {
			t.Errorf("order %d: got %v, want out_of_stock", i, err)
		}
		if got := gate.Counts().Refused; got != refused {
			t.Errorf("after order %d the gate has refused %d, want %d", i, got, refused)
		}
		testenv.Until(t, patience, "it is known again", isKnown)
	}
}
