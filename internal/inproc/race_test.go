package inproc_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

func TestOrdersNeverGoBack(t *testing.T) {
	c := inproc.NewOrders()
	_, err := c.Fill(1, func() (*order.Order, error) {
		old := &order.Order{Number: 1, Status: order.Pending, Events: 1}
		c.Applied(&ledger.Applied{Orders: []*order.Order{{Number: 1, Status: order.Paid, Events: 2}}}) // paid while the load is under way
		for batch := range 100 {                                                                       // and the sale goes on
			var placed []*order.Order
			for i := range 512 {
				placed = append(placed, &order.Order{Number: order.Number(1000 + batch*512 + i), Events: 1})
			}
			c.Applied(&ledger.Applied{Orders: placed})
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the cache evicts in the background and tells nobody
		return old, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if o := c.Get(1); o != nil && o.Status != order.Paid {
		t.Errorf("the cache holds the order as %s from now on; it was paid, and the cache had been told", o.Status)
	}
}

func TestAProductJustLearnedIsNotSoldOut(t *testing.T) {
	marks := inproc.NewKeyMarks(time.Now)
	marks.Ready()
	slow := func(ctx context.Context, _ product.ID) (checkout.Shelf, error) {
		time.Sleep(time.Millisecond) //nolint:forbidigo // a record that takes its time
		return checkout.Shelf{}, errors.New("slow")
	}
	g := inproc.NewGate(slow, marks, time.Now)
	refused := 0
	for i := range 20000 {
		id := product.ID(fmt.Sprint("sku-", i))
		var wg sync.WaitGroup
		var mu sync.Mutex
		stop := make(chan struct{})
		for range 3 {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if err := g.Admit(t.Context(), "u-1", []ledger.PlaceLine{{ProductID: id, Quantity: 1}}); errors.Is(err, fault.ErrOutOfStock) {
						mu.Lock()
						refused++
						mu.Unlock()
						return
					}
				}
			})
		}
		g.Applied(&ledger.Applied{
			Products: []*product.Product{{ID: id, Active: true, Version: 1}},
			Stock:    []*stock.Stock{{ProductID: id, Received: 100, Version: 1}},
		})
		close(stop)
		wg.Wait()
	}
	if refused > 0 {
		t.Errorf("%d buyers were told out_of_stock of products of which 100 are for sale", refused)
	}
}
