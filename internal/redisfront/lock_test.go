package redisfront_test

import (
	"context"
	"net/url"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// A lock is kept by renewing it, as the user that docs/operate.md gives a desk; whoever stands still or dies has it no longer than it
// lasts; and whoever wakes up does not let go of what another has by now.
func TestALockIsHeldWhileItIsRenewedAndNoLonger(t *testing.T) {
	t.Parallel()
	const lasts = 4 * time.Second // long enough for a machine that is busy with something else
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	always, _ := documentedUser(t)
	u, err := url.Parse(asDesk(t, s.URL(), []*testenv.Server{s}, always))
	if err != nil {
		t.Fatal(err)
	}
	proxy := testenv.NewProxy(t, u.Host)
	lockOf := func(host string) *redisfront.Numbers {
		u.Host = host
		o := quick(u.String())
		o.LockLasts = lasts
		return redisfront.NewNumbers(working(t, newRecord(), o).front, nil)
	}
	other, holder := lockOf(u.Host), lockOf(proxy.Addr())
	release, ok := holder.Lock(t.Context(), "work")
	if !ok {
		t.Fatal("a lock that nobody has is not to be had")
	}
	taken := func() bool {
		release, ok := other.Lock(t.Context(), "work")
		if ok {
			t.Cleanup(release)
		}
		return ok
	}
	for end := time.Now().Add(3 * lasts / 2); time.Now().Before(end); pause(50 * time.Millisecond) {
		if taken() {
			t.Fatal("a lock that is held was given to another")
		}
	}
	if _, ok := other.Lock(t.Context(), "other work"); !ok {
		t.Error("another lock is not to be had")
	}
	proxy.Blackhole(true) // the holder stands still, or is dead: who can tell
	stopped := time.Now()
	testenv.Until(t, patience, "the lock is to be had", taken)
	if took := time.Since(stopped); took > lasts+2*time.Second {
		t.Errorf("the lock of who stood still was to be had after %s, want %s", took, lasts)
	}
	token, err := do(t, c, "GET", "holdfast:lock:0:work").ToString()
	if err != nil || token == "" {
		t.Fatalf("the lock is %q, %v", token, err)
	}
	proxy.Blackhole(false)
	release() // the old holder has woken up
	if now, err := do(t, c, "GET", "holdfast:lock:0:work").ToString(); err != nil || now != token {
		t.Errorf("the lock is %q (%v) after its old holder let go of it, want it as it was", now, err)
	}
}

// Nothing rests on a lock, so whoever wants one does not wait for long where Redis hangs.
func TestALockIsNotWaitedForWhereRedisHangs(t *testing.T) {
	t.Parallel()
	proxy, address := overProxy(t, testenv.StartRedis(t, testenv.Options{}))
	o := strict(address)
	n := redisfront.NewNumbers(working(t, newRecord(), o).front, nil)
	proxy.Blackhole(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	began := time.Now()
	release, ok := n.Lock(ctx, "work")
	if took := time.Since(began); !ok || took > 300*time.Millisecond {
		t.Errorf("after %s: got %t, want that the work may begin", took, ok)
	}
	release()
}
