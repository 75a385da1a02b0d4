package checkout

import (
	"context"
	"crypto/rand"

	"github.com/oklog/ulid/v2"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

// CreatePayment opens an attempt to pay an order through a provider.
func (d *Desk) CreatePayment(ctx context.Context, no order.Number, provider string) (ledger.PaymentCreated, error) {
	if d.provider(provider) == nil {
		return ledger.PaymentCreated{}, fault.ErrInvalid.Field("provider", "is not one of the providers of this desk")
	}
	return ledger.Submit(ctx, d.Ledger, ledger.CreatePayment{Number: no, Provider: provider, PaymentID: d.newID("pay_")})
}

// Notice carries a provider's verified word into the ledger. It returns after the commit: only then may the provider be told.
func (d *Desk) Notice(ctx context.Context, n payment.Notice) (ledger.PayOutcome, error) {
	if !n.Succeeded {
		_, err := ledger.Submit(ctx, d.Ledger, ledger.FailPayment{Notice: n, PaymentID: d.newID("pay_")})
		return "failed", err
	}
	return ledger.Submit(ctx, d.Ledger, ledger.Pay{Notice: n, PaymentID: d.newID("pay_")})
}

// PayURL is where the buyer can pay a payment, or "" when he can no longer.
func (d *Desk) PayURL(p *payment.Payment) string {
	if provider := d.provider(p.Provider); provider != nil && p.Status == payment.Pending {
		return provider.PayURL(p)
	}
	return ""
}

func (d *Desk) provider(name string) Provider {
	for _, p := range d.Providers {
		if p.Name() == name {
			return p
		}
	}
	return nil
}

// newID makes an id that sorts by time, so that indexes on it grow at their end, and that cannot be guessed.
func (d *Desk) newID(prefix string) string {
	random := d.Random
	if random == nil {
		random = rand.Reader
	}
	return prefix + ulid.MustNew(uint64(d.Clock().UnixMilli()), random).String()
}
