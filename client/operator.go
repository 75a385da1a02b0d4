package client

import (
	"context"
	"iter"
	"net/http"
	"net/url"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// RunAudit checks the invariants on live data. It may take minutes; one runs at a time (api.CodeAuditRunning).
func (c *Client) RunAudit(ctx context.Context) (api.Audit, error) {
	var a api.Audit
	_, err := c.do(ctx, &call{
		operation: "runAudit", method: http.MethodGet, path: path("audit"), answer: &a, repeats: true, within: auditTimeout,
	})
	return a, err
}

// ListNumbers gives the days on which order numbers were granted, newest first. An error is the last thing it gives. Each day's
// orders are counted, so they are asked for a few at a time.
func (c *Client) ListNumbers(ctx context.Context) iter.Seq2[api.NumberDay, error] {
	return list[api.NumberDay](ctx, c, "listNumbers", path("numbers"), url.Values{"limit": {"7"}})
}

// FillNumbers makes today's and tomorrow's order numbers ready.
func (c *Client) FillNumbers(ctx context.Context) (api.NumbersFilled, error) {
	var f api.NumbersFilled
	_, err := c.do(ctx, &call{operation: "fillNumbers", method: http.MethodPost, path: path("numbers", "fill"), answer: &f, repeats: true})
	return f, err
}

// PurgeNumbers removes the order numbers that are left of the days before today.
func (c *Client) PurgeNumbers(ctx context.Context) (api.NumbersPurged, error) {
	var p api.NumbersPurged
	_, err := c.do(ctx, &call{operation: "purgeNumbers", method: http.MethodPost, path: path("numbers", "purge"), answer: &p, repeats: true})
	return p, err
}

// WarmCache has the desk load the products into Redis before anybody asks for them.
func (c *Client) WarmCache(ctx context.Context) (api.CacheWarmed, error) {
	var w api.CacheWarmed
	_, err := c.do(ctx, &call{operation: "warmCache", method: http.MethodPost, path: path("cache", "warm"), answer: &w, repeats: true})
	return w, err
}

// CreateKey makes an API key. The key itself is in the answer, and is never shown again; when no answer comes, ListKeys tells
// whether one was made.
func (c *Client) CreateKey(ctx context.Context, want api.CreateKey) (api.CreatedKey, error) {
	var k api.CreatedKey
	_, err := c.do(ctx, &call{operation: "createKey", method: http.MethodPost, path: path("keys"), sent: want, answer: &k})
	return k, err
}

// ListKeys gives the API keys by their ids. An error is the last thing it gives.
func (c *Client) ListKeys(ctx context.Context) iter.Seq2[api.Key, error] {
	return list[api.Key](ctx, c, "listKeys", path("keys"), nil)
}

// RevokeKey ends an API key for good. Revoking it again changes nothing.
func (c *Client) RevokeKey(ctx context.Context, keyID string) (api.Key, error) {
	var k api.Key
	_, err := c.do(ctx, &call{operation: "revokeKey", method: http.MethodDelete, path: path("keys", keyID), answer: &k, repeats: true})
	return k, err
}

// StreamTicket opens one stream once, within a minute, for who cannot send a key: a browser's EventSource.
type StreamTicket struct {
	Ticket    string    `json:"ticket"` // for ?ticket=
	Stream    string    `json:"stream"`
	ExpiresAt time.Time `json:"expires_at"`
}

// CreateStreamTicket makes a ticket for a stream, named by its path: "/v1/orders/202611200000042/stream".
func (c *Client) CreateStreamTicket(ctx context.Context, stream string) (StreamTicket, error) {
	var t StreamTicket
	sent := map[string]string{"stream": stream}
	_, err := c.do(ctx, &call{operation: "createStreamTicket", method: http.MethodPost, path: path("stream-tickets"), sent: sent, answer: &t})
	return t, err
}

// GetHealth says that the process answers. It needs no key.
func (c *Client) GetHealth(ctx context.Context) (api.Health, error) {
	return get[api.Health](ctx, c, "getHealth", "/healthz", nil)
}

// GetReady says whether the desk takes requests now; while it does not, that is an Error with status 503. It needs no key.
func (c *Client) GetReady(ctx context.Context) (api.Health, error) {
	var h api.Health
	_, err := c.do(ctx, &call{operation: "getReady", method: http.MethodGet, path: "/readyz", answer: &h})
	return h, err
}
