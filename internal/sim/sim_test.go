package sim

import (
	"flag"
	"fmt"
	"sync/atomic"
	"testing"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "the seed to run, told step by step")
	seedsFlag = flag.Int("sim.seeds", 1000, "how many seeds to run")
	firstFlag = flag.Uint64("sim.first", 1, "the first of them")
)

// lanes is how many seeds run side by side.
const lanes = 2

func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -sim.seed")
	}
	r := Seed(t, *seedFlag, func(line string) { fmt.Println(line) })
	if len(r.Wrong) > 0 {
		t.Error(r)
		return
	}
	t.Log(r)
}

func TestWhateverHappensThePromisesHold(t *testing.T) {
	seeds(t, *firstFlag, *seedsFlag, nil)
}

// seeds runs many, and fails at the first of each lane that is not clean. each is told of all.
func seeds(t *testing.T, first uint64, n int, each func(Run)) {
	t.Helper()
	var next, steps atomic.Uint64
	next.Store(first)
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				for !t.Failed() {
					seed := next.Add(1) - 1
					if seed >= first+uint64(n) {
						return
					}
					r := Seed(t, seed, nil)
					steps.Add(uint64(r.Steps))
					if each != nil {
						each(r)
					}
					if len(r.Wrong) > 0 {
						t.Error(r)
					}
				}
			})
		}
	})
	t.Logf("%d seeds from %d on, %d steps", n, first, steps.Load())
}

func TestASeedGoesTheSameWayAgain(t *testing.T) {
	for seed := uint64(1); seed <= 50; seed++ {
		one, two := Seed(t, seed, nil), Seed(t, seed, nil)
		if one.Hash != two.Hash || one.Steps != two.Steps {
			t.Fatalf("seed %d went %d steps to %x, and again %d steps to %x", seed, one.Steps, one.Hash, two.Steps, two.Hash)
		}
	}
}
