package bench

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func runJSON(t *testing.T, o Options) Report {
	t.Helper()
	o.Dir, o.Output = t.TempDir(), OutputJSON
	var out, progress bytes.Buffer
	if err := Run(t.Context(), o, &out, &progress); err != nil {
		t.Fatalf("%v\n%s", err, progress.String())
	}
	var report Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	return report
}

func TestEchoIsMeasuredInAProcessOfItsOwn(t *testing.T) {
	report := runJSON(t, Options{Scenario: "echo", Duration: 300 * time.Millisecond, Connections: 8})
	result := report.Results[0]
	if result.PerSecond == 0 || result.Answers.Done == 0 || result.Answers.Unexpected+result.Answers.Broken > 0 {
		t.Errorf("got %+v, want orders and nothing else", result)
	}
	if result.ServerCPU == 0 {
		t.Error("the server's CPU time is missing")
	}
	if report.Machine.Cores == 0 {
		t.Error("the machine is missing")
	}
}

func TestEchoAnswersWithAWholeOrder(t *testing.T) {
	stand := testStand(t, echoRoutes())
	var order orderShape
	in := placeShape{UserID: "u-7", Lines: []placeLine{{"sku-1", 2}, {"sku-2", 1}}}
	if err := stand.shop.call(t.Context(), "POST", "/v1/orders", in, &order); err != nil {
		t.Fatal(err)
	}
	if order.UserID != "u-7" || len(order.Lines) != 2 || order.Total.Amount != 3*price || order.Status != "pending" || order.SecondsLeft != 1800 {
		t.Errorf("got %+v, want the order that was sent", order)
	}
}

func TestRowLockIsMeasuredAndChecked(t *testing.T) {
	report := runJSON(t, Options{Scenario: "row-lock", Duration: 300 * time.Millisecond, Connections: 8, Pool: 4})
	result := report.Results[0]
	if result.PerSecond == 0 || len(result.Checks) < 3 {
		t.Errorf("got %+v, want orders and checks", result)
	}
}

func testRowLock(t *testing.T, pool int) (*rival, *stand) {
	t.Helper()
	rival, err := openRival(t.Context(), RivalOptions{
		Scenario: rowLockScenario, Database: "sqlite:" + filepath.Join(t.TempDir(), "row-lock.db"), Pool: pool,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rival.db.Close() })
	return rival, testStand(t, rival.routes())
}

func TestRowLockDoesNotOversell(t *testing.T) {
	rival, stand := testRowLock(t, 4)
	r := &runner{id: "test", progress: newProgress(io.Discard)}
	sale, err := r.newSale(t.Context(), stand, 1, 50, unhurried)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sale.place(t.Context(), &load{connections: 8, requests: 120, progress: r.progress}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if m.count(done) != 50 || m.count(outOfStock) != 70 {
		t.Errorf("got %d placed and %d refused, want 50 and 70; %s", m.count(done), m.count(outOfStock), m.strange.String())
	}
	checks, err := sale.check(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range checks {
		if !c.OK {
			t.Errorf("%s: %s", c.Name, c.Detail)
		}
	}
	for _, table := range []string{"orders", "order_lines", "order_transitions", "stock_ledger", "outbox", "idempotency_keys"} {
		var rows int
		if err := rival.db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows); err != nil || rows != 50 {
			t.Errorf("%s: got %d rows, %v, want 50", table, rows, err)
		}
	}
}

func TestRowLockAnswersAKeyAgain(t *testing.T) {
	_, stand := testRowLock(t, 1)
	if err := stand.shop.offer(t.Context(), "sku-1", 1, time.Minute); err != nil {
		t.Fatal(err)
	}
	request := stand.shop.post("/v1/orders", `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`, "Idempotency-Key: k")
	first := answerTo(t, stand, request)
	if second := answerTo(t, stand, request); first != second || !strings.HasPrefix(first, "201 ") {
		t.Errorf("the same key: got %s and then %s, want the same 201 twice", first, second)
	}
}

func answerTo(t *testing.T, stand *stand, request []byte) string {
	t.Helper()
	tcp, err := net.Dial("tcp", stand.shop.base.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	status, body, err := newConn(tcp).exchange(request)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%d %s", status, body)
}

// The rival is fair only as long as it writes the same rows as Holdfast.
func TestRowLockHasTheTablesOfHoldfast(t *testing.T) {
	theirs, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer theirs.Close() //nolint:errcheck // in memory
	theirs.SetMaxOpenConns(1)
	migrations, err := filepath.Glob("../internal/sqlstore/migrations/sqlite/*.sql")
	if err != nil || len(migrations) == 0 {
		t.Fatalf("no migrations found: %v", err)
	}
	slices.Sort(migrations)
	for _, file := range migrations {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		up, _, _ := strings.Cut(string(text), "-- +goose Down")
		if _, err := theirs.ExecContext(t.Context(), up); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	rival, _ := testRowLock(t, 1)
	for _, table := range []string{"products", "stock", "stock_ledger", "orders", "order_lines", "order_transitions", "idempotency_keys", "outbox"} {
		want, got := layout(t, theirs, table), layout(t, rival.db, table)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs from Holdfast's (-want +got):\n%s", table, diff)
		}
	}
}

// layout is every definition that belongs to a table, without comments and line breaks.
func layout(t *testing.T, db *sql.DB, table string) []string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY name", table)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			t.Fatal(err)
		}
		text = regexp.MustCompile(`--[^\n]*`).ReplaceAllString(text, "")
		all = append(all, strings.Join(strings.Fields(text), " "))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestTheBestPoolIsChosen(t *testing.T) {
	with := func(pool int, perSecond float64) tuned { return tuned{pool, &Result{PerSecond: perSecond}} }
	for _, c := range []struct {
		story string
		tried []tuned
		want  int
	}{
		{"one is best", []tuned{with(1, 900), with(4, 800), with(16, 100)}, 1},
		{"the middle is best", []tuned{with(1, 900), with(4, 1200), with(16, 1100)}, 4},
		{"the last is best", []tuned{with(1, 900), with(4, 1000), with(16, 1100)}, 16},
		{"of equals the smaller", []tuned{with(16, 900), with(4, 900), with(64, 900)}, 4},
		{"only one", []tuned{with(64, 0)}, 64},
	} {
		if got := bestPool(c.tried); got.pool != c.want {
			t.Errorf("%s: got %d, want %d", c.story, got.pool, c.want)
		}
	}
}
