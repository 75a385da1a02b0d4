package sqlstore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// BenchmarkPlace is the ledger over a durable file, without HTTP: 256 buyers, each with one order under way.
func BenchmarkPlace(b *testing.B) {
	for _, products := range []int{1, 1000} {
		b.Run(fmt.Sprintf("products=%d", products), func(b *testing.B) {
			benchmarkPlace(b, "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), products, nil)
		})
	}
}

// BenchmarkPlaceOnPostgreSQL is the same on a server of this machine.
func BenchmarkPlaceOnPostgreSQL(b *testing.B) {
	for _, products := range []int{1, 1000} {
		b.Run(fmt.Sprintf("products=%d", products), func(b *testing.B) { benchmarkPlace(b, testenv.PostgresURL(b), products, nil) })
	}
}

// BenchmarkPlaceBesideTheJanitor places orders in a record full of what has to be thrown away: 20 000 orders of half a year
// ago with their keys and events. Compare the two; the janitor is given so much that he is not done before the buyers are.
//
//	go test ./internal/sqlstore -run '^$' -bench BesideTheJanitor -benchtime 8000x -count 5
func BenchmarkPlaceBesideTheJanitor(b *testing.B) {
	for _, works := range []bool{false, true} {
		b.Run(fmt.Sprintf("works=%v", works), func(b *testing.B) {
			benchmarkPlace(b, "sqlite:"+filepath.Join(b.TempDir(), "bench.db"), 100, func(s *sqlstore.Store, now *atomic.Int64) (end func()) {
				l := ledger.New(s, ledger.Options{})
				const chunk, old = 500, 20_000
				for range old / chunk {
					places := make([]ledger.Command[ledger.Placed], chunk)
					for i := range places {
						c := ledger.Place{UserID: "u", Lines: []ledger.PlaceLine{{ProductID: product.ID(fmt.Sprintf("sku-%d", i%100)), Quantity: 1}}}
						_, _ = rand.Read(c.Key[:])
						places[i] = c
					}
					all(b, l, places)
				}
				relayAll(b, s)
				now.Store(0) // and half a year has passed
				if err := l.Close(b.Context()); err != nil {
					b.Fatal(err)
				}
				if !works {
					return func() {}
				}
				var removed atomic.Int64
				ctx, cancel := context.WithCancel(b.Context())
				j := worker.NewJanitor(s, worker.JanitorOptions{
					EventsKept: 90 * 24 * time.Hour, Observe: func(_ string, n int64) { removed.Add(n) },
				})
				var wg sync.WaitGroup
				wg.Go(func() { j.Run(ctx) })
				return func() {
					cancel()
					wg.Wait()
					b.ReportMetric(float64(removed.Load())/b.Elapsed().Seconds(), "removed/s")
				}
			})
		})
	}
}

// benchmarkPlace lets buyers order. beside, if given, fills the record half a year ago, lets the clock go by setting now to 0, and
// starts what works at the same time.
func benchmarkPlace(b *testing.B, url string, products int, beside func(s *sqlstore.Store, now *atomic.Int64) (end func())) {
	b.Helper()
	ctx := context.Background()
	var now atomic.Int64
	if beside != nil {
		now.Store(time.Now().Add(-180 * 24 * time.Hour).UnixNano())
	}
	var opt sqlstore.Options
	if beside != nil {
		opt.Clock = func() time.Time {
			if at := now.Load(); at != 0 {
				return time.Unix(0, at)
			}
			return time.Now()
		}
	}
	store, err := sqlstore.Open(ctx, url, opt)
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
	end := func() {}
	if beside != nil {
		end = beside(store, &now)
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
	end()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	b.ReportMetric(float64(commands.Load())/float64(batches.Load()), "orders/batch")
}
