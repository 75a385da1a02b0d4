package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"
)

// payer sends the sandbox provider's signed notice that an order was paid, for one order after another. Payers of one load
// share the orders and where they are in them.
type payer struct {
	shop   *shop
	orders []uint64
	taken  *atomic.Int64
	paid   *atomic.Int64
	secret []byte
}

func (p *payer) request() []byte {
	// More notices than orders only happen when the rate was rounded: then the last one is told again, which is allowed.
	i := min(p.taken.Add(1), int64(len(p.orders))) - 1
	number := strconv.FormatUint(p.orders[i], 10)
	body := fmt.Sprintf(`{"order_no":%q,"transaction_id":"bench-%s","amount":%d,"currency":%q,"status":"succeeded"}`,
		number, number, price, currency)
	return p.shop.post("/v1/callbacks/sandbox", body, "Holdfast-Signature: "+signature(p.secret, time.Now(), body))
}

// signature is the sandbox provider's, as product.md describes it: the time, and the HMAC-SHA256 of "<time>.<body>".
func signature(secret []byte, now time.Time, body string) string {
	seconds := strconv.FormatInt(now.Unix(), 10)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s", seconds, body)
	return "t=" + seconds + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}

func (p *payer) judge(status int, body []byte) outcome {
	if status == 200 {
		p.paid.Add(1)
		return done
	}
	return refusal(status, body)
}
