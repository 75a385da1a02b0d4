package bench

import (
	"math"
	"math/bits"
	"sync/atomic"
	"time"
)

// The buckets of a histogram: exact to a microsecond below 128 µs, then 64 to every doubling, so that no figure is more than
// 1.6 % above the truth. 1 408 of them reach to 134 s; what took longer is counted in the last.
const (
	exactBits     = 7
	exactBuckets  = 1 << exactBits
	perDoubling   = exactBuckets / 2
	longestMicros = 1<<27 - 1
	buckets       = (27-exactBits)*perDoubling + exactBuckets
)

// Histogram counts durations in buckets whose width grows with the duration. Its memory is fixed, its zero value is ready,
// and any number of goroutines may record into it.
type Histogram struct {
	counts [buckets]atomic.Int64
	max    atomic.Int64 // microseconds
}

// Record counts one duration. Below zero counts as zero.
func (h *Histogram) Record(d time.Duration) {
	micros := max(d.Microseconds(), 0)
	h.counts[bucketOf(micros)].Add(1)
	h.raiseMax(micros)
}

func (h *Histogram) raiseMax(micros int64) {
	for seen := h.max.Load(); micros > seen; seen = h.max.Load() {
		if h.max.CompareAndSwap(seen, micros) {
			return
		}
	}
}

// Merge adds everything other has counted.
func (h *Histogram) Merge(other *Histogram) {
	for i := range other.counts {
		if n := other.counts[i].Load(); n > 0 {
			h.counts[i].Add(n)
		}
	}
	h.raiseMax(other.max.Load())
}

// Count is how many durations were recorded.
func (h *Histogram) Count() int64 {
	var n int64
	for i := range h.counts {
		n += h.counts[i].Load()
	}
	return n
}

// Max is the longest duration recorded, exactly.
func (h *Histogram) Max() time.Duration { return time.Duration(h.max.Load()) * time.Microsecond }

// Quantile is the duration that a share q (0 to 1) of all recorded ones did not exceed, rounded up to its bucket's end.
func (h *Histogram) Quantile(q float64) time.Duration {
	rank := int64(math.Ceil(q * float64(h.Count())))
	var seen int64
	for i := range h.counts {
		seen += h.counts[i].Load()
		if seen >= rank && seen > 0 {
			return min(time.Duration(lastOf(i))*time.Microsecond, h.Max())
		}
	}
	return 0
}

func bucketOf(micros int64) int {
	if micros < exactBuckets {
		return int(micros)
	}
	micros = min(micros, longestMicros)
	shift := bits.Len64(uint64(micros)) - exactBits
	return shift*perDoubling + int(micros>>shift)
}

// lastOf is the longest duration, in microseconds, that falls into a bucket.
func lastOf(bucket int) int64 {
	if bucket < exactBuckets {
		return int64(bucket)
	}
	shift := bucket/perDoubling - 1
	return int64(bucket-shift*perDoubling+1)<<shift - 1
}
