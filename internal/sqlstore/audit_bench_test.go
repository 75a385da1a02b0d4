package sqlstore_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

var (
	auditOrders = flag.Int("audit.orders", 100_000, "orders in the record that BenchmarkAudit checks")
	auditFile   = flag.String("audit.file", "", "where BenchmarkAudit keeps its record; used as it is when it exists")
)

// BenchmarkAudit checks a record that was filled by the ledger itself: 1 000 products, half of them counting units per user, a
// quarter of the orders with two lines; two thirds paid, some of those fulfilled, the rest expired, cancelled or pending.
//
//	go test ./internal/sqlstore -run '^$' -bench Audit -benchtime 1x -audit.orders 1000000
func BenchmarkAudit(b *testing.B) {
	ctx := context.Background()
	path := *auditFile
	if path == "" {
		path = filepath.Join(b.TempDir(), "audit.db")
	}
	if _, err := os.Stat(path); err != nil {
		fill(b, path, *auditOrders)
	}
	s, err := sqlstore.Open(ctx, "sqlite:"+path, sqlstore.Options{ReadOnly: true, Clock: func() time.Time { return benchStart }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // what counts was audited
	for b.Loop() {
		report, err := s.Audit(ctx, sqlstore.AuditOptions{})
		if err != nil {
			b.Fatal(err)
		}
		if !report.Clean {
			b.Fatalf("not clean: %+v", report)
		}
	}
}

// BenchmarkWindow goes along with a record of the same kind: each look finds 400 orders that were placed since the last one.
// max-ms/look is the longest look of all, those of the replay at the start included.
//
//	go test ./internal/sqlstore -run '^$' -bench Window -benchtime 20x -audit.orders 1000000
func BenchmarkWindow(b *testing.B) {
	ctx := context.Background()
	path := *auditFile
	if path == "" {
		path = filepath.Join(b.TempDir(), "audit.db")
	}
	if _, err := os.Stat(path); err != nil {
		fill(b, path, *auditOrders)
	}
	s, err := sqlstore.Open(ctx, "sqlite:"+path, sqlstore.Options{Clock: func() time.Time { return benchStart }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // what counts was looked at
	l := ledger.New(s, ledger.Options{})
	defer l.Close(ctx) //nolint:errcheck // no context to end it
	w, longest, looks := s.Window(), time.Duration(0), 0
	walk := func() {
		for more := true; more; looks++ {
			look, err := w.Look(ctx, nil)
			if err != nil {
				b.Fatal(err)
			}
			for _, c := range look.Checks {
				if c.Violations > 0 {
					b.Fatalf("%+v", c)
				}
			}
			longest, more = max(longest, look.Took), look.More
		}
	}
	at := time.Now()
	walk()
	b.Logf("replayed in %s and %d looks, the longest %s", time.Since(at), looks, longest)
	next := int(time.Now().UnixNano() % 1e15) // keys that a kept record has not seen
	for b.Loop() {
		b.StopTimer()
		places := make([]ledger.Command[ledger.Placed], 400)
		for i := range places {
			places[i] = benchPlace(next)
			next++
		}
		all(b, l, places)
		b.StartTimer()
		walk()
	}
	b.ReportMetric(float64(longest.Microseconds())/1000, "max-ms/look")
}

var (
	benchStart = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	benchPrice = money.Money{Amount: 1999, Currency: "CNY"}
)

const benchProducts = 1000

func benchProduct(i int) product.ID { return product.ID(fmt.Sprintf("sku-%04d", i%benchProducts)) }

func fill(b *testing.B, path string, orders int) {
	b.Helper()
	ctx := context.Background()
	now := benchStart
	s, err := sqlstore.Open(ctx, "sqlite:"+path, sqlstore.Options{Clock: func() time.Time { return now }})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the audit will tell
	if _, err := s.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	l := ledger.New(s, ledger.Options{})
	defer l.Close(ctx) //nolint:errcheck // no context to end it
	var products []ledger.Command[ledger.ProductPut]
	var deliveries []ledger.Command[ledger.StockAdjusted]
	for i := range benchProducts {
		products = append(products, ledger.PutProduct{
			ID: benchProduct(i), Title: is("A thing on sale"), Price: is(benchPrice), MaxPerUser: is(int64(i % 2 * orders)),
		})
		deliveries = append(deliveries, ledger.AdjustStock{ProductID: benchProduct(i), Delta: int64(orders)})
	}
	all(b, l, products)
	all(b, l, deliveries)
	const chunk = 500
	for from := 0; from < orders; from += chunk {
		var places []ledger.Command[ledger.Placed]
		for i := from; i < min(from+chunk, orders); i++ {
			places = append(places, benchPlace(i))
		}
		var settle lives
		for i, p := range all(b, l, places) {
			settle.add(from+i, p.Number)
		}
		all(b, l, settle.pays)
		all(b, l, settle.cancels)
		all(b, l, settle.fulfils)
		now = now.Add(time.Hour)
		all(b, l, settle.expires)
		now = now.Add(-time.Hour)
	}
	relayAll(b, s)
}

func relayAll(b *testing.B, s *sqlstore.Store) {
	b.Helper()
	ctx := context.Background()
	leases, err := s.LeaseShards(ctx, "bench", time.Hour)
	if err != nil {
		b.Fatal(err)
	}
	for {
		moved, err := s.Relay(ctx, leases, 2000)
		if err != nil {
			b.Fatal(err)
		}
		if moved == 0 {
			return
		}
	}
}

func is[T any](v T) ledger.Patch[T] { return ledger.Patch[T]{Set: true, Value: v} }

// all submits commands together and gives their answers, which must not be errors.
func all[R any](tb testing.TB, l *ledger.Ledger, commands []ledger.Command[R]) []R {
	tb.Helper()
	answers := make([]R, len(commands))
	ledger.SubmitAll(context.Background(), l, commands, func(i int, r R, err error) {
		if err != nil {
			tb.Fatalf("%#v: %v", commands[i], err)
		}
		answers[i] = r
	})
	return answers
}

func benchPlace(i int) ledger.Place {
	p := ledger.Place{
		UserID: user.ID(fmt.Sprintf("user-%06d", i*7919%300_000)),
		Lines:  []ledger.PlaceLine{{ProductID: benchProduct(i), Quantity: 1}},
	}
	binary.BigEndian.PutUint64(p.Key[:], uint64(i)*0x9E3779B97F4A7C15) // spread like the hashes that keys are
	binary.BigEndian.PutUint64(p.Key[8:], uint64(i))
	if i%4 == 0 {
		p.Lines = append(p.Lines, ledger.PlaceLine{ProductID: benchProduct(i + 1 + i%7), Quantity: 2})
	}
	return p
}

// lives are what becomes of placed orders, by their place in the row.
type lives struct {
	pays             []ledger.Command[ledger.PayOutcome]
	cancels, fulfils []ledger.Command[order.Order]
	expires          []ledger.Command[ledger.Expired]
}

func (v *lives) add(i int, no order.Number) {
	switch i % 20 {
	case 0:
	case 1, 2, 3, 4:
		v.expires = append(v.expires, ledger.Expire{Number: no})
	case 5:
		v.cancels = append(v.cancels, ledger.Cancel{Number: no})
	default:
		total := benchPrice
		if i%4 == 0 {
			total.Amount *= 3
		}
		v.pays = append(v.pays, ledger.Pay{PaymentID: "pay_" + no.String(), Notice: payment.Notice{
			Provider: "sandbox", OrderNumber: no, TransactionID: "tx-" + no.String(), Amount: total, Succeeded: true,
		}})
		if i%20 < 8 {
			v.fulfils = append(v.fulfils, ledger.Fulfil{Number: no})
		}
	}
}
