package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	callTimeout   = 30 * time.Second
	callBytesMax  = 8 << 20
	callsAtOnce   = 16
	auditTimeout  = 10 * time.Minute
	readyPause    = 20 * time.Millisecond
	pageOfEvents  = 200
	problemToShow = 400
)

// shop is a server under test as its merchant sees it: what has to be set up before a load and looked at after it.
type shop struct {
	base   *url.URL
	key    string // empty: a server without keys
	secret string // of the sandbox provider; empty: not known
	client *http.Client
}

func newShop(address, key, secret string) (*shop, error) {
	base, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if base.Scheme != "http" || base.Port() == "" {
		return nil, fmt.Errorf("%q: want http://host:port, TLS would be measured with it", address)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: callsAtOnce}
	return &shop{base: base, key: key, secret: secret, client: &http.Client{Timeout: callTimeout, Transport: transport}}, nil
}

// post is a whole request as a load sends it.
func (s *shop) post(path, body string, header ...string) []byte {
	b := s.requestHead("POST", path)
	b = append(b, "Content-Type: application/json\r\n"...)
	for _, line := range header {
		b = append(append(b, line...), "\r\n"...)
	}
	return fmt.Appendf(b, "Content-Length: %d\r\n\r\n%s", len(body), body)
}

func (s *shop) get(path string) []byte {
	return append(s.requestHead("GET", path), "\r\n"...)
}

func (s *shop) requestHead(method, path string) []byte {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1\r\nHost: %s\r\n", method, path, s.base.Host)
	if s.key != "" {
		b = fmt.Appendf(b, "Authorization: Bearer %s\r\n", s.key)
	}
	return b
}

// call makes one request outside of a load and decodes the answer into out, unless out is nil.
func (s *shop) call(ctx context.Context, method, path string, in, out any) error {
	answer, err := s.raw(ctx, method, path, in)
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

func (s *shop) raw(ctx context.Context, method, path string, in any) ([]byte, error) {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, s.base.String()+path, body)
	if err != nil {
		return nil, err
	}
	if s.key != "" {
		request.Header.Set("Authorization", "Bearer "+s.key)
	}
	if in != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := s.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, callBytesMax))
	if err == nil && response.StatusCode/100 != 2 {
		err = fmt.Errorf("%s: %s", response.Status, bytes.TrimSpace(answer[:min(len(answer), problemToShow)]))
	}
	return answer, err
}

// ready waits until the server says that it is.
func (s *shop) ready(ctx context.Context, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := s.raw(ctx, "GET", "/readyz", nil)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not ready: %w", errors.Join(err, context.Cause(ctx)))
		case <-time.After(readyPause):
		}
	}
}

// offer puts a product on sale with this many units, to be paid within the window.
func (s *shop) offer(ctx context.Context, product string, units int64, payWindow time.Duration) error {
	path := "/v1/products/" + product
	err := s.call(ctx, "PUT", path, map[string]any{
		"title": "Bench " + product, "price": map[string]any{"amount": price, "currency": currency},
		"pay_window": payWindow.String(),
	}, nil)
	if err != nil {
		return err
	}
	return s.call(ctx, "POST", path+"/stock", map[string]any{"delta": units, "reason": "bench", "ref": product}, nil)
}

// stockLevel is the stock of a product as the API shows it.
type stockLevel struct {
	Received  int64 `json:"received"`
	Available int64 `json:"available"`
	Held      int64 `json:"held"`
	Sold      int64 `json:"sold"`
}

func (s *shop) stock(ctx context.Context, product string) (level stockLevel, err error) {
	err = s.call(ctx, "GET", "/v1/products/"+product+"/stock", nil, &level)
	return level, err
}

// auditReport is as much of an audit as is needed to say what is wrong.
type auditReport struct {
	Clean  bool `json:"clean"`
	Checks []struct {
		ID         string   `json:"id"`
		Name       string   `json:"name"`
		Violations int64    `json:"violations"`
		Samples    []string `json:"samples"`
	} `json:"checks"`
}

func (s *shop) audit(ctx context.Context) (report auditReport, err error) {
	patient := *s
	patient.client = &http.Client{Timeout: auditTimeout, Transport: s.client.Transport}
	err = patient.call(ctx, "GET", "/v1/audit", nil, &report)
	return report, err
}

// expiredOrder is what is read of an order.expired event.
type expiredOrder struct {
	OrderNo  uint64    `json:"order_no,string"`
	PayBy    time.Time `json:"pay_by"`
	ClosedAt time.Time `json:"closed_at"`
}

// expired reads on in the log of expired orders. At its end it gives back the cursor it was given.
func (s *shop) expired(ctx context.Context, cursor string) (orders []expiredOrder, next string, err error) {
	var page struct {
		Data []struct {
			Data expiredOrder `json:"data"`
		} `json:"data"`
		NextCursor *string `json:"next_cursor"`
	}
	query := url.Values{"types": {"order.expired"}, "limit": {fmt.Sprint(pageOfEvents)}}
	if cursor != "" {
		query.Set("cursor", cursor)
	}
	if err := s.call(ctx, "GET", "/v1/events?"+query.Encode(), nil, &page); err != nil {
		return nil, cursor, err
	}
	for _, event := range page.Data {
		orders = append(orders, event.Data)
	}
	if page.NextCursor != nil && *page.NextCursor != "" {
		cursor = *page.NextCursor
	}
	return orders, cursor, nil
}

// metric is the sum of a metric over its labels, but for those given (as name="value"); it reports false when the server has none of this name.
func (s *shop) metric(ctx context.Context, name string, but ...string) (sum float64, ok bool, err error) {
	text, err := s.raw(ctx, "GET", "/metrics", nil)
	if err != nil {
		return 0, false, fmt.Errorf("GET /metrics: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		rest, found := strings.CutPrefix(line, name)
		if !found || (rest[0] != '{' && rest[0] != ' ') || slices.ContainsFunc(but, func(label string) bool { return strings.Contains(rest, label) }) {
			continue
		}
		fields := strings.Fields(rest)
		if value, err := strconv.ParseFloat(fields[len(fields)-1], 64); err == nil {
			sum, ok = sum+value, true
		}
	}
	return sum, ok, nil
}
