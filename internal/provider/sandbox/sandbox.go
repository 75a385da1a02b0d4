// Package sandbox is the payment provider that is built in: no money moves, everything else is as with a real one. It signs
// and verifies notices, and its cashier page is where a buyer pays or declines.
package sandbox

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

// Name is how the provider is called in the API.
const Name = "sandbox"

// Desk is what the cashier needs of the desk. What does not exist is fault.ErrNotFound.
type Desk interface {
	Payment(ctx context.Context, id string) (*payment.Payment, error)
	Order(ctx context.Context, no order.Number) (*order.Order, error)
	Notice(ctx context.Context, n payment.Notice) (ledger.PayOutcome, error)
}

// Provider is the sandbox of one desk.
type Provider struct {
	Log *slog.Logger // of what goes wrong behind the cashier page; silent unless set before Pages

	// Follow answers a page's request with a stream of one order, as show appends it. Nil: an open page looks again only when
	// the time to pay is over.
	Follow func(w http.ResponseWriter, r *http.Request, no order.Number, show func(b []byte, o *order.Order) []byte)

	secret    Secret
	publicURL string
	desk      Desk
	clock     func() time.Time
}

// New makes the provider. The secret signs notices; publicURL is where buyers reach the desk, without a slash at its end.
func New(secret []byte, publicURL string, desk Desk, clock func() time.Time) *Provider {
	if len(secret) == 0 {
		panic("sandbox: without a secret anybody could sign notices")
	}
	return &Provider{
		Log:       slog.New(slog.DiscardHandler),
		secret:    secret,
		publicURL: strings.TrimRight(publicURL, "/"),
		desk:      desk,
		clock:     clock,
	}
}

// Name is how the provider is called in the API.
func (p *Provider) Name() string { return Name }

// PayURL is the cashier page of a payment.
func (p *Provider) PayURL(pay *payment.Payment) string {
	return p.publicURL + "/sandbox/pay/" + url.PathEscape(pay.ID)
}
