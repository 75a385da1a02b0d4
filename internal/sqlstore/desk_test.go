package sqlstore_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// openDesk opens a record, in a file if it is SQLite's, on a clock of the test's own, and the road to it, with a product on sale.
func openDesk(t *testing.T, on database) (*sqlstore.Store, *conform.Clock, *ledger.Ledger) {
	t.Helper()
	clock := conform.NewClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	s := openRecord(t, on.onDisk().url(t), clock.Now).Store
	return s, clock, newRoad(t, s)
}

func newRoad(t *testing.T, s *sqlstore.Store) *ledger.Ledger {
	t.Helper()
	l := ledger.New(s, ledger.Options{OpenWait: time.Minute, WaitMax: time.Minute}) // however slow the machine is
	t.Cleanup(func() { _ = l.Close(context.Background()) })
	if _, err := ledger.Submit(t.Context(), l, ledger.PutProduct{
		ID: "plain", Title: is("T"), Price: is(money.Money{Amount: 1000, Currency: "CNY"}), PayWindow: is(30 * 24 * time.Hour),
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.Submit(t.Context(), l, ledger.AdjustStock{ProductID: "plain", Delta: 1_000_000}); err != nil {
		t.Fatal(err)
	}
	return l
}

func productNamed(id string) product.ID { return product.ID(id) }

// placeSome places n orders whose keys are numbered from one on.
func placeSome(t *testing.T, l *ledger.Ledger, from, n int) {
	t.Helper()
	commands := make([]ledger.Command[ledger.Placed], n)
	for i := range commands {
		c := ledger.Place{
			UserID: user.ID(fmt.Sprint("u-", from+i)), Metadata: []byte(`{}`),
			Lines: []ledger.PlaceLine{{ProductID: "plain", Quantity: 1, Field: "lines[0]"}},
		}
		binary.BigEndian.PutUint64(c.Key[:], uint64(from+i+1)*0x9e3779b97f4a7c15) // as random as a key is
		commands[i] = c
	}
	ledger.SubmitAll(t.Context(), l, commands, func(_ int, _ ledger.Placed, err error) {
		if err != nil {
			t.Fatal(err)
		}
	})
}

// relayed puts everything that waits into the log.
func relayed(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	leases, err := s.LeaseShards(t.Context(), "relay", time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	for moved := 1; moved > 0; {
		if moved, err = s.Relay(t.Context(), leases, 1000); err != nil {
			t.Fatal(err)
		}
	}
}

func wantClean(t *testing.T, s *sqlstore.Store) {
	t.Helper()
	report, err := s.Audit(t.Context(), sqlstore.AuditOptions{LateBy: 100 * 365 * 24 * time.Hour}) // nobody expires here
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]string{}, offenders(report)); diff != "" {
		t.Errorf("violations:\n%s", diff)
	}
}
