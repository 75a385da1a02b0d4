// Package conform is one suite per port: a backend is done when it passes. It tells the record's stories through the ledger,
// once as they should go and once with a fault at every step, and lets random commands run against a small model.
package conform

import (
	"context"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Record is the port that is tested.
type Record interface {
	ledger.Store
	Audit(ctx context.Context) (audit.Report, error)
	Close() error // may be called twice
}

// Open gives an empty record whose time is the clock's, to be closed when the test ends, if it was not before.
type Open func(t *testing.T, clock func() time.Time) Record

// story is one behaviour, told on a desk of its own. When it has been told, the audit must be clean and the record must hold
// what the ledger last said of everything.
type story struct {
	name    string
	tell    func(*desk)
	options ledger.Options
}

// Run tells every story on a record of its own.
func Run(t *testing.T, open Open) {
	t.Helper()
	for _, stories := range [][]story{
		placing, paying, ending, stocking, quarantining, numbering, spelling, failing, waiting, guarding,
	} {
		for _, s := range stories {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.tell(newDesk(t, open, s.options))
			})
		}
	}
}
