package client

import (
	"context"
	"crypto/rand"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// Placed is an order that was accepted.
type Placed struct {
	api.Order
	// IdempotencyKey is the one the order was placed under. It is set when PlaceOrder fails, too.
	IdempotencyKey string
	// Replayed says that the order was placed by an earlier request with this key.
	Replayed bool
}

// NewIdempotencyKey makes a key that nobody else makes.
func NewIdempotencyKey() string { return rand.Text() }

// PlaceOrder places an order under an idempotency key: the same key with the same wish is the same order, whatever becomes of
// answers and connections, for 72 hours. So the key should be made with the wish and kept with it, as by a cart; with "" one
// is made here, kept through all attempts, and told in Placed and in every error.
func (c *Client) PlaceOrder(ctx context.Context, idempotencyKey string, wish api.PlaceOrder) (Placed, error) {
	if idempotencyKey == "" {
		idempotencyKey = NewIdempotencyKey()
	}
	p := Placed{IdempotencyKey: idempotencyKey}
	r, err := c.do(ctx, &call{
		operation: "placeOrder", method: http.MethodPost, path: path("orders"), sent: wish, answer: &p.Order, key: idempotencyKey,
		repeats: true,
	})
	p.Replayed = r.header.Get("Idempotency-Replayed") == "true"
	return p, err
}

// GetOrder gives an order with its countdown as it stands.
func (c *Client) GetOrder(ctx context.Context, orderNo string) (api.Order, error) {
	return get[api.Order](ctx, c, "getOrder", path("orders", orderNo), nil)
}

// GetOrderWithUser gives an order with its user joined in, where the shop told of him. The key needs users:read, too.
func (c *Client) GetOrderWithUser(ctx context.Context, orderNo string) (api.Order, error) {
	return get[api.Order](ctx, c, "getOrder", path("orders", orderNo), url.Values{"expand": {"user"}})
}

// OrderFilter chooses orders. The zero value of each field is any.
type OrderFilter struct {
	UserID       string
	Status       string    // api.OrderPending and its like
	CreatedAfter time.Time // exclusive
}

// ListOrders gives the orders that a filter chooses, newest first. An error is the last thing it gives.
func (c *Client) ListOrders(ctx context.Context, f OrderFilter) iter.Seq2[api.Order, error] {
	query := url.Values{}
	set(query, "user_id", f.UserID)
	set(query, "status", f.Status)
	if !f.CreatedAfter.IsZero() {
		query.Set("created_after", f.CreatedAfter.UTC().Format(time.RFC3339Nano))
	}
	return list[api.Order](ctx, c, "listOrders", path("orders"), query)
}

func set(query url.Values, name, value string) {
	if value != "" {
		query.Set(name, value)
	}
}

// CancelOrder cancels a pending order and gives its stock back. It is not made twice: when no answer comes, GetOrder tells.
func (c *Client) CancelOrder(ctx context.Context, orderNo, reason string) (api.Order, error) {
	return c.end(ctx, "cancelOrder", path("orders", orderNo, "cancel"), reason)
}

// FulfilOrder says that a paid order was handed over. It is not made twice: when no answer comes, GetOrder tells.
func (c *Client) FulfilOrder(ctx context.Context, orderNo, reason string) (api.Order, error) {
	return c.end(ctx, "fulfilOrder", path("orders", orderNo, "fulfil"), reason)
}

func (c *Client) end(ctx context.Context, operation, path, reason string) (api.Order, error) {
	var o api.Order
	_, err := c.do(ctx, &call{operation: operation, method: http.MethodPost, path: path, sent: api.Reason{Reason: reason}, answer: &o})
	return o, err
}

// CreatePayment opens an attempt to pay an order through a provider, or gives the one that is open there already.
func (c *Client) CreatePayment(ctx context.Context, orderNo, provider string) (api.Payment, error) {
	var p api.Payment
	_, err := c.do(ctx, &call{
		operation: "createPayment", method: http.MethodPost, path: path("orders", orderNo, "payments"),
		sent: api.CreatePayment{Provider: provider}, answer: &p,
	})
	return p, err
}

// ListPayments gives the payments of an order, oldest first. An error is the last thing it gives.
func (c *Client) ListPayments(ctx context.Context, orderNo string) iter.Seq2[api.Payment, error] {
	return func(yield func(api.Payment, error) bool) {
		page, err := get[api.Page[api.Payment]](ctx, c, "listPayments", path("orders", orderNo, "payments"), nil)
		if err != nil {
			yield(api.Payment{}, err)
			return
		}
		for _, p := range page.Data {
			if !yield(p, nil) {
				return
			}
		}
	}
}

// GetPayment gives a payment as it is.
func (c *Client) GetPayment(ctx context.Context, paymentID string) (api.Payment, error) {
	return get[api.Payment](ctx, c, "getPayment", path("payments", paymentID), nil)
}
