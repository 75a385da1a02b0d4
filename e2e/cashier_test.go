package e2e

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// TestOpenCashierPageSaysAtOnceWhatBecameOfItsOrder: paid, cancelled or expired elsewhere, the page that is open shows it without
// being loaded again.
func TestOpenCashierPageSaysAtOnceWhatBecameOfItsOrder(t *testing.T) {
	t.Parallel()
	d := serve(t, database(t))
	d.product("calm", 10, nil)
	d.product("brief", 10, payWithin(4*time.Second))
	tab := browser(t)
	for _, c := range []struct {
		story, product, title, text string
		end                         func(o api.Order)
	}{
		{"paid", "calm", "Paid", "Thank you", func(o api.Order) {
			if a, err := d.notify(moneyFor(o, "tx-1")); err != nil || a.status != http.StatusOK {
				t.Fatalf("pay: %v %v", a, err)
			}
		}},
		{"cancelled", "calm", "Already over", "was cancelled", func(o api.Order) {
			d.want(http.StatusOK, nil, "POST", "/v1/orders/"+o.OrderNo+"/cancel", nil)
		}},
		{"expired", "brief", "Already over", "time to pay is over", func(api.Order) {}},
	} {
		t.Run(c.story, func(t *testing.T) {
			o := d.order(c.story, "u-1", line(c.product, 2))
			var p api.Payment
			d.want(http.StatusCreated, &p, "POST", "/v1/orders/"+o.OrderNo+"/payments", map[string]any{"provider": "sandbox"})
			visit(tab, t, *p.PayURL)
			sees(tab, t, "the open page", `document.querySelector("main.open") !== null`)
			before := script[string](tab, t, `window.same = true; document.querySelector("[role=timer]").textContent`)
			sees(tab, t, "the countdown to run", `document.querySelector("[role=timer]")?.textContent !== "`+before+`"`)
			testenv.Until(t, pageMax, "the page to listen", func() bool { return d.metric("holdfast_page_streams_open") == 1 })
			c.end(o)
			sees(tab, t, "the page to say that it is "+c.story, `document.querySelector("h1").textContent === "`+c.title+`"`)
			after := script[string](tab, t, `document.querySelector("main").innerText`)
			if !strings.Contains(after, c.text) || strings.Contains(after, "Decline") {
				t.Errorf("the page says %q, want %q and no buttons", after, c.text)
			}
			if !script[bool](tab, t, `window.same === true`) {
				t.Error("the page was loaded again")
			}
			testenv.Until(t, pageMax, "the page to stop listening", func() bool { return d.metric("holdfast_page_streams_open") == 0 })
			photograph(tab, t, c.story)
		})
	}
	o := d.order("open", "u-1", line("calm", 2))
	var p api.Payment
	d.want(http.StatusCreated, &p, "POST", "/v1/orders/"+o.OrderNo+"/payments", map[string]any{"provider": "sandbox"})
	visit(tab, t, *p.PayURL)
	sees(tab, t, "the open page", `document.querySelector("main.open") !== null`)
	photograph(tab, t, "open")
	script[bool](tab, t, `document.querySelector("button[value=pay]").click(), true`)
	sees(tab, t, "the paid page", `document.querySelector("main.paid") !== null`)
	if got := d.look(o.OrderNo).Status; got != api.OrderPaid {
		t.Errorf("the order is %s, want paid", got)
	}
	d.auditClean()
}

// photograph takes the page as a phone and a desk show it, by day and by night, for whoever asked to look at it.
func photograph(tab context.Context, t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	for _, scheme := range []string{"light", "dark"} {
		for screen, size := range map[string][2]int64{"phone": {390, 844}, "desktop": {1280, 800}} {
			media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
			picture, err := chromedp.Run(tab, func(ctx context.Context, page *chromedp.Target) ([]byte, error) {
				if _, err := cdp.Call(ctx, page, emulation.SetEmulatedMedia, media); err != nil {
					return nil, err
				}
				if _, err := chromedp.EmulateViewport(size[0], size[1])(ctx, page); err != nil {
					return nil, err
				}
				return chromedp.CaptureScreenshot()(ctx, page)
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*shots, name+"-"+screen+"-"+scheme+".png"), picture, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
}
