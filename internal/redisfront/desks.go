package redisfront

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// A desk that is the only one knows all marks there are, and need not ask Redis for any. It is told so by Redis, which knows the desks of an
// epoch, and believes it for a short while. A desk that comes in is known at once, and commits nothing before nobody believes any more
// that he is alone, nor in the epoch before: so a desk that sleeps, is forgotten and wakes up does no harm.
const (
	aloneLasts = 120 * time.Millisecond // from when it was asked
	sparing    = 50 * time.Millisecond  // longer than that, or a lease, a desk that has come in waits
)

// desks keeps when this desk came in to epochs, as Redis says it, and since when that is known here.
type desks struct {
	mu   sync.Mutex
	came map[string]coming
}

type coming struct {
	when  string
	since time.Time
}

// epochsKept bounds them: of more than two none is used any more.
const epochsKept = 8

// in takes note of when this desk came in to an epoch, as was just said, and gives since when that is known. An answer that is lost does no harm:
// the next one says the same.
func (d *desks) in(epoch, when string) (since time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, known := d.came[epoch]
	if known && c.when == when {
		return c.since
	}
	if d.came == nil || len(d.came) >= epochsKept {
		d.came = map[string]coming{}
	}
	d.came[epoch] = coming{when, time.Now()}
	return d.came[epoch].since
}

func (d *desks) has(epoch string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, known := d.came[epoch]
	return known
}

// comeIn makes this desk known in an epoch that it has read of, so that its first batch there need not wait.
func (f *Front) comeIn(ctx context.Context) {
	c, epoch := f.reachable()
	if c == nil || f.desks.has(epoch) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, admitMax+f.opt.Grace)
	defer cancel()
	told, err := runAll(ctx, c, []run{f.since(epoch, 0, true)})[0].ToArray()
	if err != nil || len(told) == 0 {
		return // the first batch does it
	}
	if when, err := told[0].ToString(); err == nil && when != "" {
		f.desks.in(epoch, when)
	}
}

// leave makes this desk unknown, so that one that is left finds at once that it is alone. Should another batch come, it comes in again.
func (f *Front) leave(ctx context.Context) {
	t := f.open()
	if t == nil || f.opt.Alone {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), admitMax)
	defer cancel()
	_ = t.client.Do(ctx, t.client.B().Hdel().Key(batchesKey(t.epoch)).Field("d:"+f.self).Build()).Error() // it is forgotten
}

// since asks what was marked in an epoch after so many batches. A desk that comes in is told no keys.
func (f *Front) since(epoch string, batches int64, comesIn bool) run {
	in := "0"
	if comesIn {
		in = "1"
	}
	return run{&usedSinceScript, lastKeys(epoch), []string{strconv.FormatInt(batches, 10), f.self, in}}
}
