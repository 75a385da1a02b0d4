package sim

import (
	"context"
	"sync"
	"time"
)

// effect is something that an actor is about to do outside itself.
type effect struct {
	ctx   context.Context //nolint:containedctx // names the actor, and is not kept
	what  string
	fates fates
	ready func() bool   // whether it can be done now; nil: at once
	limit time.Duration // how long it waits to be ready; 0: for ever
}

// fate is how an effect goes.
type fate uint8

const (
	well     fate = iota
	away          // it is not done, and an error is told
	lost          // it is done, and an error is told
	limbo         // an error is told; whether it is done will be seen
	again         // the record asks for another run
	timedOut      // it was not ready in time
)

func (f fate) String() string {
	return [...]string{"", "away", "lost", "limbo", "again", "timed out"}[f]
}

// fates are the ways an effect can go wrong.
type fates uint8

const (
	looks   fates = 1 << iota // away
	changes                   // away or again
	commits                   // away, lost or limbo
	sends                     // away or lost: a message that nobody gets, or whose answer nobody gets
	safe    fates = 0
)

// turns decides when an effect takes place and how it goes. From take to done nobody else is at the rows.
type turns interface {
	take(p *process, e effect) fate
	done()
	// enter is take for what neither waits nor fails.
	enter()
	// adrift is told of a transaction whose connection is gone at its commit.
	adrift(t *tx)
}

// freely lets everyone take his turn as he comes, and nothing fails: for the suite that the fake record shares with the
// real ones.
type freely struct {
	mu      sync.Mutex
	changed *sync.Cond
}

func newFreely() *freely {
	f := &freely{}
	f.changed = sync.NewCond(&f.mu)
	return f
}

func (f *freely) take(_ *process, e effect) fate {
	f.mu.Lock()
	for e.ready != nil && !e.ready() {
		f.changed.Wait()
	}
	return well
}

func (f *freely) done() {
	f.changed.Broadcast()
	f.mu.Unlock()
}

func (f *freely) enter() { f.mu.Lock() }

func (f *freely) adrift(*tx) {}
