package httpapi

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
)

// hasty is the desk behind a server that cuts off whoever takes longer than a moment.
func hasty(d *desk) *httptest.Server {
	front := httptest.NewUnstartedServer(d.server)
	front.Config.ReadTimeout, front.Config.WriteTimeout = moment, moment
	front.Start()
	d.t.Cleanup(front.Close)
	return front
}

const moment = 100 * time.Millisecond

// An audit reads everything there is: it may take longer than other answers, and is not given up because the time to read its
// request or to write an ordinary answer is over.
func TestLongAuditOutlivesTheLimitsOfAConnection(t *testing.T) {
	d := newDesk(t)
	d.record.audit = func(ctx context.Context) (audit.Report, error) {
		select {
		case <-ctx.Done():
			return audit.Report{}, ctx.Err()
		case <-time.After(5 * moment):
			return audit.Report{Clean: true, CheckedAt: time.Unix(0, 0)}, nil
		}
	}
	if a := ask(d, hasty(d), http.MethodGet, "/v1/audit"); a.status != 200 || !strings.Contains(string(a.body), `"clean":true`) {
		t.Errorf("got %d %s, want the audit", a.status, a.body)
	}
}

// Whoever asked for an audit and left does not keep the next from one.
func TestAuditOfAClientThatLeftEnds(t *testing.T) {
	d := newDesk(t)
	began, ended := make(chan struct{}), make(chan struct{})
	d.record.audit = func(ctx context.Context) (audit.Report, error) {
		close(began)
		<-ctx.Done()
		close(ended)
		return audit.Report{}, ctx.Err()
	}
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		<-began
		leave()
	}()
	a := d.do(d.request("GET", "/v1/audit", "", apikey.Admin).WithContext(ctx))
	d.wants(a, 503, api.CodeUnavailable)
	<-ended
	d.record.audit = nil
	d.wantsStatus(d.get("/v1/audit", apikey.Admin), 200)
}

// TestHeadAnswersAsGetWithoutTheBody goes through every GET of the table, over a connection.
func TestHeadAnswersAsGetWithoutTheBody(t *testing.T) {
	d, samples := newShop(t)
	front := httptest.NewServer(d.server)
	defer front.Close()
	for _, r := range routes() {
		if r.method != http.MethodGet {
			continue
		}
		targets := []string{samples[r.id].target}
		if strings.Contains(r.pattern, "{") {
			targets = append(targets, pathParam.ReplaceAllString(r.pattern, "nobody"))
		}
		for _, target := range targets {
			get, head := ask(d, front, http.MethodGet, target), ask(d, front, http.MethodHead, target)
			if len(head.body) > 0 {
				t.Errorf("HEAD %s has a body: %q", target, head.body)
			}
			for _, header := range []string{"Content-Type", "Content-Length", "Cache-Control"} {
				if got, want := head.header.Get(header), get.header.Get(header); got != want {
					t.Errorf("HEAD %s: %s is %q, and %q for GET", target, header, got, want)
				}
			}
			if head.status != get.status {
				t.Errorf("%s: GET %d, HEAD %d", target, get.status, head.status)
			}
		}
	}
}

// ask makes one request over a connection. Of a stream it reads nothing.
func ask(d *desk, front *httptest.Server, method, target string) answer {
	d.t.Helper()
	ctx, leave := context.WithTimeout(d.t.Context(), 10*time.Second)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, method, front.URL+target, nil)
	d.must(err)
	r.Header.Set("X-Request-Id", "0190cf2e-7a3b-7c4d-8e5f-0123456789ab")
	r.Header.Set("Accept-Encoding", "identity") // otherwise the client unpacks, and drops the length
	response, err := front.Client().Do(withKey(r, d.keys[apikey.Admin]))
	d.must(err)
	defer response.Body.Close()
	a := answer{status: response.StatusCode, header: response.Header}
	if !strings.HasPrefix(response.Header.Get("Content-Type"), streamMedia) {
		a.body, err = io.ReadAll(response.Body)
		d.must(err)
	}
	return a
}
