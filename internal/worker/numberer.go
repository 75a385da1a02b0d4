package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the numberer.
const (
	numbererLook     = time.Second            // between two looks at what is left
	numbererPatience = 30 * time.Second       // before it says that it cannot work: Redis may just be starting
	numbersAtHour    = 4                      // tomorrow's numbers are made …
	numbersEnd       = 3                      // … and yesterday's removed, at these hours in the desk's time zone
	numbersBlocks    = 4096                   // of a day that wait at most: with small blocks fewer numbers do
	numbersBack      = 7                      // days whose blocks are removed
	takePause        = 5 * time.Millisecond   // between two looks for blocks that were just granted …
	takeMax          = 100 * time.Millisecond // … and for all of them: a batch may wait
	grantMax         = 10 * time.Second       // for a grant: who breaks one off may lose its numbers, and the connection
	jobLasts         = 5 * time.Minute        // before another process may take up a job that was not finished
	jobAgain         = 30 * time.Second       // between two tries
	numbersCounted   = 8                      // pieces of the day's numbers in one look: as many as any record gets orders in a second, and more after a start
)

// The daily jobs, as the record knows them.
const (
	jobMakeNumbers   = "make_numbers"
	jobRemoveNumbers = "remove_numbers"
)

// Grants is the record, which grants order numbers and decides who does a daily job.
type Grants interface {
	Now(ctx context.Context) (time.Time, error)
	GrantAhead(ctx context.Context, day order.Day, n int64) (first int64, err error)
	ClaimJob(ctx context.Context, name string, day order.Day, holder string, lasts time.Duration) (claimed, done bool, err error)
	FinishJob(ctx context.Context, name string, day order.Day, holder string) error
	// CountAhead counts a piece of a day's numbers before anybody asks what became of them. more: there may be further ones.
	CountAhead(ctx context.Context, day order.Day) (more bool, err error)
}

// Waiting is where granted blocks wait for any process to take them.
type Waiting interface {
	// Take takes blocks of want numbers or a little more, none of which begins below above. None is given that is not there at once.
	Take(ctx context.Context, day order.Day, above, want int64) []ledger.Block
	Grant(ctx context.Context, day order.Day, grant func() ([]ledger.Block, error)) error
	Blocks(ctx context.Context, day order.Day) (int64, error)
	Left(ctx context.Context, day order.Day) (int64, error)
	Remove(ctx context.Context, day order.Day) (removed int64, err error)
	Hold(ctx context.Context, day order.Day, own int64, now time.Time) (all int64, err error)
	Lock(ctx context.Context, name string) (release func(), ok bool)
}

// NumbererOptions of a Numberer.
type NumbererOptions struct {
	Waiting   Waiting                            // nil: nothing waits, processes take blocks from the record
	Held      func() (day order.Day, left int64) // what this process holds
	Holder    string                             // names this process
	BlockSize int64                              // 1000
	Ready     int64                              // numbers of a day that are to wait: 20 000
	TimeZone  *time.Location
	Log       *slog.Logger
}

// Numberer has blocks of order numbers granted before they are needed: when few of the day are left, and tomorrow's at 04:00. What is
// left of the days before it removes at 03:00. Each is done by one of all processes: the row of a job and a day decides, and for
// what has no day a lock, so that it is seldom done twice; twice costs numbers, and nothing else. Whoever comes later than these
// hours does what was not done. The time is the record's: it says which day's numbers orders get. Of the numbers of the day each process counts
// what was used as it goes along, with or without Redis.
type Numberer struct {
	record Grants
	opt    NumbererOptions
	wake   chan struct{}

	mu     sync.Mutex
	beside *topping // what is under way beside a Take; nil: nothing

	granting sync.Mutex // held while blocks are granted
	closed   bool       // none are any more

	finished map[string]order.Day // jobs known to be done
	tried    map[string]time.Time // and when they were asked for last
}

// topping is a topping up that is under way.
type topping struct {
	over chan struct{}
	err  error // once it is over
}

var errNumbererClosed = errors.New("the numberer is closed")

// NewNumberer makes a numberer.
func NewNumberer(record Grants, opt NumbererOptions) *Numberer {
	if opt.BlockSize == 0 {
		opt.BlockSize = 1000
	}
	if opt.Ready == 0 {
		opt.Ready = 20_000
	}
	if opt.TimeZone == nil {
		opt.TimeZone = time.UTC
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	return &Numberer{
		record: record, opt: opt, wake: make(chan struct{}, 1),
		finished: map[string]order.Day{}, tried: map[string]time.Time{},
	}
}

// blocks is how many blocks of a day are to wait.
func (n *Numberer) blocks() int64 { return min(max(n.opt.Ready/n.opt.BlockSize, 2), numbersBlocks) }

// Take takes blocks of a day for this process: up to want numbers or a little more, none of which begins below above. When none
// wait, it has some granted for all, and looks for a short while whether they, or those of another process, are there; the grant may
// take longer. A process that had a block granted for itself only would be above those, too, that another makes ready just then: it
// could not use them, for its numbers rise, and would ask again and again.
func (n *Numberer) Take(ctx context.Context, day order.Day, above, want int64) []ledger.Block {
	limit, cancel := context.WithTimeout(ctx, takeMax)
	defer cancel()
	for pause := time.Duration(0); limit.Err() == nil; pause = takePause {
		// With the whole ctx: a look that was broken off would pass for a Redis that does not answer.
		if blocks := n.opt.Waiting.Take(ctx, day, above, want); len(blocks) > 0 {
			return blocks
		}
		t := n.topUpBeside(day)
		select {
		case <-limit.Done():
		case <-time.After(takePause):
		case <-t.over:
			if t.err != nil {
				return nil
			}
		}
		select { // should somebody else have them granted
		case <-limit.Done():
		case <-time.After(pause):
		}
	}
	return nil
}

// topUpBeside tops up a day's numbers, one day at a time, while whoever asked goes on.
func (n *Numberer) topUpBeside(day order.Day) *topping {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.beside != nil {
		return n.beside
	}
	t := &topping{over: make(chan struct{})}
	n.beside = t
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), grantMax)
		defer cancel()
		t.err = n.topUp(ctx, day)
		n.mu.Lock()
		n.beside = nil
		n.mu.Unlock()
		close(t.over)
	}()
	return t
}

// close waits for the grant that is under way. None begins after it.
func (n *Numberer) close() {
	n.granting.Lock()
	defer n.granting.Unlock()
	n.closed = true
}

// Left is told how many blocks of a day still wait. It never blocks.
func (n *Numberer) Left(_ order.Day, blocks int64) {
	if blocks < n.blocks()/2 {
		select {
		case n.wake <- struct{}{}:
		default:
		}
	}
}

// Run works until ctx ends, and then until the grant that is under way is over. None is made after it.
func (n *Numberer) Run(ctx context.Context) {
	defer n.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var failing time.Time // since when; zero: it is not
	warned := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.wake:
		}
		err := n.RunOnce(ctx)
		switch {
		case err == nil:
			failing, warned = time.Time{}, false
		case failing.IsZero():
			failing = time.Now()
		case !warned && time.Since(failing) > numbererPatience:
			warned = true
			n.opt.Log.Warn("numberer: no numbers are made ready; processes take them from the record", "err", err)
		}
		timer.Reset(numbererLook)
	}
}

// RunOnce counts, tops up today's numbers, tomorrow's once they were made, tells what this process holds, and does the daily jobs that are due.
func (n *Numberer) RunOnce(ctx context.Context) error {
	now, err := n.now(ctx)
	if err != nil && n.opt.Waiting != nil {
		return err
	}
	today, tomorrow := dayAfter(now, 0), dayAfter(now, 1)
	for i, more := 0, err == nil; more && i < numbersCounted; i++ {
		more, _ = n.record.CountAhead(ctx, today) // else who asks has it counted
	}
	if n.opt.Waiting == nil {
		return nil
	}
	err = n.topUp(ctx, today)
	if day, left := n.opt.Held(); day == today {
		_, failed := n.opt.Waiting.Hold(ctx, day, left, now)
		err = errors.Join(err, failed)
	}
	if err != nil {
		return err
	}
	if now.Hour() >= numbersEnd {
		err = n.daily(ctx, now, jobRemoveNumbers, today, func() error {
			_, err := n.remove(ctx, now)
			return err
		})
	}
	if now.Hour() >= numbersAtHour {
		err = errors.Join(err, n.daily(ctx, now, jobMakeNumbers, tomorrow, func() error {
			_, err := n.fill(ctx, tomorrow)
			return err
		}))
	}
	if n.finished[jobMakeNumbers] == tomorrow { // Redis may have lost them since
		err = errors.Join(err, n.topUp(ctx, tomorrow))
	}
	return err
}

func (n *Numberer) topUp(ctx context.Context, day order.Day) error {
	blocks, err := n.opt.Waiting.Blocks(ctx, day)
	if err != nil || blocks >= n.blocks()/2 {
		return err
	}
	release, ok := n.opt.Waiting.Lock(ctx, "numbers")
	if !ok {
		return nil
	}
	defer release()
	_, err = n.fill(ctx, day)
	return err
}

// daily does a job of a day, unless another process does or has done it.
func (n *Numberer) daily(ctx context.Context, now time.Time, job string, day order.Day, work func() error) error {
	if n.finished[job] == day || now.Sub(n.tried[job]).Abs() < jobAgain {
		return nil
	}
	n.tried[job] = now
	claimed, done, err := n.record.ClaimJob(ctx, job, day, n.opt.Holder, jobLasts)
	if err != nil {
		return err
	}
	if done {
		n.finished[job] = day
	}
	if !claimed {
		return nil
	}
	if err := work(); err != nil {
		return fmt.Errorf("%s: %w", job, err)
	}
	n.finished[job] = day
	return n.record.FinishJob(ctx, job, day, n.opt.Holder)
}

// fill has blocks of a day granted, so many that as many wait as are to, and gives how many numbers that were.
// Who asked may leave meanwhile, and the grant goes on.
func (n *Numberer) fill(ctx context.Context, day order.Day) (added int64, err error) {
	n.granting.Lock()
	defer n.granting.Unlock()
	if n.closed {
		return 0, errNumbererClosed
	}
	there, err := n.opt.Waiting.Blocks(ctx, day)
	missing := n.blocks() - there
	if err != nil || missing <= 0 {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grantMax)
	defer cancel()
	err = n.opt.Waiting.Grant(ctx, day, func() ([]ledger.Block, error) {
		first, err := n.record.GrantAhead(ctx, day, missing*n.opt.BlockSize)
		if err != nil {
			return nil, err
		}
		blocks := make([]ledger.Block, missing)
		for i := range blocks {
			blocks[i] = ledger.Block{First: first + int64(i)*n.opt.BlockSize, Count: n.opt.BlockSize}
		}
		return blocks, nil
	})
	if err != nil {
		return 0, err
	}
	n.opt.Log.Debug("order numbers made ready", "count", missing*n.opt.BlockSize)
	return missing * n.opt.BlockSize, nil
}

func (n *Numberer) remove(ctx context.Context, now time.Time) (removed int64, err error) {
	for back := 1; back <= numbersBack; back++ {
		lost, failed := n.opt.Waiting.Remove(ctx, dayAfter(now, -back))
		removed, err = removed+lost, errors.Join(err, failed)
	}
	return removed, err
}

// Fill makes today's and tomorrow's numbers ready, at once, and gives how many it added. Without Redis none wait.
func (n *Numberer) Fill(ctx context.Context) (added int64, err error) {
	now, err := n.now(ctx)
	if err != nil || n.opt.Waiting == nil {
		return 0, err
	}
	for ahead := range 2 {
		more, err := n.fill(ctx, dayAfter(now, ahead))
		if err != nil {
			return added, away(err)
		}
		added += more
	}
	return added, nil
}

// Purge removes what is left of the days before today, and gives how many numbers are lost with it.
func (n *Numberer) Purge(ctx context.Context) (removed int64, err error) {
	now, err := n.now(ctx)
	if err != nil || n.opt.Waiting == nil {
		return 0, err
	}
	removed, err = n.remove(ctx, now)
	return removed, away(err)
}

// Unused is how many numbers of a day can still be used: those that wait, and those that processes hold, unless the day is over.
// What another process holds is known by Redis only, and what waits there, too: while it is away, and without it, these count as lost.
func (n *Numberer) Unused(ctx context.Context, day order.Day) (int64, error) {
	now, err := n.now(ctx)
	if err != nil || day < dayAfter(now, 0) {
		return 0, err
	}
	var held int64
	if of, left := n.opt.Held(); of == day {
		held = left
	}
	if n.opt.Waiting == nil {
		return held, nil
	}
	waiting, err := n.opt.Waiting.Left(ctx, day)
	if err != nil {
		return held, nil //nolint:nilerr // see above
	}
	held, _ = n.opt.Waiting.Hold(ctx, day, held, now)
	return waiting + held, nil
}

// now is the record's time in the desk's time zone.
func (n *Numberer) now(ctx context.Context) (time.Time, error) {
	now, err := n.record.Now(ctx)
	return now.In(n.opt.TimeZone), err
}

// dayAfter is the day some days after that of a time, or before it. Noon is an hour that no change of the clocks leaves out.
func dayAfter(t time.Time, days int) order.Day {
	year, month, day := t.Date()
	return order.DayOf(time.Date(year, month, day+days, 12, 0, 0, 0, t.Location()))
}

func away(err error) error {
	if err == nil {
		return nil
	}
	return fault.ErrUnavailable.Detailf("Order numbers cannot be made ready now.").Because(err)
}

var _ checkout.Numbers = (*Numberer)(nil)
