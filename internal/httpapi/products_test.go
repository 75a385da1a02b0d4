package httpapi

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
)

func (d *desk) putProduct(id, body string) answer {
	d.t.Helper()
	return d.send("PUT", "/v1/products/"+id, body, apikey.CatalogueWrite)
}

func TestPutCreatesThenChangesOnlyWhatIsSent(t *testing.T) {
	d := newDesk(t)
	a := d.putProduct("sku-1", `{"title":"Ticket","price":{"amount":9900,"currency":"CNY"},"max_per_user":4,"pay_window":"90s",`+
		`"on_sale_from":"2026-11-20T18:00:00.5+08:00","on_sale_until":"2026-12-01T00:00:00Z"}`)
	d.wantsStatus(a, 201)
	p := read[api.Product](d, a)
	if !p.Active || *p.MaxPerUser != 4 || *p.PayWindow != "1m30s" || p.Version != 1 || p.Available != 0 ||
		!p.OnSaleFrom.Equal(time.Date(2026, 11, 20, 10, 0, 0, 5e8, time.UTC)) || p.OnSaleFrom.Location() != time.UTC {
		t.Errorf("created as %s", a.body)
	}

	d.clock.advance(time.Minute)
	a = d.putProduct("sku-1", `{"max_per_user":null,"pay_window":null,"on_sale_from":null,"title":"Seat"}`)
	d.wantsStatus(a, 200)
	changed := read[api.Product](d, a)
	if changed.Title != "Seat" || changed.MaxPerUser != nil || changed.PayWindow != nil || changed.OnSaleFrom != nil ||
		changed.OnSaleUntil == nil || changed.Price.Amount != 9900 || !changed.Active || changed.Version != 2 ||
		!changed.CreatedAt.Equal(p.CreatedAt) || !changed.UpdatedAt.After(p.UpdatedAt) {
		t.Errorf("changed to %s", a.body)
	}
	a = d.putProduct("sku-1", `{}`)
	d.wantsStatus(a, 200)
	if same := read[api.Product](d, a); same.Version != 2 {
		t.Errorf("nothing was sent, and it is version %d", same.Version)
	}
}

func TestWhatIsFinerThanTheRecordKeepsIsNoChange(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 0)
	for range 2 {
		a := d.putProduct("sku-1", `{"on_sale_from":"2026-11-20T10:00:00.0009Z"}`)
		if p := read[api.Product](d, a); p.Version != 2 || !strings.Contains(string(a.body), `"2026-11-20T10:00:00.000Z"`) {
			t.Errorf("got %s, want version 2", a.body)
		}
	}
}

func TestInactiveProductIsNotOnSale(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 5)
	read[api.Product](d, d.putProduct("sku-1", `{"active":false}`))
	d.wants(d.place("k", oneTicket), 409, api.CodeNotOnSale)
	read[api.Product](d, d.putProduct("sku-1", `{"active":true}`))
	d.wantsStatus(d.place("k", oneTicket), 201)
}

func TestNewProductSaysAllThatItLacks(t *testing.T) {
	d := newDesk(t)
	a := d.putProduct("sku-1", `{"on_sale_from":"2026-11-20T10:00:00Z","on_sale_until":"2026-11-20T10:00:00Z"}`)
	d.wants(a, 422, api.CodeInvalidRequest)
	var fields []string
	for _, f := range d.problem(a).Errors {
		fields = append(fields, f.Field)
	}
	if want := []string{"title", "price", "on_sale_until"}; !slices.Equal(fields, want) {
		t.Errorf("named %q, want %q", fields, want)
	}
	d.wants(d.get("/v1/products/sku-1", apikey.CatalogueRead), 404, api.CodeNotFound)
}

func TestTimesAndWindowsAtTheirEdges(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 0)
	for body, status := range map[string]int{
		`{"pay_window":"1s"}`:                                 200,
		`{"pay_window":"720h"}`:                               200,
		`{"pay_window":"1h0m0.5s"}`:                           200,
		`{"pay_window":"999ms"}`:                              422,
		`{"pay_window":"720h0m0.001s"}`:                       422,
		`{"pay_window":"1.0005s"}`:                            422,
		`{"pay_window":"-1m"}`:                                422,
		`{"pay_window":"0"}`:                                  422,
		`{"pay_window":"30"}`:                                 422,
		`{"pay_window":"1d"}`:                                 422,
		`{"pay_window":""}`:                                   422,
		`{"pay_window":"99999999h"}`:                          422,
		`{"on_sale_from":"1970-01-01T00:00:00Z"}`:             200,
		`{"on_sale_until":"9999-12-31T23:59:59.999Z"}`:        200,
		`{"on_sale_from":"1969-12-31T23:59:59.999Z"}`:         422,
		`{"on_sale_from":"1970-01-01T00:00:00+00:01"}`:        422,
		`{"on_sale_until":"9999-12-31T23:59:59-00:01"}`:       422,
		`{"on_sale_from":"2026-02-30T00:00:00Z"}`:             422,
		`{"on_sale_from":"2026-11-20T24:00:00Z"}`:             422,
		`{"on_sale_from":"2026-11-20T10:00:60Z"}`:             422,
		`{"on_sale_from":"2026-11-20 10:00:00Z"}`:             422,
		`{"on_sale_from":"2026-11-20T10:00:00"}`:              422,
		`{"on_sale_from":"2026-11-20"}`:                       422,
		`{"on_sale_from":"2026-11-20T10:00:00,5Z"}`:           422,
		`{"on_sale_from":""}`:                                 422,
		`{"on_sale_from":1790000000}`:                         422,
		`{"price":{"amount":0,"currency":"CNY"}}`:             200,
		`{"price":{"amount":1000000000000,"currency":"X"}}`:   422,
		`{"price":{"amount":1000000000000,"currency":"JPY"}}`: 200,
		`{"price":{"amount":1000000000001,"currency":"JPY"}}`: 422,
		`{"price":{"amount":1,"currency":"cny"}}`:             422,
		`{"price":{"amount":1,"currency":"CNY€"}}`:            422,
		`{"price":{"amount":1}}`:                              422,
	} {
		if a := d.putProduct("sku-1", body); a.status != status {
			t.Errorf("%s: got %d %s, want %d", body, a.status, a.body, status)
		}
	}
	d.wants(d.putProduct("a%0Ab", `{}`), 422, api.CodeInvalidRequest)
}

func TestProductsAreListedByIDPageByPage(t *testing.T) {
	d := newDesk(t)
	var want []string
	for i := range 7 {
		id := fmt.Sprintf("sku-%d", 6-i)
		d.offer(id, i)
		want = append(want, id)
	}
	slices.Sort(want)
	var got []string
	target := "/v1/products?limit=3"
	for pages := 0; pages < 3; pages++ {
		p := read[api.Page[api.Product]](d, d.get(target, apikey.CatalogueRead))
		for _, product := range p.Data {
			got = append(got, product.ProductID)
		}
		if p.NextCursor == nil {
			break
		}
		target = "/v1/products?limit=3&cursor=" + *p.NextCursor
	}
	if !slices.Equal(got, want) {
		t.Errorf("listed %v, want %v", got, want)
	}
	if p := read[api.Page[api.Product]](d, d.get("/v1/products?limit=7", apikey.CatalogueRead)); p.NextCursor != nil {
		t.Error("the last page, which is full, has a next cursor")
	}
}

func TestDeliveryCountsOnce(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 0)
	adjust := func(body string) answer {
		t.Helper()
		return d.send("POST", "/v1/products/sku-1/stock", body, apikey.CatalogueWrite)
	}
	a := adjust(`{"delta":100,"reason":"restock","ref":"PO-7"}`)
	d.wantsStatus(a, 201)
	if s := read[api.Stock](d, a); s.Received != 100 || s.Available != 100 || s.Version != 1 {
		t.Errorf("got %+v", s)
	}
	a = adjust(`{"delta":50,"reason":"restock","ref":"PO-7"}`)
	d.wantsStatus(a, 200)
	if s := read[api.Stock](d, a); s.Received != 100 {
		t.Errorf("got %+v, want the stock as it was", s)
	}
	d.wantsStatus(adjust(`{"delta":-40,"ref":null,"reason":null}`), 201)
	a = adjust(`{"delta":-61}`)
	d.wants(a, 409, api.CodeInsufficientStock)
	if got := string(d.problem(a).Members["available"]); got != "60" {
		t.Errorf("available is %s, want 60", got)
	}
	d.wants(adjust(`{"delta":0}`), 422, api.CodeInvalidRequest)
	d.wants(d.send("POST", "/v1/products/none/stock", `{"delta":1}`, apikey.CatalogueWrite), 404, api.CodeNotFound)
	if s := read[api.Stock](d, d.get("/v1/products/sku-1/stock", apikey.CatalogueRead)); s.Available != 60 || s.Version != 2 {
		t.Errorf("got %+v at the end", s)
	}
}
