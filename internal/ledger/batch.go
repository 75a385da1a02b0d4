package ledger

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/planted"
)

// errPanicked is the outcome of a rule that panicked: a programmer's mistake, which must not take its neighbours along.
var errPanicked = errors.New("a rule panicked")

var (
	// errInDoubt wraps what went wrong at a commit: it may have taken place.
	errInDoubt = errors.New("commit in doubt")

	// errUnresolved: the limit of runs was reached before the record could tell.
	errUnresolved = errors.New("outcome unknown")
)

// run is the batch loop. A batch is whatever arrived during the last one: alone under no load, hundreds under much, and no
// timer in between.
func (l *Ledger) run() {
	defer close(l.done)
	for {
		batch, settling := l.gather()
		if batch == nil {
			break
		}
		l.carry(batch, settling)
	}
	if l.asked {
		<-l.taken
	}
}

// gather waits for a command and takes what else is there: of the settle lane up to half a batch, then of the open lane, then
// more of the settle lane if there is room. It returns nil when the ledger is closed and empty.
func (l *Ledger) gather() (batch []job, settling int) {
	var open []job
	select {
	case j := <-l.settle:
		batch = append(batch, j)
	case j := <-l.open:
		open = append(open, j)
	case t := <-l.taken:
		l.receive(t)
		return l.gather()
	case <-l.closing:
	}
	l.mu.Lock()   // whoever hands in many at once has handed in the last
	l.mu.Unlock() //nolint:staticcheck,gocritic // nothing to do but wait
	batch = drain(batch, l.settle, l.opt.BatchMax/2)
	open = drain(open, l.open, l.opt.BatchMax-len(batch))
	batch = drain(batch, l.settle, l.opt.BatchMax-len(open))
	l.noteWait(open)
	if len(batch)+len(open) == 0 {
		return nil, 0
	}
	sort.SliceStable(batch, func(i, k int) bool { return batch[i].first() && !batch[k].first() })
	return append(batch, open...), len(batch)
}

// noteWait keeps how long the open lane has become, in time: its oldest command comes first.
func (l *Ledger) noteWait(open []job) {
	var waited time.Duration
	if len(open) > 0 {
		waited = open[0].waited(time.Now())
	}
	l.openWaited.Store(int64(waited))
}

func drain(batch []job, from chan job, limit int) []job {
	for len(batch) < limit {
		select {
		case j := <-from:
			batch = append(batch, j)
		default:
			return batch
		}
	}
	return batch
}

// carry sees a batch through to its answers. A batch that some command has poisoned is halved until that one fails alone.
func (l *Ledger) carry(batch []job, settling int) {
	stats := BatchStats{Began: time.Now()}
	asked := len(batch)
	batch = l.dropAbandoned(batch, stats.Began)
	stats.Commands, stats.Settling, stats.Abandoned = len(batch), settling, asked-len(batch)
	if len(batch) == 0 {
		l.answerNow()
		l.opt.Observe(stats)
		return
	}
	l.lookAtCallers(batch, &stats)
	stats.Err = l.transact(batch, &stats)
	stats.Ended = time.Now()
	l.opt.Observe(stats)
	switch err := stats.Err; {
	case err == nil:
	case poisoned(err) && len(batch) > 1:
		l.log.Warn("batch split", "commands", len(batch), "err", err)
		half := len(batch) / 2
		l.carry(batch[:half], 0)
		l.carry(batch[half:], 0)
	case poisoned(err):
		l.log.Error("command failed", "err", err)
		answer(batch, fault.ErrInternal.Because(err))
	case errors.Is(err, errUnresolved):
		l.log.Error("batch left in doubt", "commands", len(batch), "err", err)
		answer(batch, fault.ErrUnavailable.Detailf("Whether this was done is not known yet; ask again, with the same key.").Because(err))
	default:
		l.log.Error("batch failed", "commands", len(batch), "err", err)
		answer(batch, fault.ErrUnavailable.Because(err))
	}
}

// lookAtCallers notes how long the batch's commands have waited, and who of their callers is followed.
func (l *Ledger) lookAtCallers(batch []job, stats *BatchStats) {
	for _, j := range batch {
		c := j.caller()
		stats.Waited = max(stats.Waited, stats.Began.Sub(c.Since))
		if len(stats.Followed) < followedMax && l.opt.Followed(c.Context) {
			stats.Followed = append(stats.Followed, c)
		}
	}
}

func (l *Ledger) dropAbandoned(batch []job, now time.Time) []job {
	kept := batch[:0]
	for _, j := range batch {
		if err := j.abandoned(now, l.opt.WaitMax); err != nil {
			failpoint.Hit("batch.command_abandoned")
			j.answer(err)
			continue
		}
		kept = append(kept, j)
	}
	return kept
}

func poisoned(err error) bool {
	return errors.Is(err, ErrDuplicate) || errors.Is(err, ErrRefused) || errors.Is(err, errPanicked)
}

func answer(batch []job, err error) {
	for _, j := range batch {
		j.answer(err)
	}
}

// transact runs the batch's transaction until its outcome is known, within limits, and answers everyone if it was committed.
//
// A commit that returned an error is in doubt: a look that finds nothing would prove nothing, for the commit may still land.
// So the same id is claimed again by a new transaction. If it is taken, the batch was committed and the answers worked out
// before are true; if not, that transaction is the retry, and the lost one can no longer commit.
func (l *Ledger) transact(batch []job, stats *BatchStats) error {
	ctx := context.Background() // a batch belongs to no request
	var id BatchID
	l.opt.Randomness(id[:])
	var doubtful *Books
	for duplicates := 0; ; stats.Reruns++ {
		books, err := l.once(ctx, id, batch, stats)
		if !errors.Is(err, ErrUnclaimed) && !errors.Is(err, ErrCommitted) {
			if doubtful != nil {
				failpoint.Hit("batch.doubt_was_not_committed")
			}
			doubtful = nil // the id was free: what was in doubt has not taken place
		}
		switch {
		case err == nil:
			stats.Events, stats.Holds = len(books.changes.Events), books.holds
			l.settled(books, batch)
			return nil
		case errors.Is(err, ErrCommitted) && doubtful != nil:
			failpoint.Hit("batch.doubt_was_committed")
			l.log.Warn("commit confirmed after its answer was lost", "commands", len(batch))
			stats.Events, stats.Holds = len(doubtful.changes.Events), doubtful.holds
			l.settled(doubtful, batch)
			return nil
		case errors.Is(err, errInDoubt):
			doubtful, stats.InDoubt = books, true
			if planted.Bug(planted.RenamedAfterDoubt) {
				l.opt.Randomness(id[:])
			}
		case errors.Is(err, ErrDuplicate) && duplicates < 2:
			failpoint.Hit("batch.duplicate")
			if duplicates++; duplicates == 2 { // no key that another process has used meanwhile, for that was seen by now
				l.collided = true
				l.keep(lease{day: l.numbers.day}) // should a number be what collided, the next block lies above every other
			}
		case errors.Is(err, errDayBegins):
			continue
		case errors.Is(err, ErrRetry):
		case doubtful == nil:
			return err
		}
		if stats.Reruns >= l.opt.RerunMax && doubtful != nil {
			failpoint.Hit("batch.left_in_doubt")
			l.opt.Doubted(doubtful.applied())
			return fmt.Errorf("%w after %d runs: %w", errUnresolved, stats.Reruns+1, err)
		}
		if stats.Reruns >= l.opt.RerunMax {
			failpoint.Hit("batch.given_up")
			return fmt.Errorf("after %d runs: %w", stats.Reruns+1, err)
		}
		l.log.Debug("batch to be run again", "run", stats.Reruns+1, "err", err)
		time.Sleep(l.backoff(stats.Reruns))
	}
}

// backoff is a random time around 4, 8, 16, … ms, so that two processes that got in each other's way do not meet again.
func (l *Ledger) backoff(run int) time.Duration {
	var random [8]byte
	l.opt.Randomness(random[:])
	return time.Duration(binary.LittleEndian.Uint64(random[:]) % (uint64(8*time.Millisecond) << min(run, 6))) //nolint:gosec // fits
}

// settled hands the committed changes on and answers everyone, in this order: whoever has his answer finds it everywhere.
func (l *Ledger) settled(books *Books, batch []job) {
	l.keep(books.numbers)
	l.collided = false
	failpoint.Hit("batch.after_commit")
	l.opt.Applied(books.applied())
	if len(l.open)+len(l.settle) > 0 {
		l.answerSoon(batch)
	} else {
		answer(batch, nil)
		failpoint.Hit("batch.after_answer")
	}
	l.refill()
}

// answerMax is how long those whose batch is committed may wait for the next one to have loaded its rows.
const answerMax = 5 * time.Millisecond

// answerSoon has a committed batch answered once the next one, whose commands wait already, has loaded its rows. Some hundred callers
// who go on all at once keep the processors busy, and the database's answer to a look is heard behind them; now they go on while it
// writes.
func (l *Ledger) answerSoon(batch []job) {
	now := sync.OnceFunc(func() {
		answer(batch, nil)
		failpoint.Hit("batch.after_answer")
	})
	late := time.AfterFunc(answerMax, now)
	l.answerNow = func() {
		late.Stop()
		now()
		l.answerNow = func() {}
	}
}

// once runs the batch's transaction one time. Its books are valid if it was committed, or if the error is errInDoubt.
func (l *Ledger) once(ctx context.Context, id BatchID, batch []job, stats *BatchStats) (*Books, error) {
	want := Want{Guarded: l.opt.Guards.on()}
	for _, j := range batch {
		j.wants(&want)
	}
	defer l.answerNow() // whatever becomes of this batch
	l.makeReady(int64(len(want.Keys)))
	clock := stopwatch(time.Now())
	tx, err := l.store.Begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: begin: %w", ErrUnclaimed, err)
	}
	defer tx.Rollback()
	if err := tx.Claim(ctx, id); err != nil {
		return nil, fmt.Errorf("%w: claim: %w", ErrUnclaimed, err)
	}
	clock.lap(&stats.Begin)
	rows, err := tx.Load(ctx, &want)
	if err != nil {
		return nil, fmt.Errorf("load: %w", err)
	}
	numbers, err := l.leaseFor(ctx, tx, rows.Now, len(want.Keys))
	if err != nil {
		return nil, fmt.Errorf("grant numbers: %w", err)
	}
	clock.lap(&stats.Load)
	l.answerNow()
	books := newBooks(rows, numbers, l.opt.PayWindow, l.opt.Guards)
	if err := decide(batch, books); err != nil {
		return nil, err
	}
	changes := books.finish()
	clock.lap(&stats.Decide)
	if changes.Empty() {
		failpoint.Hit("batch.empty")
		books.numbers = l.numbers // a grant made for nothing is rolled back
		return books, nil
	}
	if err := tx.Save(ctx, changes); err != nil {
		return nil, fmt.Errorf("save: %w", err)
	}
	clock.lap(&stats.Save)
	if keys := slices.Collect(maps.Keys(changes.Keys)); len(keys) > 0 {
		l.opt.Using(keys)
	}
	l.opt.Changing(changes)
	failpoint.Hit("batch.before_commit")
	if planted.Bug(planted.AnsweredBeforeCommit) {
		answer(batch, nil)
	}
	switch err := tx.Commit(ctx); {
	case errors.Is(err, ErrNotCommitted):
		return nil, fmt.Errorf("commit: %w", err)
	case err != nil:
		return books, fmt.Errorf("%w: %w", errInDoubt, err)
	}
	clock.lap(&stats.Commit)
	if failpoint.Fails("batch.commit_lost") {
		return books, fmt.Errorf("%w: the answer was lost (fail point)", errInDoubt)
	}
	return books, nil
}

func decide(batch []job, books *Books) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v\n%s", errPanicked, p, debug.Stack())
		}
	}()
	for _, j := range batch {
		j.decide(books)
	}
	return nil
}

// stopwatch adds the time since the last lap to a sum.
type stopwatch time.Time

func (s *stopwatch) lap(sum *time.Duration) {
	now := time.Now()
	*sum += now.Sub(time.Time(*s))
	*s = stopwatch(now)
}
