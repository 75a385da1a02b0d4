package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
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

// MakeTables does in an empty record what Migrate does, from the same files. Hundreds of tests want one, and goose reads each line of a
// migration into a buffer of 4 MB that, under the race detector, is often a new one.
func (s *Store) MakeTables(ctx context.Context) error {
	m, err := s.migrator()
	if err != nil {
		return err
	}
	if _, err := m.GetDBVersion(ctx); err != nil { // makes goose's own table
		return err
	}
	conn, err := cmp.Or(s.patient, s.write).Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // a test
	steps := []string{`BEGIN`}
	for _, source := range m.ListSources() {
		text, err := fs.ReadFile(migrations, "migrations/"+s.dialect.name+"/"+source.Path)
		if err != nil {
			return err
		}
		_, up, _ := strings.Cut(string(text), "-- +goose Up")
		up, _, _ = strings.Cut(up, "-- +goose Down")
		if s.dialect == &mysqlDialect { // which takes one statement at a time
			steps = append(steps, statementEnd.Split(strings.TrimSpace(up), -1)...)
		} else {
			steps = append(steps, up)
		}
		steps = append(steps, fmt.Sprintf(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (%d, TRUE)`, source.Version))
	}
	for _, step := range append(steps, `COMMIT`) {
		if step == "" {
			continue
		}
		if _, err := conn.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("%w: %s", err, step)
		}
	}
	return nil
}

var statementEnd = regexp.MustCompile(`;(?:\n|$)`)

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
