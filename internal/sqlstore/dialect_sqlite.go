package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/pressly/goose/v3"
	sqlite "modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Settings of every SQLite connection. FULL: a commit is on the disk before anyone is answered. A busy lock is waited for no
// longer than a client waits; batches, not patience, are what carries load.
const (
	sqliteBusyTimeoutMs  = 1500 // and, once it was in vain, hardly at all: a client is told within two seconds
	sqliteHeldTimeoutMs  = 25
	sqliteCacheKiB       = 32 << 10 // of the writer
	sqliteReadCacheKiB   = 8 << 10  // of each reader
	sqliteReaders        = 4
	sqliteCheckpointPage = 16000    // pages in the write-ahead log before they are copied into the file: 64 MB
	sqliteJournalBytes   = 72 << 20 // what is left of a write-ahead log that a long look (an audit) has let grow
)

// sqliteDialect runs inside this process: its clock is the process's, and its one writer's lock holds everything from the start.
var sqliteDialect = dialect{
	name: "sqlite", goose: goose.DialectSQLite3,
	alone: true, prepares: true,
	begin:    `BEGIN IMMEDIATE`,
	snapshot: []string{`BEGIN DEFERRED`},
	window:   []string{`BEGIN DEFERRED`},
	breaks:   func(err error) bool { return errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) },
	commit:   commitSQLite,
	claim:    `INSERT INTO ledger_batches (batch_id, at) VALUES (?, ?)`,

	join:      "CROSS JOIN", // keeps the order of the tables; left to itself SQLite scans all orders
	indexedBy: func(index string) string { return " INDEXED BY " + index },
	present:   `SELECT COUNT(*) FROM sqlite_schema WHERE name = ?`,

	// The index on users is one by segments (see the schema): segments names those that hold orders, each found by one step in the
	// primary key.
	orders: sqliteOrders,
	ofUser: func(id string, before, until int64) (with, source, newestFirst string, args []any) {
		with, source = sqliteOrders("= ?")
		source += ` AND orders.order_no < ? AND orders.order_no >= ?` // a segment may reach beyond them
		return with, source, `order_no DESC`, []any{before, until, id, before, until}
	},
	numberText: `(orders.order_no / 10000000000) || printf('%07d', orders.order_no % 10000000000)`,

	events: insertEventsSQLite,
	stream: func(ctx context.Context, s *snapshot, query string) (*stream, error) {
		return streamRows(ctx, s, query)
	},
	insert: insertRows,
	update: updateEach,
}

// sqliteOrders is orders of the dialect.
func sqliteOrders(user string) (with, source string) {
	return `WITH RECURSIVE segment (s) AS (
		SELECT (SELECT MAX(order_no) FROM orders WHERE order_no < ?) / 4096
		UNION ALL
		SELECT (SELECT MAX(order_no) FROM orders WHERE order_no < segment.s * 4096 AND order_no >= ?) / 4096
		FROM segment WHERE segment.s IS NOT NULL) `,
		`segment CROSS JOIN orders ON orders.order_no / 4096 = segment.s AND orders.user_id ` + user
}

var (
	intoOutboxSQLite  = into(`outbox`, `id int, subject_kind text, subject text, sequence int, type text, at int, data text`)
	intoWaitingSQLite = into(`outbox_waiting`, `shard int, event_id int`)
)

// insertEventsSQLite numbers events on from the last one: there is one writer, and the newest event is never thrown away.
func insertEventsSQLite(ctx context.Context, t *tx, events []event.Event) error {
	var last int64
	found, err := t.query(ctx, `SELECT COALESCE(MAX(id), 0) FROM outbox`)
	if err := scan(found, err, func(r *sql.Rows) error { return r.Scan(&last) }); err != nil {
		return err
	}
	ids := make([]int64, len(events))
	for i := range ids {
		ids[i] = last + 1 + int64(i)
	}
	err = t.insert(ctx, &intoOutboxSQLite, len(events), func(a []any, i int) []any {
		e := &events[i]
		return append(a, ids[i], string(e.Subject.Kind), e.Subject.ID, e.Sequence, string(e.Type), ms(e.Time), string(e.Data))
	})
	if err != nil {
		return err
	}
	return t.insert(ctx, &intoWaitingSQLite, len(events), func(a []any, i int) []any {
		return append(a, int64(events[i].Subject.Shard()), ids[i])
	})
}

func commitSQLite(ctx context.Context, t *tx) error {
	_, err := t.exec(ctx, `COMMIT`)
	switch {
	case errors.Is(err, errFull):
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
	case errors.Is(err, errHeld):
		return fmt.Errorf("%w: %w: %w", ledger.ErrNotCommitted, ledger.ErrRetry, err)
	}
	return err
}

// errNoTransaction: there was nothing to roll back; SQLite ends a transaction by itself on some errors.
var errNoTransaction = errors.New("no transaction is open")

// errHeld: another program has the lock that writing takes. errFull: there is no room for what was to be written.
var (
	errHeld = errors.New("another process holds the database")
	errFull = errors.New("the disk is full")
)

func (s *Store) openSQLite(ctx context.Context, path string, opt Options) error {
	if path == ":memory:" {
		return s.openSQLiteMemory(ctx)
	}
	if opt.ReadOnly {
		return s.openSQLiteReadOnly(ctx, path)
	}
	if err := checkFolder(path); err != nil {
		return err
	}
	s.path = path
	var err error
	if s.lock, err = takeFileLock(realPath(path) + ".lock"); err != nil {
		return err
	}
	s.write, err = sql.Open("sqlite", sqliteDSN(path, "journal_mode(WAL)", "synchronous(FULL)",
		fmt.Sprintf("cache_size(-%d)", sqliteCacheKiB), fmt.Sprintf("wal_autocheckpoint(%d)", sqliteCheckpointPage),
		fmt.Sprintf("journal_size_limit(%d)", sqliteJournalBytes)))
	if err != nil {
		return err
	}
	if err := s.checkDurable(ctx); err != nil {
		return err
	}
	return s.openSQLiteReaders(ctx, path)
}

// checkDurable makes sure that the writer got what promise 2 rests on: a file system may refuse the write-ahead log.
func (s *Store) checkDurable(ctx context.Context) error {
	var mode string
	var synchronous int
	if err := s.write.QueryRowContext(ctx, `PRAGMA journal_mode`).Scan(&mode); err != nil {
		return err
	}
	if err := s.write.QueryRowContext(ctx, `PRAGMA synchronous`).Scan(&synchronous); err != nil {
		return err
	}
	const full = 2
	if mode != "wal" || synchronous != full {
		return fmt.Errorf("commits would not be durable: journal_mode is %s and synchronous %d, needed are wal and %d", mode, synchronous, full)
	}
	return nil
}

// realPath is the one name of a file that may have several, so that its lock has one too.
func realPath(path string) string {
	if resolved, err := filepath.EvalSymlinks(path); err == nil {
		return resolved
	}
	return path
}

// openSQLiteMemory opens a record that nobody else sees and that ends with its last connection.
func (s *Store) openSQLiteMemory(ctx context.Context) error {
	dsn := sqliteDSN(fmt.Sprintf("/holdfast-%d", memories.Add(1)), "synchronous(OFF)") + "&vfs=memdb"
	for _, db := range []**sql.DB{&s.write, &s.read} {
		var err error
		if *db, err = sql.Open("sqlite", dsn); err != nil {
			return err
		}
		if err := (*db).PingContext(ctx); err != nil {
			return err
		}
	}
	s.read.SetMaxOpenConns(1)
	return nil
}

var memories atomic.Int64 // numbers them

func (s *Store) openSQLiteReadOnly(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err != nil {
		return err
	}
	if err := s.openSQLiteReaders(ctx, path); err != nil {
		return err
	}
	s.write = s.read
	return nil
}

func (s *Store) openSQLiteReaders(ctx context.Context, path string) error {
	var err error
	s.read, err = sql.Open("sqlite", sqliteDSN(path, "query_only(1)", fmt.Sprintf("cache_size(-%d)", sqliteReadCacheKiB)))
	if err != nil {
		return err
	}
	s.read.SetMaxOpenConns(sqliteReaders)
	s.read.SetMaxIdleConns(sqliteReaders)
	return s.read.PingContext(ctx)
}

func sqliteDSN(path string, pragmas ...string) string {
	v := url.Values{}
	v.Add("_pragma", fmt.Sprintf("busy_timeout(%d)", sqliteBusyTimeoutMs))
	for _, p := range pragmas {
		v.Add("_pragma", p)
	}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + v.Encode()
}

// checkFolder says plainly what SQLite would call "unable to open database file".
func checkFolder(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the folder %s does not exist", dir)
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%s is not a folder", dir)
	}
	probe, err := os.CreateTemp(dir, ".holdfast-probe-*")
	if err != nil {
		return fmt.Errorf("the folder %s cannot be written: %w", dir, err)
	}
	_ = probe.Close()
	return os.Remove(probe.Name())
}

// classifySQLite turns a driver's error into what the ledger knows of, or into the fault of a record that cannot be used now.
func classifySQLite(e *sqlite.Error, err error) error {
	switch e.Code() {
	case sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_ROWID:
		return fmt.Errorf("%w: %w", ledger.ErrDuplicate, err)
	case sqlite3.SQLITE_BUSY_SNAPSHOT:
		return fmt.Errorf("%w: %w", ledger.ErrRetry, err)
	}
	if strings.Contains(e.Error(), "no transaction is active") {
		return fmt.Errorf("%w: %w", errNoTransaction, err)
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_RANGE:
		return fmt.Errorf("%w: %w", ledger.ErrRefused, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fault.ErrUnavailable.Because(fmt.Errorf("%w: %w", errHeld, err))
	case sqlite3.SQLITE_FULL:
		return fault.ErrUnavailable.Because(fmt.Errorf("%w: %w", errFull, err))
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM:
		return fault.ErrUnavailable.Because(err)
	}
	return err
}
