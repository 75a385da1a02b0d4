package sim

import (
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/conform"
)

// The simulation is worth what its record is worth: it passes the suite of the real ones.
func TestTheFakeRecordConforms(t *testing.T) {
	for name, oneWriter := range map[string]bool{"one writer": true, "row locks": false} {
		t.Run(name, func(t *testing.T) { conform.Run(t, fake(oneWriter)) })
	}
}

func TestTheFakeRecordDoesWhatTheModelSays(t *testing.T) {
	t.Parallel()
	conform.RunModel(t, fake(false), 100, 100)
}

func fake(oneWriter bool) conform.Open {
	return func(_ *testing.T, clock func() time.Time) conform.Record {
		return closed{&view{s: newStore(clock, newFreely(), oneWriter)}}
	}
}

// closed has nothing to close.
type closed struct{ *view }

func (closed) Close() error { return nil }
