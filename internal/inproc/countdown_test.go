package inproc_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

func TestCountdownNamesWhatIsDueTheEarliestFirst(t *testing.T) {
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	c := inproc.NewCountdown()
	c.Extend(start.Add(time.Minute))
	for no, after := range map[order.Number]time.Duration{3: 3 * time.Second, 1: time.Second, 2: 2 * time.Second} {
		c.Add(no, start.Add(after))
	}
	if got, _ := c.Due(start.Add(999*time.Millisecond), 10); len(got) != 0 {
		t.Fatalf("a millisecond early: got %v, want none", got)
	}
	if got, _ := c.Due(start.Add(2*time.Second), 10); !cmp.Equal(got, []order.Number{1, 2}) {
		t.Errorf("at 2 s: got %v, want [1 2]", got)
	}
	if got := c.Next(); !got.Equal(start.Add(3 * time.Second)) {
		t.Errorf("next: got %v, want %v", got, start.Add(3*time.Second))
	}
}

func TestCountdownKeepsWhatLiesWithinTheHorizonOnly(t *testing.T) {
	start := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	c := inproc.NewCountdown()
	c.Extend(start.Add(time.Minute))
	placed := func(no order.Number, payBy time.Time) *order.Order {
		return &order.Order{Number: no, Status: order.Pending, Version: 1, Events: 1, PayBy: payBy}
	}
	c.Applied(&ledger.Applied{Orders: []*order.Order{
		placed(1, start.Add(time.Second)), placed(2, start.Add(time.Hour)),
		{Number: 3, Status: order.Paid, Version: 2, Events: 2, PayBy: start.Add(time.Second)},
	}})
	select {
	case <-c.Woken():
	default:
		t.Error("an earlier deadline came in and nobody was woken")
	}
	if got, _ := c.Due(start.Add(2*time.Hour), 10); !cmp.Equal(got, []order.Number{1}) {
		t.Errorf("got %v, want [1]: 2 is the record's, 3 is over", got)
	}
}
