package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// call is one request, and what may be done about it.
type call struct {
	operation string // as the OpenAPI document names it
	method    string
	path      string // escaped
	query     url.Values
	sent      any    // as JSON; nil: no body
	answer    any    // filled from JSON
	key       string // Idempotency-Key
	repeats   bool   // making it twice does no more than making it once
	within    time.Duration
}

// reply is what a call was answered with, besides its body.
type reply struct {
	status int
	header http.Header
}

// do makes a call, again where that is safe and may help.
func (c *Client) do(ctx context.Context, k *call) (reply, error) {
	var body []byte
	if k.sent != nil {
		var err error
		if body, err = json.Marshal(k.sent); err != nil {
			return reply{}, fmt.Errorf("%s: %w", k.operation, err)
		}
	}
	for attempt := 0; ; attempt++ {
		r, err := c.attempt(ctx, k, body)
		if err == nil || attempt == c.opt.Retries || ctx.Err() != nil || !worthAgain(k, err) {
			return r, err
		}
		if wait := c.wait(attempt, err); !pause(ctx, wait) {
			if ctx.Err() != nil {
				return reply{}, fmt.Errorf("%w, waiting to ask again after: %w", ctx.Err(), err)
			}
			return reply{}, err
		}
	}
}

// worthAgain is whether a call may be made again after an error: it must be safe, and it must be able to end otherwise.
func worthAgain(k *call, err error) bool {
	var none *NoAnswer
	if errors.As(err, &none) {
		return k.repeats || !none.Sent
	}
	var e *Error
	if !errors.As(err, &e) || !k.repeats || e.RetryAfter > retryAfterMax {
		return false
	}
	return transient(e.Status) || e.Code == api.CodeIdempotencyProgress
}

// transient are the answers that a later request may not get: 502 and 504 are a proxy's.
func transient(status int) bool {
	return slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, status)
}

// wait is how long to wait after a failed attempt: not less than the desk asks for, and never the same for many clients.
func (c *Client) wait(attempt int, err error) time.Duration {
	longest := min(c.opt.Wait<<min(attempt, doublingsMax), c.opt.WaitMax)
	wait := longest/2 + rand.N(longest/2+1) //nolint:gosec // jitter
	var e *Error
	if errors.As(err, &e) && e.RetryAfter > 0 {
		wait += min(e.RetryAfter, retryAfterMax)
	}
	return wait
}

// pause waits, unless the context ends or would end meanwhile.
func pause(ctx context.Context, wait time.Duration) bool {
	if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) <= wait {
		return false
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// attempt makes a call once.
func (c *Client) attempt(ctx context.Context, k *call, body []byte) (reply, error) {
	within := c.opt.Timeout
	if k.within > 0 {
		within = max(within, k.within)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, within, fmt.Errorf("%w after %v", context.DeadlineExceeded, within))
	defer cancel()
	var way hooks
	r, err := c.request(way.follow(ctx), k, body)
	if err != nil {
		return reply{}, err
	}
	none := func(err error) error {
		return &NoAnswer{Operation: k.operation, Sent: way.perhapsSent(), IdempotencyKey: k.key, Err: reason(ctx, err)}
	}
	asked := time.Now()
	resp, err := c.http.Do(r)
	if err != nil {
		return reply{}, none(err)
	}
	defer resp.Body.Close()
	c.desk.observe(resp.Header.Get("Date"), asked, time.Now())
	text, err := io.ReadAll(io.LimitReader(resp.Body, answerBytesMax+1))
	switch {
	case err != nil:
		return reply{}, none(err)
	case len(text) > answerBytesMax:
		return reply{}, fmt.Errorf("%s: %w", k.operation, ErrTooLarge)
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		refusal := problem(k.operation, resp, text)
		refusal.IdempotencyKey = k.key
		return reply{}, refusal
	case json.Unmarshal(text, k.answer) != nil:
		return reply{}, fmt.Errorf("%s: %w", k.operation, ErrForeign)
	}
	return reply{resp.StatusCode, resp.Header}, nil
}

// hooks is what a transport shows of the way of a request.
type hooks struct{ asked, connected atomic.Bool }

func (h *hooks) follow(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { h.asked.Store(true) },
		GotConn: func(httptrace.GotConnInfo) { h.connected.Store(true) },
	})
}

// perhapsSent is whether the request may have been sent. It was certainly not only where the transport looked for a connection and
// got none: one that shows nothing may have done anything.
func (h *hooks) perhapsSent() bool { return !h.asked.Load() || h.connected.Load() }

func (c *Client) request(ctx context.Context, k *call, body []byte) (*http.Request, error) {
	target := c.base + k.path
	if len(k.query) > 0 {
		target += "?" + k.query.Encode()
	}
	var content io.Reader
	if body != nil {
		content = bytes.NewReader(body)
	}
	r, err := http.NewRequestWithContext(ctx, k.method, target, content)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", k.operation, withoutURL(err))
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", c.opt.UserAgent)
	if *c.key != "" {
		r.Header.Set("Authorization", "Bearer "+*c.key)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if k.key != "" {
		r.Header.Set("Idempotency-Key", k.key)
	}
	return r, nil
}

// reason is why no answer came: our own time limit says so in its words.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return withoutURL(err)
}

// withoutURL leaves out the address: a path can name a user.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// path joins the parts of a path, each escaped.
func path(parts ...string) string {
	joined := "/v1"
	for _, p := range parts {
		joined += "/" + escaped(p)
	}
	return joined
}

// escaped keeps a part in one piece: dots alone would be taken for folders.
func escaped(part string) string {
	switch part {
	case ".":
		return "%2E"
	case "..":
		return "%2E%2E"
	}
	return url.PathEscape(part)
}

// get makes a call that reads one thing.
func get[T any](ctx context.Context, c *Client, operation, path string, query url.Values) (T, error) {
	var answer T
	_, err := c.do(ctx, &call{operation: operation, method: http.MethodGet, path: path, query: query, answer: &answer, repeats: true})
	return answer, err
}
