package sandbox

import (
	"bytes"
	"context"
	"embed"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

//go:embed assets
var assets embed.FS

const formBytes = 4 << 10 // of the cashier's form, which is one word

// Pages serves the cashier. It needs no script: the script moves the countdown, and looks again when the page's stream says that
// the order has changed, wherever that came from.
//
// GET shows the payment, POST pays or declines it. Whoever knows a payment's id may do either, as with any provider's
// page; a post from another site is refused, so that nobody is made to pay by looking at something else.
func (p *Provider) Pages() http.Handler {
	c := &cashier{Provider: p, page: template.Must(template.ParseFS(assets, "assets/page.html"))}
	routes := http.NewServeMux()
	routes.HandleFunc("GET /sandbox/pay/{payment_id}", c.show)
	routes.HandleFunc("POST /sandbox/pay/{payment_id}", c.act)
	routes.HandleFunc("GET /sandbox/pay/{payment_id}/stream", c.follow)
	routes.HandleFunc("GET /sandbox/assets/{file}", c.asset)
	routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { c.fail(w, fault.ErrNotFound) })

	ours := http.NewCrossOriginProtection()
	if u, err := url.Parse(p.publicURL); err == nil && u.Host != "" {
		// Behind a proxy that changes the Host, an old browser's Origin is known by this name only.
		_ = ours.AddTrustedOrigin(u.Scheme + "://" + u.Host)
	}
	ours.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		c.fail(w, fault.ErrForbidden.Detailf("This came from another site, so nothing was done."))
	}))
	return guarded(ours.Handler(routes))
}

// guarded lets the pages load nothing but their own style and script, and stand in nobody's frame.
func guarded(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "+
			"base-uri 'none'; frame-ancestors 'none'")
		h.Set("Referrer-Policy", "same-origin")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// cashier is the pages over their provider.
type cashier struct {
	*Provider
	page *template.Template
}

func (c *cashier) show(w http.ResponseWriter, r *http.Request) { c.look(w, r, "") }

// act sends a notice down the road that notices from outside take, and shows what became of it.
func (c *cashier) act(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, formBytes)
	if err := r.ParseForm(); err != nil {
		c.fail(w, fault.ErrMalformed.Because(err))
		return
	}
	status := map[string]string{"pay": succeeded, "decline": failed}[r.PostForm.Get("action")]
	if status == "" {
		c.fail(w, fault.ErrInvalid.Detailf("One can pay or decline."))
		return
	}
	pay, o, err := c.find(r)
	if err != nil {
		c.fail(w, err)
		return
	}
	if pay.Status == payment.Failed {
		c.render(w, c.view(pay, o, "")) // an attempt that was declined stays so
		return
	}
	outcome, err := c.notify(r, pay, status)
	if err != nil {
		c.fail(w, err)
		return
	}
	c.look(w, r, outcome)
}

// notify writes, signs, verifies and hands in a notice. Its transaction id is made of the payment's: pressing twice is the
// same money twice told, not money twice.
func (c *cashier) notify(r *http.Request, pay *payment.Payment, status string) (ledger.PayOutcome, error) {
	number, transaction := pay.OrderNumber.String(), "sbx_"+pay.ID
	raw, err := json.Marshal(notice{
		OrderNo: &number, TransactionID: &transaction, Amount: &pay.Amount.Amount, Currency: &pay.Amount.Currency, Status: &status,
	})
	if err != nil {
		return "", err
	}
	now := c.clock()
	n, err := c.Verify(http.Header{Header: {c.Sign(raw, now)}}, raw, now)
	if err != nil {
		return "", err
	}
	return c.desk.Notice(r.Context(), n)
}

func (c *cashier) look(w http.ResponseWriter, r *http.Request, outcome ledger.PayOutcome) {
	pay, o, err := c.find(r)
	if err != nil {
		c.fail(w, err)
		return
	}
	c.render(w, c.view(pay, o, outcome))
}

func (c *cashier) find(r *http.Request) (*payment.Payment, *order.Order, error) {
	id := r.PathValue("payment_id")
	if limits.ID(id) != "" {
		return nil, nil, fault.ErrNotFound
	}
	pay, err := c.desk.Payment(r.Context(), id)
	if err != nil {
		return nil, nil, err
	}
	if pay.Provider != Name {
		return nil, nil, fault.ErrNotFound
	}
	o, err := c.desk.Order(r.Context(), pay.OrderNumber)
	return pay, o, err
}

// follow tells an open page the status of its order whenever it may have changed, and nothing else of the order: whoever has the
// page's address may listen.
func (c *cashier) follow(w http.ResponseWriter, r *http.Request) {
	_, o, err := c.find(r)
	switch {
	case err != nil:
		c.fail(w, err)
	case c.Follow == nil:
		c.fail(w, fault.ErrNotFound)
	default:
		c.Follow(w, r, o.Number, func(b []byte, o *order.Order) []byte {
			return append(append(append(b, `{"status":"`...), o.Status...), `"}`...)
		})
	}
}

func (c *cashier) asset(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	if file != "page.css" && file != "page.js" {
		c.fail(w, fault.ErrNotFound)
		return
	}
	w.Header().Set("Cache-Control", "max-age=300")
	http.ServeFileFS(w, r, assets, "assets/"+file)
}

func (c *cashier) render(w http.ResponseWriter, v view) {
	var page bytes.Buffer
	if err := c.page.Execute(&page, v); err != nil {
		c.Log.Error("cashier page", "err", err)
		http.Error(w, "The page could not be made.", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(v.status)
	_, _ = w.Write(page.Bytes()) // a buyer who went away does not need it
}

// fail shows an error as a page. Errors of the API are told by httpapi; a buyer sees no codes.
func (c *cashier) fail(w http.ResponseWriter, err error) {
	if errors.Is(err, context.Canceled) {
		return // nobody is there to see it
	}
	f := fault.Of(err)
	v := view{State: "over", Title: "That did not work", Text: f.Detail, status: http.StatusBadRequest}
	switch f.Kind {
	case fault.NotFound:
		v.status, v.Title, v.Text = http.StatusNotFound, "No such payment", "Please go back to the shop and begin again."
	case fault.Forbidden:
		v.status = http.StatusForbidden
	case fault.Limited, fault.Unavailable:
		v.status, v.Title = http.StatusServiceUnavailable, "Too busy just now"
		v.Text = "Nothing was paid. Please go back and try again in a moment."
		w.Header().Set("Retry-After", strconv.FormatInt(int64(max(f.RetryAfter, time.Second)/time.Second), 10))
	case fault.Internal:
		v.status = http.StatusInternalServerError
		v.Text = "Something went wrong on our side. Nothing is lost: look at this page again to see whether it was paid."
		c.Log.Error("cashier", "err", err)
	default:
	}
	c.render(w, v)
}

// view is what a page shows.
type view struct {
	State  string // open, paid, declined, late, over: the page's colour
	Title  string
	Text   string
	Order  *bill     // nil: about no order
	Open   bool      // there are buttons
	Left   countdown // while Open
	Live   string    // while Open: where the page's stream is; "": there is none
	status int
}

// bill is what is bought.
type bill struct {
	Number string
	Lines  []billLine
	Total  string
}

type billLine struct {
	Title    string
	Quantity int64
	Amount   string
}

// countdown is the time left, for eyes and for the script.
type countdown struct {
	Text    string
	Millis  int64
	Window  int64 // of the whole pay window, in milliseconds
	PayBy   string
	Instant string // for machines
	Refresh int64  // seconds until a page without a script looks again
}

// view decides what to say. outcome is of the notice that was just sent, or "".
func (c *cashier) view(pay *payment.Payment, o *order.Order, outcome ledger.PayOutcome) view {
	v := view{Order: billOf(pay, o), status: http.StatusOK}
	// Money of this attempt that was not needed went into a record of its own, so this one does not say succeeded.
	sent := outcome == ledger.PaidLate || outcome == ledger.PaidDuplicate || outcome == ledger.PaidAgain || pay.Status == payment.Succeeded
	paid := o.Status == order.Paid || o.Status == order.Fulfilled
	switch {
	case sent && paid && pay.Status == payment.Succeeded:
		v.State, v.Title, v.Text = "paid", "Paid", "Thank you. The order is yours; you can close this page."
	case sent && paid:
		v.State, v.Title, v.Text = "late", "Paid twice", "The order had been paid already. The money of this payment comes back to you."
	case sent && o.Status == order.Refunded:
		v.State, v.Title, v.Text = "over", "Refunded", "The order was refunded. There is nothing to pay."
	case sent:
		v.State, v.Title = "late", "Too late"
		v.Text = "The order was over before the money came. The money comes back to you."
	case pay.Status == payment.Failed:
		v.State, v.Title = "declined", "Declined"
		v.Text = "Nothing was paid. While its time is not over, the order can be paid with a new payment from the shop."
	case pay.Status == payment.Pending && o.Status == order.Pending:
		v.State, v.Title, v.Open, v.Left = "open", "Pay your order", true, countdownOf(o, c.clock())
		if c.Follow != nil {
			v.Live = url.PathEscape(pay.ID) + "/stream"
		}
	default:
		v.State, v.Title, v.Text = "over", "Already over", over(o.Status)
	}
	return v
}

func over(s order.Status) string {
	switch s {
	case order.Paid, order.Fulfilled:
		return "The order has been paid. There is nothing more to pay."
	case order.Expired:
		return "The time to pay is over and the order was let go. Should you have paid too late, the money comes back to you."
	case order.Cancelled:
		return "The order was cancelled. Should you have paid all the same, the money comes back to you."
	case order.Refunded:
		return "The order was refunded. There is nothing to pay."
	case order.Pending:
	}
	return "This payment is closed. Nothing was paid here."
}

func billOf(pay *payment.Payment, o *order.Order) *bill {
	b := &bill{Number: o.Number.String(), Total: pay.Amount.Text()}
	for _, l := range o.Lines {
		sum := o.Total
		sum.Amount = l.UnitPrice * l.Quantity // no more than the total, which was checked
		b.Lines = append(b.Lines, billLine{l.Title, l.Quantity, sum.Text()})
	}
	return b
}

func countdownOf(o *order.Order, now time.Time) countdown {
	left := max(0, o.PayBy.Sub(now))
	seconds := o.SecondsLeft(now)
	return countdown{
		Text:    clockText(seconds),
		Millis:  left.Milliseconds(),
		Window:  max(o.PayBy.Sub(o.CreatedAt), time.Second).Milliseconds(),
		PayBy:   o.PayBy.UTC().Format("2 January 2006, 15:04:05 UTC"),
		Instant: o.PayBy.UTC().Format(time.RFC3339),
		Refresh: seconds + 1,
	}
}

// clockText shows seconds as 29:41, 1:29:41 or 2 d 1:29:41, as the script does.
func clockText(seconds int64) string {
	var b strings.Builder
	if days := seconds / 86_400; days > 0 {
		b.WriteString(strconv.FormatInt(days, 10) + " d ")
	}
	if seconds >= 3600 {
		b.WriteString(strconv.FormatInt(seconds/3600%24, 10) + ":" + two(seconds/60%60))
	} else {
		b.WriteString(strconv.FormatInt(seconds/60, 10))
	}
	return b.String() + ":" + two(seconds%60)
}

func two(n int64) string {
	if n < 10 {
		return "0" + strconv.FormatInt(n, 10)
	}
	return strconv.FormatInt(n, 10)
}
