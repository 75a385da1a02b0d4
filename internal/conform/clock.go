package conform

import (
	"sync/atomic"
	"time"
)

// Clock is the record's time in a test's hand. It stands still until it is moved.
type Clock struct{ ns atomic.Int64 }

// NewClock gives a clock that stands at a moment.
func NewClock(at time.Time) *Clock {
	c := &Clock{}
	c.Set(at)
	return c
}

// Now is the time.
func (c *Clock) Now() time.Time { return time.Unix(0, c.ns.Load()).UTC() }

// Set moves the clock to a moment, Step by a duration; both may go back.
func (c *Clock) Set(at time.Time) { c.ns.Store(at.UnixNano()) }

// Step moves the clock.
func (c *Clock) Step(d time.Duration) { c.ns.Add(int64(d)) }
