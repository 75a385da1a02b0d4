package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/audit"
)

// Plant writes what nobody should.
func (s *Store) Plant(ctx context.Context, query string) error {
	_, err := s.exec(ctx, query)
	return err
}

// AuditAfter plants something inside a transaction, audits what the transaction sees, and rolls it back.
func (s *Store) AuditAfter(ctx context.Context, opt AuditOptions, plants ...string) (report audit.Report, err error) {
	conn, err := s.write.Conn(ctx)
	if err != nil {
		return report, err
	}
	defer conn.Close() //nolint:errcheck // a test
	_, err = conn.ExecContext(ctx, `BEGIN`)
	for _, p := range plants {
		if err == nil {
			_, err = conn.ExecContext(ctx, s.spelt(p))
		}
	}
	if err == nil {
		report, err = s.audit(ctx, &snapshot{s, conn}, opt)
	}
	_, ended := conn.ExecContext(ctx, `ROLLBACK`)
	return report, errors.Join(err, ended)
}

// CountRows counts the rows of a table, for tests that ask whether it grows.
func (s *Store) CountRows(ctx context.Context, table string) (n int64, err error) {
	rows, err := s.query(ctx, `SELECT COUNT(*) FROM `+table)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&n) })
	return n, err
}

// StepsOf is the number of a dialect's migrations.
func StepsOf(t *testing.T, dialect string) int {
	t.Helper()
	steps, err := migrations.ReadDir("migrations/" + dialect)
	if err != nil || len(steps) == 0 {
		t.Fatalf("migrations of %s: %d, %v", dialect, len(steps), err)
	}
	return len(steps)
}
