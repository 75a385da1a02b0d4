package server

import (
	"context"
	"fmt"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// samples is what `serve --demo` puts on sale.
var samples = []struct {
	id        product.ID
	title     string
	price     int64
	units     int64
	perUser   int64
	payWithin time.Duration
}{
	{"sku-ticket", "Concert ticket, front row", 9900, 100, 4, 0},
	{"sku-sneaker", "Sneaker, one of 500", 19900, 500, 1, 10 * time.Minute},
	{"sku-poster", "Poster, numbered, the last one", 2500, 1, 0, 2 * time.Minute},
}

// putSamples puts the sample products on sale. May run again: a delivery's ref counts once.
func (s *Server) putSamples(ctx context.Context) error {
	for _, p := range samples {
		_, err := ledger.Submit(ctx, s.ledger, ledger.PutProduct{
			ID:         p.id,
			Title:      ledger.Patch[string]{Set: true, Value: p.title},
			Price:      ledger.Patch[money.Money]{Set: true, Value: money.Money{Amount: p.price, Currency: "CNY"}},
			MaxPerUser: ledger.Patch[int64]{Set: true, Value: p.perUser},
			PayWindow:  ledger.Patch[time.Duration]{Set: true, Value: p.payWithin},
		})
		if err != nil {
			return fmt.Errorf("put sample %s: %w", p.id, err)
		}
		_, err = ledger.Submit(ctx, s.ledger, ledger.AdjustStock{ProductID: p.id, Delta: p.units, Reason: "sample", Ref: "demo"})
		if err != nil {
			return fmt.Errorf("stock sample %s: %w", p.id, err)
		}
	}
	return nil
}

// greet says where the desk is and, once, what its key is. The line with "listening on" is for programs too.
func (s *Server) greet(opt Options, madeKey string) {
	if opt.Stdout == nil {
		return
	}
	if madeKey != "" {
		fmt.Fprintf(opt.Stdout, "\nThis is the admin key. It is shown this once; only its hash is kept:\n\n  export HOLDFAST_API_KEY=%s\n\n", madeKey)
	}
	if opt.Demo {
		fmt.Fprintf(opt.Stdout, "On sale: ")
		for i, p := range samples {
			if i > 0 {
				fmt.Fprint(opt.Stdout, ", ")
			}
			fmt.Fprint(opt.Stdout, p.id)
		}
		fmt.Fprintf(opt.Stdout, ". Place an order:\n\n"+
			"  curl -s %s/v1/orders -H \"Authorization: Bearer $HOLDFAST_API_KEY\" -H 'Idempotency-Key: my-first' \\\n"+
			"    -H 'Content-Type: application/json' -d '{\"user_id\": \"u-7\", \"lines\": [{\"product_id\": \"sku-ticket\", \"quantity\": 1}]}'\n\n", s.cfg.PublicAt(s.listener.Addr()))
	}
	fmt.Fprintf(opt.Stdout, "listening on %s\n", s.URL())
}
