package ledger_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// The first batch is held until all others wait, so that what is told of the second is known.
func TestABatchTellsOfItsCommandsAndTheirCallers(t *testing.T) {
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	type follow struct{}
	held, begun := make(chan struct{}), make(chan struct{}, 10)
	var mu sync.Mutex
	var told []ledger.BatchStats
	l := ledger.New(store, ledger.Options{
		Followed: func(ctx context.Context) bool { return ctx.Value(follow{}) != nil },
		Applied: func(*ledger.Applied) {
			begun <- struct{}{}
			<-held
		},
		Observe: func(s ledger.BatchStats) {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, s)
		},
	})
	put := func(ctx context.Context, prefix string, n int) {
		commands := make([]ledger.Command[ledger.UserPut], n)
		for i := range commands {
			commands[i] = ledger.PutUser{ID: user.ID(fmt.Sprintf("%s-%d", prefix, i))}
		}
		ledger.SubmitAll(ctx, l, commands, func(int, ledger.UserPut, error) {})
	}
	var waiting sync.WaitGroup
	waiting.Go(func() { put(t.Context(), "first", 1) })
	<-begun
	left, leave := context.WithCancel(t.Context())
	leave()
	put(left, "left", 7)
	waiting.Go(func() { put(context.WithValue(t.Context(), follow{}, 1), "followed", 50) })
	waiting.Go(func() { put(t.Context(), "others", 50) })
	late := time.After(10 * time.Second)
	for l.Waiting(ledger.Open) < 107 {
		select {
		case <-late:
			t.Fatalf("%d commands wait, want 107", l.Waiting(ledger.Open))
		case <-time.After(time.Millisecond):
		}
	}
	close(held)
	waiting.Wait()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(told) != 2 {
		t.Fatalf("%d batches were told of, want 2", len(told))
	}
	s := told[1]
	if s.Commands != 100 || s.Abandoned != 7 || s.Settling != 0 || s.Err != nil {
		t.Errorf("got %+v, want 100 commands carried out and 7 abandoned", s)
	}
	if len(s.Followed) != 32 {
		t.Errorf("%d callers are told of, want 32 of 50", len(s.Followed))
	}
	for _, c := range s.Followed {
		if c.Context.Value(follow{}) == nil || c.Since.IsZero() || c.Since.After(s.Began) {
			t.Errorf("told of %+v", c)
		}
	}
	if s.Waited <= 0 || !s.Ended.After(s.Began) || s.Commit <= 0 {
		t.Errorf("got %+v, want how long it waited and took", s)
	}
	if told[0].Followed != nil {
		t.Errorf("the first was followed: %+v", told[0])
	}
}
