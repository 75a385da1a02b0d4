package inproc_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// take takes one from one quota.
func take(l *inproc.Limiter, key string, q ratelimit.Quota) ratelimit.Decision {
	return l.Take(context.Background(), []ratelimit.Ask{{Key: key, Quota: q}})[0]
}

// One quota of a request that is used up leaves the others as they were, whichever it is, and they are told so.
func TestOfSeveralQuotasAllAreTakenFromOrNone(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := func(burst int) ratelimit.Quota { return ratelimit.Quota{Count: burst, Per: time.Hour, Burst: burst} }
	asks := []ratelimit.Ask{{Key: "wide", Quota: q(10)}, {Key: "narrow", Quota: q(2)}, {Key: "wider", Quota: q(20)}}
	for i, want := range [][]int{{9, 1, 19}, {8, 0, 18}, {8, 0, 18}, {8, 0, 18}} {
		got := l.Take(t.Context(), asks)
		for k, d := range got {
			if d.Remaining != want[k] || d.Allowed != (i < 2 || k != 1) {
				t.Errorf("request %d, %s: got %+v, want %d left", i+1, asks[k].Key, d, want[k])
			}
		}
	}
	if got := take(l, "wide", q(10)).Remaining; got != 7 {
		t.Errorf("%d are left of what refused requests asked for, too; want 7", got)
	}
}

// Requests that name the same keys in another order do not wait for each other for ever, nor take what another was refused.
func TestQuotasAreTakenTogetherByManyAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := ratelimit.Quota{Count: 500, Per: time.Hour, Burst: 500}
	var keys []ratelimit.Ask
	for i := range 8 {
		keys = append(keys, ratelimit.Ask{Key: strconv.Itoa(i), Quota: q})
	}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for i := range 64 {
		mine := slices.Concat(keys[i%8:], keys[:i%8])
		all.Go(func() {
			for range 20 {
				if !ratelimit.Refused(l.Take(t.Context(), mine)) {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 500 {
		t.Errorf("%d went through, want 500", got)
	}
}

func TestAQuotaHoldsForManyAtOnce(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := ratelimit.Quota{Count: 10, Per: time.Second, Burst: 10}
	var allowed atomic.Int64
	var all sync.WaitGroup
	for range 64 {
		all.Go(func() {
			for range 100 {
				if take(l, "u", q).Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	all.Wait()
	if got := allowed.Load(); got != 10 {
		t.Errorf("%d went through, want 10", got)
	}
	if d := take(l, "another", q); !d.Allowed {
		t.Errorf("another key: got %+v, want it allowed", d)
	}
}

// A crowd of keys is forgotten, oldest first, and memory stays bounded; who is forgotten is let in, and who keeps coming is not
// forgotten.
func TestAKeyThatIsForgottenIsLetIn(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	l := inproc.NewLimiter(func() time.Time { return now })
	q := ratelimit.Quota{Count: 1, Per: time.Hour, Burst: 1}
	take(l, "once", q)
	take(l, "often", q)
	for i := range 600_000 {
		if !take(l, strconv.Itoa(i), q).Allowed {
			t.Fatalf("key %d was not let in", i)
		}
		if i%100 == 0 && take(l, "often", q).Allowed {
			t.Fatalf("who came all the while was forgotten after %d others", i)
		}
	}
	if got := l.Keys(); got > 200_000 || got < 90_000 {
		t.Errorf("%d keys are remembered, want 100 000 to 200 000", got)
	}
	if !take(l, "once", q).Allowed {
		t.Error("who had not come for long was still remembered")
	}
}
