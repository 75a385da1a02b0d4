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
	aloneLasts = 200 * time.Millisecond // from when it was asked
	sparing    = 50 * time.Millisecond  // longer than that and a lease, a desk that has come in waits
)

// desks keeps by which name, and since when, this desk is known in epochs.
type desks struct {
	mu    sync.Mutex // held while it comes in
	names int64
	known map[string]knownDesk
}

type knownDesk struct {
	name  string
	since time.Time
}

// epochsKept bounds them: of more than two none is used any more.
const epochsKept = 8

// in has tell say in an epoch by which name this desk is known, and gives since when it is. tell reports whether it was known by another, or by
// none. When nobody knows what came of a telling, the next one has a new name.
func (d *desks) in(epoch string, tell func(name string) (anew bool, err error)) (since time.Time, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.tell(epoch, tell)
}

// tell is called with the lock held.
func (d *desks) tell(epoch string, tell func(name string) (anew bool, err error)) (since time.Time, err error) {
	k, was := d.known[epoch]
	if !was {
		d.names++
		k.name = strconv.FormatInt(d.names, 36)
	}
	anew, err := tell(k.name)
	if err != nil {
		delete(d.known, epoch)
		return time.Time{}, err
	}
	if anew || !was {
		k.since = time.Now()
	}
	if d.known == nil || len(d.known) >= epochsKept {
		d.known = map[string]knownDesk{}
	}
	d.known[epoch] = k
	return k.since, nil
}

// comeIn makes this desk known in an epoch that it has read of, so that its first batch there need not wait, unless one is coming.
func (f *Front) comeIn(ctx context.Context) {
	c, epoch := f.reachable()
	if c == nil || !f.desks.mu.TryLock() {
		return
	}
	defer f.desks.mu.Unlock()
	if _, is := f.desks.known[epoch]; is {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, admitMax+f.opt.Grace)
	defer cancel()
	_, _ = f.desks.tell(epoch, func(name string) (bool, error) { // else the first batch does
		answer, err := runAll(ctx, c, []run{f.since(epoch, 0, name)})[0].AsIntSlice()
		if err == nil && (len(answer) != 2 || answer[1] < countFrom) {
			err = errMarksLost
		}
		return true, err
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

// since asks what was marked in an epoch after so many batches. With a name the desk comes in, and is told no keys.
func (f *Front) since(epoch string, batches int64, name string) run {
	return run{&usedSinceScript, lastKeys(epoch), []string{strconv.FormatInt(batches, 10), f.self, name}}
}
