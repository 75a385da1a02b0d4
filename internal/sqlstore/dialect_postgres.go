package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of every PostgreSQL connection. The server ends what takes too long, and the session of a process that was stopped inside
// its transaction; a server that is not heard of any more is given up a little later.
const (
	postgresStatementMax = 3 * time.Second
	postgresLockMax      = 2 * time.Second
	postgresIdleMax      = 2 * time.Second // inside a transaction
	postgresAnswerMax    = 4 * time.Second // of a statement, of a connection, of a place in the pool
	postgresSnapshotMax  = 5 * time.Minute // of a statement of an audit

	postgresWriters = 8
	postgresReaders = 16

	postgresFetch = 2000 // rows of an audit's table at a time
)

var postgresDialect = dialect{
	name: "postgres", goose: goose.DialectPostgres,
	lockMigrations:   `SELECT pg_try_advisory_lock(` + postgresMigrations + `)`,
	unlockMigrations: `SELECT pg_advisory_unlock(` + postgresMigrations + `)`,
	arrays:           true,
	backup:           "the record is on PostgreSQL: copy it with pg_dump, or with pg_basebackup and the write-ahead log, and check the copy with holdfast audit",
	begin:            `BEGIN ISOLATION LEVEL READ COMMITTED`,
	snapshot: append(slices.Clone(postgresWindow),
		`SET LOCAL enable_seqscan = on`, // it reads whole tables
		`SET LOCAL cursor_tuple_fraction = 1`,
	),
	window: postgresWindow,
	breaks: breaksSession,
	commit: commitPostgres,
	claim:  `INSERT INTO ledger_batches (batch_id, at) VALUES (?, COALESCE(?, ` + postgresNow + `))`,
	spell:  numbered,

	lock:      ` FOR UPDATE`,
	join:      "JOIN",
	indexedBy: func(string) string { return "" },
	present:   `SELECT COUNT(to_regclass(?))`,
	// The numbers are not to be looked up in an index: what one user has ordered is fewer than what was ordered in a time.
	orders: func(user string) (with, source string) {
		return "", `(SELECT * FROM orders WHERE order_no + 0 < ? AND order_no + 0 >= ? AND user_id ` + user + `) AS orders`
	},
	// Whoever wants the newest must not read all of a user's, who may have many: no other index has what is asked for in this order.
	ofUser: func(id string, before, until int64) (with, source, newestFirst string, args []any) {
		return "", `(SELECT * FROM orders WHERE (user_id, order_no) < (?, ?) AND (user_id, order_no) >= (?, ?)) AS orders`,
			`user_id DESC, order_no DESC`, []any{id, before, id, until}
	},
	numberText: `CAST(orders.order_no / 10000000000 AS TEXT) || to_char(orders.order_no % 10000000000, 'FM9990000000')`,

	now:    postgresNow,
	events: insertEventsPostgres,
	stream: streamCursor,
	insert: insertArrays,
	update: updateArrays,

	together: sendPostgres,

	statementMax: postgresAnswerMax,
}

var postgresWindow = []string{
	`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`, //nolint:dupword // as it is written
	fmt.Sprintf(`SET LOCAL statement_timeout = %d`, postgresSnapshotMax.Milliseconds()),
	fmt.Sprintf(`SET LOCAL idle_in_transaction_session_timeout = %d`, postgresSnapshotMax.Milliseconds()),
}

// postgresMigrations names the lock among all that programs take in a database.
const postgresMigrations = `7310577383525806708` // "holdfast", as bytes

const postgresNow = `CAST(floor(extract(epoch FROM clock_timestamp()) * 1000) AS BIGINT)`

// openPostgres opens the two pools: one of sessions that write, one of those that look. Both are of the primary.
func (s *Store) openPostgres(ctx context.Context, url string, opt Options) error {
	cfg, err := postgresConfig(url)
	if err != nil {
		return err
	}
	if opt.ReadOnly {
		cfg.RuntimeParams["default_transaction_read_only"] = "on"
	}
	s.write = openPool(cfg, postgresWriters)
	s.read = openPool(cfg, postgresReaders)
	patient := cfg.Copy()
	patient.RuntimeParams["statement_timeout"] = "0" // an index on a large table takes its time
	s.patient = openPool(patient, 2)
	s.patient.SetMaxIdleConns(0)
	return s.checkPostgres(ctx)
}

func postgresConfig(url string) (*pgx.ConnConfig, error) {
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{
		"application_name":                    "holdfast",
		"lock_timeout":                        strconv.FormatInt(postgresLockMax.Milliseconds(), 10),
		"statement_timeout":                   strconv.FormatInt(postgresStatementMax.Milliseconds(), 10),
		"idle_in_transaction_session_timeout": strconv.FormatInt(postgresIdleMax.Milliseconds(), 10),
		"default_transaction_isolation":       "read committed",
		"tcp_keepalives_idle":                 "2",
		"tcp_keepalives_interval":             "1",
		"tcp_keepalives_count":                "3",
		"tcp_user_timeout":                    "5000",
		// All looks but the audit's are for few rows. A plan that is made while a table is small, and kept, must not be one that
		// reads it all.
		"enable_seqscan": "off",
		"jit":            "off",
	} {
		if _, set := cfg.RuntimeParams[name]; !set {
			cfg.RuntimeParams[name] = value
		}
	}
	if cfg.ConnectTimeout == 0 || cfg.ConnectTimeout > postgresAnswerMax {
		cfg.ConnectTimeout = postgresAnswerMax
	}
	cfg.DialFunc = (&net.Dialer{
		Timeout:         cfg.ConnectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3},
	}).DialContext
	return cfg, nil
}

func openPool(cfg *pgx.ConnConfig, connections int) *sql.DB {
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	db.SetConnMaxIdleTime(5 * time.Minute)
	return db
}

// checkPostgres looks whether the server can be what the promises rest on.
func (s *Store) checkPostgres(ctx context.Context) error {
	settings := map[string]string{}
	found, err := s.query(ctx, `SELECT name, setting FROM pg_settings WHERE name IN
		('server_version_num', 'server_encoding', 'fsync', 'full_page_writes', 'synchronous_commit')`)
	err = scan(found, err, func(r *sql.Rows) error {
		var name, setting string
		err := r.Scan(&name, &setting)
		settings[name] = setting
		return err
	})
	if err != nil {
		return err
	}
	if version, _ := strconv.Atoi(settings["server_version_num"]); version < 130000 {
		return fmt.Errorf("PostgreSQL 13 or later is needed; this is %s", settings["server_version_num"])
	}
	if settings["server_encoding"] != "UTF8" {
		return fmt.Errorf("the database's encoding is %s; it must be UTF8, which is said when it is created", settings["server_encoding"])
	}
	for _, name := range []string{"fsync", "full_page_writes", "synchronous_commit"} {
		if settings[name] == "off" {
			s.weak = append(s.weak, name+" is off, and must be on")
		}
	}
	return nil
}

// commitPostgres commits, behind what was put off. A server that has said ERROR has rolled the transaction back, and so it has when COMMIT
// is answered by ROLLBACK; one that ended the session for having been idle never saw the COMMIT. Of all else nobody knows: that the
// driver calls an error safe to retry proves nothing, for it says so, too, of a connection that was lost between a COMMIT and its answer.
func commitPostgres(ctx context.Context, t *tx) error {
	if t.unheard { // a first flush may be run again on another connection, and no COMMIT ever is
		if err := t.flush(ctx); err != nil {
			return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
		}
	}
	if t.conn == nil {
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, classify(sql.ErrConnDone))
	}
	t.waiting = append(t.waiting, statement{query: `COMMIT`, tag: `COMMIT`})
	statements := t.waiting
	t.waiting = nil
	_, err := t.sendAll(ctx, statements)
	var said *pgconn.PgError
	if errors.Is(err, errTag) || errors.As(err, &said) && (said.SeverityUnlocalized == "ERROR" || said.Code == "25P03") {
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
	}
	return err
}

// errTag: the answer is of another kind than the statement; COMMIT in a transaction that had failed is answered by ROLLBACK.
var errTag = errors.New("the transaction had failed, and was ended")

var (
	eventsPostgres = columns(`subject_kind text, subject text, sequence int, type text, at int, data text, shard int`)

	// The ids are taken from the sequence as the rows come, one after another.
	insertEventsText = `WITH e AS MATERIALIZED (SELECT nextval('outbox_ids') AS id, r.* FROM ` + unnested("r", eventsPostgres) + `),
		written AS (INSERT INTO outbox (id, subject_kind, subject, sequence, type, at, data)
			SELECT id, subject_kind, subject, sequence, type, at, data FROM e)
		INSERT INTO outbox_waiting (shard, event_id) SELECT shard, id FROM e`
)

func insertEventsPostgres(ctx context.Context, t *tx, events []event.Event) error {
	return t.later(ctx, statement{query: t.s.spelt(insertEventsText), rows: len(events), args: t.turned(eventsPostgres, len(events), func(a []any, i int) []any {
		e := &events[i]
		return append(a, string(e.Subject.Kind), e.Subject.ID, e.Sequence, string(e.Type), ms(e.Time), string(e.Data), int64(e.Subject.Shard()))
	})})
}

// streamCursor reads rows through a cursor, some at a time: a connection carries the answer of one query only.
func streamCursor(ctx context.Context, s *snapshot, query string) (*stream, error) {
	name := fmt.Sprintf("audit_%d", cursors.Add(1))
	if _, err := s.conn.ExecContext(ctx, `DECLARE `+name+` NO SCROLL CURSOR FOR `+query); err != nil {
		return nil, classify(err)
	}
	s.s.statements.audits.Add(1)
	return &stream{more: func() ([][]any, error) {
		ctx, cancel := context.WithTimeout(ctx, postgresSnapshotMax)
		// Not prepared: the next cursor has another name.
		found, err := s.conn.QueryContext(ctx, fmt.Sprintf(`FETCH %d FROM %s`, postgresFetch, name), pgx.QueryExecModeExec) //nolint:rowserrcheck // pageOf does
		if err != nil {
			cancel()
			return nil, classify(err)
		}
		return pageOf(&rows{found, cancel}, nil)
	}}, nil
}

var cursors atomic.Int64 // numbers them

// classifyPostgres goes by the class of the error's code (https://www.postgresql.org/docs/current/errcodes-appendix.html).
func classifyPostgres(e *pgconn.PgError, err error) error {
	switch {
	case e.Code == "23505":
		return fmt.Errorf("%w: %w", ledger.ErrDuplicate, err)
	case e.Code == "40001", e.Code == "40P01", e.Code == "55P03", // serialization, deadlock, a lock waited for in vain
		e.Code == "25P03": // this process was away for so long that the server ended its transaction
		return fmt.Errorf("%w: %w", ledger.ErrRetry, err)
	case e.Code == "22012": // see setting
		return fmt.Errorf("%w: %w", errChanged, err)
	case e.Code == "25P01":
		return fmt.Errorf("%w: %w", errNoTransaction, err)
	case postgresClass(e, "22", "23", "54"): // data, constraint, limit of the program
		return fmt.Errorf("%w: %w", ledger.ErrRefused, err)
	case postgresClass(e, "08", "25", "28", "3D", "53", "57", "58", "XX"):
		// connection, state of the transaction (read-only), login, no such database, resources, operator, system, internal
		return fault.ErrUnavailable.Because(err)
	}
	return err
}

func postgresClass(e *pgconn.PgError, classes ...string) bool {
	for _, c := range classes {
		if strings.HasPrefix(e.Code, c) {
			return true
		}
	}
	return false
}
