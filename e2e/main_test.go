// Package e2e drives the real binary from outside: over HTTP as clients do, and by signals, files, locks and a full disk as
// operators and accidents do.
package e2e

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

var (
	// Where nothing else runs a second is asked for, no rest and 15 s. Beside other tests it depends on them.
	goOn      = flag.Duration("chaos.pause", 3*time.Second, "how long nobody may get an order when Redis is lost")
	rests     = flag.Duration("chaos.rest", 20*time.Millisecond, "how long each of a crowd rests between two moves, and five times as long where they go on for seconds")
	backIn    = flag.Duration("chaos.back", time.Minute, "how long a Redis that is back may be left unused")
	chaosN    = flag.Int("chaos.n", 30, "how often TestChaos kills the server")
	chaosSeed = flag.Uint64("chaos.seed", rand.Uint64(), "what the clients of TestChaos and its like draw their moves from")
)

func TestMain(m *testing.M) {
	flag.Parse()
	os.Exit(run(m))
}

func run(m *testing.M) int {
	folder, err := os.MkdirTemp("", "holdfast-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	binaries = folder
	code := m.Run()
	if err := os.RemoveAll(folder); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return code
}

// pass lets time go by, for tests that are about time: how long a load lasts, when a deadline is near.
func pass(d time.Duration) {
	if d > 0 {
		<-time.After(d)
	}
}
