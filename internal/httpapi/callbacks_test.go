package httpapi

import (
	"strconv"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/money"
)

func moneyOf(m api.Money) money.Money { return money.Money{Amount: m.Amount, Currency: m.Currency} }

func TestNoticeIsVerifiedThenCarriedOutThenAnsweredInTheProvidersWords(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 9)
	o := d.placed("key-1", "u-1", "sku-1")
	late := d.placed("key-2", "u-1", "sku-1")
	read[api.Order](d, d.send("POST", "/v1/orders/"+late.OrderNo+"/cancel", "", apikey.OrdersWrite))
	notice := func(o api.Order, transaction string, amount int64, failed bool) string {
		return `{"order_no":"` + o.OrderNo + `","transaction":"` + transaction + `","amount":` + strconv.FormatInt(amount, 10) +
			`,"failed":` + strconv.FormatBool(failed) + `}`
	}
	for _, c := range []struct {
		story, provider, signature, body string
		status                           int
		want                             string // the provider's word, or the code
	}{
		{"nobody's", "nobody", "signed", notice(o, "t-1", 9900, false), 404, "not_found"},
		{"forged", toy, "forged", notice(o, "t-1", 9900, false), 401, "bad_signature"},
		{"unsigned", toy, "", notice(o, "t-1", 9900, false), 401, "bad_signature"},
		{"unreadable", toy, "signed", `{`, 400, "malformed_request"},
		{"of an unknown order", toy, "signed", `{"order_no":"202611209999999"}`, 404, "not_found"},
		{"too little", toy, "signed", notice(o, "t-1", 9899, false), 409, "payment_mismatch"},
		{"declined", toy, "signed", notice(o, "t-0", 9900, true), 200, "failed"},
		{"paid", toy, "signed", notice(o, "t-1", 9900, false), 200, "paid"},
		{"again", toy, "signed", notice(o, "t-1", 9900, false), 200, "again"},
		{"twice", toy, "signed", notice(o, "t-2", 9900, false), 200, "duplicate"},
		{"late", toy, "signed", notice(late, "t-3", 9900, false), 200, "late"},
	} {
		t.Run(c.story, func(t *testing.T) {
			d.t = t
			a := d.send("POST", "/v1/callbacks/"+c.provider+"?anything=goes", c.body, "", "Toy-Signature", c.signature)
			got := string(a.body)
			if a.status >= 400 {
				got = d.problem(a).Code
			}
			if a.status != c.status || got != c.want {
				t.Errorf("got %d %q, want %d %q", a.status, got, c.status, c.want)
			}
		})
	}
	d.t = t
	if got := read[api.Order](d, d.get("/v1/orders/"+o.OrderNo, apikey.OrdersRead)); got.Status != "paid" {
		t.Errorf("the order is %s, want paid", got.Status)
	}
}
