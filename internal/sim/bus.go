package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
)

const (
	traceTail = 40              // steps told of a run that failed
	stepsMax  = 200_000         // in one run: more is a simulation that goes round in circles
	napMax    = time.Second     // of the scheduler when nobody can do anything
	killed    = fate(1<<8 - 1)  // the process is no more: whoever is told it ends at once
	actorKey  = contextKey("n") // of the name in a context
)

type contextKey string

// named gives a context that says who acts.
func named(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey, actor)
}

// parked is an actor that waits for his turn.
type parked struct {
	actor    string
	p        *process
	effect   effect
	from     time.Time // not before
	until    time.Time // not later, ready or not; zero: for ever
	released chan fate
	do       func() // instead of an actor: what the world does
}

// bus lets one actor act at a time. Whoever is about to do something outside himself parks here; when all are parked, chance,
// from the seed alone, picks one of them, says how it goes, and lets time pass.
type bus struct {
	clock  func() time.Time
	rand   *rand.Rand
	rates  rates
	store  *Store
	kill   func(p *process)
	outage time.Time // until when the record is away for all

	mu     sync.Mutex
	parked []*parked // by actor, each once

	steps  int
	hash   uint64
	line   []byte
	trace  [traceTail]string // a ring
	traced int
	ables  []*parked
	tell   func(string)
}

// rates are how likely each thing is to go wrong at a step, and how much time a step takes.
type rates struct {
	away, again, lost, limbo, drop, duplicate float64
	slow, crash, pause, outage, jump          float64
	step                                      time.Duration
}

// drawRates draws each rate: half of them are none.
func drawRates(r *rand.Rand) rates {
	upTo := func(most float64) float64 {
		if r.IntN(2) == 0 {
			return 0
		}
		return r.Float64() * most
	}
	return rates{
		away: upTo(0.05), again: upTo(0.1), lost: upTo(0.3), limbo: upTo(0.2), drop: upTo(0.2), duplicate: upTo(0.3),
		slow: upTo(0.1), crash: upTo(0.01), pause: upTo(0.01), outage: upTo(0.005), jump: upTo(0.005),
		step: []time.Duration{20 * time.Microsecond, 200 * time.Microsecond, time.Millisecond, 5 * time.Millisecond}[r.IntN(4)],
	}
}

// calm is how the world is when nothing goes wrong any more.
func calm() rates { return rates{step: 200 * time.Microsecond} }

func (b *bus) take(p *process, e effect) fate {
	if p != nil && p.dead.Load() {
		runtime.Goexit()
	}
	w := &parked{p: p, effect: e, released: make(chan fate)}
	w.actor, _ = e.ctx.Value(actorKey).(string)
	if w.actor == "" {
		w.actor = p.name + ".ledger" // a batch belongs to no request
	}
	if e.limit > 0 {
		w.until = b.clock().Add(e.limit)
	}
	return b.park(w)
}

// sleep parks an actor for a while.
func (b *bus) sleep(p *process, actor string, d time.Duration) {
	if p != nil && p.dead.Load() {
		runtime.Goexit()
	}
	b.park(&parked{actor: actor, p: p, effect: effect{what: "wake"}, from: b.clock().Add(d), released: make(chan fate)})
}

func (b *bus) park(w *parked) fate {
	b.add(w)
	f := <-w.released
	if f == killed {
		runtime.Goexit()
	}
	return f
}

// later has the world do something at a time.
func (b *bus) later(name string, d time.Duration, do func()) {
	b.add(&parked{actor: name, effect: effect{what: "happens"}, from: b.clock().Add(d), do: do})
}

func (b *bus) add(w *parked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, twice := slices.BinarySearchFunc(b.parked, w.actor, func(o *parked, name string) int { return strings.Compare(o.actor, name) })
	if twice {
		panic("two actors are named " + w.actor)
	}
	b.parked = slices.Insert(b.parked, at, w)
}

func (b *bus) done() {}

func (b *bus) enter() {}

// adrift decides a transaction whose connection broke at its commit, some time.
func (b *bus) adrift(t *tx) {
	b.later(fmt.Sprintf("limbo %x", t.batch[:4])+fmt.Sprint(b.steps), time.Duration(b.rand.Int64N(int64(3*time.Second))), func() {
		if b.rand.IntN(2) == 0 {
			failpoint.Hit("record.limbo_landed")
			b.store.apply(t)
		}
		t.end()
	})
}

// step lets one of those who are parked act, or time pass, and waits until all are parked again.
func (b *bus) step() {
	defer synctest.Wait()
	b.steps++
	now := b.clock()
	able := b.able(now)
	if len(able) == 0 {
		b.nap(now)
		return
	}
	w := able[b.rand.IntN(len(able))]
	f, acts := b.decide(w, now)
	if !acts {
		return
	}
	b.note(w, f)
	b.remove(w)
	time.Sleep(time.Duration(b.rand.ExpFloat64() * float64(b.rates.step)))
	if w.do != nil {
		w.do()
		return
	}
	w.released <- f
}

func (b *bus) able(now time.Time) []*parked {
	b.mu.Lock()
	defer b.mu.Unlock()
	able := b.ables[:0]
	for _, w := range b.parked {
		switch {
		case w.from.After(now), w.p != nil && w.p.pausedUntil.After(now):
		case w.effect.ready == nil, w.effect.ready(), !w.until.IsZero() && !w.until.After(now):
			able = append(able, w)
		}
	}
	b.ables = able
	return able
}

// nap lets time pass until somebody may be able to do something.
func (b *bus) nap(now time.Time) {
	b.mu.Lock()
	next := now.Add(napMax)
	sooner := func(t time.Time) {
		if t.After(now) && t.Before(next) {
			next = t
		}
	}
	for _, w := range b.parked {
		sooner(w.from)
		sooner(w.until)
		if w.p != nil {
			sooner(w.p.pausedUntil)
		}
	}
	b.mu.Unlock()
	time.Sleep(next.Sub(now))
}

func (b *bus) remove(w *parked) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.parked = slices.DeleteFunc(b.parked, func(o *parked) bool { return o == w })
}

func (b *bus) chance(rate float64) bool { return rate > 0 && b.rand.Float64() < rate }

// decide says how it goes for one who acts, or does something else to him.
func (b *bus) decide(w *parked, now time.Time) (f fate, acts bool) {
	if w.effect.ready != nil && !w.effect.ready() {
		return timedOut, true
	}
	if w.do != nil {
		return well, true
	}
	if p := w.p; p != nil && b.strike(w, p, now) {
		return well, false
	}
	out := w.p != nil && (w.p.outUntil.After(now) || b.outage.After(now))
	switch r := &b.rates; {
	case w.effect.fates&looks != 0 && (out || b.chance(r.away)):
		return away, true
	case w.effect.fates&changes != 0 && (out || b.chance(r.away)):
		return away, true
	case w.effect.fates&changes != 0 && b.chance(r.again):
		return again, true
	case w.effect.fates&commits != 0:
		return b.decideCommit(w.p, out), true
	case w.effect.fates&sends != 0 && b.chance(r.drop):
		return []fate{away, lost}[b.rand.IntN(2)], true
	}
	return well, true
}

func (b *bus) decideCommit(p *process, out bool) fate {
	switch {
	case b.chance(b.rates.lost):
		return lost
	case !b.store.oneWriter && p != nil && b.chance(b.rates.limbo):
		return limbo
	case out || b.chance(b.rates.away):
		return away
	}
	return well
}

// strike does something to a process instead of letting it act.
func (b *bus) strike(w *parked, p *process, now time.Time) bool {
	span := func(most time.Duration) time.Duration { return time.Duration(b.rand.Int64N(int64(most))) }
	switch r := &b.rates; {
	case b.chance(r.slow):
		w.from = now.Add(span(2 * time.Second))
	case b.chance(r.pause):
		failpoint.Hit("sim.paused")
		p.pausedUntil = now.Add(span(20 * time.Second))
	case b.chance(r.crash):
		failpoint.Hit("sim.crashed")
		b.kill(p)
	case b.chance(r.outage):
		failpoint.Hit("sim.record_away")
		until := now.Add(span(5 * time.Second))
		if b.rand.IntN(2) == 0 {
			b.outage = until
		} else {
			p.outUntil = until
		}
		return false
	case b.chance(r.jump):
		failpoint.Hit("sim.clock_jumped")
		p.jump.Store(int64(span(2*time.Hour) - time.Hour))
		return false
	default:
		return false
	}
	b.note(&parked{actor: p.name, effect: effect{what: "struck at " + w.actor + " " + w.effect.what}}, well)
	return true
}

// note adds a step to the trace and to its hash.
func (b *bus) note(w *parked, f fate) {
	line := strconv.AppendInt(b.line[:0], int64(b.steps), 10)
	line = b.clock().AppendFormat(append(line, ' '), "15:04:05.000000 ")
	line = append(append(append(append(append(line, w.actor...), ": "...), w.effect.what...), ' '), f.String()...)
	for _, c := range line {
		b.hash = (b.hash ^ uint64(c)) * 1099511628211 // FNV-1a
	}
	b.line = line
	b.trace[b.traced%traceTail] = string(line)
	b.traced++
	if b.tell != nil {
		b.tell(string(line))
	}
}

// tail is the last steps.
func (b *bus) tail() []string {
	if b.traced <= traceTail {
		return b.trace[:b.traced]
	}
	at := b.traced % traceTail
	return append(slices.Clone(b.trace[at:]), b.trace[:at]...)
}

// killAll ends the actors of a process, or, for nil, everybody.
func (b *bus) killAll(p *process) {
	b.mu.Lock()
	var dying []*parked
	b.parked = slices.DeleteFunc(b.parked, func(w *parked) bool {
		if p != nil && w.p != p {
			return false
		}
		dying = append(dying, w)
		return true
	})
	b.mu.Unlock()
	for _, w := range dying {
		if w.do == nil {
			w.released <- killed
		}
	}
}
