package redisfront

import (
	"context"
	"strconv"
	"sync"
	"time"
)

// A desk that is the only one knows all marks there are, and need not ask Redis for any. It is told so by Redis, which knows the desks of an
// epoch, and believes it for a short while. A desk that comes in is known at once, and commits nothing before nobody believes any more
// that he is alone: so a desk that sleeps, is forgotten and wakes up does no harm.
const (
	aloneLasts = 200 * time.Millisecond // from when it was asked
	comingIn   = 250 * time.Millisecond // from when the desk is known
)

// desks keeps since when this desk is known in epochs.
type desks struct {
	mu    sync.Mutex
	since map[string]time.Time
}

// epochsKept bounds them: of more than two none is used any more.
const epochsKept = 8

// known does what makes this desk known in an epoch, unless it is, and gives since when it is. come says whether it was not known before.
// Whether something came of it while its answer was lost nobody knows: then it counts from the next time.
func (d *desks) known(epoch string, do func() (come bool, err error)) (since time.Time, err error) {
	d.mu.Lock()
	since, was := d.since[epoch]
	delete(d.since, epoch)
	d.mu.Unlock()
	come, err := do()
	if err != nil {
		return time.Time{}, err
	}
	if come || !was {
		since = time.Now()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since == nil || len(d.since) >= epochsKept {
		d.since = map[string]time.Time{}
	}
	d.since[epoch] = since
	return since, nil
}

func (d *desks) has(epoch string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.since[epoch]
	return ok
}

// comeIn makes this desk known in an epoch that is about to be opened, so that its first batch there need not wait.
func (f *Front) comeIn(ctx context.Context) {
	c, epoch := f.reachable()
	if c == nil || f.desks.has(epoch) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, admitMax+f.opt.Grace)
	defer cancel()
	_, _ = f.desks.known(epoch, func() (bool, error) { // else the first batch does
		answer, err := runAll(ctx, c, []run{f.since(epoch, 0, true)})[0].AsIntSlice()
		if err != nil || len(answer) < 3 || answer[2] < 0 {
			return false, errMarksLost
		}
		return answer[0] == 1, nil
	})
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

// since asks what was marked in an epoch after so many batches.
func (f *Front) since(epoch string, batches int64, comesIn bool) run {
	in := "0"
	if comesIn {
		in = "1"
	}
	return run{&usedSinceScript, lastKeys(epoch), []string{strconv.FormatInt(batches, 10), f.self, in}}
}
