package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// listMax bounds the values of one IN list, and so the sizes of prepared statements: 1, 2, 4, … listMax.
const listMax = 512

// lists cuts values into lists of at most listMax and runs each with its text "(?,?,…)". A list is filled up to a power of two
// by repeating its last value, so that few statements serve all sizes.
func lists[T any](values []T, arg func(T) any, run func(in string, args []any) error) error {
	for len(values) > 0 {
		n := min(len(values), listMax)
		size := 1
		for size < n {
			size *= 2
		}
		args := make([]any, size)
		for i := range args {
			args[i] = arg(values[min(i, n-1)])
		}
		if err := run(inLists[size], args); err != nil {
			return err
		}
		values = values[n:]
	}
	return nil
}

var inLists = func() map[int]string {
	m := map[int]string{}
	for size := 1; size <= listMax; size *= 2 {
		m[size] = "(" + strings.TrimSuffix(strings.Repeat("?,", size), ",") + ")"
	}
	return m
}()

// rowsPerInsert are the sizes of multi-row inserts: measured, 32 rows a statement cost a fifth less than one at a time, and
// more gain nothing.
var rowsPerInsert = []int{32, 8, 1}

// inserter writes rows of one table in bulk.
type inserter struct {
	texts map[int]string // by number of rows
}

// into prepares the texts for "table (a, b, c)". row gives the values of a row where some are the same in all: "(?, ?, 0)".
func into(table string, row ...string) inserter {
	columns := strings.Count(table, ",") + 1
	one := "(" + strings.TrimSuffix(strings.Repeat("?,", columns), ",") + ")"
	if len(row) == 1 {
		one = row[0]
	}
	ins := inserter{texts: map[int]string{}}
	for _, n := range rowsPerInsert {
		ins.texts[n] = "INSERT INTO " + table + " VALUES " + strings.TrimSuffix(strings.Repeat(one+",", n), ",")
	}
	return ins
}

// insert writes n rows; row appends the values of the i-th.
func (t *tx) insert(ctx context.Context, ins inserter, n int, row func(args []any, i int) []any) error {
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

// update changes one row that must still be as it was loaded.
func (t *tx) update(ctx context.Context, query string, args ...any) error {
	n, err := t.exec(ctx, query, args...)
	if err == nil && n != 1 {
		return fmt.Errorf("%w: a row was changed by another hand", ledger.ErrRetry)
	}
	return err
}

func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return t.s.writer.exec(ctx, query, args...)
}

func (t *tx) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.s.writer.query(ctx, query, args...)
}
