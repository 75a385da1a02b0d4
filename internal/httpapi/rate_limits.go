package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// Limiter keeps quotas, each by a key of its own. One call takes one from each of them, or from none where one of them is used up, and
// answers at once: a limiter that cannot ask whom it shares its quotas with decides by what it knows itself.
type Limiter interface {
	Take(ctx context.Context, asks []ratelimit.Ask) []ratelimit.Decision
}

// LimitsFit says which rule limits nothing that there is, or nil.
func LimitsFit(rules []ratelimit.Rule) error {
	for i := range rules {
		r := &rules[i]
		if r.Pattern == "" {
			continue
		}
		all := routes()
		at := slices.IndexFunc(all, func(rt route) bool { return rt.method == r.Method && rt.pattern == r.Pattern })
		switch {
		case at < 0:
			return fmt.Errorf("limits: there is no route %s; they are spelled as in /openapi.json: GET /v1/orders/{order_no}", r.Route())
		case all[at].scope == "":
			return fmt.Errorf("limits: %s is open to anyone, and is not limited", r.Route())
		}
	}
	return nil
}

// limited is what limits the requests of one route.
type limited struct {
	rules  []ratelimit.Rule
	names  []string // of the rules, quoted as the header has them
	policy []string // the header that tells of all of them
}

// counted is what a request counts for and nobody has been asked yet: which rules, and by whom.
type counted struct {
	rules []int
	asks  []ratelimit.Ask
}

// limitRoutes gives each route its rules. Only those that ask who is there have any: not the process's own, nor the notices of
// providers, whom nobody may keep from telling that money came.
func limitRoutes(all []route, rules []ratelimit.Rule) {
	for i := range all {
		rt := &all[i]
		var l limited
		policy := ""
		for _, r := range rules {
			if rt.scope == "" || r.Pattern != "" && (r.Method != rt.method || r.Pattern != rt.pattern) {
				continue
			}
			name := strconv.Quote(r.Name())
			l.rules, l.names = append(l.rules, r), append(l.names, name)
			if policy != "" {
				policy += ", "
			}
			policy += fmt.Sprintf("%s;q=%d;w=%d", name, r.Burst, ratelimit.Seconds(r.Window()))
		}
		if l.rules != nil {
			l.policy = []string{policy}
			rt.limited = &l
		}
	}
}

// limitedBy reports whether the route has a rule that counts by a subject.
func (r *route) limitedBy(by ratelimit.Subject) bool {
	return r.limited != nil && slices.ContainsFunc(r.limited.rules, func(rule ratelimit.Rule) bool { return rule.By == by })
}

// counts notes that the request counts for somebody, by every rule that counts by what he is.
func (x *exchange) counts(by ratelimit.Subject, who string) {
	l := x.route.limited
	if l == nil {
		return
	}
	for i := range l.rules {
		if r := &l.rules[i]; r.By == by {
			x.counted.rules = append(x.counted.rules, i)
			x.counted.asks = append(x.counted.asks, ratelimit.Ask{Key: r.Name() + "\x00" + who, Quota: r.Quota})
		}
	}
}

// settle takes the request from the quotas of all whom it counts for, in one call, or refuses it and takes it from none. How they
// stand is told in the fields of draft-ietf-httpapi-ratelimit-headers-11: q and w of a policy are how many may come at once and the
// seconds in which so many grow back.
func (x *exchange) settle() error {
	if l := x.route.limited; l != nil {
		x.Header()["Ratelimit-Policy"] = l.policy
	}
	c := &x.counted
	if len(c.asks) == 0 {
		return nil
	}
	var refusal error
	for i, d := range x.s.opt.Limiter.Take(x.ctx, c.asks) {
		r := &x.route.limited.rules[c.rules[i]]
		tellQuota(x.Header(), x.route.limited.names[c.rules[i]], d)
		if !d.Allowed && (refusal == nil || d.RetryAfter > fault.Of(refusal).RetryAfter) { // all of them have to let him in
			x.limitedBy = r.By
			refusal = fault.ErrRateLimited.Detailf("Too many requests: the limit is %s.", r).After(d.RetryAfter)
		}
	}
	c.rules, c.asks = c.rules[:0], c.asks[:0]
	return refusal
}

// tellQuota adds a quota to the header RateLimit.
func tellQuota(h http.Header, name string, d ratelimit.Decision) {
	told := name + ";r=" + strconv.Itoa(d.Remaining) + ";t=" + strconv.FormatInt(ratelimit.Seconds(d.Reset), 10)
	if before := h["Ratelimit"]; len(before) == 1 {
		told = before[0] + ", " + told
	}
	h["Ratelimit"] = []string{told}
}
