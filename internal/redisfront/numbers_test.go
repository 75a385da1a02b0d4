package redisfront_test

import (
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

var numbersWanted = flag.Int("numbers.n", 100_000, "order numbers that are given in the test of them")

// grants is a record in memory of one product that never runs out. One transaction runs at a time.
type grants struct {
	*record
	tx sync.Mutex

	gmu        sync.Mutex
	next       map[order.Day]int64
	used       map[order.Number]bool
	collisions int
	direct     atomic.Int64 // grants to a ledger, which found none in Redis
	jobs       map[string]bool
	began      time.Time
}

func newGrants() *grants {
	return &grants{
		record: newRecord(), next: map[order.Day]int64{}, used: map[order.Number]bool{}, jobs: map[string]bool{},
		began: time.Now(),
	}
}

// now is a time of 2026-11-20, for as long as a test may take.
func (g *grants) now() time.Time {
	return time.Date(2026, 11, 20, 1, 0, 0, 0, time.UTC).Add(time.Since(g.began))
}

func (g *grants) Now(context.Context) (time.Time, error) { return g.now(), nil }

func (g *grants) GrantAhead(_ context.Context, day order.Day, n int64) (int64, error) {
	g.gmu.Lock()
	defer g.gmu.Unlock()
	first := max(g.next[day], 1)
	g.next[day] = first + n
	return first, nil
}

func (g *grants) ClaimJob(_ context.Context, name string, day order.Day, _ string, _ time.Duration) (claimed, done bool, err error) {
	return false, true, nil
}
func (g *grants) FinishJob(context.Context, string, order.Day, string) error   { return nil }
func (g *grants) CountAhead(context.Context, order.Day) (more bool, err error) { return false, nil }

func (g *grants) granted(day order.Day) int64 {
	g.gmu.Lock()
	defer g.gmu.Unlock()
	return max(g.next[day], 1) - 1
}

type grantTx struct {
	g      *grants
	till   *till
	owned  []ledger.Block
	orders []*order.Order
	over   bool
}

func (*grantTx) Claim(context.Context, ledger.BatchID) error { return nil }

func (t *grantTx) Load(context.Context, *ledger.Want) (*ledger.Rows, error) {
	p := &product.Product{ID: "sku", Title: "Ticket", Price: money.Money{Amount: 1, Currency: "CNY"}, Active: true, Version: 1}
	return &ledger.Rows{
		Now: t.g.now(), Products: map[product.ID]*product.Product{"sku": p},
		Stock: map[product.ID]*stock.Stock{"sku": {ProductID: "sku", Received: 1 << 40, Version: 1}},
		Keys:  map[ledger.Key]ledger.Answered{}, Units: map[ledger.Buyer]int64{},
	}, nil
}

func (t *grantTx) GrantNumbers(ctx context.Context, day order.Day, n int64) (int64, error) {
	t.g.direct.Add(1)
	first, err := t.g.GrantAhead(ctx, day, n)
	t.owned = append(t.owned, ledger.Block{First: first, Count: n})
	return first, err
}

func (t *grantTx) Save(_ context.Context, c *ledger.Changes) error {
	t.g.gmu.Lock()
	defer t.g.gmu.Unlock()
	for _, o := range c.NewOrders {
		if t.g.used[o.Number] {
			t.g.collisions++
			return ledger.ErrDuplicate
		}
	}
	t.orders = c.NewOrders
	return nil
}

func (t *grantTx) Commit(context.Context) error {
	t.g.gmu.Lock()
	for _, o := range t.orders {
		t.g.used[o.Number] = true
	}
	t.g.gmu.Unlock()
	t.till.owns(t.owned)
	t.Rollback()
	return nil
}

func (t *grantTx) Rollback() {
	if !t.over {
		t.over = true
		t.g.tx.Unlock()
	}
}

// till is a process that gives numbers.
type till struct {
	*process
	*ledger.Ledger
	g       *grants
	numbers *redisfront.Numbers
	n       *worker.Numberer

	mu    sync.Mutex
	owned []ledger.Block // that it took, or was granted
	last  int64          // count of the last number it gave
}

// Begin is the record as this till sees it.
func (till *till) Begin(context.Context) (ledger.Tx, error) {
	till.g.tx.Lock()
	return &grantTx{g: till.g, till: till}, nil
}

func (till *till) owns(blocks []ledger.Block) {
	till.mu.Lock()
	defer till.mu.Unlock()
	till.owned = append(till.owned, blocks...)
}

func openTill(t *testing.T, g *grants, address string, block, ready int64) *till {
	t.Helper()
	till := &till{process: begin(t, g.record, quick(address)), g: g}
	till.numbers = redisfront.NewNumbers(till.front, func(day order.Day, blocks int64) { till.n.Left(day, blocks) })
	till.n = worker.NewNumberer(g, worker.NumbererOptions{
		Waiting: till.numbers, Held: func() (order.Day, int64) { return till.Numbers() }, Holder: "test", BlockSize: block, Ready: ready,
	})
	till.Ledger = ledger.New(till, ledger.Options{
		BlockSize: block,
		Granted: func(ctx context.Context, day order.Day, above, want int64) []ledger.Block {
			blocks := till.n.Take(ctx, day, above, want)
			till.owns(blocks)
			return blocks
		},
	})
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { till.n.Run(ctx) })
	stop := till.stop
	till.stop = sync.OnceFunc(func() {
		_ = till.Close(context.Background())
		cancel()
		all.Wait()
		stop()
	})
	t.Cleanup(till.stop)
	return till
}

var wishes atomic.Uint64

// sell places orders at once, and fails unless each has a number of its own.
func (till *till) sell(t *testing.T, n int, seen *sync.Map) {
	t.Helper()
	commands := make([]ledger.Command[ledger.Placed], n)
	for i := range commands {
		var k ledger.Key
		binary.LittleEndian.PutUint64(k[:], wishes.Add(1))
		commands[i] = ledger.Place{Key: k, UserID: "u", Lines: []ledger.PlaceLine{{ProductID: "sku", Quantity: 1, Field: "lines[0]"}}}
	}
	last := order.Number(0)
	ledger.SubmitAll(context.Background(), till.Ledger, commands, func(_ int, p ledger.Placed, err error) {
		switch {
		case errors.Is(err, fault.ErrUnavailable) || errors.Is(err, fault.ErrOverloaded):
		case err != nil:
			t.Errorf("place: %v", err)
		default:
			if _, twice := seen.LoadOrStore(p.Number, true); twice {
				t.Errorf("%s was given twice", p.Number)
			}
			if p.Number <= last {
				t.Errorf("%s after %s", p.Number, last)
			}
			last = p.Number
		}
	})
	till.mu.Lock()
	till.last = max(till.last, last.Count())
	till.mu.Unlock()
}

func size(m *sync.Map) (n int64) {
	m.Range(func(any, any) bool { n++; return true })
	return n
}

func TestBlocksWaitInRedisForAnyProcess(t *testing.T) {
	for name, c := range map[string]struct{ block, ready int64 }{"blocks": {100, 2000}, "one by one": {1, 2000}} {
		t.Run(name, func(t *testing.T) {
			s := testenv.StartRedis(t, testenv.Options{})
			g := newGrants()
			a, b := openTill(t, g, s.URL(), c.block, c.ready), openTill(t, g, s.URL(), c.block, c.ready)
			day := order.DayOf(g.now())
			a.works(t)
			b.works(t)
			testenv.Until(t, patience, "numbers are ready", func() bool {
				left, err := a.numbers.Left(t.Context(), day)
				return err == nil && left >= c.ready
			})
			var seen sync.Map
			for range 5 {
				a.sell(t, 150, &seen)
				b.sell(t, 150, &seen)
			}
			if a.numbers.Taken() == 0 || b.numbers.Taken() == 0 {
				t.Error("numbers were not taken from Redis")
			}
			testenv.Until(t, patience, "nothing is under way, and what is unused is told", func() bool {
				waiting, err := a.numbers.Left(t.Context(), day)
				_, inA := a.Numbers()
				_, inB := b.Numbers()
				unused, err2 := a.n.Unused(t.Context(), day)
				all := unused + size(&seen)
				// On a machine so busy that Redis did not answer in time, what waits may have been lost for what the record gave.
				return err == nil && err2 == nil && unused == waiting+inA+inB &&
					(all == g.granted(day) || all < g.granted(day) && g.direct.Load() > 0)
			})
			if g.collisions != 0 {
				t.Errorf("%d collisions", g.collisions)
			}
		})
	}
}

// Numbers are given by four processes, which are killed at random; Redis is flushed, killed, and brought back with what it had at the
// beginning. No number is given twice, and none is left that was given.
func TestNoNumberIsUsedTwiceWhateverBecomesOfRedis(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{Settings: map[string]string{"appendonly": "no"}})
	client := direct(t, s.URL())
	g := newGrants()
	day := order.DayOf(g.now())
	const processes, block, ready = 4, 100, 10_000
	var mu sync.Mutex
	tills := make([]*till, processes)
	for i := range tills {
		tills[i] = openTill(t, g, s.URL(), block, ready)
	}
	tills[0].works(t)
	testenv.Until(t, patience, "numbers are ready", func() bool { return g.granted(day) >= ready })
	do(t, client, "SAVE")

	var seen sync.Map
	var given, taken atomic.Int64
	var all sync.WaitGroup
	wanted := int64(*numbersWanted)
	for i := range tills {
		all.Go(func() {
			random := rand.New(rand.NewPCG(11, uint64(i)))
			for given.Load() < wanted {
				mu.Lock()
				till := tills[i]
				mu.Unlock()
				till.sell(t, 200, &seen)
				given.Add(200)
				if random.IntN(100) == 0 { // it dies, with what it held
					till.stop()
					taken.Add(till.numbers.Taken())
					mu.Lock()
					tills[i] = openTill(t, g, s.URL(), block, ready)
					mu.Unlock()
				}
			}
		})
	}
	reach := func(share float64) {
		for was := given.Load(); float64(was) <= share*float64(wanted); was = given.Load() {
			testenv.Until(t, patience, "more are given", func() bool { return given.Load() > was })
		}
	}
	reach(0.3)
	do(t, client, "FLUSHALL")
	reach(0.6)
	s.Kill()
	s.Start() // with the snapshot of the beginning
	all.Wait()

	for _, till := range tills {
		till.works(t)
	}
	testenv.Until(t, patience, "numbers are ready again", func() bool {
		left, err := tills[0].numbers.Left(t.Context(), day)
		return err == nil && left >= ready/2 // with fewer more are made
	})
	for _, till := range tills {
		till.sell(t, 250, &seen)
		taken.Add(till.numbers.Taken())
	}
	var lost map[int64]bool
	testenv.Until(t, patience, "what is told to be left is what is left", func() bool { // of a process that died it is told for some seconds
		told, err := tills[0].n.Unused(t.Context(), day)
		if err != nil {
			return false
		}
		left, of := whatIsLeft(t, client, g, tills, day)
		lost = of
		return told == left && left > 0
	})
	granted, used := g.granted(day), int64(len(g.used))
	if used != size(&seen) || taken.Load() == 0 {
		t.Errorf("granted %d, used %d by %d answers; %d blocks taken from Redis", granted, used, size(&seen), taken.Load())
	}
	t.Logf("granted %d = used %d + lost %d + left %d; %d blocks taken from Redis, %d collisions",
		granted, used, len(lost), granted-used-int64(len(lost)), taken.Load(), g.collisions)
	for range 10 { // and what is lost stays so
		for _, till := range tills {
			till.sell(t, 500, &seen)
		}
	}
	for no := range g.used {
		if lost[no.Count()] {
			t.Fatalf("%s was lost, and is used", no)
		}
	}
}

// whatIsLeft counts the numbers that wait or that a till holds, each once and none of them used. The others that were granted and not
// used are lost.
func whatIsLeft(t *testing.T, c rueidis.Client, g *grants, tills []*till, day order.Day) (left int64, lost map[int64]bool) {
	t.Helper()
	granted := g.granted(day)
	state := make([]string, granted+100_000) // meanwhile more may be granted
	settled := true
	is := func(what string, from, to int64) (n int64) {
		for count := from; count < to; count++ {
			if state[count] != "" {
				t.Logf("number %d is %s and %s", count, state[count], what)
				settled = false
				return n
			}
			state[count] = what
			n++
		}
		return n
	}
	g.gmu.Lock()
	for no := range g.used {
		is("used", no.Count(), no.Count()+1)
	}
	g.gmu.Unlock()
	for _, till := range tills {
		_, told := till.Numbers()
		till.mu.Lock()
		var held int64
		for _, b := range till.owned {
			held += is("held", max(b.First, till.last+1), b.First+b.Count)
		}
		till.mu.Unlock()
		settled = settled && held == told // else more is on its way to it
		left += held
	}
	blocks, err := do(t, c, "LRANGE", "numbers:{"+g.epoch()+":"+strconv.Itoa(int(day))+"}", "0", "-1").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range blocks {
		var b ledger.Block
		if _, err := fmt.Sscanf(word, "%d:%d", &b.First, &b.Count); err != nil {
			t.Fatal(err)
		}
		left += is("waiting", b.First, b.First+b.Count)
	}
	if !settled {
		return -1, nil
	}
	lost = map[int64]bool{}
	for count := int64(1); count <= granted; count++ {
		if state[count] == "" {
			lost[count] = true
		}
	}
	return left, lost
}

func TestALockIsHeldByOneAndLetGo(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	a := redisfront.NewNumbers(working(t, newRecord(), quick(s.URL())).front, nil)
	b := redisfront.NewNumbers(working(t, newRecord(), quick(s.URL())).front, nil)
	release, ok := a.Lock(t.Context(), "work")
	if !ok {
		t.Fatal("nobody has the lock, and it is not to be had")
	}
	if _, ok := b.Lock(t.Context(), "work"); ok {
		t.Error("two have the lock")
	}
	release()
	testenv.Until(t, patience, "it is let go", func() bool {
		release, ok := b.Lock(t.Context(), "work")
		if ok {
			release()
		}
		return ok
	})
}

func TestWhatAProcessHeldThatIsGoneIsForgotten(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	r := newRecord()
	gone, here := redisfront.NewNumbers(working(t, r, quick(s.URL())).front, nil), redisfront.NewNumbers(working(t, r, quick(s.URL())).front, nil)
	now := time.Now()
	for _, said := range []struct {
		by    *redisfront.Numbers
		after time.Duration
		own   int64
		all   int64
		left  int64
	}{
		{gone, 0, 5, 5, 1},
		{here, time.Second, 7, 12, 2},
		{here, 30 * time.Second, 7, 7, 2}, // it may yet come back
		{here, 2 * time.Minute, 7, 7, 1},
		{gone, 2 * time.Minute, 5, 12, 2},
	} {
		all, err := said.by.Hold(t.Context(), 1, said.own, now.Add(said.after))
		if err != nil || all != said.all {
			t.Errorf("after %s: got %d, %v, want %d", said.after, all, err, said.all)
		}
		c := direct(t, s.URL())
		names, err := do(t, c, "KEYS", "numbers:*:held").AsStrSlice()
		if err != nil || len(names) != 1 {
			t.Fatalf("got %q, %v", names, err)
		}
		if left, err := do(t, c, "HLEN", names[0]).AsInt64(); err != nil || left != said.left {
			t.Errorf("after %s: %d processes are there, %v, want %d", said.after, left, err, said.left)
		}
	}
}
