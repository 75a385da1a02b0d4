package sandbox_test

import (
	"errors"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/provider/sandbox"
)

var update = flag.Bool("update", false, "write the golden pages again")

const paymentID = "pay_01KAJ0N5E8TESTTESTTESTTEST"

func get(t *testing.T, p *sandbox.Provider, path string) *httptest.ResponseRecorder {
	t.Helper()
	return do(p, httptest.NewRequest(http.MethodGet, path, http.NoBody))
}

func press(p *sandbox.Provider, id, action string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/sandbox/pay/"+id, strings.NewReader(url.Values{"action": {action}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(p, r)
}

func do(p *sandbox.Provider, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	p.Pages().ServeHTTP(w, r)
	return w
}

func saysTitle(t *testing.T, w *httptest.ResponseRecorder, status int, title string) {
	t.Helper()
	if w.Code != status || !strings.Contains(w.Body.String(), "<h1>"+title+"</h1>") {
		t.Errorf("got %d %s, want %d and the title %q", w.Code, w.Body, status, title)
	}
}

func TestPageIsAsItWasDrawn(t *testing.T) {
	d, p := open(t)
	d.placed(t, paymentID, "Ticket <b>for two</b> & more", money.Money{Amount: 123_450, Currency: "CNY"}, 2)
	d.now = opening.Add(18*time.Second + 200*time.Millisecond)
	golden(t, "open.html", get(t, p, "/sandbox/pay/"+paymentID))
	golden(t, "paid.html", press(p, paymentID, "pay"))
	golden(t, "unknown.html", get(t, p, "/sandbox/pay/pay_no_such"))
}

func golden(t *testing.T, name string, w *httptest.ResponseRecorder) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, w.Body.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := w.Body.String(); got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s\n(go test ./internal/provider/sandbox -update writes it again)", name, got, want)
	}
}

func TestPayingPaysOnce(t *testing.T) {
	d, p := open(t)
	no := d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 2)
	for _, title := range []string{"Paid", "Paid"} { // pressed twice, or the page loaded again
		saysTitle(t, press(p, paymentID, "pay"), http.StatusOK, title)
	}
	saysTitle(t, press(p, paymentID, "decline"), http.StatusOK, "Paid")
	saysTitle(t, get(t, p, "/sandbox/pay/"+paymentID), http.StatusOK, "Paid")
	if got := d.status(t, no); got != order.Paid {
		t.Errorf("order is %s, want paid", got)
	}
	payments, err := d.store.PaymentsOf(t.Context(), no)
	if err != nil || len(payments) != 1 || payments[0].Status != payment.Succeeded {
		t.Errorf("got payments %+v, %v, want the one, succeeded", payments, err)
	}
	want := payment.Notice{
		Provider: "sandbox", OrderNumber: no, TransactionID: "sbx_" + paymentID,
		Amount: money.Money{Amount: 19800, Currency: "CNY"}, Succeeded: true,
	}
	if d.seen[0] != want || d.seen[1] != want {
		t.Errorf("the desk saw %+v, want twice %+v", d.seen, want)
	}
}

func TestDeclinedPaymentStaysDeclined(t *testing.T) {
	d, p := open(t)
	no := d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	saysTitle(t, press(p, paymentID, "decline"), http.StatusOK, "Declined")
	saysTitle(t, press(p, paymentID, "pay"), http.StatusOK, "Declined") // from a page that was open all the time
	saysTitle(t, get(t, p, "/sandbox/pay/"+paymentID), http.StatusOK, "Declined")
	if got := d.status(t, no); got != order.Pending {
		t.Errorf("order is %s, want it pending still", got)
	}
	submit(t, d, ledger.CreatePayment{Number: no, Provider: sandbox.Name, PaymentID: "pay_again"})
	saysTitle(t, press(p, "pay_again", "pay"), http.StatusOK, "Paid")
}

func TestMoneyForAnOrderThatIsOverComesBack(t *testing.T) {
	d, p := open(t)
	no := d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	d.now = opening.Add(30 * time.Minute)
	if !submit(t, d, ledger.Expire{Number: no}).Done {
		t.Fatal("the order did not expire")
	}
	saysTitle(t, get(t, p, "/sandbox/pay/"+paymentID), http.StatusOK, "Already over")
	saysTitle(t, press(p, paymentID, "decline"), http.StatusOK, "Already over")
	saysTitle(t, press(p, paymentID, "pay"), http.StatusOK, "Too late") // from a page that was open all the time
	saysTitle(t, press(p, paymentID, "pay"), http.StatusOK, "Too late")
	if got := d.status(t, no); got != order.Expired {
		t.Errorf("order is %s, want expired", got)
	}
}

func TestMoneyForAnOrderPaidOtherwiseComesBack(t *testing.T) {
	d, p := open(t)
	no := d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	submit(t, d, ledger.Pay{PaymentID: "pay_other", Notice: payment.Notice{
		Provider: "other", OrderNumber: no, TransactionID: "tx", Amount: money.Money{Amount: 9900, Currency: "CNY"}, Succeeded: true,
	}})
	saysTitle(t, get(t, p, "/sandbox/pay/"+paymentID), http.StatusOK, "Already over")
	saysTitle(t, press(p, paymentID, "pay"), http.StatusOK, "Paid twice")
}

func TestPostFromAnotherSiteDoesNothing(t *testing.T) {
	d, p := open(t)
	d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	for name, header := range map[string][2]string{
		"a new browser":  {"Sec-Fetch-Site", "cross-site"},
		"an old browser": {"Origin", "https://evil.example"},
		"a sandbox":      {"Origin", "null"},
	} {
		r := httptest.NewRequest(http.MethodPost, "/sandbox/pay/"+paymentID, strings.NewReader("action=pay"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set(header[0], header[1])
		w := do(p, r)
		if w.Code != http.StatusForbidden || len(d.seen) > 0 {
			t.Errorf("%s: got %d and notices %v, want 403 and none", name, w.Code, d.seen)
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/sandbox/pay/"+paymentID, strings.NewReader("action=pay"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", "http://desk.example") // the public address; the proxy told us another Host
	r.Host = "10.0.0.7:8080"
	saysTitle(t, do(p, r), http.StatusOK, "Paid")
}

func TestStrangersTextIsOnlyText(t *testing.T) {
	d, p := open(t)
	const title = `<script>alert(1)</script>"><img src=x onerror=alert(1)>{{.Order}}`
	d.placed(t, paymentID, title, money.Money{Amount: 9900, Currency: "CNY"}, 1)
	w := get(t, p, "/sandbox/pay/"+paymentID)
	page := w.Body.String()
	if strings.Contains(page, "<script>") || strings.Contains(page, "<img") {
		t.Errorf("the title became part of the page: %s", page)
	}
	if want := "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&gt;&lt;img src=x onerror=alert(1)&gt;{{.Order}}"; !strings.Contains(page, want) {
		t.Errorf("got %s, want the title as text: %s", page, want)
	}
	for _, path := range []string{"/sandbox/pay/%3Cscript%3Ealert(1)%3C/script%3E", "/sandbox/pay/%00", "/sandbox/pay/" + strings.Repeat("x", 5000)} {
		saysTitle(t, get(t, p, path), http.StatusNotFound, "No such payment")
	}
}

func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	d, p := open(t)
	d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	w := get(t, p, "/sandbox/pay/"+paymentID)
	policy := w.Header().Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "form-action 'self'"} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q does not say %s", policy, want)
		}
	}
	for _, never := range []string{"unsafe", "http:", "https:"} {
		if strings.Contains(policy, never) {
			t.Errorf("the policy %q says %s", policy, never)
		}
	}
	page := w.Body.String()
	for _, never := range []string{"style=", "onclick", "<style", "//"} {
		if strings.Contains(page, never) {
			t.Errorf("the page has %s: %s", never, page)
		}
	}
	for path, kind := range map[string]string{
		"/sandbox/assets/page.css": "text/css; charset=utf-8", "/sandbox/assets/page.js": "text/javascript; charset=utf-8",
	} {
		if a := get(t, p, path); a.Code != http.StatusOK || a.Header().Get("Content-Type") != kind {
			t.Errorf("%s: got %d %s, want 200 %s", path, a.Code, a.Header().Get("Content-Type"), kind)
		}
	}
	if a := get(t, p, "/sandbox/assets/page.html"); a.Code != http.StatusNotFound {
		t.Errorf("the template: got %d, want 404", a.Code)
	}
}

func TestBadFormsAndTroubleAreTold(t *testing.T) {
	d, p := open(t)
	d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	saysTitle(t, press(p, paymentID, "steal"), http.StatusBadRequest, "That did not work")
	saysTitle(t, press(p, paymentID, strings.Repeat("x", 1<<20)), http.StatusBadRequest, "That did not work")
	saysTitle(t, press(p, "pay_no_such", "pay"), http.StatusNotFound, "No such payment")
	if len(d.seen) > 0 {
		t.Errorf("the desk saw %v, want nothing", d.seen)
	}
	d.err = fault.ErrOverloaded
	w := press(p, paymentID, "pay")
	saysTitle(t, w, http.StatusServiceUnavailable, "Too busy just now")
	if got := w.Header().Get("Retry-After"); got != "1" {
		t.Errorf("got Retry-After %q, want 1", got)
	}
	d.err = errors.New("disk on fire at /secret/path")
	w = press(p, paymentID, "pay")
	saysTitle(t, w, http.StatusInternalServerError, "That did not work")
	if strings.Contains(w.Body.String(), "fire") {
		t.Errorf("the page tells what is inside: %s", w.Body)
	}
}

func TestOtherProvidersPaymentsAreNotShown(t *testing.T) {
	d, p := open(t)
	no := d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	submit(t, d, ledger.CreatePayment{Number: no, Provider: "other", PaymentID: "pay_other"})
	saysTitle(t, get(t, p, "/sandbox/pay/pay_other"), http.StatusNotFound, "No such payment")
}

func TestPayURLLeadsToThePage(t *testing.T) {
	d, p := open(t)
	d.placed(t, paymentID, "Ticket", money.Money{Amount: 9900, Currency: "CNY"}, 1)
	got := p.PayURL(&payment.Payment{ID: paymentID})
	if want := "http://desk.example/sandbox/pay/" + paymentID; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	server := httptest.NewServer(p.Pages())
	defer server.Close()
	resp, err := server.Client().Get(strings.Replace(got, "http://desk.example", server.URL, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != http.StatusOK || !strings.Contains(string(body), "Pay your order") {
		t.Errorf("got %d %s %v, want the page", resp.StatusCode, body, err)
	}
}
