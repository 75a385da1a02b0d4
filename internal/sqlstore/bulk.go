package sqlstore

import (
	"context"
	"fmt"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// listMax bounds the values of one list, and so the sizes of prepared statements: 1, 2, 4, … listMax.
const listMax = 512

// lists cuts values into lists of at most listMax and runs each with its condition, "IN (?,?,…)" or "= ANY (?)". A list of single
// values is filled up to a power of two by repeating its last one, so that few statements serve all sizes, where they are prepared.
func lists[T, V any](q querier, values []T, arg func(T) V, run func(in string, args []any) error) error {
	for len(values) > 0 {
		n := min(len(values), listMax)
		var in string
		var args []any
		if q.speaks().arrays {
			array := make([]V, n)
			for i := range array {
				array[i] = arg(values[i])
			}
			in, args = " = ANY (?)", []any{array}
		} else {
			size := n
			if q.speaks().prepares {
				for size = 1; size < n; {
					size *= 2
				}
			}
			args = make([]any, size)
			for i := range args {
				args[i] = arg(values[min(i, n-1)])
			}
			in = "IN (" + marks(size) + ")"
		}
		if err := run(in, args); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

func marks(n int) string { return strings.TrimSuffix(strings.Repeat("?,", n), ",") }

// column is one column of rows that are written in bulk. NULL can be in those whose kind ends with a question mark.
type column struct{ name, kind string }

// columns reads "order_no int, paid_at int?, …": kinds are int, text and bytes.
func columns(list string) []column {
	var all []column
	for _, one := range strings.Split(list, ",") {
		name, kind, ok := strings.Cut(strings.TrimSpace(one), " ")
		if !ok || arrayTypes[strings.TrimSuffix(kind, "?")] == "" {
			panic("no column of a known kind: " + one)
		}
		all = append(all, column{name, kind})
	}
	return all
}

func names(prefix string, cs []column) string {
	all := make([]string, len(cs))
	for i := range cs {
		all[i] = prefix + cs[i].name
	}
	return strings.Join(all, ", ")
}

// inserter writes rows of one table in bulk.
type inserter struct {
	table        string
	columns      []column
	same, values string         // further columns, and their values, which are the same in all rows and are not bound
	conflict     string         // what becomes of a row that is there already; "": an error
	texts        map[int]string // by number of rows
	fromArrays   string
	literals     [3]string // what comes before the rows, a row, and what comes after
}

// into prepares the texts that write into a table.
func into(table, list string) inserter {
	return inserter{table: table, columns: columns(list)}.prepared()
}

// with adds columns that have the same values in all rows.
func (ins inserter) with(same, values string) inserter {
	ins.same, ins.values = ", "+same, ", "+values
	return ins.prepared()
}

// or says what becomes of a row that is there already.
func (ins inserter) or(conflict string) inserter {
	ins.conflict = " " + conflict
	return ins.prepared()
}

func (ins inserter) prepared() inserter {
	head := "INSERT INTO " + ins.table + " (" + names("", ins.columns) + ins.same + ") "
	one := "(" + marks(len(ins.columns)) + ins.values + "),"
	ins.texts = map[int]string{}
	for _, n := range rowsPerInsert {
		ins.texts[n] = head + "VALUES " + strings.TrimSuffix(strings.Repeat(one, n), ",") + ins.conflict
	}
	ins.literals = [3]string{head + "VALUES ", one, ins.conflict}
	ins.fromArrays = head + "SELECT " + names("r.", ins.columns) + ins.values + " FROM " + unnested("r", ins.columns) + ins.conflict
	return ins
}

// insert writes n rows; row appends the values of the i-th.
func (t *tx) insert(ctx context.Context, ins *inserter, n int, row func(args []any, i int) []any) error {
	if n == 0 {
		return nil
	}
	return t.s.dialect.insert(ctx, t, ins, n, row)
}

// rowsPerInsert are the sizes of multi-row inserts: measured on SQLite, 32 rows a statement cost a fifth less than one at a time,
// and more gain nothing.
var rowsPerInsert = []int{32, 8, 1}

// insertRows writes rows as lists of values, some rows a statement.
func insertRows(ctx context.Context, t *tx, ins *inserter, n int, row func(args []any, i int) []any) error {
	for i := 0; i < n; {
		size := 1
		for _, s := range rowsPerInsert {
			if n-i >= s {
				size = s
				break
			}
		}
		args := t.args[:0]
		for range size {
			args = row(args, i)
			i++
		}
		t.args = args
		if _, err := t.exec(ctx, ins.texts[size], args...); err != nil {
			return err
		}
	}
	return nil
}

// updater changes rows of one table in bulk. A row is found by its key, and must still be as it was loaded.
type updater struct {
	table      string
	columns    []column  // those that are set, the key, and what the row must still be
	key        int       // its place among them
	one        string    // the statement that changes one row
	literals   [3]string // what comes before the second row and holds the first, a further row, and what comes before the list of keys
	fromArrays string
}

// setting prepares the texts that change a table's rows. was is the column that must still have the value it had; also, if given,
// is a condition on the row, which is called t.
func setting(table, set, key, was, also string) updater {
	sets, keys := columns(set), columns(key)
	up := updater{table: table, columns: append(append([]column{}, sets...), keys...), key: len(sets)}
	var one, joined []string
	for _, c := range sets {
		one = append(one, c.name+" = ?")
		joined = append(joined, c.name+" = c."+c.name)
	}
	where, on := " WHERE t."+keys[0].name+" = ?", " WHERE t."+keys[0].name+" = c."+keys[0].name
	if was != "" {
		guard := columns(was)[0]
		where += " AND t." + guard.name + " = ?"
		on += " AND t." + guard.name + " = c.was"
		up.columns = append(up.columns, column{"was", guard.kind})
	}
	if also != "" {
		where += " AND " + also
		on += " AND " + also
	}
	literals := make([]string, len(up.columns))
	for i, c := range up.columns {
		literals[i] = "? AS " + c.name
	}
	up.one = "UPDATE " + table + " AS t SET " + strings.Join(one, ", ") + where
	up.literals = [3]string{
		"UPDATE " + table + " AS t FORCE INDEX (PRIMARY) STRAIGHT_JOIN (SELECT " + strings.Join(literals, ", "),
		" UNION ALL SELECT " + marks(len(up.columns)),
		") AS c SET t." + strings.Join(joined, ", t.") + on + " AND t." + keys[0].name + " IN ",
	}
	// Nobody compares the number of rows before the transaction is committed, so the statement does: it divides by zero.
	up.fromArrays = "WITH changed AS (UPDATE " + table + " AS t SET " + strings.Join(joined, ", ") + " FROM " + unnested("c", up.columns) + on +
		" RETURNING 1) SELECT 1 / CAST(COUNT(*) = ? AS INTEGER) FROM changed"
	return up
}

// update changes n rows that must all still be as they were loaded; row appends the values of the i-th.
func (t *tx) update(ctx context.Context, up *updater, n int, row func(args []any, i int) []any) error {
	if n == 0 {
		return nil
	}
	return t.s.dialect.update(ctx, t, up, n, row)
}

// allOf looks whether all n rows were changed.
func allOf(n, changed int) error {
	if changed != n {
		return errChanged
	}
	return nil
}

var errChanged = fmt.Errorf("%w: a row was changed by another hand", ledger.ErrRetry)

// updateEach changes rows one by one.
func updateEach(ctx context.Context, t *tx, up *updater, n int, row func(args []any, i int) []any) error {
	changed := 0
	for i := range n {
		t.args = row(t.args[:0], i)
		one, err := t.exec(ctx, up.one, t.args...)
		if err != nil {
			return err
		}
		changed += int(one)
	}
	return allOf(n, changed)
}

// change runs a statement that must change one row.
func (t *tx) change(ctx context.Context, query string, args ...any) error {
	n, err := t.exec(ctx, query, args...)
	if err == nil && n != 1 {
		return errChanged
	}
	return err
}

// arrayTypes are the kinds of columns as PostgreSQL has arrays of them.
var arrayTypes = map[string]string{"int": "bigint[]", "text": "text[]", "bytes": "bytea[]"}

// unnested is a source of rows that come as an array for each column.
func unnested(name string, cs []column) string {
	arrays := make([]string, len(cs))
	for i, c := range cs {
		arrays[i] = "CAST(? AS " + arrayTypes[strings.TrimSuffix(c.kind, "?")] + ")"
	}
	return "unnest(" + strings.Join(arrays, ", ") + ") AS " + name + " (" + names("", cs) + ")"
}

// insertArrays writes all rows with one statement, which has one argument for each column: all of them, or it fails.
func insertArrays(ctx context.Context, t *tx, ins *inserter, n int, row func(args []any, i int) []any) error {
	return t.later(ctx, statement{query: t.s.spelt(ins.fromArrays), args: t.turned(ins.columns, n, row), rows: n})
}

func updateArrays(ctx context.Context, t *tx, up *updater, n int, row func(args []any, i int) []any) error {
	return t.later(ctx, statement{query: t.s.spelt(up.fromArrays), args: append(t.turned(up.columns, n, row), int64(n)), rows: n})
}

// turned makes an array of every column of n rows.
func (t *tx) turned(cs []column, n int, row func(args []any, i int) []any) []any {
	type filler struct {
		ints  []int64
		texts []string
		bytes [][]byte
		any   []any
	}
	fill := make([]filler, len(cs))
	for k, c := range cs {
		switch c.kind {
		case "int":
			fill[k].ints = make([]int64, n)
		case "text":
			fill[k].texts = make([]string, n)
		case "bytes":
			fill[k].bytes = make([][]byte, n)
		default:
			fill[k].any = make([]any, n)
		}
	}
	for i := range n {
		t.args = row(t.args[:0], i)
		for k := range fill {
			f := &fill[k]
			switch v := t.args[k].(type) {
			case int64:
				if f.ints != nil {
					f.ints[i] = v
					continue
				}
			case string:
				if f.texts != nil {
					f.texts[i] = v
					continue
				}
			case []byte:
				if f.bytes != nil {
					f.bytes[i] = v
					continue
				}
			}
			f.any[i] = t.args[k] // of a column that can be NULL; of another it is a mistake of the row, and panics
		}
	}
	args := make([]any, len(cs))
	for k := range fill {
		switch f := &fill[k]; {
		case f.ints != nil:
			args[k] = f.ints
		case f.texts != nil:
			args[k] = f.texts
		case f.bytes != nil:
			args[k] = f.bytes
		default:
			args[k] = f.any
		}
	}
	return args
}
