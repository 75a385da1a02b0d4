// Package sqlstore is the record: the only package that speaks SQL. Queries are whole texts beside the methods that run
// them; what differs between databases is in dialect_*.go.
package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Options of a Store.
type Options struct {
	// Clock is the record's clock where the database runs inside this process (SQLite); time.Now unless a test owns time. A
	// server's own clock is what decides there, and only tests put another in its place.
	Clock func() time.Time
	// ReadOnly opens an existing record for looking only, beside whoever serves it.
	ReadOnly bool
	// Degraded opens a server although its settings may lose what was committed. Which, is told by Weaknesses.
	Degraded bool
}

// Store is an open record.
type Store struct {
	dialect *dialect
	write   *sql.DB
	read    *sql.DB
	clock   func() time.Time // nil: the database's
	lock    *fileLock
	patient *sql.DB  // of a server: for migrations
	weak    []string // settings by which a commit may be lost

	path       string // of the file; "": none
	statements kinds
	spelled    spellings
	writer     *writer
	looking    prepared // on read
	used       usedPieces

	watched func(ctx context.Context, on explainer, query string, args []any) // told of each look before it is made; nil: nobody is
}

// Open opens the record with a name. SQLite: sqlite:PATH, or sqlite::memory: for tests; it is taken for this process, and another
// process that holds it is an error that says so. PostgreSQL: postgres://USER:PASSWORD@HOST:PORT/DATABASE, and what its own URLs
// know besides. MySQL and MariaDB: mysql://USER:PASSWORD@HOST:PORT/DATABASE, see parseMySQL.
// The name is shown without its secrets.
func Open(ctx context.Context, named string, opt Options) (*Store, error) {
	s := &Store{clock: opt.Clock}
	if err := s.open(ctx, named, opt); err != nil {
		_ = s.Close()
		return nil, fmt.Errorf("open %s: %w", shown(named), err)
	}
	return s, nil
}

var errUnknown = errors.New("a record is named sqlite:PATH, postgres://… or mysql://…")

// shown is a URL without what nobody may read.
func shown(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		kind, _, _ := strings.Cut(text, ":")
		return kind + ":…"
	}
	if u.Opaque != "" || u.RawQuery == "" {
		return u.Redacted()
	}
	u.RawQuery = "…"
	return u.Redacted()
}

func (s *Store) open(ctx context.Context, named string, opt Options) (err error) {
	switch kind, rest, _ := strings.Cut(named, ":"); {
	case kind == "sqlite" && rest != "":
		s.dialect = &sqliteDialect
		err = s.openSQLite(ctx, rest, opt)
	case kind == "mysql":
		s.dialect = &mysqlDialect
		err = s.openMySQL(ctx, named, opt)
	case kind == "postgres" || kind == "postgresql":
		s.dialect = &postgresDialect
		err = s.openPostgres(ctx, named, opt)
	default:
		err = errUnknown
	}
	if err != nil {
		return err
	}
	if len(s.weak) > 0 && !opt.Degraded {
		return fmt.Errorf("commits would not be durable: %s", strings.Join(s.weak, "; "))
	}
	if s.dialect.now == "" && s.clock == nil {
		s.clock = time.Now
	}
	s.writer, s.looking.db = newWriter(s, s.write, s.dialect.alone), s.read
	return nil
}

// Weaknesses are the database's settings by which it may lose what it has committed, each with what it must be. None on SQLite.
func (s *Store) Weaknesses() []string { return s.weak }

// Close ends all connections and lets the record go.
func (s *Store) Close() error {
	s.looking.close()
	s.writer.close()
	var first error
	for _, db := range []*sql.DB{s.read, s.write, s.patient} {
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

// now is the record's clock in whole milliseconds: what is shown is what decides. A server is asked, by q, in a statement of its
// own.
func (s *Store) now(ctx context.Context, q querier) (time.Time, error) {
	if s.clock != nil {
		return at(ms(s.clock())), nil
	}
	var now int64
	rows, err := q.query(ctx, `SELECT `+s.dialect.now)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&now) })
	if err != nil {
		return time.Time{}, fmt.Errorf("ask the clock: %w", err)
	}
	return at(now), nil
}

// Now asks the record for its clock. It is also the cheapest proof that the record answers.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if s.clock != nil {
		var one int
		if err := s.queryRow(ctx, `SELECT 1`).Scan(&one); err != nil {
			return time.Time{}, fmt.Errorf("ask the clock: %w", classify(err))
		}
	}
	return s.now(ctx, s)
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

// prepared keeps prepared statements by their text. Texts are bounded in number: lists come in sizes that are powers of two,
// filters in a few combinations.
type prepared struct {
	db *sql.DB
	mu sync.Mutex
	by map[string]*sql.Stmt
}

func (p *prepared) get(ctx context.Context, query string) (*sql.Stmt, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if stmt, ok := p.by[query]; ok {
		return stmt, nil
	}
	stmt, err := p.db.PrepareContext(ctx, query) //nolint:sqlclosecheck // closed with the store
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", err)
	}
	if p.by == nil {
		p.by = map[string]*sql.Stmt{}
	}
	p.by[query] = stmt
	return stmt, nil
}

func (p *prepared) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, stmt := range p.by {
		_ = stmt.Close()
	}
	p.by = nil
}

// querier is a batch's transaction, a snapshot or, for looks, the store.
type querier interface {
	query(ctx context.Context, query string, args ...any) (*rows, error)
	// look calls each for every row of a query; of a transaction, it may do so only when it is flushed.
	look(ctx context.Context, query string, args []any, each func(scanner) error) error
	speaks() *dialect
}

func (s *Store) speaks() *dialect { return s.dialect }

func (s *Store) spelt(query string) string { return s.spelled.of(s.dialect, query) }

// query runs a look outside of any batch.
func (s *Store) query(ctx context.Context, query string, args ...any) (*rows, error) {
	s.statements.count(query)
	if s.watched != nil {
		s.watched(ctx, s.read, query, args)
	}
	ctx, cancel := s.limited(ctx)
	var found *sql.Rows
	var err error
	if s.dialect.prepares {
		var stmt *sql.Stmt
		if stmt, err = s.looking.get(ctx, query); err == nil { //nolint:sqlclosecheck // closed with the store
			found, err = stmt.QueryContext(ctx, args...) //nolint:rowserrcheck // scan does
		}
	} else {
		found, err = s.read.QueryContext(ctx, s.spelt(query), args...) //nolint:rowserrcheck // scan does
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return &rows{found, cancel}, nil
}

// row is the one row of a query, or why there is none.
type row struct {
	rows *rows
	err  error
}

func (s *Store) queryRow(ctx context.Context, query string, args ...any) row {
	found, err := s.query(ctx, query, args...)
	return row{found, err}
}

func (r row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	defer r.rows.close()
	if !r.rows.Next() {
		return cmp.Or(r.rows.Err(), sql.ErrNoRows)
	}
	if err := r.rows.Scan(dest...); err != nil {
		return err
	}
	return r.rows.Close()
}

// exec writes something that no batch has to do with (keys, settings), in a transaction of its own.
func (s *Store) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return s.writer.once(ctx, query, args...)
}

// scan reads all rows of a query with one function.
func scan(found *rows, err error, each func(*sql.Rows) error) error {
	if err != nil {
		return classify(err)
	}
	defer found.close()
	for found.Next() {
		if err := each(found.Rows); err != nil {
			return fmt.Errorf("scan: %w", err)
		}
	}
	if err := found.Err(); err != nil {
		return classify(err)
	}
	return nil
}
