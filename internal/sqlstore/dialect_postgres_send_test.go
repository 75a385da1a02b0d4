package sqlstore

import (
	"strings"
	"testing"
)

// What is empty is not NULL, and a statement that cannot be sent takes those with it that were sent ahead.
func TestArgumentsArriveAsTheyAre(t *testing.T) {
	t.Parallel()
	s := openPostgres(t)
	long := strings.Repeat("x", 2*sendAhead)
	tx, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		arg    any
		null   bool
		length int64
	}{{"", false, 0}, {nil, true, 0}, {long, false, int64(len(long))}, {"", false, 0}, {long, false, int64(len(long))}} {
		err := tx.look(t.Context(), `SELECT CAST(? AS TEXT) IS NULL, length(COALESCE(CAST(? AS TEXT), ''))`, []any{c.arg, c.arg}, func(r scanner) error {
			var null bool
			var length int64
			err := r.Scan(&null, &length)
			if null != c.null || length != c.length {
				t.Errorf("%.5q: it arrived as NULL: %v, with %d characters, want %v and %d", c.arg, null, length, c.null, c.length)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	const share = `INSERT INTO desk (name, value) VALUES (?, ?)`
	for _, args := range [][]any{{"first", long}, {"second", long}, {"third", make(chan int)}} {
		if err := tx.later(t.Context(), statement{query: s.spelt(share), args: args}); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(t.Context()); err == nil {
		t.Error("a statement that cannot be sent was committed")
	}
	tx.Rollback()
	var n int
	if err := s.queryRow(t.Context(), `SELECT COUNT(*) FROM desk WHERE name IN ('first', 'second')`).Scan(&n); err != nil || n != 0 {
		t.Errorf("%d of the statements before it took effect (%v)", n, err)
	}
}
