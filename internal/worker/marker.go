package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

const (
	markedDays  = 4 // 72 hours, and a day for time zones
	markerRetry = 5 * time.Second
)

// UsedKeys is where the record tells which idempotency keys were used.
type UsedKeys interface {
	UsedKeys(ctx context.Context, from order.Number, each func(ledger.Key)) error
}

// Marks remember used keys. Until they are ready every key may have been used.
type Marks interface {
	Add(key ledger.Key)
	Ready()
}

// Marker marks, once after the start, the keys that can still be replayed. Until it is done, a refusal of the gate costs a look at
// the record.
type Marker struct {
	record UsedKeys
	marks  Marks
	clock  func() time.Time
	log    *slog.Logger
}

// NewMarker makes a marker.
func NewMarker(record UsedKeys, marks Marks, clock func() time.Time, log *slog.Logger) *Marker {
	return &Marker{record: record, marks: marks, clock: clock, log: log}
}

// Run works until all keys are marked or ctx ends.
func (m *Marker) Run(ctx context.Context) {
	for {
		from := order.NumberOf(order.DayOf(m.clock().UTC().AddDate(0, 0, -markedDays)), 0)
		err := m.record.UsedKeys(ctx, from, m.marks.Add)
		if err == nil {
			m.marks.Ready()
			return
		}
		if ctx.Err() == nil {
			m.log.Error("marker: used keys not loaded; tried again", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(markerRetry):
		}
	}
}
