package inproc_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

func TestWhoeverAsksDuringALookSharesTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		used := randomKey(r)
		k := inproc.NewKeyLooks(func(_ context.Context, keys []ledger.Key) (found []ledger.Key, err error) {
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // in a bubble: a record that takes its time
			for _, key := range keys {
				if key == used {
					found = append(found, key)
				}
			}
			return found, nil
		})
		var all sync.WaitGroup
		var yes atomic.Int64
		for i := range 1000 {
			key := randomKey(r)
			if i%100 == 0 {
				key = used
			}
			all.Go(func() {
				if k.MayHave(t.Context(), key) {
					yes.Add(1)
				}
			})
			if i == 0 {
				synctest.Wait() // the first is under way
			}
		}
		all.Wait()
		if yes.Load() != 10 {
			t.Errorf("%d were told that their key was used, want 10", yes.Load())
		}
		if n := k.Looks(); n != 3 {
			t.Errorf("%d looks, want 3: for the first, for 512 and for the rest", n)
		}
	})
}

func TestARecordThatCannotBeAskedSaysThatAKeyMayBeUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := inproc.NewKeyLooks(func(ctx context.Context, _ []ledger.Key) ([]ledger.Key, error) {
			<-ctx.Done() // a record that does not answer
			return nil, errors.New("away")
		})
		begun := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if !k.MayHave(t.Context(), ledger.Key{}) {
					t.Error("a key that nobody could look up was called unused")
				}
			})
		}
		all.Wait()
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %s, want a second for a look, and one for those who came meanwhile", took)
		}
	})
}

// Of two things that are both so, chance would choose: what is known is said.
func TestWhoeverLookedKnowsThoughHisCallerHasLeft(t *testing.T) {
	for range 50 {
		ctx, leave := context.WithCancel(t.Context())
		k := inproc.NewKeyLooks(func(context.Context, []ledger.Key) ([]ledger.Key, error) {
			leave()
			return nil, nil
		})
		if k.MayHave(ctx, ledger.Key{}) {
			t.Fatal("a key was called used that the record does not know")
		}
	}
}
