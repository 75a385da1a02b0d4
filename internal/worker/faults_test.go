package worker_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// setWall gives a time.Now() as it is after somebody set the wall clock: the wall moved, the monotonic reading did not.
func setWall(t time.Time, by time.Duration) time.Time {
	wall := (*uint64)(unsafe.Pointer(&t)) //nolint:gosec // 1 bit hasMonotonic, 33 bits of seconds, 30 bits of nanoseconds
	*wall += uint64(by/time.Second) << 30
	return t
}

func TestJumpOfTheRealClockIsNoticed(t *testing.T) {
	d := newDesk(t)
	var jumped atomic.Bool
	clock := func() time.Time { // what server.go passes is time.Now
		if jumped.Load() {
			return setWall(time.Now(), time.Hour)
		}
		return time.Now()
	}
	e := worker.NewExpirer(d.ledger, d.store, d.countdown, worker.ExpirerOptions{Clock: clock})
	d.turn(e)
	before := clock().UnixMilli()
	jumped.Store(true)
	if moved := clock().UnixMilli() - before; moved < 3_599_000 {
		t.Fatalf("the test's own clock moved %d ms", moved)
	}
	d.turn(e)
	if !e.Paused() {
		t.Error("the wall clock jumped an hour ahead and expiry goes on: orders expire an hour early")
	}
}

func TestExpirerDoesNotSpinWhileTheRecordIsAway(t *testing.T) {
	d := newDesk(t)
	d.countdown.Add(1, time.Now().Add(-time.Second)) // due
	var looks atomic.Int64
	e := worker.NewExpirer(d.ledger, counting{&looks}, d.countdown, worker.ExpirerOptions{})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	e.Run(ctx)
	if n := looks.Load(); n > 10 {
		t.Errorf("the record that is away was asked %d times in 300 ms, each with an error in the log", n)
	}
}

type counting struct{ n *atomic.Int64 }

func (c counting) Deadlines(context.Context, order.Deadline, time.Time, int) ([]order.Deadline, error) {
	c.n.Add(1)
	return nil, errors.New("away")
}

// many is a record that always finds overdue orders.
type many struct{}

func (many) Deadlines(_ context.Context, _ order.Deadline, _ time.Time, limit int) ([]order.Deadline, error) {
	limit = min(limit, 2000)
	found := make([]order.Deadline, limit)
	for i := range found {
		found[i] = order.Deadline{Number: order.Number(i + 1), PayBy: time.Now().Add(-time.Minute)}
	}
	return found, nil
}

// full is a store that cannot be written.
type full struct{ begins atomic.Int64 }

func (f *full) Begin(context.Context) (ledger.Tx, error) {
	f.begins.Add(1)
	return nil, errors.New("the disk is full")
}

type lines struct {
	slog.Handler
	n *atomic.Int64
}

func (l lines) Enabled(context.Context, slog.Level) bool  { return true }
func (l lines) Handle(context.Context, slog.Record) error { l.n.Add(1); return nil }

func TestExpirerDoesNotSpinWhenNothingCanBeExpired(t *testing.T) {
	store := &full{}
	l := ledger.New(store, ledger.Options{})
	defer l.Close(context.Background()) //nolint:errcheck // a test
	var logged atomic.Int64
	e := worker.NewExpirer(l, many{}, inproc.NewCountdown(), worker.ExpirerOptions{Log: slog.New(lines{slog.DiscardHandler, &logged})})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	e.Run(ctx)
	if n := logged.Load(); n > 5000 {
		t.Errorf("a full disk: %d batches tried and %d lines logged in 300 ms", store.begins.Load(), n)
	}
}

// awayAtLook has no deadlines; when it fails, the look fails and the fill works.
type awayAtLook struct{ fail bool }

func (a *awayAtLook) Deadlines(_ context.Context, after order.Deadline, _ time.Time, _ int) ([]order.Deadline, error) {
	if a.fail && after == (order.Deadline{}) {
		return nil, errors.New("away")
	}
	return nil, nil
}

func TestWhatIsDueIsExpiredThoughTheLookFails(t *testing.T) {
	d := newDesk(t)
	record := &awayAtLook{}
	e := worker.NewExpirer(d.ledger, record, d.countdown, worker.ExpirerOptions{Clock: d.clock, Steady: d.monotonic})
	d.turn(e)
	no := d.place()
	d.pass(10 * time.Second)
	record.fail = true
	_, _ = e.RunOnce(t.Context())
	if got := d.status(no); got != order.Expired {
		t.Errorf("the ledger works, the countdown knew the order, only the look failed: got %s; it was taken out and thrown away", got)
	}
}

func TestEveryOrderIsRemindedThoughManyShareAMillisecond(t *testing.T) {
	d := newDesk(t)
	const n = 600 // batch_max may be 4096: one batch has one time
	if _, err := ledger.Submit(t.Context(), d.ledger, ledger.AdjustStock{ProductID: "sku-1", Delta: n}); err != nil {
		t.Fatal(err)
	}
	commands := make([]ledger.Command[ledger.Placed], n)
	for i := range commands {
		var k ledger.Key
		binary.BigEndian.PutUint64(k[:], uint64(i)+1000)
		commands[i] = ledger.Place{
			Key: k, UserID: user.ID(fmt.Sprint("u-", i)), Lines: []ledger.PlaceLine{{ProductID: "sku-1", Quantity: 1, Field: "lines[0]"}},
		}
	}
	ledger.SubmitAll(t.Context(), d.ledger, commands, func(_ int, _ ledger.Placed, err error) {
		if err != nil {
			t.Error(err)
		}
	})
	r := worker.NewReminder(d.ledger, d.store, 3*time.Second, d.clock, slog.New(slog.DiscardHandler))
	d.pass(7 * time.Second)
	for range 5 {
		if _, err := r.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.pass(100 * time.Millisecond)
	}
	left, err := d.store.Unreminded(t.Context(), order.Deadline{}, d.clock().Add(time.Hour), n)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) > 0 {
		t.Errorf("%d of %d orders are never reminded", len(left), n)
	}
}
