package ledger_test

import (
	"context"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
)

// lateListener is a caller who has left, and looks whether he has only once his answer is there.
type lateListener struct {
	context.Context
	answered <-chan struct{}
}

// Err says so late, too, or the ledger would drop his command.
func (l lateListener) Err() error {
	select {
	case <-l.answered:
		return context.Canceled
	default:
		return nil
	}
}

func (l lateListener) Done() <-chan struct{} {
	<-l.answered
	left := make(chan struct{})
	close(left)
	return left
}

func TestAnAnswerThatIsThereIsGivenToACallerWhoHasLeft(t *testing.T) {
	store, err := sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // a test
	if _, err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 20 { // a choice by chance would be right now and then
		observed := make(chan struct{})
		l := ledger.New(store, ledger.Options{Observe: func(ledger.BatchStats) { close(observed) }}) // after the answers
		put := ledger.PutUser{ID: "u"}
		if _, err := ledger.Submit(lateListener{t.Context(), observed}, l, put); err != nil {
			t.Errorf("got %v, want the answer", err)
		}
		told := 0
		observed = make(chan struct{})
		ledger.SubmitAll(lateListener{t.Context(), observed}, l, []ledger.Command[ledger.UserPut]{put, put},
			func(int, ledger.UserPut, error) { told++ })
		if told != 2 {
			t.Errorf("told %d answers of 2", told)
		}
		if err := l.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
