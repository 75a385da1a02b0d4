package httpapi

import (
	"fmt"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
)

func TestCursorBelongsToItsListAndFilter(t *testing.T) {
	d := newDesk(t)
	for i := range 3 {
		d.offer(fmt.Sprintf("sku-%d", i), 10)
		d.placed(fmt.Sprint("k", i), "u-1", fmt.Sprintf("sku-%d", i))
	}
	d.relay()
	next := func(target string) string {
		t.Helper()
		p := read[api.Page[any]](d, d.get(target, apikey.Admin))
		if p.NextCursor == nil {
			t.Fatalf("GET %s has no next cursor", target)
		}
		return *p.NextCursor
	}
	products := next("/v1/products?limit=1")
	orders := next("/v1/orders?limit=1&user_id=u-1")
	events := next("/v1/events?limit=1&types=stock.changed,order.placed")

	for target, status := range map[string]int{
		"/v1/products?cursor=" + products:                                           200,
		"/v1/products?limit=7&cursor=" + products:                                   200,
		"/v1/orders?user_id=u-1&cursor=" + orders:                                   200,
		"/v1/events?types=order.placed,stock.changed,order.placed&cursor=" + events: 200, // the same filter
		"/v1/orders?cursor=" + products:                                             422,
		"/v1/keys?cursor=" + products:                                               422,
		"/v1/orders?cursor=" + orders:                                               422,
		"/v1/orders?user_id=u-2&cursor=" + orders:                                   422,
		"/v1/orders?user_id=u-1&status=paid&cursor=" + orders:                       422,
		"/v1/events?types=order.placed&cursor=" + events:                            422,
		"/v1/events?cursor=" + events:                                               422,
		"/v1/products?cursor=" + products[:len(products)-1]:                         422,
		"/v1/products?cursor=" + products + "A":                                     422,
		"/v1/products?cursor=" + products + "=":                                     422,
		"/v1/products?cursor=" + swapCase(products):                                 422,
		"/v1/products?cursor=sku-0":                                                 422,
		"/v1/products?cursor=" + strings.Repeat("A", 8<<10):                         422,
		"/v1/products?cursor=" + cursors{[]byte("another record")}.make("listProducts", "", []byte("sku-0")): 422,
	} {
		if a := d.get(target, apikey.Admin); a.status != status {
			t.Errorf("GET %.120s: got %d %s, want %d", target, a.status, a.body, status)
		} else if status == 422 && d.problem(a).Errors[0].Field != "cursor" {
			t.Errorf("GET %.120s: got %s, want the cursor named", target, a.body)
		}
	}
}

func swapCase(s string) string {
	if lower := strings.ToLower(s); lower != s {
		return lower
	}
	return strings.ToUpper(s)
}
