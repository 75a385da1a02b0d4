package sqlstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// BenchmarkPlace is the ledger over a durable file, without HTTP: 256 buyers, each with one order under way.
func BenchmarkPlace(b *testing.B) {
	for _, products := range []int{1, 1000} {
		b.Run(fmt.Sprintf("products=%d", products), func(b *testing.B) { benchmarkPlace(b, products) })
	}
}

func benchmarkPlace(b *testing.B, products int) {
	b.Helper()
	ctx := context.Background()
	store, err := sqlstore.Open(ctx, "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), sqlstore.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close() //nolint:errcheck // the end of the test
	if _, err := store.Migrate(ctx); err != nil {
		b.Fatal(err)
	}
	var batches, commands atomic.Int64
	l := ledger.New(store, ledger.Options{Observe: func(s ledger.BatchStats) {
		batches.Add(1)
		commands.Add(int64(s.Commands))
	}})
	defer l.Close(ctx) //nolint:errcheck // the end of a benchmark
	for i := range products {
		id := product.ID(fmt.Sprintf("sku-%d", i))
		_, err := ledger.Submit(ctx, l, ledger.PutProduct{
			ID: id, Title: ledger.Patch[string]{Set: true, Value: "Ticket"},
			Price: ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: 1999, Currency: "CNY"}},
		})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ledger.Submit(ctx, l, ledger.AdjustStock{ProductID: id, Delta: 100_000_000}); err != nil {
			b.Fatal(err)
		}
	}
	batches.Store(0)
	commands.Store(0)
	const buyers = 256
	b.ReportAllocs()
	b.ResetTimer()
	var next atomic.Int64
	var wg sync.WaitGroup
	for range buyers {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				c := ledger.Place{
					UserID: user.ID(fmt.Sprintf("user-%d", n*7919%1_000_003)),
					Lines:  []ledger.PlaceLine{{ProductID: product.ID(fmt.Sprintf("sku-%d", n*31%int64(products))), Quantity: 1}},
				}
				_, _ = rand.Read(c.Key[:])
				if _, err := ledger.Submit(ctx, l, c); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64(commands.Load())/float64(batches.Load()), "orders/batch")
}
