package httpapi

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

func TestKeyIsShownOnceAndWorksUntilItIsRevoked(t *testing.T) {
	d := newDesk(t)
	a := d.send("POST", "/v1/keys", `{"name":"till","scopes":["catalogue:read"],"expires_at":"2026-11-21T10:00:00+02:00"}`, apikey.Admin)
	d.wantsStatus(a, 201)
	k := read[api.CreatedKey](d, a)
	if !strings.HasPrefix(k.Key, "hf_live_"+k.KeyID+"_") || apikey.Mistyped(k.Key) || !k.CreatedAt.Equal(d.clock.Now()) ||
		!k.ExpiresAt.Equal(time.Date(2026, 11, 21, 8, 0, 0, 0, time.UTC)) {
		t.Errorf("made %s", a.body)
	}
	if got := d.status(k.Key); got != 200 {
		t.Errorf("got %d with the new key", got)
	}
	list := d.get("/v1/keys?limit=200", apikey.Admin)
	if strings.Contains(string(list.body), k.Key) || !strings.Contains(string(list.body), k.KeyID) {
		t.Errorf("listed as %s", list.body)
	}
	if strings.Contains(d.log.String(), k.Key) {
		t.Error("the key is in the log")
	}
	first := d.send("DELETE", "/v1/keys/"+k.KeyID, "", apikey.Admin)
	if got := read[api.Key](d, first); got.RevokedAt == nil || !got.RevokedAt.Equal(d.clock.Now()) {
		t.Errorf("revoked as %s", first.body)
	}
	if got := d.status(k.Key); got != 401 {
		t.Errorf("got %d with the revoked key", got)
	}
	d.clock.advance(time.Minute)
	d.must(d.server.Close(t.Context())) // so that its use is noted
	again := read[api.Key](d, d.send("DELETE", "/v1/keys/"+k.KeyID, "", apikey.Admin))
	if again.RevokedAt.Equal(d.clock.Now()) {
		t.Error("revoked again at another time")
	}
	d.wants(d.send("DELETE", "/v1/keys/nobody", "", apikey.Admin), 404, api.CodeNotFound)
}

func TestThereIsARoomForKeysAndItIsToldWhenItIsFull(t *testing.T) {
	d := newDesk(t)
	d.record.broken = fault.ErrTooManyKeys.With("max_keys", limits.APIKeys) // what the record says then
	a := d.send("POST", "/v1/keys", `{"name":"till","scopes":["catalogue:read"]}`, apikey.Admin)
	d.wants(a, 409, api.CodeTooManyKeys)
	if got := string(d.problem(a).Members["max_keys"]); got != "1000" {
		t.Errorf("max_keys is %s: %s", got, a.body)
	}
}

func TestKeysOfNonsenseAreNotMade(t *testing.T) {
	d := newDesk(t)
	for body, field := range map[string]string{
		`{"scopes":["admin"]}`:                                                "name",
		`{"name":"","scopes":["admin"]}`:                                      "name",
		`{"name":"x"}`:                                                        "scopes",
		`{"name":"x","scopes":[]}`:                                            "scopes",
		`{"name":"x","scopes":["root"]}`:                                      "scopes[0]",
		`{"name":"x","scopes":["admin","admin"]}`:                             "scopes[1]",
		`{"name":"x","scopes":["orders:read",1]}`:                             "scopes[1]",
		`{"name":"x","scopes":["admin"],"expires_at":"2026-11-20T10:00:00Z"}`: "expires_at",
		`{"name":"x","scopes":["admin"],"key":"mine"}`:                        "key",
	} {
		a := d.send("POST", "/v1/keys", body, apikey.Admin)
		d.wants(a, 422, api.CodeInvalidRequest)
		if p := d.problem(a); len(p.Errors) != 1 || p.Errors[0].Field != field {
			t.Errorf("%s: got %s, want %s named", body, a.body, field)
		}
	}
}

func TestKeyThatCannotBeWrittenChangesNothing(t *testing.T) {
	d := newDesk(t)
	d.record.broken = errors.New("the disk is full")
	d.wants(d.send("POST", "/v1/keys", `{"name":"x","scopes":["admin"]}`, apikey.Admin), 503, api.CodeUnavailable)
	if !strings.Contains(d.log.String(), "the disk is full") {
		t.Error("the reason is not in the log")
	}
}

func TestKeysAreListedPageByPage(t *testing.T) {
	d := newDesk(t)
	seen := map[string]bool{}
	cursor := ""
	for range 10 {
		p := read[api.Page[api.Key]](d, d.get("/v1/keys?limit=3"+cursor, apikey.Admin))
		for _, k := range p.Data {
			seen[k.KeyID] = true
		}
		if p.NextCursor == nil {
			break
		}
		cursor = "&cursor=" + *p.NextCursor
	}
	if len(seen) != len(apikey.Scopes()) {
		t.Errorf("%d keys are listed, want %d", len(seen), len(apikey.Scopes()))
	}
}

func TestOneAuditRunsAtATime(t *testing.T) {
	d := newDesk(t)
	running, proceed := make(chan struct{}), make(chan struct{})
	d.record.audit = func(context.Context) (audit.Report, error) {
		close(running)
		<-proceed
		return audit.Report{CheckedAt: d.clock.Now(), Checks: []audit.Check{
			{ID: "V1", Name: "stock adds up", Violations: 2, Samples: []string{"sku-1", `s"2`}}, {ID: "V2", Name: "holds"},
		}}, nil
	}
	first := make(chan answer)
	go func() { first <- d.get("/v1/audit", apikey.Admin) }()
	<-running
	second := d.get("/v1/audit", apikey.Admin)
	d.wants(second, 409, api.CodeAuditRunning)
	if second.header.Get("Retry-After") != "5" {
		t.Errorf("Retry-After is %q, want 5", second.header.Get("Retry-After"))
	}
	close(proceed)
	report := read[api.Audit](d, <-first)
	if report.Clean || len(report.Checks) != 2 || report.Checks[0].Samples[1] != `s"2` || report.Checks[1].Samples == nil {
		t.Errorf("reported %+v", report)
	}
	d.record.audit = nil
	if got := read[api.Audit](d, d.get("/v1/audit", apikey.Admin)); !got.Clean {
		t.Errorf("reported %+v", got)
	}
}

func TestHealthNeedsNoKeyAndReadinessSaysNo(t *testing.T) {
	ready := errors.New("still opening")
	d := newDesk(t, func(o *Options, _ *ledger.Options) {
		o.Ready = func(context.Context) error { return ready }
	})
	if got := read[api.Health](d, d.get("/healthz?from=a-prober", "")); got.Status != "ok" || got.Version != "test" || got.Degraded != nil {
		t.Errorf("got %+v", got)
	}
	a := d.get("/readyz", "")
	d.wants(a, 503, api.CodeUnavailable)
	if a.header.Get("Retry-After") == "" || strings.Contains(string(a.body), "opening") {
		t.Errorf("not ready: %v %s", a.header, a.body)
	}
	ready = nil
	if got := read[api.Health](d, d.get("/readyz", "")); got.Status != "ready" {
		t.Errorf("got %+v", got)
	}
	d.wants(d.get("/metrics", ""), 404, api.CodeNotFound)
}
