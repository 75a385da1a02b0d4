package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

const eventsFile = "../../docs/events.md"

// told is what an event's type does not say of itself.
type told struct {
	when    string
	subject string
	data    string
	yet     bool // nothing of this version tells it
}

func toldWhen() map[event.Type]told {
	const (
		anOrder    = "the order number"
		aProduct   = "the product's id"
		asOrder    = "the order as it was then"
		asRefund   = "the refund"
		asStock    = "the product's stock as it was then"
		notYetWhen = "Nothing of this version tells it; consumers should know it nevertheless."
	)
	return map[event.Type]told{
		event.OrderPlaced:     {when: "An order was accepted: it has its number, and its stock is held.", subject: anOrder, data: asOrder},
		event.OrderExpiring:   {when: "The order's time to pay is nearly over: `remind_before` before its `pay_by`. Once at most, and never for an order whose whole pay window is no longer than that.", subject: anOrder, data: asOrder},
		event.OrderPaid:       {when: "The money for a pending order arrived. `paid_late` says that `pay_by` had passed.", subject: anOrder, data: asOrder},
		event.OrderCancelled:  {when: "A pending order was cancelled. Its stock is for sale again.", subject: anOrder, data: asOrder},
		event.OrderExpired:    {when: "A pending order was not paid in time. Its stock is for sale again.", subject: anOrder, data: asOrder},
		event.OrderFulfilled:  {when: "A paid order was handed over.", subject: anOrder, data: asOrder},
		event.OrderRefunded:   {when: "The money of a paid order went back. " + notYetWhen, subject: anOrder, data: asOrder, yet: true},
		event.PaymentLate:     {when: "Money arrived for an order that was cancelled or expired. `refund.due` follows.", subject: anOrder, data: "the payment"},
		event.RefundDue:       {when: "Money has to go back: it came `late`, or the order had been paid by another transaction (`duplicate`). Told once for each payment.", subject: anOrder, data: asRefund},
		event.RefundSucceeded: {when: "The provider confirmed that money went back. " + notYetWhen, subject: anOrder, data: asRefund, yet: true},
		event.RefundFailed:    {when: "The provider refused to send money back. " + notYetWhen, subject: anOrder, data: asRefund, yet: true},
		event.StockChanged: {when: "A product's stock changed: a delivery, a write-off, or orders that hold, sell or release it. Orders that were decided together share " +
			"one.", subject: aProduct, data: asStock},
		event.UserCoolingDown: {when: "A user left so many orders to expire that he has to wait before he may place another (`cool_down_after`). It follows the " +
			"`order.expired` that was one too many.", subject: "the number of that order", data: "the user's id, how many of his newest orders were paid and expired, and until when he has to wait"},
		event.StockDepleted: {when: "The last available unit went. It follows the `stock.changed` that took it.", subject: aProduct, data: asStock},
	}
}

// exampleEvents lets a desk tell one event of every type that is told, and gives the last of each as /v1/events has it.
func exampleEvents(t *testing.T) map[event.Type]json.RawMessage {
	t.Helper()
	d := newDesk(t, func(_ *Options, l *ledger.Options) {
		l.Guards = ledger.Guards{LeftMax: 1, LeftWithin: time.Hour, CoolDown: 15 * time.Minute}
	})
	number := func(o api.Order) order.Number {
		no, err := order.ParseNumber(o.OrderNo)
		d.must(err)
		return no
	}
	d.send("PUT", "/v1/products/sku-ticket", `{"title":"Concert ticket, front row","price":{"amount":9900,"currency":"CNY"}}`, apikey.CatalogueWrite)
	d.send("POST", "/v1/products/sku-ticket/stock", `{"delta":3}`, apikey.CatalogueWrite)

	paid := d.placed("1", "u-7", "sku-ticket")
	d.clock.advance(time.Minute)
	d.pay(paid, "t-1")
	d.clock.advance(time.Hour)
	d.send("POST", "/v1/orders/"+paid.OrderNo+"/fulfil", `{"reason":"handed over"}`, apikey.OrdersWrite)

	cancelled := d.placed("2", "u-8", "sku-ticket")
	d.send("POST", "/v1/orders/"+cancelled.OrderNo+"/cancel", `{"reason":"changed my mind"}`, apikey.OrdersWrite)
	d.clock.advance(time.Second)
	d.pay(cancelled, "t-2")

	forgotten := d.placed("3", "u-9", "sku-ticket")
	d.clock.advance(25 * time.Minute)
	if reminded, err := ledger.Submit(t.Context(), d.ledger, ledger.Remind{Number: number(forgotten), Lead: 5 * time.Minute}); err != nil || !bool(reminded) {
		t.Fatalf("remind: %v, %v", reminded, err)
	}
	d.clock.advance(5 * time.Minute)
	if expired, err := ledger.Submit(t.Context(), d.ledger, ledger.Expire{Number: number(forgotten)}); err != nil || !expired.Done {
		t.Fatalf("expire: %+v, %v", expired, err)
	}
	d.place("4", `{"user_id":"u-7","lines":[{"product_id":"sku-ticket","quantity":2}]}`)

	d.relay()
	all := read[struct {
		Data []json.RawMessage `json:"data"`
	}](d, d.get("/v1/events?limit=200", apikey.EventsRead))
	last := map[event.Type]json.RawMessage{}
	for _, raw := range all.Data {
		var e api.Event
		d.must(json.Unmarshal(raw, &e))
		last[event.Type(e.Type)] = raw
	}
	return last
}

// eventsMarkdown is docs/events.md.
func eventsMarkdown(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	b.WriteString(`# Events

<!-- Written by make generate from internal/event and a run of the desk. -->

An event is a fact, written in the transaction that made it true. It is in the log, ` + "`GET /v1/events`" + `, within a second of its commit, and the
log's order never changes afterwards. Events are in the JSON format of [CloudEvents 1.0](https://github.com/cloudevents/spec).

- ` + "`id`" + ` is the same on every delivery. An event may be delivered twice: remember the ids you have acted on, or make acting twice harmless.
- ` + "`subject`" + ` is what it is about, and ` + "`sequence`" + ` counts the events of one subject 1, 2, 3, … without gaps, in the order in which they
  happened. Between two subjects there is no such order.
- ` + "`data`" + ` is the whole object as it was then, never a difference. New fields may come; do not refuse them.
- New types may come. Ignore those you do not know.

| type | subject | data |
|---|---|---|
`)
	when := toldWhen()
	for _, typ := range event.Types() {
		fmt.Fprintf(&b, "| [`%s`](#%s) | %s | %s |\n", typ, strings.ReplaceAll(string(typ), ".", ""), when[typ].subject, when[typ].data)
	}
	examples := exampleEvents(t)
	for _, typ := range event.Types() {
		fmt.Fprintf(&b, "\n## `%s`\n\n%s\n", typ, when[typ].when)
		if example, ok := examples[typ]; ok {
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, example, "", "  "); err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, "\n```json\n%s\n```\n", pretty.Bytes())
		}
	}
	return b.String()
}

func TestEventsAreDocumented(t *testing.T) {
	want := eventsMarkdown(t)
	if *update {
		if err := os.WriteFile(eventsFile, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(eventsFile)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is stale: run make generate", eventsFile)
	}
}

// Every type has its words, and those that are told are told in the run that the examples are of.
func TestEveryTypeOfEventIsTold(t *testing.T) {
	rows, examples := toldWhen(), exampleEvents(t)
	for _, typ := range event.Types() {
		row, ok := rows[typ]
		if !ok {
			t.Errorf("%s: say in events_doc_test.go when it is told", typ)
		}
		if _, was := examples[typ]; was == row.yet {
			t.Errorf("%s: told in the run: %t, documented as not told yet: %t", typ, was, row.yet)
		}
	}
	for typ := range rows {
		if !slices.Contains(event.Types(), typ) {
			t.Errorf("%s is documented, and there is no such type", typ)
		}
	}
}
