package e2e

import (
	"fmt"
	"testing"
	"time"
)

const (
	auditEvery   = 5 // crashes
	serversShare = 6 // of the kills on a file, one is made on each kind of server
)

// Many clients at the same time, and nothing goes wrong but their own minds.
func TestACrowdIsServed(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, onFile)
	s := serve(t, c.database)
	stop := make(chan struct{})
	time.AfterFunc(2*time.Second, func() { close(stop) })
	c.rush(s.desk, stop)
	if c.unknown > 0 {
		t.Errorf("%d requests were not answered", c.unknown)
	}
	s.stop()
	c.finish(serve(t, c.database).desk)
}

// A process is killed again and again while a crowd buys, always on the same database; others that share it go on. Whatever
// somebody was told is true after every restart; whatever nobody was told becomes clear by asking again, and has then happened
// once.
func TestChaosKillNine(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		c := newCrowd(t, w)
		f := w.fleet(t, shipped, c.database)
		for kill := range w.kills() {
			if c.number(8) == 0 {
				c.killWhileStarting()
			}
			f.up()
			c.rushWhileOneDies(f)

			f.up()
			c.check(f.desk, oldPurchases)
			if kill%auditEvery == 0 {
				auditClean(t, c.database)
			}
			f.servers[c.number(len(f.servers))].kill() // and once more, at rest
			if t.Failed() {
				t.Fatalf("after kill %d", kill+1)
			}
		}
		f.up()
		c.finish(f.desk)
	})
}

// kills is how often TestChaos kills a process here.
func (w where) kills() int {
	if w.record == onFile.record {
		return *chaosN
	}
	return max(*chaosN/serversShare, 1)
}

// rushWhileOneDies kills one process at a random moment of a rush. Where there are others, the rush goes on for a while.
func (c *crowd) rushWhileOneDies(f *fleet) {
	victim := f.servers[c.number(len(f.servers))]
	lasts := time.Duration(100+c.number(500)) * time.Millisecond
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		pass(lasts) // the load lasts a random while
		victim.kill()
		if c.where.processes > 1 {
			pass(lasts)
		}
	}()
	c.rush(f.desk, stop)
	<-stop
}

// killWhileStarting ends a server somewhere between its first breath and its first request.
func (c *crowd) killWhileStarting() {
	p := c.where.alone().fleet(c.t, shipped, c.database).begin()
	pass(time.Duration(c.number(60)) * time.Millisecond) // a random moment of the start
	p.kill()
}

// Every named point of the road, the relay and the expirer, as the n-th time the process comes by, is where it dies; then it
// starts without the fail point and everything is looked at as after any crash.
func TestChaosAtEveryFailPoint(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, onFile)
	for _, point := range []string{
		"batch.before_commit", "batch.after_commit", "batch.after_answer",
		"relay.before_commit", "relay.after_commit", "expirer.before_submit",
	} {
		for _, n := range []int{1, 3, 12} {
			t.Run(fmt.Sprintf("%s@%d", point, n), func(t *testing.T) {
				c := c.in(t)
				s, alive := failing(fmt.Sprintf("%s=exit@%d", point, n)).begin(t, c.database).tryServe()
				stop := make(chan struct{})
				late := time.AfterFunc(20*time.Second, func() { close(stop) })
				if alive {
					c.rush(s.desk, stop)
				}
				if !late.Stop() {
					t.Fatalf("%s was not reached %d times", point, n)
				}
				if code := s.wait(stopMax); code != -1 {
					t.Errorf("exit code: got %d, want the end by a signal", code)
				}
				s = shipped.serve(t, c.database)
				c.check(s.desk, oldPurchases)
				auditClean(t, c.database)
				s.kill()
			})
		}
	}
	c.in(t).finish(shipped.serve(t, c.database).desk)
}

// A commit whose answer is lost is in doubt: it may have taken place. The desk finds out by itself, so that everyone gets the
// one right answer and nobody has to ask again.
func TestChaosLostCommits(t *testing.T) {
	t.Parallel()
	c := newCrowd(t, onFile)
	for _, when := range []string{"@1", "@5", ""} {
		t.Run("commit_lost"+when, func(t *testing.T) {
			c := c.in(t)
			s := failing("batch.commit_lost=error"+when).serve(t, c.database)
			stop := make(chan struct{})
			time.AfterFunc(500*time.Millisecond, func() { close(stop) })
			unknown := c.unknown
			c.rush(s.desk, stop)
			if c.unknown != unknown {
				t.Errorf("%d requests were not answered", c.unknown-unknown)
			}
			if s.metric("holdfast_ledger_in_doubt_total") == 0 {
				t.Error("no commit was in doubt")
			}
			c.check(s.desk, oldPurchases)
			s.stop()
			auditClean(t, c.database)
		})
	}
	c.in(t).finish(shipped.serve(t, c.database).desk)
}

// in is the same crowd, complaining in another test.
func (c *crowd) in(t *testing.T) *crowd {
	t.Helper()
	c.t = t
	return c
}
