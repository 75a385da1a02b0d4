package bench

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"embed"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

const (
	sqliteBusyTimeout = 10 * time.Second
	databaseTimeout   = 30 * time.Second // of making and dropping one
	seriesMax         = 1_000_000
)

// dialect is what differs between databases for whoever in the bench speaks SQL: the rivals, and history.
type dialect struct {
	title     string
	folder    string           // of its tables
	numbered  bool             // placeholders are $1, $2, … and not ?
	text      string           // the type that makes a text of a number
	eventID   string           // a new id for the outbox; NULL: the table gives one
	hash      string           // 16 bytes as those of an idempotency key, of an order o
	keyName   string           // the column of those
	lastID    string           // the id that this session's last insert was given
	returning bool             // an UPDATE can return a row
	skips     bool             // it has FOR UPDATE SKIP LOCKED
	series    string           // a source of rows with i = 1, 2, … up to its one parameter, which is at most seriesMax
	version   string           // asks for its version
	drop      string           // drops a database with whoever is still connected to it
	settle    []string         // what a database does by itself some time after much was written to it
	forbidden func(error) bool // who may not ask for that
	transient func(error) bool
	echo      target // flash-sale ÷ echo
	rowLock   target // flash-sale ÷ row-lock
}

// settled has a database do at once what it would do beside whatever is measured next, as far as its user may ask for it.
func (d *dialect) settled(ctx context.Context, db *sql.DB) error {
	for _, statement := range d.settle {
		if _, err := db.ExecContext(ctx, statement); err != nil && (d.forbidden == nil || !d.forbidden(err)) {
			return fmt.Errorf("%.40s: %w", statement, err)
		}
	}
	return nil
}

// settleRecord does it to the database of a run, if there is something to do.
func (r *runner) settleRecord(ctx context.Context, s *stand) error {
	if d, err := dialectOf(s.database); err != nil || len(d.settle) == 0 {
		return err
	}
	r.progress.stage("expiry-lag: the database settles")
	db, d, err := openDatabase(ctx, s.database, 1)
	if err != nil {
		return err
	}
	return errors.Join(d.settled(ctx, db), db.Close())
}

// errUnreadableURL does not show it: it may hold a password.
var errUnreadableURL = fmt.Errorf("%w: the database's URL cannot be read", ErrOptions)

// target is what a ratio has to reach, and what it should.
type target struct{ bar, goal float64 }

var (
	onSQLite = &dialect{
		title: "SQLite", folder: "sqlite", text: "TEXT", eventID: "NULL", lastID: "last_insert_rowid()", returning: true,
		hash: "randomblob(16)", keyName: "key",
		series:  "(WITH RECURSIVE series (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM series WHERE i < ?) SELECT i FROM series)",
		version: "SELECT sqlite_version()",
		transient: func(err error) bool {
			var failure *sqlite.Error
			return errors.As(err, &failure) && failure.Code()&0xff == sqlite3.SQLITE_BUSY
		},
		echo: target{0.20, 0.50}, rowLock: target{3, 10},
	}
	onPostgres = &dialect{
		title: "PostgreSQL", folder: "postgres", numbered: true, text: "TEXT", eventID: "nextval('outbox_ids')", lastID: "lastval()",
		hash: "decode(md5(CAST(o.order_no AS TEXT)), 'hex')", keyName: "key", returning: true, skips: true,
		series: "generate_series(1, CAST(? AS bigint)) AS series (i)",
		settle: []string{"VACUUM (ANALYZE)", "CHECKPOINT"}, // the log is written into files that are there, not into ones that a COMMIT has to make
		forbidden: func(err error) bool {
			var failure *pgconn.PgError
			return errors.As(err, &failure) && failure.Code == "42501"
		},
		version: "SHOW server_version", drop: "DROP DATABASE %s WITH (FORCE)",
		transient: func(err error) bool { // serialization failure, deadlock
			var failure *pgconn.PgError
			return errors.As(err, &failure) && (failure.Code == "40001" || failure.Code == "40P01")
		},
		echo: target{0.22, 0.45}, rowLock: target{7, 18},
	}
	onMySQL = &dialect{
		title: "MySQL", folder: "mysql", text: "CHAR", eventID: "NULL", lastID: "LAST_INSERT_ID()", skips: true,
		hash: "LEFT(UNHEX(SHA2(o.order_no, 256)), 16)", keyName: "`key`",
		// A recursion of the two ends after 1 000 rows unless a setting, which each calls otherwise, lets it go on.
		series: `(WITH RECURSIVE k (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM k WHERE i < 999)
		    SELECT 1000 * a.i + b.i + 1 AS i FROM k AS a CROSS JOIN k AS b WHERE 1000 * a.i + b.i < ?) AS series`,
		settle:  []string{"ANALYZE TABLE orders, order_lines, order_transitions, payments, refunds, stock, stock_ledger, products, outbox, event_log, idempotency_keys"},
		version: "SELECT version()", drop: "DROP DATABASE %s",
		transient: func(err error) bool { // lock wait timeout, deadlock, record changed since it was read
			var failure *mysql.MySQLError
			return errors.As(err, &failure) && (failure.Number == 1205 || failure.Number == 1213 || failure.Number == 1020)
		},
		echo: target{0.15, 0}, rowLock: target{5, 12},
	}
)

// dialectOf knows a database by its URL. The empty one is a new SQLite file.
func dialectOf(databaseURL string) (*dialect, error) {
	switch scheme, _, _ := strings.Cut(databaseURL, ":"); scheme {
	case "", "sqlite":
		return onSQLite, nil
	case "postgres", "postgresql":
		return onPostgres, nil
	case "mysql":
		return onMySQL, nil
	default:
		return nil, fmt.Errorf("%w: a database is sqlite:PATH, postgres://… or mysql://…", ErrOptions)
	}
}

// placeholders writes a statement's question marks as the database wants them. None of ours stands in a text.
func (d *dialect) placeholders(statement string) string {
	if !d.numbered {
		return statement
	}
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(statement, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		statement = after
	}
}

// openDatabase opens a database with so many connections. Every transaction is at READ COMMITTED, or SQLite's own.
func openDatabase(ctx context.Context, databaseURL string, pool int) (db *sql.DB, d *dialect, err error) {
	if d, err = dialectOf(databaseURL); err != nil {
		return nil, nil, err
	}
	switch d {
	case onSQLite:
		query := url.Values{"_txlock": {"immediate"}, "_pragma": {
			"journal_mode(WAL)", "synchronous(FULL)", fmt.Sprintf("busy_timeout(%d)", sqliteBusyTimeout.Milliseconds()),
			"cache_size(-32768)", "wal_autocheckpoint(4000)", // Holdfast's own
		}}
		db, err = sql.Open("sqlite", "file:"+strings.TrimPrefix(databaseURL, "sqlite:")+"?"+query.Encode())
	case onPostgres:
		db, err = sql.Open("pgx", databaseURL)
	case onMySQL:
		db, err = openMySQL(databaseURL)
	}
	if err != nil {
		return nil, nil, err
	}
	db.SetMaxOpenConns(pool)
	db.SetMaxIdleConns(pool)
	if err := db.PingContext(ctx); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("connect to the database: %w", err), db.Close())
	}
	return db, d, nil
}

func openMySQL(databaseURL string) (*sql.DB, error) {
	u, err := url.Parse(databaseURL)
	if err != nil {
		return nil, errUnreadableURL
	}
	config := mysql.NewConfig()
	config.Net, config.Addr, config.DBName = "tcp", cmp.Or(u.Host, "127.0.0.1:3306"), strings.TrimPrefix(u.Path, "/")
	if u.Port() == "" {
		config.Addr = u.Hostname() + ":3306"
	}
	config.User = u.User.Username()
	config.Passwd, _ = u.User.Password()
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(readCommitted{connector}), nil
}

// readCommitted sets the isolation of each new connection: its setting's name differs between MySQL and MariaDB, and asking for
// it with every transaction would cost the rivals a round trip.
type readCommitted struct{ driver.Connector }

func (c readCommitted) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	execer, ok := conn.(driver.ExecerContext)
	if !ok {
		return nil, errors.Join(errors.New("the driver cannot run a statement"), conn.Close())
	}
	if _, err := execer.ExecContext(ctx, "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", nil); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// newDatabase is a database for a server under test: a SQLite file in its folder, or a new database on the server that the
// options name, dropped with the stand. What the options name is only connected to: whatever is in it stays as it is.
func (r *runner) newDatabase(ctx context.Context, s *stand, name string) (string, error) {
	d, err := dialectOf(r.o.DatabaseURL)
	if err != nil || d == onSQLite {
		return "sqlite:" + filepath.Join(s.dir, name+".db"), err
	}
	u, err := url.Parse(r.o.DatabaseURL)
	if err != nil {
		return "", errUnreadableURL
	}
	name = "holdfast_bench_" + randomHex(6)
	if err := r.onDatabaseServer(ctx, "CREATE DATABASE "+name); err != nil {
		return "", fmt.Errorf("make a database of its own for the run: %w", err)
	}
	s.drop = func() error {
		// A run that was stopped leaves nothing behind, either.
		if err := r.onDatabaseServer(context.WithoutCancel(ctx), fmt.Sprintf(d.drop, name)); err != nil {
			return fmt.Errorf("drop the database %s: %w", name, err)
		}
		return nil
	}
	u.Path = "/" + name
	return u.String(), nil
}

func (r *runner) onDatabaseServer(ctx context.Context, statement string) error {
	ctx, cancel := context.WithTimeout(ctx, databaseTimeout)
	defer cancel()
	db, _, err := openDatabase(ctx, r.o.DatabaseURL, 1)
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	return errors.Join(err, db.Close())
}

// databaseVersion is for the report; a database that does not tell is not worth a failure after the run.
func (r *runner) databaseVersion(ctx context.Context) string {
	db, d, err := openDatabase(ctx, r.o.DatabaseURL, 1)
	if err != nil {
		return "unknown"
	}
	defer db.Close() //nolint:errcheck // it was only asked
	var version string
	if err := db.QueryRowContext(ctx, d.version).Scan(&version); err != nil {
		return d.title
	}
	if strings.Contains(version, "MariaDB") { // which speaks MySQL's protocol
		return "MariaDB " + version
	}
	return d.title + " " + version
}

//go:embed tables/*.sql
var tableFiles embed.FS

// makeTables runs the statements of a file of tables.
func makeTables(ctx context.Context, db *sql.DB, file string) error {
	text, err := tableFiles.ReadFile("tables/" + file + ".sql")
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("make tables: %w", err)
		}
	}
	return nil
}
