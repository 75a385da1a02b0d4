package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// Whatever is asked of a record, and whatever is written beside batches, is answered as on SQLite.
func TestPostgreSQLAnswersAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	alike(t, testenv.PostgresURL(t)+"&synchronous_commit=off")
}

func TestMariaDBAnswersAsSQLiteDoes(t *testing.T) {
	t.Parallel()
	alike(t, testenv.MariaDBURL(t))
}

func alike(t *testing.T, url string) {
	t.Helper()
	v, err := lived()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := live(url); err != nil {
		t.Fatal(err)
	}
	clock := v.now
	lite := v.open(t, sqlstore.Options{})
	server, err := sqlstore.Open(t.Context(), url, sqlstore.Options{Clock: func() time.Time { return clock }, Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close() //nolint:errcheck // a test
	asked, pruned := questions(t, v)
	for i, ask := range asked {
		if i == pruned {
			if report, err := server.Audit(t.Context(), sqlstore.AuditOptions{}); err != nil || !report.Clean {
				t.Errorf("audit: %v, %v", offenders(report), err)
			}
		}
		answers := ask(server)
		want, got := answered(ask(lite)...), answered(answers...)
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("question %d: want (-), got (+):\n%s\n%v", i, diff, answers)
		}
	}
}

// reply is what a question was answered with. Errors are compared by whether there are any.
type reply struct {
	Values []any
	Failed bool
}

func answered(values ...any) (r reply) {
	for _, v := range values {
		if err, is := v.(error); is {
			r.Failed = r.Failed || err != nil
			continue
		}
		r.Values = append(r.Values, v)
	}
	return r
}

// questions are in an order: from pruned on, they are about forgetting what an audit would miss.
func questions(t *testing.T, v *life) (asked []func(s *sqlstore.Store) []any, pruned int) {
	t.Helper()
	ctx := t.Context()
	all := func(values ...any) []any { return values }
	soon, day := v.now.Add(1000*time.Hour), order.DayOf(v.now)
	key := func(n byte) *apikey.Key {
		return &apikey.Key{ID: fmt.Sprint("k-", n), Name: "ключ 🔑", Hash: apikey.Hash{n}, Scopes: []apikey.Scope{apikey.Admin}, CreatedAt: v.now}
	}
	ticket := &apikey.Ticket{Hash: apikey.Hash{9}, Stream: "/v1/events/stream", KeyID: "k-1", ExpiresAt: v.now.Add(time.Minute)}
	type store = *sqlstore.Store
	asked = []func(s store) []any{
		func(s store) []any { return all(s.Shelves(ctx, "", 10)) },
		func(s store) []any { return all(s.Shelves(ctx, "later", 1)) },
		func(s store) []any { return all(s.Shelf(ctx, "Plain")) }, // ids are compared by case
		func(s store) []any { return all(s.Shelf(ctx, "plain ")) },
		func(s store) []any { return all(s.User(ctx, "nobody")) },
		func(s store) []any { return all(s.Payment(ctx, "pay-late-late")) },
		func(s store) []any { return all(s.Payment(ctx, "PAY-late-late")) },
		func(s store) []any { return all(s.PaymentsOf(ctx, v.orders["late"])) },
		func(s store) []any { return all(s.NumberDays(ctx, day+1, 10)) },
		func(s store) []any { return all(s.Deadlines(ctx, order.Deadline{}, soon, 10)) },
		func(s store) []any { return all(s.Unreminded(ctx, order.Deadline{}, soon, 10)) },
		func(s store) []any { return all(s.Pending(ctx)) },
		func(s store) []any { return all(s.LogStart(ctx)) },
		func(s store) []any { return all(s.LogEnd(ctx)) },
		func(s store) []any { return all(s.Waiting(ctx, 100)) },
		func(s store) []any {
			var keys []ledger.Key
			err := s.UsedKeys(ctx, v.orders["paid"], func(k ledger.Key) { keys = append(keys, k) })
			used := map[ledger.Key]bool{}
			for _, k := range keys {
				used[k] = true
			}
			return all(used, err)
		},
		func(s store) []any { return all(s.SharedSecret(ctx, "a", "first")) },
		func(s store) []any { return all(s.SharedSecret(ctx, "a", "second")) },
		func(s store) []any { return all(s.HasKeys(ctx)) },
		func(s store) []any { return all(s.AddKey(ctx, key(1))) },
		func(s store) []any { return all(s.AddKey(ctx, key(1))) },
		func(s store) []any { return all(s.AddKey(ctx, key(2)), s.SetKey(ctx, key(3)), s.SetKey(ctx, key(3))) },
		func(s store) []any { return all(s.TouchKey(ctx, "k-1", v.now)) },
		func(s store) []any { return all(s.RevokeKey(ctx, "k-2")) },
		func(s store) []any { return all(s.RevokeKey(ctx, "k-9")) },
		func(s store) []any { return all(s.Keys(ctx, "", 10)) },
		func(s store) []any { return all(s.KeyByHash(ctx, apikey.Hash{3})) },
		func(s store) []any { return all(s.AddTicket(ctx, ticket)) },
		func(s store) []any { return all(s.TakeTicket(ctx, ticket.Hash, "/v1/other")) },
		func(s store) []any { return all(s.TakeTicket(ctx, ticket.Hash, ticket.Stream)) },
		func(s store) []any { return all(s.TakeTicket(ctx, ticket.Hash, ticket.Stream)) },
		func(s store) []any { return all(s.ReleaseShards(ctx, "relay")) },
		func(s store) []any {
			for moved := 1; moved > 0; {
				leases, err := s.LeaseShards(ctx, "another", time.Minute)
				if err == nil {
					moved, err = s.Relay(ctx, leases, 3)
				}
				if err != nil {
					return all(err)
				}
			}
			return all(s.LogEnd(ctx))
		},
		func(s store) []any { return all(s.LeaseShards(ctx, "third", time.Minute)) },
	}
	for _, f := range []checkout.OrderFilter{
		{},
		{UserID: "u-later"},
		{UserID: "u-later", Status: order.Paid},
		{Status: order.Pending},
		{Status: order.Expired, Before: v.orders["late"] + 1},
		{Status: order.Pending, Before: v.orders["next"], CreatedAfter: v.now.Add(-time.Minute)},
		{UserID: "u-paid", Before: v.orders["paid"]},
		{CreatedAfter: v.now.Add(-time.Minute)},
		{UserID: "U-paid"},
		{UserID: "u-later", Until: v.orders["late"]},
		{Status: order.Paid, Until: v.orders["paid"]},
	} {
		f.Limit = 20
		asked = append(asked,
			func(s store) []any { return all(s.Orders(ctx, f)) },
			func(s store) []any { return all(s.OrdersEnd(ctx, f)) },
		)
	}
	for _, f := range []checkout.EventFilter{
		{},
		{UserID: "u-later"},
		{OrderNo: v.orders["late"]},
		{Types: []event.Type{event.OrderPaid, event.RefundDue}},
		{After: 5, Until: 9},
		{UserID: "u-duplicate", Types: []event.Type{event.OrderPaid}, After: 1},
	} {
		f.Limit = 100
		asked = append(asked, func(s store) []any { return all(s.Events(ctx, f)) })
	}
	old := v.now.Add(-time.Minute)
	pruned = len(asked)
	return append(asked,
		func(s store) []any { return all(s.PruneBatches(ctx, old, 7)) },
		func(s store) []any { return all(s.PruneKeys(ctx, old, ledger.Key{}, 4)) },
		func(s store) []any { return all(s.PruneKeys(ctx, old, ledger.Key{4}, 100)) },
		func(s store) []any { return all(s.PruneKeys(ctx, old, ledger.Key{255}, 100)) },
		func(s store) []any { return all(s.CountDay(ctx, day)) }, // it is not over
		func(s store) []any { return all(s.CountDay(ctx, day+1)) },
		func(s store) []any { return all(s.CountDay(ctx, day+2)) }, // it was counted
		func(s store) []any { return all(s.NumberDays(ctx, day+1, 10)) },
		func(s store) []any { return all(s.PruneDays(ctx, day-1, 5)) },
		func(s store) []any { return all(s.PruneEvents(ctx, old, 0)) },
		func(s store) []any { return all(s.PruneAPIKeys(ctx, v.now.Add(time.Hour), 0, 5)) },
		func(s store) []any { return all(s.Keys(ctx, "", 10)) },
		func(s store) []any { return all(s.CountRows(ctx, "idempotency_keys")) },
	), pruned
}
