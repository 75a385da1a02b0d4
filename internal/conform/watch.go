package conform

import (
	"context"
	"sync"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// watched is a record as the ledger sees it in a test: it remembers what was committed, and breaks where it is told to.
type watched struct {
	ledger.Store

	mu     sync.Mutex
	breaks breaks
	saves  int // tried
	events map[event.Subject][]event.Event
	gate   *gate
}

// breaks says what goes wrong. Each may answer nil, and is asked every time.
type breaks struct {
	begin  func() error
	save   func(*ledger.Changes) error
	commit func(tx ledger.Tx, commit func() error) error
}

// gate holds the next transaction back, so that commands can be made to wait for each other.
type gate struct{ reached, open chan struct{} }

func (w *watched) breakAt(b breaks) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breaks = b
}

func (w *watched) now() breaks {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.breaks
}

// hold makes the next Begin wait until the gate is opened.
func (w *watched) hold() *gate {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.gate = &gate{reached: make(chan struct{}), open: make(chan struct{})}
	return w.gate
}

func (w *watched) Begin(ctx context.Context) (ledger.Tx, error) {
	w.mu.Lock()
	g := w.gate
	w.gate = nil
	w.mu.Unlock()
	if g != nil {
		close(g.reached)
		<-g.open
	}
	if b := w.now(); b.begin != nil {
		if err := b.begin(); err != nil {
			return nil, err
		}
	}
	tx, err := w.Store.Begin(ctx)
	if err != nil {
		return nil, err
	}
	return &watchedTx{Tx: tx, w: w}, nil
}

type watchedTx struct {
	ledger.Tx
	w     *watched
	saved *ledger.Changes
}

func (t *watchedTx) Save(ctx context.Context, c *ledger.Changes) error {
	t.w.mu.Lock()
	t.w.saves++
	t.w.mu.Unlock()
	if b := t.w.now(); b.save != nil {
		if err := b.save(c); err != nil {
			return err
		}
	}
	t.saved = c
	return t.Tx.Save(ctx, c)
}

func (t *watchedTx) Commit(ctx context.Context) error {
	commit := func() error {
		err := t.Tx.Commit(ctx)
		if err == nil {
			t.w.remember(t.saved)
		}
		return err
	}
	if b := t.w.now(); b.commit != nil {
		return b.commit(t.Tx, commit)
	}
	return commit()
}

func (w *watched) remember(c *ledger.Changes) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range c.Events {
		w.events[e.Subject] = append(w.events[e.Subject], e)
	}
}

// told gives the types of a subject's committed events.
func (w *watched) told(s event.Subject) []event.Type {
	w.mu.Lock()
	defer w.mu.Unlock()
	var types []event.Type
	for _, e := range w.events[s] {
		types = append(types, e.Type)
	}
	return types
}

func (w *watched) savesTried() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.saves
}
