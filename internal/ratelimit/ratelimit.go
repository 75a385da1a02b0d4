// Package ratelimit is how often something may happen: rules as an operator writes them, and the arithmetic that decides.
// It keeps nothing; who does keeps one number per key.
package ratelimit

import (
	"math"
	"slices"
	"time"
)

// Quota lets Count things happen in Per, spread evenly, and Burst of them at once.
type Quota struct {
	Count, Burst int
	Per          time.Duration
}

// Every is the time in which one of the quota grows back, in whole microseconds: so that a store whose numbers are doubles,
// as Redis' scripts have them, works out the same.
func (q Quota) Every() time.Duration {
	return max((q.Per / time.Duration(q.Count)).Round(time.Microsecond), time.Microsecond)
}

// Window is the time in which all of it grows back.
func (q Quota) Window() time.Duration { return q.Every() * time.Duration(q.Burst) }

// Ask is a wish to take one thing from the quota of a key.
type Ask struct {
	Key string
	Quota
}

// Decision is what became of a wish to take from a quota.
type Decision struct {
	Allowed    bool          // by this quota
	Remaining  int           // how many more could be taken now
	RetryAfter time.Duration // until what was asked for could be taken; 0 where it was, and of what never can
	Reset      time.Duration // until all of the quota is there again
}

// Take takes cost from a quota at now, by the generic cell rate algorithm (ITU-T I.371; in these words: a bucket that leaks one
// thing each Every and holds Burst). full is all that is kept of a key: the moment at which its quota is whole again, in
// microseconds since 1970; 0, as of a key that nobody has seen, is whole. It gives the new one, unchanged where nothing is taken:
// who is refused does not wait longer for having asked.
func (q Quota) Take(full int64, now time.Time, cost int) (int64, Decision) {
	every, at := q.Every().Microseconds(), now.UnixMicro()
	whole, window := max(full, at), every*int64(q.Burst)
	// A moment further ahead than the window was set by another quota, or by a clock that ran ahead: nobody waits longer than this.
	whole = min(whole, at+window)
	taken := whole + every*int64(cost)
	if wait := taken - window - at; wait > 0 {
		d := Decision{Remaining: int((at + window - whole) / every), Reset: micros(whole - at)}
		if cost <= q.Burst {
			d.RetryAfter = micros(wait)
		}
		return full, d
	}
	return taken, Decision{Allowed: true, Remaining: int((at + window - taken) / every), Reset: micros(taken - at)}
}

// Refused reports whether one of several quotas is used up: then none of them is taken from.
func Refused(all []Decision) bool {
	return slices.ContainsFunc(all, func(d Decision) bool { return !d.Allowed })
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// Seconds is a time as headers have it: whole seconds, rounded up.
func Seconds(d time.Duration) int64 { return int64(math.Ceil(d.Seconds())) }
