package bench

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestQuantilesAreWithinTwoPercentOfTheTruth(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	shapes := map[string]func() time.Duration{
		"uniform":     func() time.Duration { return time.Duration(random.Int64N(int64(80 * time.Millisecond))) },
		"exponential": func() time.Duration { return time.Duration(random.ExpFloat64() * float64(5*time.Millisecond)) },
		"two humps": func() time.Duration {
			if random.IntN(100) == 0 {
				return 900*time.Millisecond + time.Duration(random.Int64N(int64(time.Second)))
			}
			return time.Duration(random.Int64N(int64(time.Millisecond)))
		},
	}
	for name, draw := range shapes {
		t.Run(name, func(t *testing.T) {
			var h Histogram
			all := make([]time.Duration, 50_000)
			for i := range all {
				all[i] = draw().Truncate(time.Microsecond)
				h.Record(all[i])
			}
			slices.Sort(all)
			for _, q := range []float64{0.5, 0.9, 0.99, 0.999, 1} {
				want := all[int(math.Ceil(q*float64(len(all))))-1]
				got := h.Quantile(q)
				if got < want || float64(got) > float64(want)*1.016+float64(time.Microsecond) {
					t.Errorf("p%g: got %v, want %v to 1.6 %% more", q*100, got, want)
				}
			}
			if h.Max() != all[len(all)-1] {
				t.Errorf("max: got %v, want %v", h.Max(), all[len(all)-1])
			}
		})
	}
}

func TestBucketsFollowEachOtherWithoutGap(t *testing.T) {
	for i := range buckets {
		last := lastOf(i)
		if got := bucketOf(last); got != i {
			t.Fatalf("%d µs falls into bucket %d, want %d", last, got, i)
		}
		if i+1 < buckets && bucketOf(last+1) != i+1 {
			t.Fatalf("%d µs falls into bucket %d, want %d", last+1, bucketOf(last+1), i+1)
		}
	}
}

func TestDurationsBeyondTheLastBucketAreStillCounted(t *testing.T) {
	var h Histogram
	h.Record(time.Hour)
	h.Record(-time.Second)
	if got := h.Count(); got != 2 {
		t.Errorf("count: got %d, want 2", got)
	}
	if got := h.Max(); got != time.Hour {
		t.Errorf("max: got %v, want 1h", got)
	}
	if got := h.Quantile(0.5); got != 0 {
		t.Errorf("p50: got %v, want 0 for a duration below zero", got)
	}
}

func TestMergedHistogramsCountAsOne(t *testing.T) {
	var parts [4]Histogram
	var whole Histogram
	var group sync.WaitGroup
	for i := range parts {
		group.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 7))
			for range 2_000 {
				d := time.Duration(random.Int64N(int64(time.Second)))
				parts[i].Record(d)
				whole.Record(d)
			}
		})
	}
	group.Wait()
	var merged Histogram
	for i := range parts {
		merged.Merge(&parts[i])
	}
	for _, q := range []float64{0, 0.5, 0.99, 1} {
		if got, want := merged.Quantile(q), whole.Quantile(q); got != want {
			t.Errorf("p%g: got %v, want %v", q*100, got, want)
		}
	}
	if merged.Count() != 8_000 || whole.Count() != 8_000 {
		t.Errorf("count: got %d merged and %d whole, want 8000 each", merged.Count(), whole.Count())
	}
}
