package server_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	sdk "github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// desk is a running desk, and who calls it.
type desk struct {
	*sdk.Client
	url string
}

// open runs a desk until the test ends.
func open(t *testing.T, change func(*config.Config)) *desk {
	t.Helper()
	cfg := ofItsOwn(t)
	change(&cfg)
	s := run(t, cfg, io.Discard)
	c, err := sdk.New(s.URL(), chosenKey, sdk.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return &desk{c, s.URL()}
}

func (d *desk) metrics(t *testing.T) string {
	t.Helper()
	r, err := http.Get(d.url + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// sell puts a product on sale whose orders may be unpaid for a second.
func (d *desk) sell(t *testing.T) {
	t.Helper()
	_, err := d.PutProduct(t.Context(), "sku", api.PutProduct{
		Title: api.Set("Ticket"), Price: api.Set(api.Money{Amount: 100, Currency: "CNY"}), PayWindow: api.Set("1s"),
	})
	if err == nil {
		_, err = d.AdjustStock(t.Context(), "sku", api.AdjustStock{Delta: 1000, Reason: "restock"})
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (d *desk) place(t *testing.T, key string) string {
	t.Helper()
	placed, err := d.PlaceOrder(t.Context(), key, api.PlaceOrder{UserID: "u", Lines: []api.PlaceLine{{ProductID: "sku", Quantity: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	return placed.Order.OrderNo
}

func TestOrdersExpireWhateverCountsDown(t *testing.T) {
	redis := testenv.StartRedis(t, testenv.Options{})
	for _, c := range []struct{ driver, named string }{
		{config.CountdownRedis, "redis"}, {config.CountdownAuto, "redis"}, {config.CountdownKeyspace, "keyspace"}, {config.CountdownSQL, "sql"},
	} {
		t.Run(c.driver, func(t *testing.T) {
			d := open(t, func(cfg *config.Config) { cfg.RedisURL, cfg.Countdown = redis.URL(), c.driver })
			d.sell(t)
			testenv.Until(t, untilMax, "redis works", func() bool { return strings.Contains(d.metrics(t), "holdfast_redis_working 1\n") })
			// One may be found by the look at the record when the machine is busy, so there are more until the driver has named one.
			for n := 0; ; n++ {
				no := d.place(t, fmt.Sprint(n))
				testenv.Until(t, untilMax, "it is over", func() bool {
					o, err := d.GetOrder(t.Context(), no)
					if err != nil {
						t.Fatal(err)
					}
					return o.Status == "expired"
				})
				text := d.metrics(t)
				if strings.Contains(text, `holdfast_expiry_lag_seconds_count{driver="`+c.named+`"} 0`) && n < 9 {
					continue
				}
				if strings.Contains(text, `holdfast_expiry_lag_seconds_count{driver="`+c.named+`"} 0`) {
					t.Errorf("of %d orders none was named by %s", n+1, c.named)
				}
				break
			}
			stock, err := d.GetStock(t.Context(), "sku")
			if err != nil || stock.Available != 1000 || stock.Held != 0 {
				t.Errorf("stock %+v, %v: want all 1000 available again", stock, err)
			}
		})
	}
}

func TestNumbersAreMadeReadyShownAndRemoved(t *testing.T) {
	redis := testenv.StartRedis(t, testenv.Options{})
	d := open(t, func(cfg *config.Config) { cfg.RedisURL, cfg.NumberBlock, cfg.NumbersReady = redis.URL(), 10, 100 })
	d.sell(t)
	testenv.Until(t, untilMax, "numbers wait", func() bool {
		_, err := d.FillNumbers(t.Context())
		return err == nil
	})
	for n := range 25 {
		d.place(t, fmt.Sprint(n))
	}
	blocks := strings.Contains(d.metrics(t), "holdfast_redis_number_blocks_total 4\n") // one ahead; else Redis did not answer in time once
	if strings.Contains(d.metrics(t), "holdfast_redis_number_blocks_total 0\n") {
		t.Error("25 orders took no block from Redis")
	}
	days := 0
	for day, err := range d.ListNumbers(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		days++
		if day.Granted < 100 || day.Granted != day.Used+day.Left+day.Lost || blocks && day.Lost != 0 {
			t.Errorf("%+v: want at least 100 granted, all used or left", day)
		}
	}
	if days != 2 {
		t.Errorf("%d days, want today and tomorrow", days)
	}
	if purged, err := d.PurgeNumbers(t.Context()); err != nil || purged.Removed != 0 {
		t.Errorf("removed %d, %v; want nothing of days before today", purged.Removed, err)
	}
}
