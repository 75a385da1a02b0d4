package inproc_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

func randomKey(r *rand.Rand) (k ledger.Key) {
	binary.LittleEndian.PutUint64(k[:8], r.Uint64())
	binary.LittleEndian.PutUint64(k[8:], r.Uint64())
	return k
}

func TestMarksForgetNothingAndSeldomLie(t *testing.T) {
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	marks := inproc.NewKeyMarks(func() time.Time { return now })
	r := rand.New(rand.NewPCG(1, 2))
	const n = 200_000
	used := make([]ledger.Key, n)
	if !marks.MayHave(randomKey(r)) {
		t.Fatal("before Ready every key may have been used")
	}
	marks.Ready()
	for i := range used {
		used[i] = randomKey(r)
		marks.Add(used[i])
		now = now.Add(time.Second) // 200 000 s: into the second generation, with the first still standing
	}
	for i, k := range used {
		if !marks.MayHave(k) {
			t.Fatalf("key %d is forgotten", i)
		}
	}
	lies := 0
	for range n {
		if marks.MayHave(randomKey(r)) {
			lies++
		}
	}
	if lies > n/1000 {
		t.Errorf("%d of %d unused keys are taken for used ones, want at most one in a thousand", lies, n)
	}
}
