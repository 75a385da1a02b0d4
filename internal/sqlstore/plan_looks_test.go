package sqlstore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// indexed is an index by the name that each database gives it.
type indexed struct{ sqlite, postgres, mysql string }

func (i indexed) of(d *dialect) string {
	return map[string]string{"sqlite": i.sqlite, "postgres": i.postgres, "mysql": i.mysql}[d.name]
}

var (
	byUser        = indexed{"orders_user", "orders_user", "orders_user"}
	byStatus      = indexed{"orders_status", "orders_status", "orders_status"}
	byDeadline    = indexed{"orders_due", "orders_due", "orders_due"}
	pendingOnes   = indexed{"orders_due", "orders_due", "orders_status"}
	byOrder       = indexed{"payments_order", "payments_order", "payments_order"}
	bySubject     = indexed{"outbox_subject", "outbox_subject", "outbox_subject"}
	inLog         = indexed{"sqlite_autoindex_event_log_1", "event_log_event_id_key", "event_log_event"}
	inQuarantine  = indexed{"products_quarantined", "products_quarantined", "products_quarantined"}
	refundOf      = indexed{"sqlite_autoindex_refunds_2", "refunds_payment_id_key", "refunds_payment"}
	indexesOfLook = map[string][]indexed{
		"newest orders":                    nil,
		"orders before one":                nil,
		"orders since a day":               nil,
		"pending orders":                   nil,
		"pending orders since a day":       {pendingOnes},
		"expired orders before one":        {byStatus},
		"refunded orders":                  {byStatus},
		"cancelled orders since a day":     {byStatus},
		"orders of a user":                 {byUser},
		"fulfilled orders of a user":       {byUser},
		"orders of a user since a day":     {byUser},
		"events":                           nil,
		"events of a type":                 nil,
		"events of an order":               {bySubject, inLog},
		"events of a user":                 {byUser, bySubject, inLog},
		"payments of an order":             {byOrder},
		"products":                         nil,
		"numbers of days":                  nil,
		"keys":                             nil,
		"pending orders that are due":      {byDeadline},
		"pending orders to be reminded of": {byDeadline},
		"look of the auditor":              {pendingOnes, byDeadline, byOrder, refundOf, bySubject, inQuarantine},
	}
)

// Every list and the auditor's look go by indexes on each database: with few pending orders and with many, which is how a sale leaves
// the record. Without the indexes the test would see it.
func TestListsAndTheAuditorsLookGoByIndexes(t *testing.T) {
	for _, on := range []struct {
		name string
		open func(t *testing.T) *Store
		drop string // an index
	}{
		{"SQLite", func(t *testing.T) *Store { t.Helper(); return openPlanned(t, 500) }, `DROP INDEX %[2]s`},
		{"PostgreSQL", openPlannedPostgres, `DROP INDEX %[2]s`},
		{"MariaDB", func(t *testing.T) *Store {
			t.Helper()
			s := openMariaDB(t)
			fillMariaDB(t, s)
			return s
		}, `DROP INDEX %[2]s ON %[1]s`},
	} {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s := on.open(t)
			all := looks(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
			for _, l := range all {
				if faults := faultsOf(t, s, l); len(faults) > 0 {
					t.Errorf("%s: %s", l.name, strings.Join(faults, "\n"))
				}
			}
			s.mustExec(t, `UPDATE orders SET status = 'pending', paid_at = NULL, closed_at = NULL WHERE order_no % 2 = 0`)
			if s.dialect.name == "postgres" {
				s.mustExec(t, `ANALYZE orders`)
			}
			for _, l := range all {
				if faults := faultsOf(t, s, l); len(faults) > 0 && l.name != "pending orders since a day" { // where they lie close, by their numbers
					t.Errorf("%s, with many pending: %s", l.name, strings.Join(faults, "\n"))
				}
			}
			for _, index := range [][2]string{
				{"orders", "orders_user"},
				{"orders", "orders_status"},
				{"orders", "orders_due"},
				{"payments", "payments_order"},
				{"outbox", "outbox_subject"},
				{"products", "products_quarantined"},
			} {
				s.mustExec(t, fmt.Sprintf(on.drop, index[0], index[1]))
			}
			for _, l := range all {
				if indexesOfLook[l.name] != nil && len(faultsOf(t, s, l)) == 0 {
					t.Errorf("%s: nothing is found to be wrong without its index", l.name)
				}
			}
		})
	}
}

// faultsOf says what is wrong with the plans of a look.
func faultsOf(t *testing.T, s *Store, l looked) (faults []string) {
	t.Helper()
	want, known := indexesOfLook[l.name]
	if !known {
		t.Errorf("%s: nothing is said of its indexes", l.name)
	}
	plans, err := s.plansOf(t.Context(), l)
	if err != nil {
		return []string{err.Error()}
	}
	var steps []string
	for _, p := range plans {
		steps = append(steps, strings.Split(p.Steps, "\n")...)
	}
	for _, index := range want {
		if name := index.of(s.dialect); !slices.ContainsFunc(steps, func(step string) bool { return strings.Contains(step, name) }) {
			faults = append(faults, "does not use "+name)
		}
	}
	for _, step := range steps {
		if readsAll(step) && !strings.Contains(step, "log_head") && l.name != "newest orders" { // those stop after some
			faults = append(faults, "reads a whole table: "+step)
		}
	}
	if len(faults) > 0 {
		faults = append(faults, steps...)
	}
	return faults
}

// readsAll reports whether a step of a plan goes through a table, and not through a part of it or what another step gives.
func readsAll(step string) bool {
	for _, table := range []string{"orders", "order_lines", "order_transitions", "payments", "refunds", "outbox", "event_log", "stock", "stock_ledger", "products"} {
		partial := strings.Contains(step, "INDEX orders_due") // holds pending orders only
		if strings.HasPrefix(step, "SCAN "+table) && !partial || strings.Contains(step, "Seq Scan on "+table+" ") || strings.Contains(step, " "+table+" ALL ") {
			return true
		}
	}
	return false
}

func openPlannedPostgres(t *testing.T) *Store {
	t.Helper()
	s := openPostgres(t)
	fillPostgres(t, s)
	return s
}
