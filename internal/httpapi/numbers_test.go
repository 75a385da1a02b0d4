package httpapi

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

func TestNumbersAreToldDayByDayNewestFirst(t *testing.T) {
	d := newDesk(t, func(_ *Options, road *ledger.Options) { road.BlockSize = 10 })
	d.offer("sku-1", 100)
	if got := read[api.Page[api.NumberDay]](d, d.get("/v1/numbers", apikey.Admin)); len(got.Data) != 0 || got.NextCursor != nil {
		t.Errorf("before any order: got %+v, want none", got)
	}
	d.placed("a", "u-1", "sku-1")
	d.wants(d.place("refused", `{"user_id":"u","lines":[{"product_id":"sku-1","quantity":101}]}`), 409, api.CodeOutOfStock)
	d.clock.advance(24 * time.Hour)
	for _, key := range []string{"b", "c"} {
		d.placed(key, "u-1", "sku-1")
	}
	d.clock.advance(24 * time.Hour)
	d.placed("d", "u-1", "sku-1")

	last := func(no string) *string { return &no }
	want := []api.NumberDay{
		{Day: "2026-11-22", Granted: 10, Used: 1, Left: 9, Last: last("202611220000001")},
		{Day: "2026-11-21", Granted: 10, Used: 2, Lost: 8, Last: last("202611210000002")},
		{Day: "2026-11-20", Granted: 10, Used: 1, Lost: 9, Last: last("202611200000001")},
	}
	var got []api.NumberDay
	for target := "/v1/numbers?limit=1"; ; {
		page := read[api.Page[api.NumberDay]](d, d.get(target, apikey.Admin))
		got = append(got, page.Data...)
		if page.NextCursor == nil || len(got) > len(want) {
			break
		}
		target = "/v1/numbers?limit=1&cursor=" + url.QueryEscape(*page.NextCursor)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("numbers, wanted - and got +:\n%s", diff)
	}
}
