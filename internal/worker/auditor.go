package worker

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// Limits of the auditor.
const (
	auditorLook    = time.Second           // between two looks
	auditorRestMin = 50 * time.Millisecond // between two looks when there is more to look at
	auditorRestFor = 9                     // times as long as a look took: at most a tenth of one reader's time
	unexplainedFor = 5 * time.Second       // before the sale of a product that does not add up is stopped
)

// Window is an audit that goes along with the record, a small look at a time.
type Window interface {
	// Look takes one step. The products in again are looked at too.
	Look(ctx context.Context, again []string) (audit.Look, error)
}

// AuditorOptions of an Auditor. The zero value of each is its default.
type AuditorOptions struct {
	Log     *slog.Logger
	Observe func(audit.Look)
}

// Auditor goes along with the desk and looks whether its numbers add up. The sale of a product whose numbers stay unexplained is
// stopped, rather than guess which of them is right; an operator lets it go on. Each of several processes has its auditor: they
// find the same, and the ledger stops a sale once.
type Auditor struct {
	ledger *ledger.Ledger
	window Window
	opt    AuditorOptions

	suspects map[string]suspect
	said     map[string]string // samples of each check that were logged last
	last     atomic.Pointer[audit.Look]
}

// suspect is a product that did not add up, and since when in this way, by the record's clock.
type suspect struct {
	reason  string
	since   time.Time
	stopped bool // the ledger was told
}

// NewAuditor makes an auditor.
func NewAuditor(l *ledger.Ledger, window Window, opt AuditorOptions) *Auditor {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Observe == nil {
		opt.Observe = func(audit.Look) {}
	}
	return &Auditor{ledger: l, window: window, opt: opt, suspects: map[string]suspect{}, said: map[string]string{}}
}

// Last is the last look; its time is zero as long as there was none.
func (a *Auditor) Last() audit.Look {
	if look := a.last.Load(); look != nil {
		return *look
	}
	return audit.Look{}
}

// Run works until ctx ends.
func (a *Auditor) Run(ctx context.Context) {
	timer := time.NewTimer(rand.N(auditorLook)) //nolint:gosec // not secret: processes that start together need not look together
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		look, err := a.RunOnce(ctx)
		if err != nil && ctx.Err() == nil {
			a.opt.Log.Error("auditor: the record could not be looked at; it is tried again", "err", err)
		}
		rest := auditorLook*9/10 + rand.N(auditorLook/5) //nolint:gosec // not secret
		if look.More {
			rest = auditorRestMin
		}
		timer.Reset(max(rest, auditorRestFor*look.Took))
	}
}

// RunOnce takes one look and does what follows from it.
func (a *Auditor) RunOnce(ctx context.Context) (audit.Look, error) {
	again := make([]string, 0, len(a.suspects))
	for id := range a.suspects {
		again = append(again, id)
	}
	look, err := a.window.Look(ctx, again)
	if err != nil {
		return look, err
	}
	a.last.Store(&look)
	a.opt.Observe(look)
	a.say(look.Checks)
	if !look.Compared {
		return look, nil // nothing was seen of the suspects
	}
	before := a.suspects
	a.suspects = make(map[string]suspect, len(look.Wrong))
	for _, w := range look.Wrong {
		s, known := before[w.ProductID]
		if !known || s.reason != w.Reason || look.At.Before(s.since) {
			s = suspect{reason: w.Reason, since: look.At}
		}
		if !s.stopped && look.At.Sub(s.since) >= unexplainedFor {
			s.stopped = a.stop(ctx, w, look.At)
		}
		a.suspects[w.ProductID] = s
	}
	return look, nil
}

// say logs what does not hold, once as long as it is the same.
func (a *Auditor) say(checks []audit.Check) {
	for i := range checks {
		c := &checks[i]
		samples := strings.Join(c.Samples, " ")
		if samples != "" && samples != a.said[c.ID] {
			a.opt.Log.Error("auditor: numbers do not add up", "check", c.ID, "count", c.Violations, "samples", samples)
		}
		a.said[c.ID] = samples
	}
}

// stop has the ledger stop a product's sale. It may say that this was done before, that an operator has let this very difference
// pass, or that the look is too old.
func (a *Auditor) stop(ctx context.Context, w audit.Wrong, seen time.Time) bool {
	failpoint.Hit("auditor.before_stop")
	done, err := ledger.Submit(ctx, a.ledger, ledger.Quarantine{ProductID: product.ID(w.ProductID), Reason: w.Reason, SeenAt: seen})
	if err != nil {
		a.opt.Log.Error("auditor: the sale of a product that does not add up could not be stopped; it is tried again",
			"product_id", w.ProductID, "reason", w.Reason, "err", err)
		return false
	}
	if done {
		a.opt.Log.Error("auditor: the sale of a product is stopped: its numbers do not add up",
			"product_id", w.ProductID, "reason", w.Reason)
	}
	return true
}
