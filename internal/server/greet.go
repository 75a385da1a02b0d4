package server

import (
	"context"
	"fmt"
	"io"
	"strings"
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

// showKey shows the admin key that was made, once.
func showKey(w io.Writer, key string) {
	if w != nil && key != "" {
		fmt.Fprintf(w, "\nThis is the admin key. It is shown this once; only its hash is kept:\n\n  export HOLDFAST_API_KEY=%s\n\n", key)
	}
}

// greet says where the desk is. The line with "listening on" is for programs too.
func (s *Server) greet(opt Options) {
	if opt.Stdout == nil {
		return
	}
	url := s.cfg.PublicAt(s.listener.Addr())
	if opt.Demo {
		names := make([]string, len(samples))
		for i, p := range samples {
			names[i] = string(p.id)
		}
		fmt.Fprintf(opt.Stdout, "On sale: %s. Place an order:\n\n"+
			"  curl -s %s/v1/orders -H \"Authorization: Bearer $HOLDFAST_API_KEY\" -H 'Idempotency-Key: my-first' \\\n"+
			"    -H 'Content-Type: application/json' -d '{\"user_id\": \"u-7\", \"lines\": [{\"product_id\": \"sku-ticket\", \"quantity\": 1}]}'\n\n",
			strings.Join(names, ", "), url)
	}
	fmt.Fprintf(opt.Stdout, "listening on %s\n", s.URL())
}
