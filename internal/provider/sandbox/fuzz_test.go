package sandbox

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/money"
)

// fuzzedNotice is a notice that is as it should be.
const fuzzedNotice = `{"order_no":"202611200000042","transaction_id":"tx-1","amount":19800,"currency":"CNY","status":"succeeded"}`

var fuzzedAt = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)

func fuzzedProvider() *Provider {
	return New([]byte("a secret that is long enough for a test"), "http://desk.example", nil, func() time.Time { return fuzzedAt })
}

func FuzzOnlyTheUntouchedNoticePasses(f *testing.F) {
	p := fuzzedProvider()
	raw := []byte(fuzzedNotice)
	good := p.Sign(raw, fuzzedAt)
	stale := p.Sign(raw, fuzzedAt.Add(-time.Hour))
	for _, signature := range []string{
		good, strings.ToUpper(good), good + ",", good + "," + good, stale, strings.Replace(stale, stale[:12], good[:12], 1), "t=0,v1=00", "", "t=,v1=", "v1=,t=",
		strings.Replace(good, "v1=", "v0=", 1), strings.Replace(good, "t=", "t=0", 1), " " + good, good + "\x00", strings.Replace(good, ",", ", ", 1),
		"t=1763632800,v1=WECHATPAY/SIGNTEST/", "t=-1,v1=" + good[len(good)-64:], "t=99999999999999999999,v1=" + good[len(good)-64:],
	} {
		f.Add(signature, raw)
	}
	f.Add(good, append([]byte(" "), raw...))
	f.Add(good, []byte(strings.Replace(fuzzedNotice, "19800", "1", 1)))
	f.Add(good, []byte(strings.Replace(fuzzedNotice, `"amount"`, `"amount":1,"amount"`, 1)))
	f.Fuzz(func(t *testing.T, signature string, body []byte) {
		_, err := p.Verify(http.Header{Header: {signature}}, body, fuzzedAt)
		untouched := signature == good && string(body) == fuzzedNotice
		if untouched != (err == nil) {
			t.Fatalf("%q over %q: got %v", signature, body, err)
		}
		if !untouched && !errors.Is(err, fault.ErrBadSignature) {
			t.Fatalf("%q over %q: got %v, want bad_signature", signature, body, err)
		}
		if _, err := p.Verify(http.Header{Header: {good, signature}}, raw, fuzzedAt); err == nil {
			t.Fatalf("two signatures were taken, the second %q", signature)
		}
	})
}

// FuzzSignedBytesAreReadOrRefused: a notice that is accepted has values that can be, and means to the standard library what it
// means to us.
func FuzzSignedBytesAreReadOrRefused(f *testing.F) {
	p := fuzzedProvider()
	for _, edit := range [][2]string{
		{"", ""},
		{"19800", "1e2"},
		{"19800", "-0"},
		{"19800", "9223372036854775808"},
		{"19800", "1.0"},
		{`"19800"`, "19800"},
		{"CNY", "cny"},
		{"tx-1", `\u0000`},
		{"tx-1", "\xff"},
		{"amount", "Amount"},
		{"amount", `\u0061mount`},
		{`"tx-1"`, "null"},
		{"succeeded", "failed"},
		{"succeeded", "pending"},
		{"}", "}{}"},
		{`{`, `{"amount":1,`},
		{`{`, `{"x":1,`},
		{"20261120", "00001120"},
		{fuzzedNotice, "[[["},
		{fuzzedNotice, `{"order_no":null}`},
		{fuzzedNotice, "null"},
	} {
		f.Add([]byte(strings.Replace(fuzzedNotice, edit[0], edit[1], 1)))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := p.Verify(http.Header{Header: {p.Sign(raw, fuzzedAt)}}, raw, fuzzedAt)
		if err != nil {
			if !errors.Is(err, fault.ErrMalformed) && !errors.Is(err, fault.ErrInvalid) {
				t.Fatalf("%q: got %v, want malformed_request or invalid_request", raw, err)
			}
			return
		}
		if n.TransactionID == "" || n.Amount.Amount < 0 || !money.ValidCurrency(n.Amount.Currency) || n.OrderNumber <= 0 {
			t.Fatalf("%q was read as %+v", raw, n)
		}
		var other notice
		if err := json.Unmarshal(raw, &other); err != nil || *other.OrderNo != n.OrderNumber.String() || *other.Amount != n.Amount.Amount ||
			*other.TransactionID != n.TransactionID || *other.Currency != n.Amount.Currency || (*other.Status == succeeded) != n.Succeeded {
			t.Fatalf("%q was read as %+v, and by encoding/json as %+v (%v)", raw, n, other, err)
		}
	})
}
