// Package sim runs the real ledger, checkout, fronts and loops of several processes over one record in memory, with buyers, a
// merchant, a provider and a reader of the log, while chance breaks things: all of it decided by a seed, so that whatever went
// wrong goes wrong again.
package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

const (
	auditEvery = 200             // steps
	calmMax    = 5 * time.Minute // from the end of all faults until everything must be in order
	settleLate = 3 * time.Second // how long past its pay_by an order may be pending when nothing is wrong
)

// Run is what became of a seed.
type Run struct {
	Seed  uint64
	Steps int
	Hash  uint64   // of the whole trace: the same seed has the same
	Wrong []string // what was violated
	Trace []string // the last steps
}

func (r Run) String() string {
	if len(r.Wrong) == 0 {
		return fmt.Sprintf("seed %d: clean, %d steps, trace %x", r.Seed, r.Steps, r.Hash)
	}
	return fmt.Sprintf("seed %d: after %d steps:\n\t%s\nthe last steps:\n%s\nto see it again: go test ./internal/sim -run 'TestSeed$' -v -sim.seed=%d",
		r.Seed, r.Steps, strings.Join(r.Wrong, "\n\t"), strings.Join(r.Trace, "\n"), r.Seed)
}

// Seed runs the world that a seed describes. tell, if any, is told each step.
func Seed(t *testing.T, seed uint64, tell func(string)) (r Run) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		w := newWorld(seed)
		w.bus.tell = tell
		w.run()
		r = Run{Seed: seed, Steps: w.bus.steps, Hash: w.bus.hash, Wrong: w.wrong, Trace: slices.Clone(w.bus.tail())}
	})
	return r
}

// world is everything there is under one seed.
type world struct {
	seed   uint64
	bus    *bus
	store  *Store
	offset time.Duration // of the record's clock

	alone         bool // one process, as on SQLite
	ledgerOptions ledger.Options
	slots         []*process
	boots         int
	actors        sync.WaitGroup

	history history
	shop    shop
	busy    int  // clients that have not finished
	playing int  // of these, those that still begin new things
	quiet   bool // nothing goes wrong any more
	jumped  bool // some clock may have
	mu      sync.Mutex
	wrong   []string
}

func newWorld(seed uint64) *world {
	w := &world{seed: seed}
	r := rand.New(w.stream("world")) //nolint:gosec // repeatable, not secret
	opens := time.Date(2026, 11, 20, r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e9), time.UTC)
	if r.IntN(3) == 0 { // just before midnight
		opens = time.Date(2026, 11, 20, 23, 59, 30+r.IntN(29), r.IntN(1e9), time.UTC)
	}
	w.offset = time.Until(opens)
	w.alone = r.IntN(3) == 0
	w.bus = &bus{clock: w.clock, rand: rand.New(w.stream("bus")), rates: drawRates(r), kill: w.kill, hash: 14695981039346656037} //nolint:gosec // repeatable
	w.store = newStore(w.clock, w.bus, w.alone)
	w.bus.store = w.store
	w.ledgerOptions = ledger.Options{
		BatchMax: []int{2, 4, 16, 512}[r.IntN(4)], OpenMax: []int{2, 4, 64}[r.IntN(3)], BlockSize: []int64{1, 3, 100}[r.IntN(3)],
		SettleMax: 64, PayWindow: time.Duration(2+r.IntN(6)) * time.Second,
	}
	processes := 1
	if !w.alone {
		processes = 1 + r.IntN(3)
	}
	w.slots = make([]*process, processes)
	for slot := range w.slots {
		w.boot(slot)
	}
	w.open(r)
	return w
}

// clock is the record's clock. It never jumps: whoever sets it sets the truth.
func (w *world) clock() time.Time { return time.Now().Add(w.offset) }

// violated notes something that must never be. The first is enough to stop.
func (w *world) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, fmt.Sprintf(format, args...))
}

func (w *world) broken() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.wrong) > 0
}

// run lets things go wrong until the clients have had enough of it, then has nothing go wrong any more and waits until
// everything is in order.
func (w *world) run() {
	synctest.Wait()
	for w.playing > 0 && !w.broken() && w.within() {
		w.bus.step()
		if w.bus.steps%auditEvery == 0 {
			w.audit(time.Hour)
		}
	}
	if !w.broken() {
		w.heal()
		w.settle()
	}
	w.end()
}

func (w *world) within() bool {
	if w.bus.steps < stepsMax {
		return true
	}
	w.violated("after %d steps it is still not over", stepsMax)
	return false
}

// heal ends all faults and starts what is dead.
func (w *world) heal() {
	synctest.Wait()
	w.quiet = true
	w.bus.rates = calm()
	w.bus.outage = time.Time{}
	for _, p := range w.slots {
		p.pausedUntil, p.outUntil = time.Time{}, time.Time{}
		w.jumped = w.jumped || p.jump.Swap(0) != 0
	}
	w.inspect()
	synctest.Wait()
}

// settle waits for what must come about when nothing is wrong.
func (w *world) settle() {
	latest := w.clock().Add(calmMax)
	for w.within() && !w.broken() {
		w.bus.step()
		if w.bus.steps%20 != 0 {
			continue
		}
		left := w.unsettled()
		if left == "" {
			break
		}
		if w.clock().After(latest) {
			w.violated("EV: %s after nothing was wrong: %s", calmMax, left)
		}
	}
	if !w.broken() {
		w.audit(settleLate)
		w.judge()
	}
}

// unsettled says what is not in order yet.
func (w *world) unsettled() string {
	switch {
	case w.busy > 0:
		return fmt.Sprintf("%d clients have not finished", w.busy)
	case len(w.store.log) != len(w.store.outbox):
		return fmt.Sprintf("%d of %d events are not in the log", len(w.store.outbox)-len(w.store.log), len(w.store.outbox))
	case int(w.history.read) != len(w.store.log):
		return fmt.Sprintf("the reader has read %d of %d events", w.history.read, len(w.store.log))
	}
	for _, no := range sortedKeys(w.store.orders) {
		if o := w.store.orders[no]; o.Status == order.Pending {
			return fmt.Sprintf("order %s is still pending, %s after its pay_by", no, w.clock().Sub(o.PayBy))
		}
	}
	return ""
}

// audit runs V1 to V11 over what is committed.
func (w *world) audit(late time.Duration) {
	synctest.Wait()
	for _, m := range w.store.mistakes {
		w.violated("%s", m)
	}
	w.judgeLimits()
	for _, c := range w.store.audit(late).Checks {
		if c.Violations > 0 {
			w.violated("%s: %d violations, such as %q", c.ID, c.Violations, c.Samples)
		}
	}
}

// end lets nobody act any more.
func (w *world) end() {
	synctest.Wait()
	for _, p := range w.slots {
		p.dead.Store(true)
		p.cancel()
		_ = p.ledger.Close(p.ctx)
	}
	w.bus.killAll(nil)
	time.Sleep(time.Minute) // whoever was between two runs wakes up and finds that it is over
	w.bus.killAll(nil)
	w.actors.Wait()
}
