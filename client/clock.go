package client

import (
	"net/http"
	"sync"
	"time"
)

// deskClock narrows down how far the desk's clock is from ours. An answer dated d that was asked for at s and came at r says
// that the desk's clock showed d to d+1s at some time from s to r.
type deskClock struct {
	mu          sync.Mutex
	seen        bool
	least, most time.Duration
}

// observe takes in the date of an answer.
func (d *deskClock) observe(date string, sent, received time.Time) {
	shown, err := http.ParseTime(date)
	if err != nil {
		return
	}
	least, most := shown.Sub(received), shown.Add(time.Second).Sub(sent)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.seen && max(least, d.least) <= min(most, d.most) {
		least, most = max(least, d.least), min(most, d.most)
	} // else one of the clocks was set, and what was known is of no use
	d.seen, d.least, d.most = true, least, most
}

// offset is the smallest difference that explains all that was seen.
func (d *deskClock) offset() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(d.least, min(d.most, 0))
}
