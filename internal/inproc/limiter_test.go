package inproc_test

import (
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

func TestAQuotaHoldsForManyAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := ratelimit.Quota{Count: 10, Per: time.Second, Burst: 10}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 100 {
				if l.Take(t.Context(), "u", q, 1).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 10 {
		t.Errorf("%d went through, want 10", got)
	}
	if d := l.Take(t.Context(), "another", q, 1); !d.Allowed {
		t.Errorf("another key: got %+v, want it allowed", d)
	}
}

// A crowd of keys is forgotten, oldest first, and memory stays bounded; who is forgotten is let in, and who keeps coming is not
// forgotten.
func TestAKeyThatIsForgottenIsLetIn(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := ratelimit.Quota{Count: 1, Per: time.Hour, Burst: 1}
	l.Take(t.Context(), "once", q, 1)
	l.Take(t.Context(), "often", q, 1)
	for i := range 600_000 {
		if !l.Take(t.Context(), strconv.Itoa(i), q, 1).Allowed {
			t.Fatalf("key %d was not let in", i)
		}
		if i%100 == 0 && l.Take(t.Context(), "often", q, 1).Allowed {
			t.Fatalf("who came all the while was forgotten after %d others", i)
		}
	}
	if got := l.Keys(); got > 200_000 || got < 90_000 {
		t.Errorf("%d keys are remembered, want 100 000 to 200 000", got)
	}
	if !l.Take(t.Context(), "once", q, 1).Allowed {
		t.Error("who had not come for long was still remembered")
	}
}
