package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

const toy = "toy"

// toyProvider believes whoever says "signed", and answers in one word.
type toyProvider struct{}

func (*toyProvider) Name() string                     { return toy }
func (*toyProvider) PayURL(p *payment.Payment) string { return "https://toy.example/" + p.ID }

func (*toyProvider) Verify(h http.Header, raw []byte, _ time.Time) (payment.Notice, error) {
	if h.Get("Toy-Signature") != "signed" {
		return payment.Notice{}, fault.ErrBadSignature
	}
	var n struct {
		OrderNo     string `json:"order_no"`
		Transaction string `json:"transaction"`
		Amount      int64  `json:"amount"`
		Failed      bool   `json:"failed"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return payment.Notice{}, fault.ErrMalformed.Because(err)
	}
	no, err := order.ParseNumber(n.OrderNo)
	if err != nil {
		return payment.Notice{}, fault.ErrInvalid.Because(err)
	}
	return payment.Notice{
		Provider: toy, OrderNumber: no, TransactionID: n.Transaction, Amount: money.Money{Amount: n.Amount, Currency: "CNY"},
		Succeeded: !n.Failed,
	}, nil
}

func (*toyProvider) Answer(w http.ResponseWriter, outcome ledger.PayOutcome, err error) error {
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(outcome))
	return err
}

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
