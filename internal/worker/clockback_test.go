package worker_test

import (
	"log/slog"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// A machine may start with its clock an hour ahead, and be corrected by its time service: what was noted by the wrong time must
// not keep anybody waiting for an hour.

func TestLookGoesOnAfterTheClockWasSetBack(t *testing.T) {
	d := newDesk(t)
	e := d.expirer(forgetful{inproc.NewCountdown()})
	d.jump(time.Hour)
	d.turn(e)
	d.jump(-time.Hour)
	d.turn(e)
	no := d.place()
	d.pass(31 * time.Second)
	d.turn(e)
	if got := d.status(no); got != order.Expired || e.Paused() {
		t.Errorf("20 s after pay_by: got %s, paused %t; want expired, false", got, e.Paused())
	}
}

func TestDeadlinesAreLoadedAgainAfterTheClockWasSetBack(t *testing.T) {
	d := newDesk(t)
	countdown := inproc.NewCountdown() // never told of a commit: it has what the expirer loads
	e := d.expirer(countdown)
	d.jump(time.Hour)
	d.turn(e)
	d.jump(-time.Hour)
	d.turn(e)
	d.pass(31 * time.Second)
	d.place()
	d.turn(e)
	if got := countdown.Len(); got != 1 {
		t.Errorf("%d deadlines are known, want 1: it is 10 s ahead", got)
	}
}

func TestReminderGoesOnAfterTheClockWasSetBack(t *testing.T) {
	d := newDesk(t)
	r := worker.NewReminder(d.ledger, d.store, 3*time.Second, d.clock, slog.New(slog.DiscardHandler))
	remind := func() {
		t.Helper()
		if _, err := r.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	d.jump(time.Hour)
	remind()
	d.jump(-time.Hour)
	no := d.place()
	d.pass(8 * time.Second)
	remind()
	o, err := d.store.Order(t.Context(), no)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Reminded {
		t.Error("not reminded 2 s before pay_by, want 3 s")
	}
}
