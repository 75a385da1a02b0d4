package bench

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/testenv"
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

// runBriefly measures for a moment, and for longer where the machine is so busy that nobody has come to what is asked for.
func runBriefly(t *testing.T, o Options, come func(*Result) bool) Report {
	t.Helper()
	o.Duration = 300 * time.Millisecond
	report := runJSON(t, o)
	for !come(report.Results[0]) && o.Duration < 10*time.Second {
		o.Duration *= 4
		report = runJSON(t, o)
	}
	return report
}

func answered(r *Result) bool { return r.PerSecond > 0 }

func TestEchoIsMeasuredInAProcessOfItsOwn(t *testing.T) {
	report := runBriefly(t, Options{Scenario: "echo", Connections: 8}, answered)
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
	report := runBriefly(t, Options{Scenario: rowLockScenario, Connections: 8, Pool: 4}, answered)
	result := report.Results[0]
	if result.PerSecond == 0 || len(result.Checks) < 3 {
		t.Errorf("got %+v, want orders and checks", result)
	}
}

// rivals are all that there are, each on a new database.
var rivals = []rivalOn{
	{rowLockScenario, onSQLite, sqliteURL},
	{rowLockScenario, onPostgres, testenv.PostgresURL},
	{rowLockScenario, onMySQL, testenv.MariaDBURL},
	{unitRowsScenario, onPostgres, testenv.PostgresURL},
	{unitRowsScenario, onMySQL, testenv.MariaDBURL},
}

type rivalOn struct {
	scenario string
	on       *dialect
	database func(testing.TB) string
}

func (r rivalOn) String() string { return r.scenario + " on " + r.on.title }

func (r rivalOn) open(t *testing.T, pool int) (*rival, *stand) {
	t.Helper()
	rival, err := openRival(t.Context(), RivalOptions{Scenario: r.scenario, Database: r.database(t), Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rival.db.Close() })
	return rival, testStand(t, rival.routes())
}

func sqliteURL(tb testing.TB) string {
	tb.Helper()
	return "sqlite:" + filepath.Join(tb.TempDir(), "rival.db")
}

func TestRivalsDoNotOversell(t *testing.T) {
	for _, r := range rivals {
		t.Run(r.String(), func(t *testing.T) {
			rival, stand := r.open(t, 4)
			run := &runner{id: "test", progress: newProgress(io.Discard)}
			sale, err := run.newSale(t.Context(), stand, 1, 50, unhurried)
			if err != nil {
				t.Fatal(err)
			}
			m, err := sale.place(t.Context(), &load{connections: 8, requests: 120, progress: run.progress}, nil)
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
			tables := []string{"orders", "order_lines", "order_transitions", "outbox", "outbox_waiting", "idempotency_keys"}
			switch rival.stock.(type) {
			case *stockRows:
				tables = append(tables, "stock_ledger")
			case *unitRows:
				tables = append(tables, "held_units")
			}
			for _, table := range tables {
				var rows int
				if err := rival.row(t.Context(), "SELECT count(*) FROM "+table).Scan(&rows); err != nil || rows != 50 {
					t.Errorf("%s: got %d rows, %v, want 50", table, rows, err)
				}
			}
		})
	}
}

func TestRivalsAnswerAKeyAgain(t *testing.T) {
	for _, r := range rivals {
		t.Run(r.String(), func(t *testing.T) {
			_, stand := r.open(t, 1)
			if err := stand.shop.offer(t.Context(), "sku-1", 1, time.Minute); err != nil {
				t.Fatal(err)
			}
			request := stand.shop.post("/v1/orders", `{"user_id":"u-1","lines":[{"product_id":"sku-1","quantity":1}]}`, "Idempotency-Key: k")
			first := answerTo(t, stand, request)
			if second := answerTo(t, stand, request); first != second || !strings.HasPrefix(first, "201 ") {
				t.Errorf("the same key: got %s and then %s, want the same 201 twice", first, second)
			}
		})
	}
}

// An order of several units and products is all or nothing, and each of its rows is there.
func TestRivalsTakeAllOfAnOrderOrNothing(t *testing.T) {
	for _, r := range rivals {
		t.Run(r.String(), func(t *testing.T) {
			_, stand := r.open(t, 4)
			for product, units := range map[string]int64{"sku-1": 5, "sku-2": 1} {
				if err := stand.shop.offer(t.Context(), product, units, time.Minute); err != nil {
					t.Fatal(err)
				}
			}
			for i, want := range []string{"201 ", "409 "} {
				request := stand.shop.post("/v1/orders", `{"user_id":"u-1","lines":[{"product_id":"sku-2","quantity":1},{"product_id":"sku-1","quantity":2}]}`,
					fmt.Sprintf("Idempotency-Key: k-%d", i))
				if got := answerTo(t, stand, request); !strings.HasPrefix(got, want) {
					t.Errorf("order %d: got %s, want %s", i, got, want)
				}
			}
			for product, want := range map[string]stockLevel{"sku-1": {5, 3, 2, 0}, "sku-2": {1, 0, 1, 0}} {
				if got, err := stand.shop.stock(t.Context(), product); got != want || err != nil {
					t.Errorf("%s: got %+v, %v, want %+v", product, got, err, want)
				}
			}
		})
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

// A rival is fair only as long as it writes the same rows as Holdfast.
func TestRivalsHaveTheTablesOfHoldfast(t *testing.T) {
	for _, r := range rivals {
		if r.scenario != rowLockScenario {
			continue
		}
		t.Run(r.on.title, func(t *testing.T) {
			theirs := migrated(t, r)
			rival, _ := r.open(t, 1)
			for _, table := range []string{
				"products", "stock", "stock_ledger", "orders", "order_lines", "order_transitions", "idempotency_keys", "outbox", "outbox_waiting",
			} {
				want, got := layout(t, theirs, r.on, table), layout(t, rival.db, r.on, table)
				if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
					t.Errorf("%s differs from Holdfast's (-want +got):\n%s", table, diff)
				}
			}
		})
	}
}

// layouts ask for every definition that belongs to a table.
var layouts = map[*dialect]string{
	onSQLite: `SELECT sql FROM sqlite_schema WHERE tbl_name = ? AND sql IS NOT NULL ORDER BY name`,
	onPostgres: `
		SELECT concat_ws(' ', column_name, data_type, collation_name, is_nullable, column_default, identity_generation, generation_expression)
		FROM information_schema.columns WHERE table_name = $1 AND table_schema = 'public'
		UNION ALL SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::regclass
		UNION ALL SELECT array_to_string(reloptions, ' ') FROM pg_class WHERE oid = $1::regclass AND reloptions IS NOT NULL
		UNION ALL SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = $1::regclass
		ORDER BY 1`,
	onMySQL: `
		SELECT CONCAT_WS(' ', column_name, column_type, collation_name, is_nullable, column_default, extra, generation_expression) AS definition
		FROM information_schema.columns WHERE table_name = ? AND table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', index_name, non_unique, seq_in_index, column_name, sub_part)
		FROM information_schema.statistics WHERE table_name = ? AND table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', c.constraint_name, c.check_clause) FROM information_schema.check_constraints c
		WHERE c.table_name = ? AND c.constraint_schema = DATABASE()
		ORDER BY definition`,
}

// layout is without comments and line breaks.
func layout(t *testing.T, db *sql.DB, d *dialect, table string) []string {
	t.Helper()
	query := layouts[d]
	args := slices.Repeat([]any{table}, max(1, strings.Count(query, "?")))
	rows, err := db.QueryContext(t.Context(), query, args...)
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
		text = strings.Join(strings.Fields(text), " ")
		all = append(all, strings.NewReplacer(" ,", ",", " )", ")").Replace(text)) // SQLite keeps a table's text as ALTER leaves it
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
