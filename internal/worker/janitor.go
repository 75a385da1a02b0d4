package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// How long things are kept that nobody decides about by a setting.
const (
	batchesKept  = 24 * time.Hour                                            // far longer than any commit is in doubt
	keysKept     = limits.ReplayFor + 24*time.Hour                           // the promise, and a day for a clock that was wrong when the order was placed
	daysKept     = 400                                                       // of numbers granted: a year, and time to look back at it
	buyersKept   = limits.PayWindowMax + 2*limits.CoolDownMax + 24*time.Hour // since their last order: then no guard looks at it
	sessionsKept = time.Hour                                                 // after their end: for a clock that was wrong, nobody asks for them
	apiKeysKept  = 400 * 24 * time.Hour                                      // after their end
	apiKeysEnded = 10_000                                                    // ended ones, at most
)

// Limits of the janitor. A page is one transaction, and whoever writes meanwhile waits for it.
const (
	janitorBegins  = 10 * time.Minute // after the start: a machine that came up with a wrong clock has had it set by then
	janitorLook    = time.Minute      // between two looks whether anything is due
	janitorOften   = time.Minute      // between two rounds of what costs nothing to look at
	janitorSeldom  = 6 * time.Hour    // between two walks through the idempotency keys: each reads all of them
	janitorHourly  = time.Hour        // between two looks whether a day is over
	janitorDaily   = 24 * time.Hour   // between two looks at what grows by a row a day
	janitorOver    = 13 * time.Hour   // after the end of a day in UTC it is over everywhere on earth, and its last orders are written
	janitorRetry   = 5 * time.Minute  // before a job that failed is tried again
	janitorJump    = time.Minute      // a wall clock that is so far ahead of the steady one …
	janitorDoubts  = 24 * time.Hour   // … is believed when it has been so for this long; keysKept has as much to spare
	janitorPage    = 500              // rows that are removed at once
	janitorKeys    = 2000             // keys that are looked at in one go
	janitorRest    = 20 * time.Millisecond
	janitorRestFor = 4 // times as long as a page took: at least four fifths of the time belong to others
)

// Rooms is what the record can forget.
type Rooms interface {
	Now(ctx context.Context) (time.Time, error) // the record's clock, by which everything in it was written
	PruneBatches(ctx context.Context, before time.Time, limit int) (removed int64, err error)
	PruneKeys(ctx context.Context, before time.Time, after ledger.Key, limit int) (
		removed int64, last ledger.Key, more bool, err error)
	PruneEvents(ctx context.Context, before time.Time, limit int) (removed int64, err error)
	CountDay(ctx context.Context, before order.Day) (counted bool, err error)
	PruneDays(ctx context.Context, before order.Day, limit int) (removed int64, err error)
	PruneBuyers(ctx context.Context, before time.Time, after user.ID, limit int) (removed int64, last user.ID, more bool, err error)
	PruneSessions(ctx context.Context, before time.Time, limit int) (removed int64, err error)
	PruneAPIKeys(ctx context.Context, before time.Time, kept, limit int) (removed int64, err error)
}

// JanitorOptions of a Janitor. The zero value of each is its default.
type JanitorOptions struct {
	EventsKept time.Duration        // how long events stay in the log; 0: for ever
	Written    time.Time            // when the record was last written, before this process wrote anything; zero: never
	Steady     func() time.Duration // a clock that never jumps
	Log        *slog.Logger
	Observe    func(kind string, removed int64) // told of every page that removed something
}

// JanitorKinds are the kinds of rows that Observe is told of.
func JanitorKinds() []string {
	return []string{"ledger_batch", "idempotency_key", "event", "number_day", "api_key", "session", "buyer"}
}

// Janitor throws away what nobody needs any more, a page at a time. Where it stands it keeps in memory only: what is gone is
// gone, and after a restart it begins anew. Two of them do no more harm than one, and need not know of each other: whatever one
// has thrown away the other does not find, and one that was paused goes by a clock that it asks for anew.
type Janitor struct {
	rooms Rooms
	opt   JanitorOptions
	jobs  []*job

	began   time.Time     // a moment by the record's clock; zero: it was never asked …
	since   time.Duration // … and by the steady one
	doubted time.Duration // since when the record's clock is ahead; 0: it is not

	walked   ledger.Key // where the walk through the keys stands
	buyer    user.ID    // where the walk through the buyers stands
	walking  time.Time  // what it forgets is older; zero: it has not begun
	keysGone time.Time  // older keys are gone
}

// job is one kind of rows. Its page removes some and says whether there may be more. When it is due goes by the steady clock: a
// time that was worked out by a clock that is wrong may never come.
type job struct {
	kind  string
	every time.Duration
	page  func(ctx context.Context, now time.Time) (removed int64, more bool, err error)
	due   time.Duration
}

// NewJanitor makes a janitor.
func NewJanitor(rooms Rooms, opt JanitorOptions) *Janitor {
	if opt.Steady == nil {
		start := time.Now()
		opt.Steady = func() time.Duration { return time.Since(start) }
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Observe == nil {
		opt.Observe = func(string, int64) {}
	}
	j := &Janitor{rooms: rooms, opt: opt}
	j.jobs = []*job{
		{kind: "ledger_batch", every: janitorOften, page: j.batches},
		{kind: "idempotency_key", every: janitorSeldom, page: j.keys},
		{kind: "event", every: janitorOften, page: j.events},
		{kind: "number_day", every: janitorHourly, page: j.days},
		{kind: "api_key", every: janitorDaily, page: j.apiKeys},
		{kind: "session", every: janitorOften, page: j.sessions},
		{kind: "buyer", every: janitorSeldom, page: j.buyers},
	}
	return j
}

// Run works until ctx ends. Between two pages it rests, so that the ledger is not kept waiting.
func (j *Janitor) Run(ctx context.Context) {
	timer := time.NewTimer(janitorBegins)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := j.opt.Steady()
		more, err := j.RunOnce(ctx)
		if err != nil && ctx.Err() == nil {
			j.opt.Log.Error("janitor: not everything could be thrown away; it is tried again", "err", err)
		}
		rest := janitorLook
		if more {
			rest = janitorRest + janitorRestFor*(j.opt.Steady()-begin)
		}
		timer.Reset(rest)
	}
}

// RunOnce does one page of every job that is due. more: there is one with further pages. A job that fails does not keep the
// others from their work.
func (j *Janitor) RunOnce(ctx context.Context) (more bool, err error) {
	wall, err := j.rooms.Now(ctx)
	if err != nil {
		return false, err
	}
	steady := j.opt.Steady()
	now := j.believed(wall, steady)
	j.walking, j.keysGone = notAfter(j.walking, now.Add(-keysKept)), notAfter(j.keysGone, now.Add(-keysKept))
	for _, job := range j.jobs {
		if steady < job.due {
			continue
		}
		removed, further, failed := job.page(ctx, now)
		if removed > 0 {
			j.opt.Observe(job.kind, removed)
			j.opt.Log.Debug("janitor: rows thrown away", "kind", job.kind, "count", removed)
		}
		switch {
		case failed != nil:
			err = errors.Join(err, fmt.Errorf("%s: %w", job.kind, failed))
			job.due = steady + janitorRetry
		case further:
			more = true
		default:
			job.due = steady + job.every
		}
	}
	return more, err
}

// notAfter is t, or end if that is before it: a clock that was set back takes along what was worked out by it.
func notAfter(t, end time.Time) time.Time {
	if t.After(end) {
		return end
	}
	return t
}

// believed is the time by which things are old. It does not run ahead of the steady clock: a wall clock that jumps a year must not
// empty the record, and who throws away too late loses nothing. A jump that somebody has left standing for a day was meant. A
// clock that is ahead from the start shows by what the record was last written at.
func (j *Janitor) believed(wall time.Time, passed time.Duration) time.Time {
	if j.began.IsZero() {
		j.began, j.since = wall, passed
		if !j.opt.Written.IsZero() && wall.Sub(j.opt.Written) > janitorDoubts {
			j.began = j.opt.Written
		}
	}
	steady := j.began.Add(passed - j.since)
	switch ahead := wall.Sub(steady); {
	case ahead <= 0:
		j.doubted = 0
		return wall
	case ahead <= janitorJump:
		j.doubted = 0
	case j.doubted == 0:
		j.doubted = max(passed, 1)
		j.opt.Log.Warn("janitor: the clock is ahead of the time that has passed; nothing is thrown away by it for a day", "by", ahead.String())
	case passed-j.doubted >= janitorDoubts:
		j.began, j.since, j.doubted = wall, passed, 0
		return wall
	}
	return steady
}

func (j *Janitor) batches(ctx context.Context, now time.Time) (int64, bool, error) {
	n, err := j.rooms.PruneBatches(ctx, now.Add(-batchesKept), janitorPage)
	return n, n == janitorPage, err
}

// keys goes on with the walk through all keys. What is too old is settled at its beginning, so that at its end nothing older
// is left.
func (j *Janitor) keys(ctx context.Context, now time.Time) (removed int64, more bool, err error) {
	if j.walking.IsZero() {
		j.walking = now.Add(-keysKept)
	}
	removed, j.walked, more, err = j.rooms.PruneKeys(ctx, j.walking, j.walked, janitorKeys)
	if err == nil && !more {
		j.keysGone = j.walking
		j.walking, j.walked = time.Time{}, ledger.Key{}
	}
	return removed, more, err
}

// events forgets the log's beginning, but nothing that a key may still be answered with: the answer is an event's data.
func (j *Janitor) events(ctx context.Context, now time.Time) (int64, bool, error) {
	if j.opt.EventsKept == 0 {
		return 0, false, nil
	}
	before := now.Add(-j.opt.EventsKept)
	if j.keysGone.Before(before) {
		before = j.keysGone
	}
	n, err := j.rooms.PruneEvents(ctx, before, janitorPage)
	return n, n == janitorPage, err
}

// days are those of the desk's time zone, which does not matter here. What became of the numbers of one that is over is counted before it
// is forgotten long after, so that nobody has to count it each time he asks.
func (j *Janitor) days(ctx context.Context, now time.Time) (int64, bool, error) {
	counted, uncounted := j.rooms.CountDay(ctx, order.DayOf(now.UTC().Add(-janitorOver)))
	if counted {
		return 0, true, nil
	}
	n, err := j.rooms.PruneDays(ctx, order.DayOf(now.UTC().AddDate(0, 0, -daysKept)), janitorPage)
	return n, n == janitorPage, errors.Join(uncounted, err)
}

func (j *Janitor) apiKeys(ctx context.Context, now time.Time) (int64, bool, error) {
	n, err := j.rooms.PruneAPIKeys(ctx, now.Add(-apiKeysKept), apiKeysEnded, janitorPage)
	return n, n == janitorPage, err
}

func (j *Janitor) sessions(ctx context.Context, now time.Time) (int64, bool, error) {
	n, err := j.rooms.PruneSessions(ctx, now.Add(-sessionsKept), janitorPage)
	return n, n == janitorPage, err
}

func (j *Janitor) buyers(ctx context.Context, now time.Time) (removed int64, more bool, err error) {
	removed, j.buyer, more, err = j.rooms.PruneBuyers(ctx, now.Add(-buyersKept), j.buyer, janitorKeys)
	if err == nil && !more {
		j.buyer = ""
	}
	return removed, more, err
}
