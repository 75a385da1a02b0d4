package bench

import (
	"sync"
	"sync/atomic"
	"time"
)

// outcome is what an answer was worth.
type outcome int

const (
	done       outcome = iota // 201 for an order, 200 for a read or a notice
	outOfStock                // 409 out_of_stock
	overloaded                // 503 or 429: refused, to be tried again later
	unexpected                // any other answer, or one that does not say what it has to
	broken                    // no answer: the request may have been carried out or not
	outcomes
)

// tally counts the answers of one stretch of a run, by what they were worth. All of its methods are safe for concurrent use.
type tally struct {
	latency [outcomes]Histogram // closed loop: from the sending; open loop: from the intended start
	service [outcomes]Histogram // open loop: from the sending
	unsent  atomic.Int64        // open loop: could not even start in time
	strange complaint
}

func (t *tally) count(o outcome) int64 { return t.latency[o].Count() }

func (t *tally) answered() int64 {
	var n int64
	for o := range broken {
		n += t.count(o)
	}
	return n
}

// complaint keeps the first thing that went wrong, for people to read.
type complaint struct {
	once sync.Once
	text atomic.Pointer[string]
}

func (c *complaint) keep(text string) {
	c.once.Do(func() { c.text.Store(&text) })
}

func (c *complaint) String() string {
	if text := c.text.Load(); text != nil {
		return *text
	}
	return ""
}

// Latency sums a histogram up, in milliseconds.
type Latency struct {
	P50  float64 `json:"p50_ms"`
	P90  float64 `json:"p90_ms"`
	P99  float64 `json:"p99_ms"`
	P999 float64 `json:"p999_ms"`
	Max  float64 `json:"max_ms"`
}

func latencyOf(h *Histogram) Latency {
	return Latency{
		P50:  milliseconds(h.Quantile(0.5)),
		P90:  milliseconds(h.Quantile(0.9)),
		P99:  milliseconds(h.Quantile(0.99)),
		P999: milliseconds(h.Quantile(0.999)),
		Max:  milliseconds(h.Max()),
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
