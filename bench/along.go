package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

var errLookSilent = errors.New("the auditor that goes along has told nothing for too long")

// alongLook is one look of an auditor, as a hidden mode of the same binary tells it.
type alongLook struct {
	TookMs   float64 `json:"took_ms"`
	Entries  int     `json:"entries"`  // of the stock ledger that were replayed
	Orders   int     `json:"orders"`   // that were judged
	Products int     `json:"products"` // that were compared
	Compared bool    `json:"compared"`
	Wrong    int     `json:"wrong"` // products that do not add up
}

// audited is what came of going along: the slowest looks, by what they had to do, and how much they have seen.
type audited struct {
	looks, entries, orders, products, wrong int
	replaying, comparing, judging           float64 // milliseconds of the slowest
	took                                    time.Duration
}

func (a *audited) add(l alongLook) {
	a.looks++
	a.entries, a.orders, a.products, a.wrong = a.entries+l.Entries, a.orders+l.Orders, a.products+l.Products, a.wrong+l.Wrong
	switch {
	case !l.Compared:
		a.replaying = max(a.replaying, l.TookMs)
	case l.Orders > 0:
		a.judging = max(a.judging, l.TookMs)
	default:
		a.comparing = max(a.comparing, l.TookMs)
	}
}

func (a *audited) tell(result *Result) {
	result.figure("looks of an auditor that came to the end", float64(a.looks), "")
	result.figure("stock ledger replayed within", a.took.Seconds(), "s")
	result.figure("slowest look that replays", a.replaying, "ms")
	result.figure("slowest look that compares", a.comparing, "ms")
	result.figure("slowest look that judges orders, too", a.judging, "ms")
	result.figure(figureSlowestAudit, max(a.replaying, a.comparing, a.judging), "ms")
	result.Checks = append(result.Checks, Check{
		Name: "looks", OK: a.wrong == 0 && a.orders >= lookBurst,
		Detail: fmt.Sprintf("%d entries replayed, %d orders judged, %d times a product compared, %d of them wrong", a.entries, a.orders, a.products, a.wrong),
	})
}

// lookAlong has an auditor of its own go along with the record, without the rests that the server's has: through the whole stock
// ledger, once round all products, and through the events of some orders that are placed meanwhile.
func (r *runner) lookAlong(ctx context.Context, s *stand, database string) (all audited, err error) {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	command := exec.CommandContext(ctx, r.executable, "bench", "look-along", "--database", database) //nolint:gosec // the operator's own binary
	command.Env = environment()
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = stopTimeout
	var problem strings.Builder
	command.Stderr = &problem
	out, err := command.StdoutPipe()
	if err != nil {
		return all, err
	}
	if err := command.Start(); err != nil {
		return all, err
	}
	defer func() {
		end(nil)
		if ended := command.Wait(); ended != nil && err != nil {
			err = errors.Join(err, fmt.Errorf("look along: %w: %s", ended, problem.String()))
		}
	}()
	lines := bufio.NewScanner(out)
	until := func(enough func(alongLook) bool) error {
		silent := time.AfterFunc(lookSilent, func() { end(errLookSilent) })
		defer silent.Stop()
		for lines.Scan() {
			silent.Reset(lookSilent)
			var l alongLook
			if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
				return fmt.Errorf("look along: %w: %s", err, lines.Bytes())
			}
			all.add(l)
			if ctx.Err() != nil || enough(l) {
				return context.Cause(ctx)
			}
		}
		if err := context.Cause(ctx); err != nil {
			return err
		}
		return errors.Join(lines.Err(), errors.New("the auditor that goes along has ended"))
	}
	r.progress.stage("history: an auditor goes through the stock ledger")
	began := time.Now()
	err = until(func(l alongLook) bool { return l.Compared })
	if err != nil {
		return all, err
	}
	all.took = time.Since(began)
	r.progress.stage("history: it goes round all products")
	if err := until(func(alongLook) bool { return all.products > historyProducts }); err != nil {
		return all, err
	}
	if err := r.burst(ctx, s); err != nil {
		return all, err
	}
	r.progress.stage("history: it judges what was placed")
	late := time.Now().Add(lookLate)
	return all, until(func(alongLook) bool { return all.orders >= lookBurst || time.Now().After(late) })
}

// burst places some orders.
func (r *runner) burst(ctx context.Context, s *stand) error {
	sale, err := r.newSale(ctx, s, 1, plenty, unhurried)
	if err != nil {
		return err
	}
	l := r.newLoad(s)
	l.load.requests = lookBurst
	_, err = sale.place(ctx, l.load, nil)
	return err
}
