package httpapi

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the record is looked at from outside

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
)

// watcher looks at the record's file past the store, on a connection of its own: it sees what was committed and nothing else.
type watcher struct {
	t       testing.TB
	conn    *sql.Conn
	tables  []string
	version int64 // of the file when it was read last
	rows    rows
}

// rows is all that a record holds, as text, by table.
type rows map[string]string

// unwatched are tables and columns that say nothing of orders, stock and money: a batch that refuses everything still wrote
// its id, and the use of a key or a session is noted.
const unwatchedTables = "ledger_batches goose_db_version"

var unwatchedColumns = []string{"last_used_at", "idle_at"}

func (d *desk) watch() *watcher {
	d.t.Helper()
	db, err := sql.Open("sqlite", "file:"+d.file+"?mode=ro")
	d.must(err)
	d.t.Cleanup(func() { _ = db.Close() })
	w := &watcher{t: d.t, version: -1}
	w.conn, err = db.Conn(d.t.Context())
	d.must(err)
	d.t.Cleanup(func() { _ = w.conn.Close() })
	w.each(`SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name`, func(values []any) {
		if name := fmt.Sprint(values[0]); !slices.Contains(strings.Fields(unwatchedTables), name) {
			w.tables = append(w.tables, name)
		}
	})
	if len(w.tables) < 10 {
		d.t.Fatalf("the record has the tables %q: the watcher does not see it", w.tables)
	}
	return w
}

// each calls a function with every row of a query.
func (w *watcher) each(query string, do func(values []any)) {
	w.t.Helper()
	result, err := w.conn.QueryContext(w.t.Context(), query)
	if err != nil {
		w.t.Fatal(err)
	}
	defer result.Close()
	columns, err := result.Columns()
	if err != nil {
		w.t.Fatal(err)
	}
	values, into := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		into[i] = &values[i]
	}
	for result.Next() {
		if err := result.Scan(into...); err != nil {
			w.t.Fatal(err)
		}
		for i, column := range columns {
			if slices.Contains(unwatchedColumns, column) {
				values[i] = nil
			}
		}
		do(values)
	}
	if err := result.Err(); err != nil {
		w.t.Fatal(err)
	}
}

// look reads the whole record, unless nobody has committed anything since it was read last: SQLite counts that.
func (w *watcher) look() rows {
	w.t.Helper()
	var version int64
	w.each(`PRAGMA data_version`, func(values []any) { version, _ = values[0].(int64) })
	if version == w.version {
		return w.rows
	}
	w.version, w.rows = version, rows{}
	for _, table := range w.tables {
		var text bytes.Buffer
		w.each("SELECT * FROM "+table, func(values []any) { fmt.Fprintf(&text, "%v\n", values) })
		w.rows[table] = text.String()
	}
	return w.rows
}

// changed names the tables that differ.
func (r rows) changed(before rows) []string {
	var tables []string
	for table, text := range r {
		if before[table] != text {
			tables = append(tables, table)
		}
	}
	slices.Sort(tables)
	return tables
}

// count is how many rows there are, by table.
func (r rows) count() map[string]int {
	n := map[string]int{}
	for table, text := range r {
		n[table] = strings.Count(text, "\n")
	}
	return n
}

// holds reports whether a text stands somewhere, as it is or inside of JSON.
func (r rows) holds(s string) bool {
	quoted, _ := json.Marshal(s)
	inside := string(quoted[1 : len(quoted)-1])
	for _, text := range r {
		if strings.Contains(text, s) || strings.Contains(text, inside) {
			return true
		}
	}
	return false
}

func TestTheWatcherSeesWhatIsCommitted(t *testing.T) {
	d := newDesk(t)
	w := d.watch()
	before := w.look()
	d.offer("sku-1", 3)
	after := w.look()
	if got := after.changed(before); !slices.Equal(got, []string{"outbox", "outbox_waiting", "products", "stock", "stock_ledger"}) {
		t.Errorf("a new product with stock changed %q", got)
	}
	if !after.holds("sku-1") || after.holds("sku-2") {
		t.Error("it does not find what is there, or finds what is not")
	}
	before = after
	d.wants(d.send("POST", "/v1/products/sku-1/stock", `{"delta":-4}`, apikey.CatalogueWrite), 409, api.CodeInsufficientStock)
	if got := w.look().changed(before); len(got) > 0 {
		t.Errorf("nothing was decided, and %q changed", got)
	}
}
