package bench

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestMetricIsTheSumOverItsLabels(t *testing.T) {
	stand := testStand(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "# HELP sql_total Statements.\n# TYPE sql_total counter\n"+
			"sql_total{kind=\"read it\"} 12\nsql_total{kind=\"write\"} 1e3\nsql_total_more 7\nother 5\n")
	}))
	sum, ok, err := stand.shop.metric(t.Context(), "sql_total")
	if err != nil || !ok || sum != 1012 {
		t.Errorf("got %v, %t, %v, want 1012", sum, ok, err)
	}
	if sum, _, _ := stand.shop.metric(t.Context(), "sql_total", `kind="write"`); sum != 12 {
		t.Errorf("but for what is written: got %v, want 12", sum)
	}
	if _, ok, _ := stand.shop.metric(t.Context(), "missing"); ok {
		t.Error("a metric that is not there was found")
	}
}

func TestLagsAreReadFromTheLogOfExpiredOrders(t *testing.T) {
	due := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	event := func(number int, lag time.Duration) string {
		return fmt.Sprintf(`{"type":"order.expired","data":{"order_no":"%d","pay_by":%q,"closed_at":%q}}`,
			202611200000000+number, wireTime(due), wireTime(due.Add(lag)))
	}
	first := make([]string, pageOfEvents)
	for i := range first {
		first[i] = event(i, 5*time.Millisecond)
	}
	pages := map[string]string{
		"":   `{"data":[` + strings.Join(first, ",") + `],"next_cursor":"c1"}`,
		"c1": `{"data":[` + event(500, 40*time.Millisecond) + "," + event(501, -time.Millisecond) + "," + event(999, time.Hour) + `],"next_cursor":null}`,
	}
	stand := testStand(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if got := r.URL.Query().Get("types"); got != "order.expired" {
			t.Errorf("types: got %q", got)
		}
		fmt.Fprint(w, pages[r.URL.Query().Get("cursor")])
	}))
	orders := []uint64{202611200000007, 202611200000500, 202611200000501, 202611200000777}
	l, cursor, err := lagsOf(t.Context(), stand.shop, "", orders, 300*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if l.Count() != 3 || l.early != 1 || l.missing != 1 || l.Max() != 40*time.Millisecond || cursor != "c1" {
		t.Errorf("got %d expired, %d early, %d missing, max %v, cursor %q; want 3, 1, 1, 40ms and c1",
			l.Count(), l.early, l.missing, l.Max(), cursor)
	}
	if l.check("x").OK {
		t.Error("an order that expired early passes the check")
	}
}

func TestNoticesAreSignedAsTheSandboxWantsThem(t *testing.T) {
	// Made with: printf '1795168800.{"a":1}' | openssl dgst -sha256 -hmac secret
	const want = "t=1795168800,v1=90fca618f6f76475ec04cd754b12d792271ff1fa1b3a6fa0db3ad25eaf0cc7eb"
	if got := signature([]byte("secret"), time.Unix(1795168800, 0), `{"a":1}`); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
