// Package sqlstore is the record: the only package that speaks SQL. Queries are whole texts beside the methods that run
// them; what differs between databases is in dialect_*.go.
package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"sync"
	"time"
)

// Options of a Store.
type Options struct {
	// Clock is the record's clock where the database runs inside this process (SQLite); time.Now unless a test owns time.
	Clock func() time.Time
	// ReadOnly opens an existing record for looking only, beside whoever serves it.
	ReadOnly bool
}

// Store is an open record.
type Store struct {
	write *sql.DB
	read  *sql.DB
	clock func() time.Time
	lock  *fileLock

	path       string // of the file; "": none
	statements kinds
	writer     *writer
	args       []any      // of bulk inserts, reused by whoever has the writer's turn
	looking    statements // on read
}

// Open opens the record that url names and takes it for this process. SQLite: sqlite:PATH, or sqlite::memory: for tests.
// Another process that holds it is an error that says so.
func Open(ctx context.Context, url string, opt Options) (*Store, error) {
	if opt.Clock == nil {
		opt.Clock = time.Now
	}
	s := &Store{clock: opt.Clock}
	if err := s.openSQLite(ctx, url, opt); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open %s: %w", url, err)
	}
	s.writer, s.looking.db = newWriter(s.write, &s.statements), s.read
	return s, nil
}

// Close ends all connections and lets the record go.
func (s *Store) Close() error {
	s.looking.close()
	s.writer.close()
	var first error
	for _, db := range []*sql.DB{s.read, s.write} {
		if db == nil {
			continue
		}
		if err := db.Close(); err != nil && first == nil {
			first = err
		}
	}
	if s.lock != nil {
		s.lock.release()
	}
	return first
}

// now is the record's clock in whole milliseconds: what is shown is what decides.
func (s *Store) now() time.Time { return at(s.clock().UnixMilli()) }

// Now asks the record for its clock. It is also the cheapest proof that the record answers.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	var one int
	if err := s.queryRow(ctx, `SELECT 1`).Scan(&one); err != nil {
		return time.Time{}, fmt.Errorf("ask the clock: %w", err)
	}
	return s.now(), nil
}

// Times are whole milliseconds in the record; the zero time is NULL.

func at(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

func ms(t time.Time) int64 { return t.UnixMilli() }

func msOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

func atOrZero(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return at(ms.Int64)
}

func textOrNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// statements keeps prepared statements by their text. Texts are bounded in number: lists come in sizes that are powers of
// two, filters in a few combinations.
type statements struct {
	db *sql.DB
	mu sync.Mutex
	by map[string]*sql.Stmt
}

func (s *statements) get(ctx context.Context, query string) (*sql.Stmt, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stmt, ok := s.by[query]; ok {
		return stmt, nil
	}
	stmt, err := s.db.PrepareContext(ctx, query) //nolint:sqlclosecheck // closed with the store
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	if s.by == nil {
		s.by = map[string]*sql.Stmt{}
	}
	s.by[query] = stmt
	return stmt, nil
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stmt := range s.by {
		_ = stmt.Close()
	}
	s.by = nil
}

// row is the one row of a query, or why there is none.
type row struct {
	*sql.Row
	err error
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	return r.Row.Scan(dest...)
}

// query runs a look outside of any batch.
func (s *Store) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := s.looking.get(ctx, query) //nolint:sqlclosecheck // closed with the store
	if err != nil {
		return nil, err
	}
	s.statements.count(query)
	return stmt.QueryContext(ctx, args...)
}

func (s *Store) queryRow(ctx context.Context, query string, args ...any) row {
	stmt, err := s.looking.get(ctx, query) //nolint:sqlclosecheck // closed with the store
	if err != nil {
		return row{err: err}
	}
	s.statements.count(query)
	return row{Row: stmt.QueryRowContext(ctx, args...)}
}

// exec writes something that no batch has to do with (keys, settings), in a transaction of its own.
func (s *Store) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return s.writer.once(ctx, query, args...)
}

// scan reads all rows of a query with one function.
func scan(rows *sql.Rows, err error, each func(*sql.Rows) error) error {
	if err != nil {
		return classify(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := each(rows); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	if err := rows.Err(); err != nil {
		return classify(err)
	}
	return nil
}
