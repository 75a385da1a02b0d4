//go:build failpoint

package failpoint

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

type point struct {
	action string
	at     int64 // 0: every time
	hits   atomic.Int64
}

var table = sync.OnceValue(func() map[string]*point { return parse(os.Getenv("HOLDFAST_FAILPOINTS")) })

func parse(list string) map[string]*point {
	points := map[string]*point{}
	for _, item := range strings.Split(list, ";") {
		if item == "" {
			continue
		}
		name, action, ok := strings.Cut(item, "=")
		if !ok {
			panic(fmt.Sprintf("HOLDFAST_FAILPOINTS: %q is not name=action[@n]", item))
		}
		p := &point{}
		var nth string
		p.action, nth, ok = strings.Cut(action, "@")
		if ok {
			n, err := strconv.ParseInt(nth, 10, 64)
			if err != nil {
				panic(fmt.Sprintf("HOLDFAST_FAILPOINTS: %q: %v", item, err))
			}
			p.at = n
		}
		if p.action != "exit" && p.action != "stop" && p.action != "error" && !strings.HasPrefix(p.action, "sleep:") {
			panic(fmt.Sprintf("HOLDFAST_FAILPOINTS: %q: there is no action %q", item, p.action))
		}
		points[name] = p
	}
	return points
}

// Counting tells whether this build counts.
const Counting = true

var counts sync.Map // name → *atomic.Int64

// Hits is how often each point was reached.
func Hits() map[string]int64 {
	hits := map[string]int64{}
	counts.Range(func(name, n any) bool {
		hits[name.(string)] = n.(*atomic.Int64).Load() //nolint:errcheck // nothing else is stored
		return true
	})
	return hits
}

// Hit marks a point where a test may stop the process.
func Hit(name string) { reach(name) }

// HitAs marks a point that is reached in several ways.
func HitAs(name, as string) { reach(name + ":" + as) }

// Fails reports whether a test wants the step at this point to fail.
func Fails(name string) bool { return reach(name) == "error" }

func reach(name string) string {
	n, known := counts.Load(name)
	if !known {
		n, _ = counts.LoadOrStore(name, &atomic.Int64{})
	}
	n.(*atomic.Int64).Add(1) //nolint:errcheck // nothing else is stored
	p := table()[name]
	if p == nil || (p.hits.Add(1) != p.at && p.at != 0) {
		return ""
	}
	switch {
	case p.action == "exit":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case p.action == "stop":
		_ = syscall.Kill(os.Getpid(), syscall.SIGSTOP)
	case strings.HasPrefix(p.action, "sleep:"):
		d, err := time.ParseDuration(strings.TrimPrefix(p.action, "sleep:"))
		if err != nil {
			panic(err)
		}
		time.Sleep(d)
	}
	return p.action
}
