package sandbox_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/provider/sandbox"
)

const paidBody = `{"order_no":"202611200000042","transaction_id":"tx-1","amount":19800,"currency":"CNY","status":"succeeded"}`

func provider() *sandbox.Provider {
	return sandbox.New(secret, "http://desk.example", nil, func() time.Time { return opening })
}

func signed(signature string) http.Header { return http.Header{sandbox.Header: {signature}} }

func TestSignedNoticeIsRead(t *testing.T) {
	p := provider()
	for status, succeeded := range map[string]bool{"succeeded": true, "failed": false} {
		raw := []byte(strings.Replace(paidBody, "succeeded", status, 1))
		got, err := p.Verify(signed(p.Sign(raw, opening)), raw, opening)
		if err != nil {
			t.Fatal(err)
		}
		want := payment.Notice{
			Provider: "sandbox", OrderNumber: order.NumberOf(20261120, 42), TransactionID: "tx-1",
			Amount: money.Money{Amount: 19800, Currency: "CNY"}, Succeeded: succeeded,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", status, diff)
		}
	}
}

// The example that the documents give, so that a signature made elsewhere is known to fit.
func TestSignatureIsAsDocumented(t *testing.T) {
	got := sandbox.Secret("secret").Sign([]byte(`{"a":1}`), time.Unix(1_700_000_000, 0))
	// printf '1700000000.{"a":1}' | openssl dgst -sha256 -hmac secret
	want := "t=1700000000,v1=49f24e537407743fa4a0242bb63b94b9a47ee99cbbe071ccd8a22550ae411686"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestForgedAndStaleNoticesAreRefused(t *testing.T) {
	p := provider()
	raw := []byte(paidBody)
	good := p.Sign(raw, opening)
	at := func(d time.Duration) http.Header { return signed(p.Sign(raw, opening.Add(d))) }
	for _, c := range []struct {
		story  string
		header http.Header
		body   string
		ok     bool
	}{
		{"untouched", signed(good), paidBody, true},
		{"300 s old", at(-300 * time.Second), paidBody, true},
		{"301 s old", at(-301 * time.Second), paidBody, false},
		{"300 s ahead", at(300 * time.Second), paidBody, true},
		{"301 s ahead", at(301 * time.Second), paidBody, false},
		{"not signed", http.Header{}, paidBody, false},
		{"signed twice", http.Header{sandbox.Header: {good, good}}, paidBody, false},
		{"another amount", signed(good), strings.Replace(paidBody, "19800", "1", 1), false},
		{"one space more", signed(good), paidBody + " ", false},
		{"another secret", signed(sandbox.Secret("another").Sign(raw, opening)), paidBody, false},
		{"no secret", signed(sandbox.Secret(nil).Sign(raw, opening)), paidBody, false},
		{"an old signature with a new time", signed(strings.Replace(p.Sign(raw, opening.Add(-time.Hour)),
			fmt.Sprint(opening.Add(-time.Hour).Unix()), fmt.Sprint(opening.Unix()), 1)), paidBody, false},
		{"the time without a signature", signed(fmt.Sprintf("t=%d", opening.Unix())), paidBody, false},
		{"an empty signature", signed(fmt.Sprintf("t=%d,v1=", opening.Unix())), paidBody, false},
		{"the signature alone", signed(good[strings.LastIndex(good, ",")+1:]), paidBody, false},
		{"capital letters", signed(strings.ToUpper(good)), paidBody, false},
		{"a space", signed(strings.Replace(good, ",", ", ", 1)), paidBody, false},
		{"a sign before the time", signed(strings.Replace(good, "t=", "t=+", 1)), paidBody, false},
		{"something behind", signed(good + ",v0=x"), paidBody, false},
		{"half of it", signed(good[:len(good)-1]), paidBody, false},
	} {
		_, err := p.Verify(c.header, []byte(c.body), opening)
		if c.ok && err != nil {
			t.Errorf("%s: got %v, want it to pass", c.story, err)
		}
		if !c.ok && !errors.Is(err, fault.ErrBadSignature) {
			t.Errorf("%s: got %v, want bad_signature", c.story, err)
		}
	}
}

func TestSignedNonsenseIsRefused(t *testing.T) {
	p := provider()
	edit := func(from, to string) string { return strings.Replace(paidBody, from, to, 1) }
	deep := strings.Repeat("[", 40) + strings.Repeat("]", 40)
	for _, c := range []struct {
		story, body string
		want        error
		field       string
	}{
		{"nothing", ``, fault.ErrMalformed, ""},
		{"not JSON", `order_no=1`, fault.ErrMalformed, ""},
		{"cut off", paidBody[:40], fault.ErrMalformed, ""},
		{"broken after a wrong type", `{"order_no":5,"status"}`, fault.ErrMalformed, ""},
		{"twice the same field", edit(`"amount"`, `"amount":1,"amount"`), fault.ErrMalformed, ""},
		{"something behind", paidBody + `{}`, fault.ErrMalformed, ""},
		{"not UTF-8", edit(`tx-1`, "\xff"), fault.ErrMalformed, ""},
		{"too deep", edit(`"tx-1"`, deep), fault.ErrMalformed, ""},
		{"an array", `[]`, fault.ErrInvalid, ""},
		{"null", `null`, fault.ErrInvalid, "order_no"},
		{"an unknown field", edit(`{`, `{"note":1,`), fault.ErrInvalid, "note"},
		{"a field in capitals", edit(`amount`, `Amount`), fault.ErrInvalid, "Amount"},
		{"a number as order number", edit(`"202611200000042"`, `202611200000042`), fault.ErrInvalid, "order_no"},
		{"no such day", edit(`20261120`, `20261320`), fault.ErrInvalid, "order_no"},
		{"no transaction", edit(`"tx-1"`, `""`), fault.ErrInvalid, "transaction_id"},
		{"transaction null", edit(`"tx-1"`, `null`), fault.ErrInvalid, "transaction_id"},
		{"a NUL in the transaction", edit(`tx-1`, `tx\u0000`), fault.ErrInvalid, "transaction_id"},
		{"a long transaction", edit(`tx-1`, strings.Repeat("x", 129)), fault.ErrInvalid, "transaction_id"},
		{"amount as text", edit(`19800`, `"19800"`), fault.ErrInvalid, "amount"},
		{"half a cent", edit(`19800`, `19800.5`), fault.ErrInvalid, "amount"},
		{"amount null", edit(`19800`, `null`), fault.ErrInvalid, "amount"},
		{"below zero", edit(`19800`, `-1`), fault.ErrInvalid, "amount"},
		{"too large", edit(`19800`, `9223372036854775808`), fault.ErrInvalid, "amount"},
		{"no currency", edit(`CNY`, `cny`), fault.ErrInvalid, "currency"},
		{"another status", edit(`succeeded`, `pending`), fault.ErrInvalid, "status"},
		{"a field missing", edit(`,"status":"succeeded"`, ``), fault.ErrInvalid, "status"},
	} {
		raw := []byte(c.body)
		_, err := p.Verify(signed(p.Sign(raw, opening)), raw, opening)
		if !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.story, err, c.want)
			continue
		}
		if c.field != "" && !named(fault.Of(err), c.field) {
			t.Errorf("%s: got %v, want the field %s named", c.story, err, c.field)
		}
	}
}

func named(f *fault.Error, field string) bool {
	for _, wrong := range f.Fields {
		if wrong.Field == field {
			return true
		}
	}
	return false
}

func TestAnswerTellsTheOutcome(t *testing.T) {
	p := provider()
	w := httptest.NewRecorder()
	if err := p.Answer(w, ledger.PaidLate, nil); err != nil {
		t.Fatal(err)
	}
	if got, want := w.Body.String(), `{"received":true,"outcome":"late"}`; w.Code != http.StatusOK || got != want {
		t.Errorf("got %d %s, want 200 %s", w.Code, got, want)
	}
	w = httptest.NewRecorder()
	if err := p.Answer(w, "", fault.ErrPaymentMismatch); !errors.Is(err, fault.ErrPaymentMismatch) || w.Body.Len() > 0 {
		t.Errorf("got %v and %s, want the fault back and nothing written", err, w.Body)
	}
}
