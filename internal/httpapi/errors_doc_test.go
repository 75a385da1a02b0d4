package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/fault"
)

const errorsFile = "../../docs/errors.md"

// advice is what the code itself does not say of a fault.
type advice struct {
	do    string   // what whoever gets it should do
	extra []string // members beside those that every problem has
	yet   bool     // no rule answers it yet
}

// advised has a row for every code, by which it is documented.
func advised() map[string]advice {
	return map[string]advice{
		"internal": {do: "Try again later with the same Idempotency-Key: whether the request was carried out is not known. Report the `request_id`; the log has the cause."},

		"malformed_request": {do: "Correct the program: the body is not one JSON object, a name stands twice in it, something trails it, it is nested too " +
			"deeply, or POST /v1/orders came without one Idempotency-Key. `errors` names the place where there is one."},
		"unauthenticated": {do: "Send `Authorization: Bearer <key>` once, with a key that is neither revoked nor past its `expires_at`."},
		"bad_signature": {do: "Nothing was changed. Sign the raw bytes as they are sent, with the desk's secret and a clock that is right: a notice older than " +
			"300 s is refused."},
		"forbidden":          {do: "Use a key with the scope that `detail` names; an admin can make one with POST /v1/keys."},
		"not_found":          {do: "Check the path and the id. What belongs to somebody else is not found either."},
		"method_not_allowed": {do: "Use one of the methods in the header `Allow`."},
		"body_too_large":     {do: "Send 64 kB at most. The connection is closed, because the rest of the body is not read."},
		"unsupported_media_type": {do: "Send `Content-Type: application/json`, in UTF-8 and not compressed. `curl -d` alone names it a form: add " +
			"`-H 'Content-Type: application/json'`."},

		"invalid_request": {do: "Correct the values that `errors` names: each with its place in the body, its query parameter or its header, and what is " +
			"wrong with it. All that were found are named at once."},
		"idempotency_key_reused": {do: "Use a new key for a new wish. The order that the key stands for is unchanged."},

		"out_of_stock": {do: "Offer what is `available`, or nothing. Units come back when other orders expire or are cancelled, so asking again later can " +
			"succeed, with the same key.", extra: []string{"product_id", "available"}},
		"not_on_sale":             {do: "Look at the product's `active`, `on_sale_from` and `on_sale_until`.", extra: []string{"product_id"}},
		"purchase_limit":          {do: "Order less. Cancelled and expired orders give the units back to their user.", extra: []string{"product_id", "max_per_user"}},
		"order_not_payable":       {do: "Look at the order's `status`: it is paid already, or over. A pending order is not payable from `pay_by` on.", extra: []string{"status"}},
		"order_not_cancellable":   {do: "Look at the order's `status`: only a pending order can be cancelled. Asked again after a lost answer, this is the answer.", extra: []string{"status"}},
		"order_not_fulfillable":   {do: "Look at the order's `status`: only a paid order can be fulfilled, once.", extra: []string{"status"}},
		"idempotency_in_progress": {do: "Wait, and send the same request with the same key again.", yet: true},
		"insufficient_stock":      {do: "Write off no more than is `available`: what is held or sold cannot be taken.", extra: []string{"product_id", "available"}},
		"payment_mismatch":        {do: "Nothing was changed. The amount or the currency is not the order's total, or the transaction was told of another order."},
		"audit_running":           {do: "Wait, and ask again."},
		"too_many_payments":       {do: "Look at what becomes of an order that is tried so often. It can still be paid by an attempt that is open, or cancelled."},
		"too_many_keys":           {do: "Revoke keys that nobody uses: GET /v1/keys says when each was used last."},

		"events_pruned": {do: "Begin again without a cursor, or at `earliest_position`: older events are not kept any more. Orders are, so read what you " +
			"missed from GET /v1/orders.", extra: []string{"earliest_position"}},

		"rate_limited": {do: "Wait as long as `Retry-After` says. `RateLimit` tells with every answer how much is left, and of which limit. With `order_no`, the same lines were ordered a moment ago, under another key: that order.", extra: []string{"order_no"}},
		"too_many_unpaid_orders": {do: "Pay or cancel an order that waits to be paid: the user has `max_unpaid` of them. Without `max_unpaid`, he has left too many " +
			"to expire, and `Retry-After` says when he may order again.", extra: []string{"max_unpaid"}},
		"overloaded": {do: "Nothing was changed. Wait as long as `Retry-After` says, which is a little different for everybody, and send the same " +
			"request with the same key."},
		"unavailable": {do: "Wait as long as `Retry-After` says, and send the same request with the same key: should it have been carried out after all, the key " +
			"gives its answer. /readyz says when the desk is back."},
	}
}

// everyFault lists what a client can meet, by status and code.
func everyFault() []*fault.Error {
	all := []*fault.Error{fault.ErrMethodNotAllowed} // of no route
	for _, r := range routes() {
		all = append(all, r.allFaults()...)
	}
	slices.SortStableFunc(all, func(a, b *fault.Error) int {
		if d := StatusOf(a.Kind) - StatusOf(b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return slices.CompactFunc(all, func(a, b *fault.Error) bool { return a.Code == b.Code })
}

// errorsMarkdown is docs/errors.md.
func errorsMarkdown(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Errors

<!-- Written by make generate from internal/fault and internal/httpapi. -->

Every answer that is not a success is a problem as [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) has it, in ` + "`application/problem+json`" + `:

` + "```json\n" + goldenBody(t, "problem_out_of_stock") + "```" + `

Act on ` + "`code`" + `: codes never change. ` + "`detail`" + ` is a sentence for people and may change. ` + "`request_id`" + ` names the request in the desk's log; it is
also in the header ` + "`X-Request-Id`" + `. A client or a proxy may bring its own if it is a UUID; anything else is not taken over. Where a code is about an order's status, ` + "`status`" + ` is that status, a
string, and takes the place of the HTTP status.

Trying again is safe where it says so, and for ` + "`POST /v1/orders`" + ` always with the same ` + "`Idempotency-Key`" + `: it can only ever make one order.

| status | code | meaning |
|---|---|---|
`)
	advice := advised()
	for _, f := range everyFault() {
		fmt.Fprintf(&b, "| %d | [`%s`](#%s) | %s |\n", StatusOf(f.Kind), f.Code, f.Code, inMarkdown(f.Detail))
	}
	for _, f := range everyFault() {
		a := advice[f.Code]
		fmt.Fprintf(&b, "\n## `%s`\n\n%d %s. %s\n\n", f.Code, StatusOf(f.Kind), http.StatusText(StatusOf(f.Kind)), inMarkdown(f.Detail))
		if a.yet {
			b.WriteString("No rule of this version answers it; clients should know it nevertheless.\n\n")
		}
		fmt.Fprintf(&b, "**What to do:** %s\n\n", a.do)
		if len(a.extra) > 0 {
			fmt.Fprintf(&b, "**Carries:** `%s`.\n\n", strings.Join(a.extra, "`, `"))
		}
		switch {
		case f.Kind == fault.Unavailable:
			fmt.Fprintf(&b, "**Retry-After:** 1 to %d s.\n\n", retrySecondsMax)
		case f.RetryAfter > 0:
			fmt.Fprintf(&b, "**Retry-After:** %.0f s.\n\n", f.RetryAfter.Seconds())
		}
		fmt.Fprintf(&b, "**Answered by:** %s.\n", answeredBy(f))
	}
	return b.String()
}

// answeredBy names the routes that can answer with a fault, or says that most do.
func answeredBy(f *fault.Error) string {
	var these, others []string
	for _, r := range routes() {
		name := "`" + r.method + " " + r.pattern + "`"
		if slices.ContainsFunc(r.allFaults(), func(g *fault.Error) bool { return g.Code == f.Code }) {
			these = append(these, name)
		} else {
			others = append(others, name)
		}
	}
	switch {
	case len(these) == 0:
		return "a path that is known, with a method that is not"
	case len(others) == 0:
		return "all routes"
	case len(others) < len(these):
		return "all routes but " + strings.Join(others, ", ")
	default:
		return strings.Join(these, ", ")
	}
}

func goldenBody(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".http"))
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(text), "\n\n")
	return body
}

func TestErrorsAreDocumented(t *testing.T) {
	want := errorsMarkdown(t)
	if *update {
		if err := os.WriteFile(errorsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(errorsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run make generate", errorsFile)
	}
}

// Every code that is declared is documented, and no other.
func TestEveryCodeHasItsAdvice(t *testing.T) {
	text, err := os.ReadFile("../fault/codes.go")
	if err != nil {
		t.Fatal(err)
	}
	rows := advised()
	var declared []string
	for _, code := range regexp.MustCompile(`Code: "([a-z_]+)"`).FindAllStringSubmatch(string(text), -1) {
		declared = append(declared, code[1])
		if rows[code[1]].do == "" {
			t.Errorf("%s: say in errors_doc_test.go what to do about it", code[1])
		}
		if !slices.ContainsFunc(everyFault(), func(f *fault.Error) bool { return f.Code == code[1] }) {
			t.Errorf("%s is declared, and no route names it", code[1])
		}
	}
	for code := range rows {
		if !slices.Contains(declared, code) {
			t.Errorf("%s is documented, and not declared", code)
		}
	}
	if len(declared) < 20 {
		t.Errorf("found %d codes: the test did not see them", len(declared))
	}
}

// The members that are documented are those that are on the wire.
func TestMembersOfProblemsAreTheDocumented(t *testing.T) {
	always := []string{"type", "title", "status", "code", "detail", "request_id", "errors"}
	files, err := filepath.Glob("testdata/problem_*.http")
	if err != nil || len(files) == 0 {
		t.Fatalf("no problems in testdata: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".http")
		var members map[string]any
		if err := json.Unmarshal([]byte(goldenBody(t, name)), &members); err != nil {
			t.Fatal(err)
		}
		code, _ := members["code"].(string)
		want := advised()[code].extra
		var got []string
		for member, value := range members {
			if _, word := value.(string); !slices.Contains(always, member) || member == "status" && word {
				got = append(got, member)
			}
		}
		slices.Sort(got)
		if want := slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
			t.Errorf("%s: %s carries %v, documented are %v", name, code, got, want)
		}
	}
}

// inMarkdown keeps a sentence from being taken for HTML.
func inMarkdown(sentence string) string { return strings.ReplaceAll(sentence, "<", "&lt;") }
