package redisfront_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func TestTheGateRefusesWithoutTheRecord(t *testing.T) {
	r := newRecord()
	r.put("gone", 0, nil)
	r.put("here", 2, nil)
	r.put("later", 5, func(p *product.Product) { p.OnSaleFrom = time.Now().Add(time.Minute) })
	r.put("soon", 5, func(p *product.Product) { p.OnSaleFrom = time.Now().Add(1500 * time.Millisecond) })
	r.put("over", 5, func(p *product.Product) { p.OnSaleUntil = time.Now().Add(-time.Minute) })
	r.put("off", 5, func(p *product.Product) { p.Active = false })
	r.put("stopped", 5, func(p *product.Product) { p.Quarantine, p.QuarantinedAt = "V1", time.Now() })
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, r, quick(s.URL()))
	for _, c := range []struct {
		id       product.ID
		quantity int64
		want     error
	}{
		{"gone", 1, fault.ErrOutOfStock},
		{"here", 2, nil},
		{"here", 3, fault.ErrOutOfStock},
		{"later", 1, fault.ErrNotOnSale},
		{"soon", 1, nil},
		{"over", 1, fault.ErrNotOnSale},
		{"off", 1, fault.ErrNotOnSale},
		{"stopped", 1, fault.ErrNotOnSale},
		{"unknown", 1, nil},
	} {
		for _, how := range []string{"asked", "asked again at once"} {
			if err := p.Admit(t.Context(), "u-1", want(c.id, c.quantity)); !errors.Is(err, c.want) {
				t.Errorf("%d of %s, %s: got %v, want %v", c.quantity, c.id, how, err, c.want)
			}
		}
	}
	if r.asked() > 0 || p.own.asked > 0 {
		t.Errorf("the record was asked %d times and this process' own gate %d times, want neither", r.asked(), p.own.asked)
	}
	two := append(want("here", 1), want("gone", 1)...)
	if err := p.Admit(t.Context(), "u-1", two); !errors.Is(err, fault.ErrOutOfStock) {
		t.Errorf("an order of both: got %v, want out_of_stock", err)
	}
}

// Whoever was told that stock came in, and orders of it from the same desk, is not told that there is none: not in a storm of refusals either.
func TestADeskDoesNotRefuseWhatItKnowsToBeThere(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	o := quick(s.URL())
	o.Lease = 3 * time.Second
	p := working(t, r, o)
	c := direct(t, s.URL())
	var storm sync.WaitGroup
	calm := make(chan struct{})
	for range 4 {
		storm.Go(func() {
			for {
				select {
				case <-calm:
					return
				default:
				}
				if p.Admit(t.Context(), "u-2", want("sku-1", 1)) == nil {
					p.Answered("u-2", want("sku-1", 1), nil)
				}
			}
		})
	}
	defer storm.Wait()
	defer close(calm)
	for range 60 {
		testenv.Until(t, patience, "what is gone is refused", func() bool {
			err := p.Admit(t.Context(), "u-1", want("sku-1", 1))
			if err == nil {
				p.Answered("u-1", want("sku-1", 1), nil)
			}
			return errors.Is(err, fault.ErrOutOfStock)
		})
		p.Applied(r.put("sku-1", 5, nil))
		for range 3 {
			if err := p.Admit(t.Context(), "u-1", want("sku-1", 5)); err != nil {
				t.Fatalf("of what came in: got %v, want admitted", err)
			}
			p.Answered("u-1", want("sku-1", 5), nil)
		}
		p.Applied(r.put("sku-1", 0, nil))
		testenv.Until(t, patience, "Redis has heard of it", func() bool { return hash(t, c, "inventory:{sku-1}")["quantity"] == "0" })
	}
}

// A desk that does not know for a moment whether to believe Redis tells it afterwards what happened meanwhile.
func TestWhatCameInWhileTheEpochWasNotKnownIsTold(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, r, quick(s.URL()))
	c := direct(t, s.URL())
	r.isAway(true)
	testenv.Until(t, patience, "the epoch is not believed", func() bool { return !p.KnowsKeys() })
	p.Applied(r.put("sku-1", 5, nil))
	r.isAway(false)
	testenv.Until(t, patience, "Redis has heard of it", func() bool { return hash(t, c, "inventory:{sku-1}")["quantity"] == "5" })
}

func TestARefusalIsBelievedForASecondThenOneOfAllProcessesAsks(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	all := []*process{working(t, r, quick(s.URL())), working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))}
	r.put("sku-1", 3, nil) // a delivery that nobody tells of
	began := time.Now()
	stormUntil := began.Add(900 * time.Millisecond)
	storm := func() (refused bool) {
		var mu sync.Mutex
		var wg sync.WaitGroup
		for _, p := range all {
			for range 20 {
				wg.Go(func() {
					err := p.Admit(t.Context(), "u-1", want("sku-1", 1))
					if err == nil {
						p.Answered("u-1", want("sku-1", 1), nil)
						return
					}
					mu.Lock()
					refused = true
					mu.Unlock()
				})
			}
		}
		wg.Wait()
		return refused
	}
	for time.Now().Before(stormUntil) && r.asked() == 0 {
		storm()
	}
	testenv.Until(t, patience, "somebody is let through", func() bool { return !storm() })
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("a product was told sold out for %v while there was stock, want two seconds at most", took)
	}
	if got := r.asked(); got != 1 {
		t.Errorf("the record was asked %d times by three processes, want once", got)
	}
}

func TestOnlySoManyAreLetInBeyondWhatThereIs(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 100, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	let := map[*process]int{}
	for range 400 {
		for _, p := range []*process{a, b} {
			if p.Admit(t.Context(), "u-1", want("sku-1", 1)) == nil {
				let[p]++
			}
		}
	}
	if total := let[a] + let[b]; total < 600 || total > 620 {
		t.Errorf("%d and %d were let in, want what there is and a batch of 512 more", let[a], let[b])
	}
	for range let[a] {
		a.Answered("u-1", want("sku-1", 1), nil)
	}
	// a says at once that nothing is in flight there any more, though nobody asks it for anything.
	testenv.Until(t, patience, "others are let in at the other process", func() bool { return b.Admit(t.Context(), "u-1", want("sku-1", 1)) == nil })
}

func TestWhatADeadProcessHadInFlightLapses(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 1, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	for range 600 {
		_ = a.Admit(t.Context(), "u-1", want("sku-1", 1))
	}
	a.stop() // it is never heard of again
	if err := b.Admit(t.Context(), "u-1", want("sku-1", 1)); err == nil {
		t.Fatal("let in beside 513 others: the test proves nothing")
	}
	began := time.Now()
	testenv.Until(t, patience, "somebody is let in", func() bool { return b.Admit(t.Context(), "u-1", want("sku-1", 1)) == nil })
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %v, want two seconds", took)
	}
}

// After the server's clock was set back, what it stamped before lies ahead of it.
func TestStampsOfATimeToComeAreNotBelieved(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	r.put("sku-2", 5, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	p := working(t, r, quick(s.URL()))
	r.put("sku-1", 3, nil) // a delivery that nobody tells of
	ahead := strconv.FormatInt(time.Now().Add(time.Hour).UnixMilli(), 10)
	do(t, c, "HSET", "inventory:{sku-1}", "fresh", ahead, "probed", ahead)
	do(t, c, "HSET", "inventory:{sku-2}", "f:a-process-that-died", "5000 "+ahead)
	for _, id := range []product.ID{"sku-1", "sku-2"} {
		if err := p.Admit(t.Context(), "u-1", want(id, 1)); err != nil {
			t.Errorf("%s: got %v, want admitted", id, err)
		}
	}
	if got := r.asked(); got != 1 {
		t.Errorf("the record was asked %d times, want once", got)
	}
}

func TestARefusalByLimitIsToldByTheGateForASecond(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 100, func(p *product.Product) { p.MaxPerUser = 2 })
	s := testenv.StartRedis(t, testenv.Options{})
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	refused := func(p *process, quantity int64) bool {
		err := p.Admit(t.Context(), "u-1", want("sku-1", quantity))
		if err != nil && !errors.Is(err, fault.ErrPurchaseLimit) {
			t.Fatalf("got %v, want purchase_limit or nothing", err)
		}
		return err != nil
	}
	beyond := fault.ErrPurchaseLimit.With("product_id", "sku-1")
	a.Answered("u-1", want("sku-1", 2), beyond)
	testenv.Until(t, patience, "the other process refuses, too", func() bool { return refused(b, 2) })
	if refused(b, 1) {
		t.Error("one unit is refused, though the record refused two")
	}
	if err := b.Admit(t.Context(), "u-2", want("sku-1", 2)); err != nil {
		t.Errorf("another user: got %v, want admitted", err)
	}
	testenv.Until(t, patience, "it is over", func() bool { return !refused(b, 2) })

	r.put("sku-2", 100, func(p *product.Product) { p.MaxPerUser = 2 })
	testenv.Until(t, patience, "the other process refuses what was beyond the limit in an order of several lines", func() bool {
		a.Answered("u-3", slices.Concat(want("sku-2", 2), want("sku-1", 2)), beyond)
		return errors.Is(b.Admit(t.Context(), "u-3", want("sku-1", 2)), fault.ErrPurchaseLimit)
	})
	if err := b.Admit(t.Context(), "u-3", want("sku-2", 2)); err != nil {
		t.Errorf("the other line: got %v, want admitted", err)
	}

	testenv.Until(t, patience, "the other process refuses again", func() bool {
		a.Answered("u-1", want("sku-1", 2), beyond)
		return refused(b, 2)
	})
	a.cache.Changing(&ledger.Changes{
		Orders: []ledger.OrderChange{{Order: &order.Order{
			UserID: "u-1", Status: order.Cancelled, Lines: []order.Line{{ProductID: "sku-1", Quantity: 2}},
		}}},
		Units: map[ledger.Buyer]int64{{ProductID: "sku-1", UserID: "u-1"}: 0},
	})
	if refused(b, 2) {
		t.Error("refused by another process right after his order was cancelled")
	}
	b.Answered("u-1", want("sku-1", 2), beyond) // by the record, before
	for range 20 {
		if refused(a, 2) || refused(b, 2) {
			t.Fatal("refused by what was true before his order was cancelled")
		}
		pause(5 * time.Millisecond)
	}
}

// On SQLite nobody is told of keys and values, for nobody else reads them; who may buy again is told all the same.
func TestTheOnlyProcessForgetsARefusalByLimitWhenAnOrderEnds(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 100, func(p *product.Product) { p.MaxPerUser = 2 })
	o := quick(testenv.StartRedis(t, testenv.Options{}).URL())
	o.Alone = true
	p := working(t, r, o)
	refused := func() bool { return p.Admit(t.Context(), "u-1", want("sku-1", 2)) != nil }
	testenv.Until(t, patience, "it refuses", func() bool {
		p.Answered("u-1", want("sku-1", 2), fault.ErrPurchaseLimit.With("product_id", "sku-1"))
		return refused()
	})
	p.cache.Changing(&ledger.Changes{
		Orders: []ledger.OrderChange{{Order: &order.Order{
			UserID: "u-1", Status: order.Expired, Lines: []order.Line{{ProductID: "sku-1", Quantity: 2}},
		}}},
		Units: map[ledger.Buyer]int64{{ProductID: "sku-1", UserID: "u-1"}: 0},
	})
	if refused() {
		t.Error("refused right after his order has expired")
	}
}

func TestManyAreAskedAboutInOneRoundTrip(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 100_000, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, r, quick(s.URL()))
	c := direct(t, s.URL())
	do(t, c, "CONFIG", "RESETSTAT")
	const n = 20_000
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			for range n / 200 {
				if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil {
					t.Error(err)
				}
				p.Answered("u-1", want("sku-1", 1), nil)
			}
		})
	}
	wg.Wait()
	info, err := do(t, c, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	if calls := callsOf(t, info, "evalsha"); calls > n/4 {
		t.Errorf("%d orders took %d scripts, want many orders in each", n, calls)
	}
}

func TestRedisAwayIsNoReasonToRefuse(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	proxy, address := overProxy(t, s)
	p := working(t, r, strict(address))
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err == nil {
		t.Fatal("admitted while Redis works: the test proves nothing")
	}
	proxy.Blackhole(true)
	testenv.Until(t, patience, "this process' own gate is asked", func() bool {
		began := time.Now()
		err := p.Admit(t.Context(), "u-1", want("sku-1", 1))
		if took := time.Since(began); took > time.Second {
			t.Errorf("a buyer waited %v", took)
		}
		return err == nil
	})
	p.own.mu.Lock()
	p.own.refusal = fault.ErrOutOfStock
	p.own.mu.Unlock()
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); !errors.Is(err, fault.ErrOutOfStock) {
		t.Errorf("got %v, want what this process' own gate says", err)
	}
	proxy.Blackhole(false)
	p.works(t)
}

func TestACallerWhoHasLeftWaitsForNoRoundTripAndHasNothingInFlight(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 1, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	proxy, address := overProxy(t, s)
	p := working(t, r, strict(address))
	working(t, r, quick(s.URL())) // one that is alone would know
	left, leave := context.WithCancel(t.Context())
	leave()
	for what, asks := range map[string]func() bool{
		"an order":   func() bool { return errors.Is(p.Admit(left, "u-1", want("sku-1", 1)), context.Canceled) },
		"a used key": func() bool { return p.MayHaveUsed(left, key(1)) && p.own.keys == 0 },
	} {
		testenv.Until(t, patience, what+" does not wait", func() bool { // it may be that long before it looks, on a busy machine
			p.works(t)
			p.own.mu.Lock()
			p.own.keys = 0
			p.own.mu.Unlock()
			proxy.Blackhole(true)
			defer proxy.Blackhole(false)
			return asks()
		})
	}
	p.works(t)
	c := direct(t, s.URL())
	for range 700 { // a batch and more beyond what there is
		if err := p.Admit(left, "u-1", want("sku-1", 1)); err == nil {
			p.Answered("u-1", want("sku-1", 1), nil) // its answer was quicker
		}
	}
	testenv.Until(t, patience, "nothing is in flight in Redis", func() bool {
		for field, value := range hash(t, c, "inventory:{sku-1}") {
			if strings.HasPrefix(field, "f:") && !strings.HasPrefix(value, "0 ") {
				return false
			}
		}
		return true
	})
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil {
		t.Errorf("got %v, want admitted: nothing is in flight", err)
	}
}

func TestAProbeIsAnsweredThoughWhoeverAskedHasLeft(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 0, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	asking := &heldRecord{record: r, asked: make(chan struct{}, 100), goOn: make(chan struct{})}
	c := direct(t, s.URL())
	p := beginOver(t, asking, quick(s.URL()))
	p.works(t)
	r.put("sku-1", 3, nil) // a delivery that nobody tells of
	ctx, leave := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		testenv.Until(t, patience, "somebody asks the record", func() bool { return p.Admit(ctx, "u-1", want("sku-1", 1)) == nil })
	})
	<-asking.asked
	leave()
	close(asking.goOn)
	all.Wait()
	testenv.Until(t, patience, "all know what was answered", func() bool { return hash(t, c, "inventory:{sku-1}")["quantity"] == "3" })
	if n := r.asked(); n != 1 {
		t.Errorf("the record was asked %d times, want once", n)
	}
}

// heldRecord answers about a product when it is let.
type heldRecord struct {
	*record
	asked, goOn chan struct{}
}

func (r *heldRecord) Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error) {
	r.asked <- struct{}{}
	<-r.goOn
	if ctx.Err() != nil {
		return checkout.Shelf{}, ctx.Err()
	}
	return r.record.Shelf(ctx, id)
}

// What was just refused to one who wants much is still there for one who wants less.
func TestARefusalIsForAsManyAsThereAreNot(t *testing.T) {
	r := newRecord()
	r.put("last", 1, nil)
	p := working(t, r, quick(testenv.StartRedis(t, testenv.Options{}).URL()))
	if err := p.Admit(t.Context(), "u-1", want("last", 2)); !errors.Is(err, fault.ErrOutOfStock) {
		t.Errorf("two of one: got %v, want out of stock", err)
	}
	if err := p.Admit(t.Context(), "u-2", want("last", 1)); err != nil {
		t.Errorf("the last one: got %v, want admitted", err)
	}
}
