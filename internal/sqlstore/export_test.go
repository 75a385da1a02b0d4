package sqlstore

import (
	"context"
	"database/sql"
)

// CountRows counts the rows of a table, for tests that ask whether it grows.
func (s *Store) CountRows(ctx context.Context, table string) (n int64, err error) {
	rows, err := s.query(ctx, `SELECT COUNT(*) FROM `+table)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&n) })
	return n, err
}
