package ledger_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
)

//go:generate go test -count=1 -run ^TestStatesAreDocumented$ . -update

var update = flag.Bool("update", false, "write docs/states.md again")

const statesFile = "../../docs/states.md"

// step is one step of a life: who takes it, and what else happens in the same transaction.
type step struct{ from, to, by, with string }

// orderSteps has a row for every step that order.Status allows, and for the first one, from nothing.
func orderSteps() []step {
	return []step{
		{"", string(order.Pending), "`POST /v1/orders`", "its stock is held; `order.placed`"},
		{string(order.Pending), string(order.Paid), "a provider's notice of its whole total, also after `pay_by` while it is still pending", "the hold is sold; other attempts to pay are closed; `order.paid`"},
		{string(order.Pending), string(order.Cancelled), "`POST …/cancel`", "the hold is released; attempts to pay are closed; `order.cancelled`"},
		{string(order.Pending), string(order.Expired), "the expirer, at `pay_by` or as soon after it as it can, never before", "the hold is released; attempts to pay are closed; `order.expired`"},
		{string(order.Paid), string(order.Fulfilled), "`POST …/fulfil`", "`order.fulfilled`"},
		{string(order.Paid), string(order.Refunded), "nobody in this version", ""},
	}
}

// paymentSteps has a row for every step of a payment.
func paymentSteps() []step {
	return []step{
		{"", string(payment.Pending), "`POST …/payments`", ""},
		{"", string(payment.Succeeded), "a notice of money for which there is no attempt", "as when an attempt succeeds"},
		{"", string(payment.Failed), "a notice of a failure for which there is no attempt", ""},
		{string(payment.Pending), string(payment.Succeeded), "a provider's notice", "the order is paid; or `refund.due`, when it was paid or over already"},
		{string(payment.Pending), string(payment.Failed), "a provider's notice", "the order stays pending and can be paid by another attempt"},
		{string(payment.Pending), string(payment.Closed), "the end of its order: paid otherwise, cancelled or expired", ""},
		{string(payment.Failed), string(payment.Succeeded), "a provider's notice that the same transaction succeeded after all", "the order is paid; or `refund.due`, when it was paid or over already"},
	}
}

// statesMarkdown is docs/states.md.
func statesMarkdown() string {
	var b strings.Builder
	b.WriteString(`# States

<!-- Written by make generate from internal/order, internal/payment and internal/ledger. -->

## An order

An order leaves ` + "`pending`" + ` once. Pay, cancel and expire meet in the ledger, one after another; the first wins and the others are told what
the order is by then. Every step is written down with its number, its reason and its event.

`)
	diagram(&b, orderSteps(), statusesOf(order.Statuses()))
	b.WriteString("\nStock is held while an order is `pending`, and only then. Units count against their user's limit while it is `pending`, `paid` or\n`fulfilled`.\n")
	b.WriteString(`
## A payment

A payment is one attempt to pay an order. Money is never dropped: what succeeds for an order that is cancelled, expired or paid already
is recorded, and a refund falls due in the same transaction, once for each payment.

`)
	diagram(&b, paymentSteps(), []string{string(payment.Pending), string(payment.Succeeded), string(payment.Failed), string(payment.Closed)})
	return b.String()
}

func statusesOf(all []order.Status) (names []string) {
	for _, s := range all {
		names = append(names, string(s))
	}
	return names
}

// diagram draws steps for Mermaid, which shows on most sites that show Markdown, and lists them.
func diagram(b *strings.Builder, steps []step, statuses []string) {
	b.WriteString("```mermaid\nstateDiagram-v2\n")
	for _, s := range steps {
		fmt.Fprintf(b, "    %s --> %s\n", orStart(s.from), s.to)
	}
	for _, status := range statuses {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.from == status }) {
			fmt.Fprintf(b, "    %s --> [*]\n", status)
		}
	}
	b.WriteString("```\n\n| from | to | by | in the same transaction |\n|---|---|---|---|\n")
	for _, s := range steps {
		from := "nothing"
		if s.from != "" {
			from = "`" + s.from + "`"
		}
		fmt.Fprintf(b, "| %s | `%s` | %s | %s |\n", from, s.to, s.by, s.with)
	}
}

func orStart(status string) string {
	if status == "" {
		return "[*]"
	}
	return status
}

func TestStatesAreDocumented(t *testing.T) {
	if *update {
		if err := os.WriteFile(statesFile, []byte(statesMarkdown()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(statesFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != statesMarkdown() {
		t.Errorf("%s is stale: run make generate", statesFile)
	}
}

// What is drawn is what the code allows, step for step.
func TestDrawnStepsAreTheLegalOnes(t *testing.T) {
	drawn := map[[2]string]bool{}
	for _, s := range orderSteps() {
		drawn[[2]string{s.from, s.to}] = true
	}
	for _, from := range order.Statuses() {
		for _, to := range order.Statuses() {
			if legal := from.CanBecome(to); legal != drawn[[2]string{string(from), string(to)}] {
				t.Errorf("an order from %s to %s: legal is %t, drawn is %t", from, to, legal, !legal)
			}
		}
	}
	if len(drawn) < len(order.Statuses()) {
		t.Errorf("drawn are %d steps of an order", len(drawn))
	}
}
