package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

const (
	markBits   = 1 << 13
	remindLead = 2 * time.Second
	bootMax    = 4 * time.Second // from the death of a process to the next
)

// process is one desk over the shared record, put together as the server does it.
type process struct {
	name string
	w    *world
	dead atomic.Bool
	jump atomic.Int64 // of the wall clock, by which the loops look
	skew time.Duration

	pausedUntil, outUntil time.Time
	open                  []*tx

	ctx    context.Context //nolint:containedctx // ends with the process
	cancel context.CancelFunc
	rand   *rand.Rand // of its loops' pace
	ledger *ledger.Ledger
	desk   *checkout.Desk
	calls  int
}

type orderCache interface {
	checkout.OrderCache
	Applied(a *ledger.Applied)
	Doubted(a *ledger.Applied)
}

// boot starts a process. Alone on its record it has all that lives in one process; several have no cache of orders, and look for
// used keys in the record.
func (w *world) boot(slot int) {
	w.boots++
	p := &process{
		name: fmt.Sprintf("p%d.%d", slot, w.boots), w: w,
		skew: time.Duration(w.bus.rand.Int64N(int64(600*time.Millisecond))) - 300*time.Millisecond,
		rand: rand.New(w.stream(fmt.Sprint("loops", w.boots))), //nolint:gosec // repeatable, not secret
	}
	if !w.quiet && w.bus.rates.jump > 0 && w.bus.rand.IntN(3) == 0 { // started before anybody set the clock
		p.jump.Store(w.bus.rand.Int64N(int64(2*time.Hour)) - int64(time.Hour))
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	v := &view{s: w.store, p: p}
	log := slog.New(slog.DiscardHandler)
	marks := inproc.NewSmallKeyMarks(p.clock, markBits)
	gate := inproc.NewGate(v.Shelf, marks, p.clock)
	gate.Woken = func(ctx context.Context) {
		actor, _ := ctx.Value(actorKey).(string)
		w.bus.sleep(p, actor, 0)
	}
	countdown := inproc.NewCountdown()
	expiring := worker.ExpirerOptions{Clock: p.wall, Log: log}
	var orders orderCache = inproc.NewOrders()
	if !w.alone {
		orders = inproc.Uncached{}
		gate.Keys = inproc.NewKeyLooks(v.KeysUsed)
		gate.Keys.Woken = gate.Woken
		marks.Ready()
		expiring.Pending, expiring.Self = v.StillPending, uint64(w.boots)
	}
	relay := worker.NewRelay(v, p.name, log, func(int) { failpoint.Hit("sim.relayed") })
	opt := w.ledgerOptions
	batchIDs := w.stream(fmt.Sprint("ledger", w.boots))
	opt.Randomness = func(b []byte) { _, _ = batchIDs.Read(b) }
	opt.Using = gate.Using
	opt.Doubted = orders.Doubted
	opt.Observe = p.observe
	opt.Applied = func(a *ledger.Applied) {
		gate.Applied(a)
		orders.Applied(a)
		countdown.Applied(a)
	}
	p.ledger = ledger.New(v, opt)
	p.desk = &checkout.Desk{
		Ledger: p.ledger, Record: v, Gate: gate, Orders: orders, Clock: p.clock,
		Random: w.stream(fmt.Sprint("desk", w.boots)),
	}
	start := time.Now()
	expiring.Steady = func() time.Duration { return time.Since(start) }
	expirer := worker.NewExpirer(p.ledger, v, countdown, expiring)
	p.loop("expirer", time.Second, expirer.RunOnce)
	p.loop("relay", time.Second, relay.RunOnce)
	p.loop("reminder", time.Second, worker.NewReminder(p.ledger, v, remindLead, p.wall, log).RunOnce)
	if w.alone {
		w.actors.Go(func() { worker.NewMarker(v, marks, p.clock, log).Run(named(p.ctx, p.name+".marker")) })
	}
	w.slots[slot] = p
}

// clock is the wall clock as long as nobody sets it.
func (p *process) clock() time.Time { return p.w.clock().Add(p.skew) }

// wall is the wall clock, which somebody may set. It says nothing of the steady time in between.
func (p *process) wall() time.Time { return p.clock().Round(0).Add(time.Duration(p.jump.Load())) }

// loop does a turn now and then. When is the bus's to say, so a loop's own timers and signals are left out.
func (p *process) loop(name string, every time.Duration, turn func(context.Context) (bool, error)) {
	actor := p.name + "." + name
	ctx := named(p.ctx, actor)
	pace := rand.New(rand.NewPCG(p.rand.Uint64(), 1)) //nolint:gosec // repeatable, not secret
	p.w.actors.Go(func() {
		for {
			p.w.bus.sleep(p, actor, every/3+time.Duration(pace.Int64N(int64(every-every/3))))
			_, _ = turn(ctx)
		}
	})
}

// observe watches for what no rule may do: commands that the record refuses, and rules that panic.
func (p *process) observe(s ledger.BatchStats) {
	if s.Err != nil && s.Commands == 1 && !errors.Is(s.Err, errAway) && !errors.Is(s.Err, ledger.ErrRetry) {
		p.w.violated("a command failed alone: %.300s", s.Err)
	}
}

// kill ends a process at once, as kill -9 would: whatever its actors were about to do, they do not. What it had sent at a commit
// may land or not.
func (w *world) kill(p *process) {
	for len(p.open) > 0 {
		t := p.open[0]
		if w.committing(t) && !w.store.oneWriter && w.bus.rand.IntN(2) == 0 {
			t.drift()
		} else {
			t.end()
		}
	}
	p.dead.Store(true)
	p.cancel()
	_ = p.ledger.Close(p.ctx)
	w.bus.killAll(p)
	for slot := range w.slots {
		if w.slots[slot] == p {
			w.bus.later("boot "+p.name, time.Duration(w.bus.rand.Int64N(int64(bootMax))), func() { w.boot(slot) })
		}
	}
}

func (w *world) committing(t *tx) bool {
	w.bus.mu.Lock()
	defer w.bus.mu.Unlock()
	for _, o := range w.bus.parked {
		if o.p == t.p && o.effect.fates&commits != 0 && t.claimed {
			return true
		}
	}
	return false
}

// call is a request on its way.
type call struct {
	answered, broken bool
	value            any
	err              error
	leave            context.CancelFunc // the caller waits no longer
}

// serve has a process answer a request.
func (p *process) serve(what string, do func(context.Context, *checkout.Desk) (any, error)) *call {
	p.calls++
	ctx, leave := context.WithCancel(named(p.ctx, fmt.Sprintf("%s.r%d", p.name, p.calls)))
	c := &call{leave: leave}
	p.w.actors.Go(func() {
		defer leave()
		p.w.bus.take(p, effect{ctx: ctx, what: what})
		value, err := do(ctx, p.desk)
		if p.w.bus.take(p, effect{ctx: ctx, what: "answer", fates: sends}) == well {
			c.answered, c.value, c.err = true, value, err
		} else {
			c.broken = true
		}
	})
	return c
}

// stream gives chance that the seed alone decides, for one user of it.
func (w *world) stream(name string) *rand.ChaCha8 {
	var key [32]byte
	binary.LittleEndian.PutUint64(key[:], w.seed)
	copy(key[8:], name)
	return rand.NewChaCha8(key)
}
