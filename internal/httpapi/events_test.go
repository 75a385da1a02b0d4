package httpapi

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

// events reads one page and gives what it tells, in short, and where it goes on.
func (d *desk) events(query string) (told []string, next string) {
	d.t.Helper()
	p := read[api.Page[api.Event]](d, d.get("/v1/events?"+query, apikey.EventsRead))
	for _, e := range p.Data {
		told = append(told, e.Subject+" "+e.Type)
	}
	if p.NextCursor == nil {
		d.t.Fatalf("/v1/events?%s gives no cursor to go on from", query)
	}
	return told, *p.NextCursor
}

func TestLogIsReadOnForEver(t *testing.T) {
	d := newDesk(t)
	told, start := d.events("")
	if len(told) > 0 {
		t.Fatalf("an empty log tells %v", told)
	}
	d.offer("sku-1", 2)
	a, b := d.placed("a", "u-1", "sku-1"), d.placed("b", "u-1", "sku-1")
	if told, _ := d.events(""); len(told) > 0 {
		t.Fatalf("told before they are in the log: %v", told)
	}
	d.relay()
	all, end := d.events("cursor=" + start)
	if len(all) < 4 || slices.Index(all, a.OrderNo+" order.placed") < 0 || slices.Index(all, "sku-1 stock.depleted") < 0 {
		t.Errorf("told %v", all)
	}
	var byOne []string
	cursor := ""
	for range len(all) {
		told, next := d.events("limit=1" + cursor)
		byOne, cursor = append(byOne, told...), "&cursor="+next
	}
	if !slices.Equal(byOne, all) {
		t.Errorf("one by one %v, want %v", byOne, all)
	}
	if told, next := d.events("limit=1" + cursor); len(told) > 0 || next != end {
		t.Errorf("after the last: %v, going on from %s, want nothing, from %s", told, next, end)
	}

	read[api.Order](d, d.send("POST", "/v1/orders/"+b.OrderNo+"/cancel", "", apikey.OrdersWrite))
	d.relay()
	if told, _ := d.events("cursor=" + end); len(told) != 2 || !slices.Contains(told, b.OrderNo+" order.cancelled") {
		t.Errorf("since then %v, want the cancelled order and its stock", told)
	}
	if told, _ := d.events("order_no=" + b.OrderNo); !slices.Equal(told, []string{b.OrderNo + " order.placed", b.OrderNo + " order.cancelled"}) {
		t.Errorf("of one order %v", told)
	}
	if told, _ := d.events("types=order.cancelled,stock.depleted"); len(told) != 2 {
		t.Errorf("of two types %v", told)
	}
}

// A filter that finds nothing must not look through the whole log again at every poll.
func TestCursorMovesOnPastWhatTheFilterDoesNotWant(t *testing.T) {
	d := newDesk(t)
	_, empty := d.events("types=refund.failed")
	for i := range 3 {
		d.offer(fmt.Sprint("sku-", i), 2)
	}
	d.relay()
	told, next := d.events("types=refund.failed")
	if len(told) > 0 || next == empty {
		t.Errorf("told %v, going on from where it began: %t", told, next == empty)
	}
	d.placed("k", "u-1", "sku-0")
	d.relay() // the order, and after it its stock
	if told, next := d.events("types=order.placed"); len(told) != 1 {
		t.Errorf("told %v, want one order", told)
	} else if _, again := d.events("types=order.placed&cursor=" + next); again != next {
		t.Error("the cursor had not moved past what came after the order")
	}
	_, next = d.events("types=refund.failed")
	if told, again := d.events("types=refund.failed&cursor=" + next); len(told) > 0 || again != next {
		t.Errorf("told %v, and the cursor moved at the end of the log: %t", told, again != next)
	}
}

// Of a rare type a page looks through so much of the log and no more; it goes on from there, and in the end nothing is missed.
func TestALookForARareTypeIsBoundedAndMissesNothing(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 10)
	d.placed("rare", "u-1", "sku-1")
	d.relay()
	const more = 2*limits.EventsScanned + limits.EventsScanned/2
	d.fillLog(more)
	d.placed("rare-too", "u-1", "sku-1")
	d.relay()

	var told []string
	pages, cursor := 0, ""
	for {
		page, next := d.events("types=order.placed" + cursor)
		told = append(told, page...)
		pages++
		if cursor == "&cursor="+next {
			break
		}
		cursor = "&cursor=" + next
		if pages > 10 {
			t.Fatal("it never ends")
		}
	}
	if len(told) != 2 {
		t.Errorf("told %v, want the two orders", told)
	}
	if pages != 4 { // three of the log, and one at its end
		t.Errorf("the log was looked through in %d pages, want 4", pages)
	}
}

// fillLog puts events of another type into the log, all at once.
func (d *desk) fillLog(n int) {
	d.t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.file)
	d.must(err)
	defer db.Close() //nolint:errcheck // committed
	text := strings.ReplaceAll(`BEGIN IMMEDIATE;
		CREATE TEMP TABLE n AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $n) SELECT i FROM n;
		INSERT INTO event_log SELECT (SELECT position FROM log_head) + i, (SELECT MAX(id) FROM outbox) + i FROM n;
		INSERT INTO outbox SELECT (SELECT MAX(id) FROM outbox) + i, 'product', 'filler', i, 'stock.changed', 0, '{}' FROM n;
		UPDATE log_head SET position = position + $n;
		COMMIT`, "$n", strconv.Itoa(n))
	_, err = db.ExecContext(d.t.Context(), text)
	d.must(err)
}

// Whoever stopped reading before what the log still has is told so, not given what comes later as if nothing were missing.
func TestACursorBeforeTheLogsBeginningIsGone(t *testing.T) {
	d := newDesk(t)
	_, empty := d.events("")
	d.offer("sku-1", 10)
	d.placed("old", "u-1", "sku-1")
	d.relay()
	_, middle := d.events("limit=1")
	_, end := d.events("")
	d.clock.advance(100 * 24 * time.Hour)
	young := d.placed("young", "u-1", "sku-1")
	d.relay()
	d.forgetEvents(24 * time.Hour)
	for _, cursor := range []string{empty, middle} {
		a := d.get("/v1/events?cursor="+cursor, apikey.EventsRead)
		d.wants(a, 410, api.CodeEventsPruned)
		if got := string(d.problem(a).Members["earliest_position"]); got != "4" {
			t.Errorf("the earliest position is %s, want 4: %s", got, a.body)
		}
	}
	for _, query := range []string{"cursor=" + end, "", "types=order.placed,stock.changed", "limit=10"} {
		if told, _ := d.events(query); !slices.Contains(told, young.OrderNo+" order.placed") || len(told) != 2 {
			t.Errorf("%s: told %v, want the young order and its stock", query, told)
		}
	}
	if told, _ := d.events("order_no=" + young.OrderNo); len(told) != 1 {
		t.Errorf("of one order: told %v", told)
	}
}

// forgetEvents does as the janitor does.
func (d *desk) forgetEvents(kept time.Duration) {
	for n := int64(-1); n != 0; {
		var err error
		n, err = d.store.PruneEvents(d.t.Context(), d.clock.Now().Add(-kept), 100)
		d.must(err)
	}
}

func TestEventFiltersAreChecked(t *testing.T) {
	d := newDesk(t)
	for _, query := range []string{"types=order.eaten", "types=order.placed,", "types=,", "order_no=1", "order_no=202613010000001"} {
		a := d.get("/v1/events?"+query, apikey.EventsRead)
		d.wants(a, 422, api.CodeInvalidRequest)
		if field, _, _ := strings.Cut(query, "="); d.problem(a).Errors[0].Field != field {
			t.Errorf("%s: got %s, want %s named", query, a.body, field)
		}
	}
}
