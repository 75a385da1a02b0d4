package e2e

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// requestMax is longer than any answer may take; what takes longer is lost.
const requestMax = 30 * time.Second

// desk is a running Holdfast as a client with the admin key sees it. Every request that is under way has a connection of its
// own.
type desk struct {
	t     *testing.T
	url   string // of its first process
	turns turns
	key   string
	http  *http.Client
}

func newDesk(t *testing.T, at ...string) *desk {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 2000, IdleConnTimeout: 50 * time.Second} // before the desk hangs up
	t.Cleanup(transport.CloseIdleConnections)
	return &desk{
		t: t, url: at[0], turns: turns{at, new(atomic.Uint64)}, key: adminKey,
		http: &http.Client{Transport: transport, Timeout: requestMax},
	}
}

// as is the same desk for the holder of another key.
func (d *desk) as(key string) *desk {
	other := *d
	other.key = key
	return &other
}

// answer is what came back, whole.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) String() string { return fmt.Sprintf("%d %s", a.status, a.body) }

// problem reads an answer that is not a success.
func (a answer) problem() api.Problem {
	var p api.Problem
	if err := json.Unmarshal(a.body, &p); err != nil || a.header.Get("Content-Type") != "application/problem+json" {
		p.Code = "not a problem: " + a.String()
	}
	return p
}

// send makes a request. An error means that no whole answer came back; what became of the request is then unknown. Headers
// are names and values in turn.
func (d *desk) send(method, path string, body any, headers ...string) (answer, error) {
	var sent io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		sent = bytes.NewReader(b)
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return answer{}, err
		}
		sent = bytes.NewReader(text)
	}
	r, err := http.NewRequest(method, d.turns.address()+path, sent)
	if err != nil {
		return answer{}, err
	}
	if sent != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if d.key != "" {
		r.Header.Set("Authorization", "Bearer "+d.key)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := d.http.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	return answer{res.StatusCode, res.Header, got}, nil
}

// ask makes a request that has to be answered.
func (d *desk) ask(method, path string, body any, headers ...string) answer {
	d.t.Helper()
	a, err := d.send(method, path, body, headers...)
	if err != nil {
		d.t.Errorf("%s %s: %v", method, path, err)
	}
	return a
}

// want makes a request that has to be answered with a status, and reads the answer into a variable.
func (d *desk) want(status int, into any, method, path string, body any) {
	d.t.Helper()
	a := d.ask(method, path, body)
	if a.status != status {
		d.t.Fatalf("%s %s: got %v, want %d", method, path, a, status)
	}
	read(d.t, a.body, into)
}

func read(t *testing.T, body []byte, into any) {
	t.Helper()
	if into == nil {
		return
	}
	if err := json.Unmarshal(body, into); err != nil {
		t.Errorf("read %q: %v", body, err)
	}
}

// product puts a product on sale at a price of 1999, with stock. change may be nil.
func (d *desk) product(id string, units int64, change func(*api.PutProduct)) {
	d.t.Helper()
	p := api.PutProduct{Title: api.Set("Ticket " + id), Price: api.Set(api.Money{Amount: 1999, Currency: "CNY"})}
	if change != nil {
		change(&p)
	}
	d.want(http.StatusCreated, nil, "PUT", "/v1/products/"+id, p)
	d.want(http.StatusCreated, nil, "POST", "/v1/products/"+id+"/stock", api.AdjustStock{Delta: units, Reason: "restock", Ref: "first"})
}

func payWithin(window time.Duration) func(*api.PutProduct) {
	return func(p *api.PutProduct) { p.PayWindow = api.Set(window.String()) }
}

func (d *desk) stock(id string) (s api.Stock) {
	d.t.Helper()
	d.want(http.StatusOK, &s, "GET", "/v1/products/"+id+"/stock", nil)
	return s
}

// place asks for an order under a key.
func (d *desk) place(key, user string, lines ...api.PlaceLine) (answer, error) {
	return d.send("POST", "/v1/orders", api.PlaceOrder{UserID: user, Lines: lines}, "Idempotency-Key", key)
}

// placeAgain asks for an order until there is room for it: whoever is told to come back does. It tells how often he was.
func (d *desk) placeAgain(key, user string, lines ...api.PlaceLine) (a answer, sentAway int64, err error) {
	for ; ; sentAway++ {
		if a, err = d.place(key, user, lines...); err != nil || a.status != http.StatusServiceUnavailable {
			return a, sentAway, err
		}
		pass(100 * time.Millisecond) // he was told to: Retry-After
	}
}

func line(product string, quantity int64) api.PlaceLine {
	return api.PlaceLine{ProductID: product, Quantity: quantity}
}

// order places an order that has to be accepted.
func (d *desk) order(key, user string, lines ...api.PlaceLine) (o api.Order) {
	d.t.Helper()
	a, _, err := d.placeAgain(key, user, lines...)
	if err != nil || a.status != http.StatusCreated {
		d.t.Fatalf("place %s: got %v, %v, want 201", key, a, err)
	}
	read(d.t, a.body, &o)
	return o
}

func (d *desk) look(orderNo string) (o api.Order) {
	d.t.Helper()
	d.want(http.StatusOK, &o, "GET", "/v1/orders/"+orderNo, nil)
	return o
}

func (d *desk) payments(orderNo string) []api.Payment {
	d.t.Helper()
	return list[api.Payment](d, "/v1/orders/"+orderNo+"/payments", nil)
}

// list reads all pages of a list. The log of events has no last page: an empty one ends it.
func list[T any](d *desk, path string, query url.Values) (all []T) {
	d.t.Helper()
	query = copied(query)
	if !strings.HasSuffix(path, "/payments") {
		query.Set("limit", "200")
	}
	for {
		var page api.Page[T]
		d.want(http.StatusOK, &page, "GET", path+"?"+query.Encode(), nil)
		all = append(all, page.Data...)
		if page.NextCursor == nil || len(page.Data) == 0 {
			return all
		}
		query.Set("cursor", *page.NextCursor)
	}
}

func copied(query url.Values) url.Values {
	own := url.Values{}
	for name, values := range query {
		own[name] = values
	}
	return own
}

func (d *desk) orders(filter ...string) []api.Order {
	d.t.Helper()
	return list[api.Order](d, "/v1/orders", queryOf(filter))
}

func (d *desk) events(filter ...string) []api.Event {
	d.t.Helper()
	return list[api.Event](d, "/v1/events", queryOf(filter))
}

func queryOf(filter []string) url.Values {
	query := url.Values{}
	for i := 0; i+1 < len(filter); i += 2 {
		query.Set(filter[i], filter[i+1])
	}
	return query
}

// metric gives the value of a metric as it is named in the text format, with its labels; 0 when it is not there.
func (d *desk) metric(name string) float64 {
	d.t.Helper()
	for line := range strings.Lines(string(d.ask("GET", "/metrics", nil).body)) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				d.t.Errorf("metric %s: %v", name, err)
			}
			return v
		}
	}
	return 0
}

// auditClean asks the desk for its audit.
func (d *desk) auditClean() {
	d.t.Helper()
	var report api.Audit
	d.want(http.StatusOK, &report, "GET", "/v1/audit", nil)
	if !report.Clean || len(report.Checks) != 11 {
		d.t.Errorf("audit: got %+v, want 11 clean checks", report)
	}
}

// notice is what the sandbox provider tells of money.
type notice struct {
	OrderNo       string `json:"order_no"`
	TransactionID string `json:"transaction_id"`
	Amount        int64  `json:"amount"`
	Currency      string `json:"currency"`
	Status        string `json:"status"`
}

// moneyFor is the notice that an order's whole total has arrived.
func moneyFor(o api.Order, transaction string) notice {
	return notice{o.OrderNo, transaction, o.Total.Amount, o.Total.Currency, "succeeded"}
}

// notify sends a notice as the provider does: signed now, without a key.
func (d *desk) notify(n notice) (answer, error) {
	raw, err := json.Marshal(n)
	if err != nil {
		return answer{}, err
	}
	return d.notifySigned(raw, signature(raw, sandboxSecret, time.Now()))
}

func (d *desk) notifySigned(raw []byte, signature string) (answer, error) {
	return d.as("").send("POST", "/v1/callbacks/sandbox", raw, "Holdfast-Signature", signature)
}

// signature is written from the document (product.md, Providers), not from the code that checks it.
func signature(raw []byte, secret string, at time.Time) string {
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%d.%s", at.Unix(), raw)
	return fmt.Sprintf("t=%d,v1=%s", at.Unix(), hex.EncodeToString(mac.Sum(nil)))
}

// atOnce runs n clients that begin together and waits for all.
func atOnce(n int, client func(i int)) {
	var clients sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		clients.Go(func() {
			<-begin
			client(i)
		})
	}
	close(begin)
	clients.Wait()
}
