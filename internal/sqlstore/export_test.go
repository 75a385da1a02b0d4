package sqlstore

import (
	"context"
	"database/sql"
)

// Plant writes what nobody should.
func (s *Store) Plant(ctx context.Context, query string) error {
	_, err := s.exec(ctx, query)
	return err
}

// CountRows counts the rows of a table, for tests that ask whether it grows.
func (s *Store) CountRows(ctx context.Context, table string) (n int64, err error) {
	rows, err := s.query(ctx, `SELECT COUNT(*) FROM `+table)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&n) })
	return n, err
}
