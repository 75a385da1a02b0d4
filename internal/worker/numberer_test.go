package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// list is where blocks wait.
type list struct {
	mu      sync.Mutex
	blocks  map[order.Day][]ledger.Block
	grants  map[order.Day]int
	removed map[order.Day]int64
}

func (l *list) Grant(_ context.Context, day order.Day, grant func() ([]ledger.Block, error)) error {
	blocks, err := grant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks[day] = append(l.blocks[day], blocks...)
	l.grants[day]++
	return err
}

func (l *list) Blocks(_ context.Context, day order.Day) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.blocks[day])), nil
}

func (l *list) Left(_ context.Context, day order.Day) (left int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.blocks[day] {
		left += b.Count
	}
	return left, nil
}

func (l *list) Remove(ctx context.Context, day order.Day) (int64, error) {
	removed, _ := l.Left(ctx, day)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.blocks, day)
	l.removed[day] += removed
	return removed, nil
}

func (l *list) Hold(_ context.Context, _ order.Day, own int64, _ time.Time) (int64, error) {
	return own, nil
}
func (l *list) Lock(context.Context, string) (func(), bool) { return func() {}, true }

func TestDailyNumbersAreMadeAndRemovedOnceInTheDesksTimeZone(t *testing.T) {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	now := time.Date(2026, 11, 20, 2, 59, 0, 0, zone)
	clock := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now.UTC()
	}
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	l := &list{blocks: map[order.Day][]ledger.Block{}, grants: map[order.Day]int{}, removed: map[order.Day]int64{}}
	l.blocks[20261119] = []ledger.Block{{First: 5, Count: 6}}
	var all []*worker.Numberer
	for i := range 3 {
		all = append(all, worker.NewNumberer(store, worker.NumbererOptions{
			Waiting: l, Held: func() (order.Day, int64) { return 0, 0 }, Holder: fmt.Sprint(i), BlockSize: 10, Ready: 100,
			TimeZone: zone, Clock: clock,
		}))
	}
	turn := func(by time.Duration) {
		t.Helper()
		mu.Lock()
		now = now.Add(by)
		mu.Unlock()
		for _, n := range all {
			if err := n.RunOnce(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	turn(0)
	if len(l.removed) > 0 || l.grants[20261120] != 1 || l.grants[20261121] != 0 {
		t.Errorf("at 02:59: granted %v, removed %v; want today's only", l.grants, l.removed)
	}
	turn(time.Minute)
	if l.removed[20261119] != 6 {
		t.Errorf("at 03:00: removed %v, want the 6 of yesterday", l.removed)
	}
	turn(59 * time.Minute)
	if l.grants[20261121] != 0 {
		t.Error("at 03:59 tomorrow's are made already")
	}
	turn(time.Minute)
	turn(time.Hour)
	turn(time.Hour)
	if diff := cmp.Diff(map[order.Day]int{20261120: 1, 20261121: 1}, l.grants); diff != "" {
		t.Errorf("at 06:00: grants by day, wanted - and got +:\n%s", diff)
	}
	l.mu.Lock()
	l.blocks[20261120] = l.blocks[20261120][:4]
	l.mu.Unlock()
	turn(time.Second)
	if got := len(l.blocks[20261120]); got != 10 {
		t.Errorf("%d blocks wait after few were left, want 10", got)
	}
	if first := l.blocks[20261120][4].First; first != 101 {
		t.Errorf("the next block begins at %d, want 101, above all that were granted", first)
	}
}
