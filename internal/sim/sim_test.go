package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/planted"
)

var (
	seedFlag  = flag.Uint64("sim.seed", 0, "the seed to run, told step by step")
	seedsFlag = flag.Uint64("sim.seeds", seedsUsual, "how many seeds to run")
	forFlag   = flag.Duration("sim.for", time.Hour, "how long to go on beginning seeds")
	firstFlag = flag.Uint64("sim.first", 1, "the first of them")
	bugFlag   = flag.String("sim.bug", "", "the mistake to make on purpose in -sim.seed, in a build with the tag planted")
)

const (
	lanes     = 2      // seeds that run side by side
	seedsMany = 50_000 // in so many, every mark has to be hit
	seedsTwin = 40     // that are run twice
	seedsFind = 1000   // in which every planted mistake has to be found
)

// TestSeed runs one seed again and tells every step.
func TestSeed(t *testing.T) {
	if *seedFlag == 0 {
		t.Skip("no -sim.seed")
	}
	if *bugFlag != "" {
		planted.Plant(planted.Mistake(*bugFlag))
		defer planted.Plant("")
	}
	r := Seed(t, *seedFlag, func(line string) { fmt.Println(line) })
	if len(r.Wrong) > 0 {
		t.Fatal(r)
	}
	t.Log(r)
}

func TestWhateverHappensThePromisesHold(t *testing.T) {
	began := time.Now()
	found, done, steps := seeds(t, *firstFlag, *seedsFlag)
	for _, r := range found {
		t.Error(r)
	}
	t.Logf("%d seeds from %d on, %d steps, %s", done, *firstFlag, steps, time.Since(began).Round(time.Second))
	if failpoint.Counting {
		reportMarks(t, done)
	}
}

// seeds runs many side by side, until one is not clean.
func seeds(t *testing.T, first, n uint64) (found []Run, done, steps uint64) {
	t.Helper()
	latest := time.Now().Add(*forFlag)
	var next, count, sum atomic.Uint64
	next.Store(first)
	var stop atomic.Bool
	wrong := make([][]Run, lanes)
	t.Run("lanes", func(t *testing.T) {
		for lane := range lanes {
			t.Run(fmt.Sprint(lane), func(t *testing.T) {
				t.Parallel()
				for !stop.Load() && time.Now().Before(latest) {
					seed := next.Add(1) - 1
					if seed >= first+n {
						return
					}
					r := Seed(t, seed, nil)
					count.Add(1)
					sum.Add(uint64(r.Steps))
					if len(r.Wrong) > 0 {
						wrong[lane] = append(wrong[lane], r)
						stop.Store(true)
					}
				}
			})
		}
	})
	found = slices.Concat(wrong...)
	slices.SortFunc(found, func(a, b Run) int { return int(a.Seed) - int(b.Seed) })
	return found, count.Load(), sum.Load()
}

func TestASeedGoesTheSameWayAgain(t *testing.T) {
	for seed := *firstFlag; seed < *firstFlag+seedsTwin; seed++ {
		one, two := Seed(t, seed, nil), Seed(t, seed, nil)
		if one.Hash != two.Hash || one.Steps != two.Steps {
			t.Fatalf("seed %d went %d steps to %x, and again %d steps to %x", seed, one.Steps, one.Hash, two.Steps, two.Hash)
		}
	}
}

// A simulation that finds nothing may be blind, so here is each of a dozen known mistakes, made on purpose.
func TestEveryPlantedMistakeIsFound(t *testing.T) {
	if !planted.Possible {
		t.Skip("built without the tag planted")
	}
	defer planted.Plant("")
	for _, m := range planted.Mistakes() {
		planted.Plant(m)
		found, _, _ := seeds(t, 1, seedsFind)
		if len(found) == 0 {
			t.Errorf("%s: not found in %d seeds", m, seedsFind)
			continue
		}
		r := found[0]
		what, _, _ := strings.Cut(r.Wrong[0], "\n")
		t.Logf("%-26s found by seed %d: %s\n\tto see it: go test -tags planted ./internal/sim -run 'TestSeed$' -v -sim.bug=%s -sim.seed=%d",
			m, r.Seed, what, m, r.Seed)
	}
}

// marks finds the names of all points in the code that is simulated.
func marks(t *testing.T) (names []string) {
	t.Helper()
	hit := regexp.MustCompile(`failpoint\.(?:Hit|HitAs|Fails)\("([^"]+)"`)
	for _, dir := range []string{"ledger", "checkout", "worker", "inproc", "sim"} {
		files, err := filepath.Glob(filepath.Join("..", dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("sources of %s: %v", dir, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range hit.FindAllStringSubmatch(string(text), -1) {
				names = append(names, m[1])
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// reportMarks tells how often each mark was hit. After many seeds, one that never was is a corner that nobody looks into.
func reportMarks(t *testing.T, seeds uint64) {
	t.Helper()
	hits := failpoint.Hits()
	var report strings.Builder
	for _, name := range sortedKeys(hits) {
		fmt.Fprintf(&report, "\n%12d  %s", hits[name], name)
	}
	t.Logf("marks:%s", report.String())
	if seeds < seedsMany {
		return
	}
	for _, name := range marks(t) {
		reached := func(hit string) bool { return hit == name || strings.HasPrefix(hit, name+":") }
		if !slices.ContainsFunc(sortedKeys(hits), reached) {
			t.Errorf("the mark %s was never hit", name)
		}
	}
}
