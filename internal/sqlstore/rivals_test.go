package sqlstore_test

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
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

var rivalOrders = flag.Int("rivals.orders", 1000, "how many orders three processes place over one record (chaos: 100000)")

// Three processes over one record sell the same few products: orders of several lines in any order, paid and cancelled, and products
// delivered meanwhile, while each of them relays. No two ever wait for each other in a circle; every event is in the log, in order.
func TestThreeProcessesNeverWaitInACircle(t *testing.T) {
	for _, on := range databases {
		if !on.server {
			continue // a file is one process' own
		}
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			rivals(t, on.url(t))
		})
	}
}

func rivals(t *testing.T, url string) {
	t.Helper()
	orders := *rivalOrders
	const processes, buyers, products = 3, 8, 6
	ctx := t.Context()
	var log lockLog
	var stores []*sqlstore.Store
	var ledgers []*ledger.Ledger
	for range processes {
		s, err := sqlstore.Open(ctx, url, sqlstore.Options{Degraded: true}) // nobody waits for the disk
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		if _, err := s.Migrate(ctx); err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
		ledgers = append(ledgers, ledger.New(s, ledger.Options{
			BatchMax: 64, BlockSize: 50, OpenWait: time.Minute, WaitMax: time.Minute, Guards: ledger.Guards{UnpaidMax: 1 << 30}, // so that buyers' rows are locked too
			Log: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		}))
	}
	for i := range products {
		id := product.ID(fmt.Sprint("sku-", i))
		p := ledger.PutProduct{ID: id, Title: is("Ticket"), Price: is(money.Money{Amount: 1, Currency: "CNY"})}
		if i == 0 {
			p.MaxPerUser = is(int64(1) << 40) // counts its users
		}
		if _, err := ledger.Submit(ctx, ledgers[0], p); err != nil {
			t.Fatal(err)
		}
		if _, err := ledger.Submit(ctx, ledgers[0], ledger.AdjustStock{ProductID: id, Delta: 1_000_000}); err != nil {
			t.Fatal(err)
		}
	}
	var selling, relaying sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(orders))
	sold := make(chan struct{})
	for p, l := range ledgers {
		for b := range buyers {
			random := rand.New(rand.NewPCG(uint64(p), uint64(b)))
			selling.Go(func() {
				for left.Add(-1) >= 0 {
					if err := buy(ctx, l, ledgers[random.IntN(processes)], random, products); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		relaying.Go(func() {
			for over := false; ; {
				select {
				case <-sold:
					over = true
				case <-time.After(5 * time.Millisecond):
				}
				leases, err := stores[p].LeaseShards(ctx, fmt.Sprint("relay-", p), 50*time.Millisecond)
				moved := 0
				if err == nil {
					moved, err = stores[p].Relay(ctx, leases, 100)
				}
				if err != nil {
					t.Error(err)
					return
				}
				if waiting, _, err := stores[p].Waiting(ctx, 1); over && moved == 0 && (err != nil || waiting == 0) {
					return
				}
			}
		})
	}
	selling.Wait()
	close(sold)
	relaying.Wait()
	for _, l := range ledgers {
		if err := l.Close(ctx); err != nil {
			t.Error(err)
		}
	}
	t.Logf("batches run again: %d, of these for a deadlock: %d", log.reruns.Load(), log.deadlocks.Load())
	if n := log.deadlocks.Load(); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
	report, err := stores[0].Audit(ctx, sqlstore.AuditOptions{})
	if err != nil || !report.Clean {
		t.Errorf("audit: %v, violations %v", err, offenders(report))
	}
	wantWholeLog(t, stores[1], 2*orders)
}

// buy places an order with one process, which gets a delivery now and then, and ends it with another.
func buy(ctx context.Context, l, other *ledger.Ledger, random *rand.Rand, products int) error {
	c := ledger.Place{UserID: user.ID(fmt.Sprint("u-", random.IntN(50))), Metadata: []byte(`{}`)}
	for i := range c.Key {
		c.Key[i] = byte(random.Uint32())
	}
	for _, i := range random.Perm(products)[:1+random.IntN(4)] {
		c.Lines = append(c.Lines, ledger.PlaceLine{ProductID: product.ID(fmt.Sprint("sku-", i)), Quantity: 1})
	}
	placed, err := ledger.Submit(ctx, l, c)
	if err != nil {
		return fmt.Errorf("place: %w", err)
	}
	if random.IntN(8) == 0 {
		delivery := ledger.AdjustStock{ProductID: product.ID(fmt.Sprint("sku-", random.IntN(products))), Delta: 1 + random.Int64N(5)}
		if _, err := ledger.Submit(ctx, l, delivery); err != nil {
			return fmt.Errorf("deliver: %w", err)
		}
	}
	if random.IntN(2) == 0 {
		_, err = ledger.Submit(ctx, other, ledger.Cancel{Number: placed.Number, Reason: "no"})
	} else {
		_, err = ledger.Submit(ctx, other, payFor(placed.Number, int64(len(c.Lines))))
	}
	if err != nil {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}

func payFor(no order.Number, amount int64) ledger.Pay {
	return ledger.Pay{PaymentID: "pay-" + no.String(), Notice: payment.Notice{
		Provider: "sandbox", OrderNumber: no, TransactionID: "t-" + no.String(), Amount: money.Money{Amount: amount, Currency: "CNY"}, Succeeded: true,
	}}
}

// lockLog counts what the ledgers say of batches that are run again.
type lockLog struct{ reruns, deadlocks atomic.Int64 }

var _ io.Writer = (*lockLog)(nil)

func (l *lockLog) Write(line []byte) (int, error) {
	if strings.Contains(string(line), "run again") {
		l.reruns.Add(1)
	}
	if strings.Contains(strings.ToLower(string(line)), "deadlock") {
		l.deadlocks.Add(1)
	}
	return len(line), nil
}
