package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/pressly/goose/v3"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Settings of every MySQL connection. Whoever waits for a lock, or holds one and does nothing, is given up after two seconds: less
// than a client waits.
const (
	mysqlWriters      = 8
	mysqlReaders      = 8
	mysqlDialMax      = 3 * time.Second
	mysqlStatementMax = 4 * time.Second
	mysqlRowsMax      = 256     // in one statement: more gain nothing
	mysqlBytesMax     = 4 << 20 // or as many, and a row more: a server takes 16 MB (MariaDB) or 64 MB
	mysqlNumberBytes  = 20      // a number takes at most
)

// mysqlSession is what every session says first. Comments of the form /*M!…*/ are read by MariaDB only, those of the form /*!80000…*/
// by MySQL only. READ COMMITTED has a statement of its own because the two call its variable differently.
const (
	mysqlIsolation = `SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED`
	mysqlSession   = `SET NAMES utf8mb4 COLLATE utf8mb4_bin, sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ONLY_FULL_GROUP_BY',
		time_zone = '+00:00', autocommit = 1, unique_checks = 1, sql_select_limit = DEFAULT, innodb_lock_wait_timeout = 2,
		lock_wait_timeout = 5 /*M!100600 , check_constraint_checks = 1 */`
	// A session that writes holds nobody when its process stops: MariaDB ends a transaction that idles, MySQL any session, and one
	// that stops in the middle of a statement or of an answer is ended by both.
	mysqlWriting = `SET SESSION net_read_timeout = 2, net_write_timeout = 2
		/*M!100600 , idle_transaction_timeout = 2, max_statement_time = 5 */ /*!80000 , wait_timeout = 2 */`
	mysqlLooking = `SET SESSION TRANSACTION READ ONLY`
)

// mysqlDialect is MySQL from 8.0.16 and MariaDB from 10.6.
var mysqlDialect = dialect{
	name: "mysql", goose: goose.DialectMySQL,
	lockMigrations:   `SELECT COALESCE(GET_LOCK(` + mysqlMigrations + `, 0), 0)`,
	unlockMigrations: `SELECT COALESCE(RELEASE_LOCK(` + mysqlMigrations + `), 0)`,
	begin:            `START TRANSACTION READ WRITE`,
	snapshot:         mysqlSnapshot,
	window:           mysqlSnapshot,
	breaks:           breaksMySQL,
	commit:           commitMySQL,
	claim:            `INSERT INTO ledger_batches (batch_id, at) VALUES (?, COALESCE(?, ` + mysqlNow + `))`,
	spell:            spellMySQL,

	lock:        " FOR UPDATE",
	join:        "STRAIGHT_JOIN",
	indexedBy:   func(index string) string { return " FORCE INDEX (" + index + ")" },
	everyStatus: true,
	present:     `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?`,

	orders: mysqlOrders,
	ofUser: func(id string, before, until int64) (with, source, newestFirst string, args []any) {
		with, source = mysqlOrders("= ?")
		return with, source, `order_no DESC`, []any{before, until, id}
	},
	numberText: `CONCAT(orders.order_no DIV 10000000000, CASE WHEN orders.order_no % 10000000000 < 10000000
		THEN LPAD(orders.order_no % 10000000000, 7, '0') ELSE orders.order_no % 10000000000 END)`,

	now:    mysqlNow,
	events: insertEventsMySQL,
	stream: streamSpooled,
	insert: insertRowsMySQL,
	update: updateRowsMySQL,

	together: sendMySQL,

	statementMax: mysqlStatementMax,
}

// mysqlOrders is orders of the dialect.
func mysqlOrders(user string) (with, source string) {
	return ``, `(SELECT * FROM orders WHERE order_no < ? AND order_no >= ? AND user_id ` + user + `) AS orders`
}

var mysqlSnapshot = []string{`SET TRANSACTION ISOLATION LEVEL REPEATABLE READ`, `START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY`}

// mysqlMigrations names the lock by the database: names of locks are the whole server's.
const mysqlMigrations = `CONCAT('holdfast ', LEFT(SHA2(DATABASE(), 256), 32))`

// mysqlNow is the time at which a statement began; not UNIX_TIMESTAMP, which ends in 2038 on some.
const mysqlNow = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) DIV 1000`

// How MySQL says what has no words in common with the others.
var (
	mysqlWords    = strings.NewReplacer(" AS INTEGER)", " AS SIGNED)")
	mysqlKey      = regexp.MustCompile(`\bkey\b`) // a reserved word
	mysqlConflict = regexp.MustCompile(`ON CONFLICT \(\w+(?:, \w+)*\) DO UPDATE SET`)
	mysqlExcluded = regexp.MustCompile(`\bexcluded\.(\w+)`)
	mysqlLocked   = regexp.MustCompile(`(?s)^(SELECT .* FROM \w+(?: [a-z]+)?)( (?:WHERE|ORDER BY) .* FOR UPDATE)$`)
	mysqlForget   = regexp.MustCompile(`(?s)^DELETE FROM (\w+) WHERE (\w+) IN\s*\((SELECT (\w+) FROM .*)\)$`)
)

// spellMySQL puts a query into MySQL's words. Locking looks go by the primary key: left to itself the server reads a small table whole,
// and locks what it passes. Rows named by a sub-select are deleted by joining it, or else the server goes through the table and asks the
// sub-select for each row, locking them all.
func spellMySQL(query string) string {
	query = mysqlWords.Replace(query)
	query = mysqlLocked.ReplaceAllString(query, "$1 FORCE INDEX (PRIMARY)$2")
	query = mysqlConflict.ReplaceAllString(query, "ON DUPLICATE KEY UPDATE")
	query = mysqlExcluded.ReplaceAllString(query, "VALUES($1)")
	query = mysqlForget.ReplaceAllString(query, "DELETE $1 FROM ($3) AS gone STRAIGHT_JOIN $1 FORCE INDEX (PRIMARY) ON $1.$2 = gone.$4")
	return mysqlKey.ReplaceAllString(query, "`key`")
}

func (s *Store) openMySQL(ctx context.Context, url string, opt Options) error {
	cfg, err := parseMySQL(url)
	if err != nil {
		return err
	}
	cfg.ClientFoundRows = true   // an update counts the rows it found, changed or not
	cfg.InterpolateParams = true // values are literals: what type a placeholder has is the server's guess where nothing says it
	cfg.ParseTime = true         // for goose
	cfg.MaxAllowedPacket = 0     // as the server has it
	cfg.Timeout = mysqlDialMax
	dialer := net.Dialer{KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: time.Second, Count: 3}}
	cfg.DialFunc = dialer.DialContext
	if s.read, err = openMySQLPool(cfg, mysqlReaders, mysqlIsolation, mysqlSession, mysqlLooking); err != nil {
		return err
	}
	writing := mysqlWriting
	if opt.ReadOnly {
		writing = mysqlLooking
	}
	cfg.MultiStatements = true // see sendMySQL
	if s.write, err = openMySQLPool(cfg, mysqlWriters, mysqlIsolation, mysqlSession, writing); err != nil {
		return err
	}
	cfg.MultiStatements = false
	if s.patient, err = openMySQLPool(cfg, 2, mysqlIsolation, mysqlSession); err != nil {
		return err
	}
	return s.checkMySQL(ctx)
}

func openMySQLPool(cfg *mysql.Config, most int, first ...string) (*sql.DB, error) {
	connector, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	db := sql.OpenDB(mysqlSessions{connector, first})
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	return db, nil
}

const mysqlSettings = `SHOW GLOBAL VARIABLES WHERE Variable_name IN ('version', 'innodb_flush_log_at_trx_commit', 'innodb_doublewrite',
	'innodb_flush_method', 'log_bin', 'sync_binlog', 'binlog_format')`

// checkMySQL looks whether the server can be what the promises rest on.
func (s *Store) checkMySQL(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, mysqlStatementMax)
	settings := map[string]string{}
	found, err := s.read.QueryContext(ctx, mysqlSettings) //nolint:rowserrcheck // scan does
	if err != nil {
		cancel()
		return classify(err)
	}
	err = scan(&rows{found, cancel}, nil, func(r *sql.Rows) error {
		var name, setting string
		err := r.Scan(&name, &setting)
		settings[name] = strings.ToUpper(setting)
		return err
	})
	if err != nil {
		return err
	}
	if !mysqlIsRecent(settings["version"]) {
		return fmt.Errorf("MySQL 8.0.16 or MariaDB 10.6 or later is needed; this is %s", settings["version"])
	}
	logged := settings["log_bin"] == "ON"
	if logged && settings["binlog_format"] == "STATEMENT" {
		return errors.New("binlog_format is STATEMENT; it must be ROW or MIXED, for transactions are READ COMMITTED")
	}
	for _, c := range []struct {
		name, must string
		weak       bool
	}{
		{"innodb_flush_log_at_trx_commit", "1", settings["innodb_flush_log_at_trx_commit"] != "1"},
		{"innodb_doublewrite", "ON", settings["innodb_doublewrite"] == "OFF" || settings["innodb_doublewrite"] == "DETECT_ONLY"},
		{"innodb_flush_method", "fsync or O_DIRECT", settings["innodb_flush_method"] == "NOSYNC"},
		{"sync_binlog", "1", logged && settings["sync_binlog"] != "1"},
	} {
		if c.weak {
			s.weak = append(s.weak, fmt.Sprintf("%s is %s, and must be %s", c.name, settings[c.name], c.must))
		}
	}
	return nil
}

// mysqlIsRecent reports whether a server checks what a CHECK says, and knows what the queries are made of. A MariaDB calls itself
// 10.11.19-MariaDB, to some 5.5.5-10.11.19-MariaDB.
func mysqlIsRecent(version string) bool {
	least := [3]int{8, 0, 16}
	if strings.Contains(strings.ToUpper(version), "MARIADB") {
		version, least = strings.TrimPrefix(version, "5.5.5-"), [3]int{10, 6, 0}
	}
	var is [3]int
	if n, _ := fmt.Sscanf(version, "%d.%d.%d", &is[0], &is[1], &is[2]); n < len(is) {
		return false
	}
	return slices.Compare(is[:], least[:]) >= 0
}

// mysqlSessions opens connections that have said what every session says first.
type mysqlSessions struct {
	driver.Connector
	first []string
}

func (m mysqlSessions) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, statement := range m.first {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, statement, nil); err != nil { //nolint:forcetypeassert,errcheck // the driver's are
			_ = conn.Close()
			return nil, fmt.Errorf("set the session up: %w", err)
		}
	}
	return conn, nil
}

// commitMySQL commits, behind what was put off. It knows of answers that say for certain that nothing was committed: the server has become
// read-only, or has chosen another transaction, or it failed at a statement before the COMMIT, which it has not come to then.
func commitMySQL(ctx context.Context, t *tx) error {
	looks := func(st statement) bool { return st.each != nil }
	if t.unheard || slices.ContainsFunc(t.waiting, looks) { // what is seen there decides whether there is a COMMIT
		if err := t.flush(ctx); err != nil {
			return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
		}
	}
	if t.conn == nil {
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, classify(sql.ErrConnDone))
	}
	if len(t.waiting) > 0 { // its row tells an error of what is before it from one of the COMMIT
		t.waiting = append(t.waiting, statement{query: `SELECT 1`, each: func(scanner) error { return nil }})
	}
	t.waiting = append(t.waiting, statement{query: `COMMIT`})
	statements := t.waiting
	t.waiting = nil
	answers, err := t.sendAll(ctx, statements)
	var said *mysql.MySQLError
	if errors.As(err, &said) && answers < len(statements)-1 {
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
	}
	switch mysqlKindOf(err) {
	case mysqlReadOnly, mysqlRetry, mysqlChanged, mysqlDuplicate, mysqlRefused:
		return fmt.Errorf("%w: %w", ledger.ErrNotCommitted, err)
	default:
		return err
	}
}

// sendMySQL sends statements as one text; the server answers them in turn, up to one that fails. What the driver tells of is the last
// row that came: answers are those up to there, and there may have been more, of statements that look for no rows.
func sendMySQL(ctx context.Context, one *session, statements []statement) (answers int, err error) {
	var text strings.Builder
	var args []any
	looks := 0
	for i, st := range statements {
		if i > 0 {
			text.WriteString(";\n")
		}
		text.WriteString(st.query)
		args = append(args, st.args...)
		if st.each != nil {
			looks++
		}
	}
	heard := func(upTo int) {
		for ; answers < upTo; answers++ {
			if done := statements[answers].done; done != nil {
				done()
			}
		}
	}
	if looks == 0 {
		if _, err := one.conn.ExecContext(ctx, text.String(), args...); err != nil {
			return 0, err
		}
		heard(len(statements))
		return answers, nil
	}
	found, err := one.conn.QueryContext(ctx, text.String(), args...)
	if err != nil {
		return 0, err
	}
	defer found.Close()
	for i, st := range statements {
		if st.each == nil {
			continue
		}
		heard(i)
		for found.Next() {
			if err := st.each(found); err != nil {
				return answers, fmt.Errorf("scan: %w", err)
			}
		}
		if err := found.Err(); err != nil {
			return answers, err
		}
		heard(i + 1)
		if looks--; found.NextResultSet() != (looks > 0) {
			return answers, cmp.Or(found.Err(), fmt.Errorf("%d answers are missing", looks))
		}
	}
	if err := found.Err(); err != nil {
		return answers, err
	}
	heard(len(statements))
	return answers, nil
}

// insertRowsMySQL writes rows as lists of literals.
func insertRowsMySQL(ctx context.Context, t *tx, ins *inserter, n int, row func(args []any, i int) []any) error {
	return t.byTheStatement(ctx, n, row, func(rows int, args []any) error {
		return t.later(ctx, t.rowsMySQL(ins, rows, args))
	})
}

func (t *tx) rowsMySQL(ins *inserter, rows int, args []any) statement {
	before, one, after := t.s.spelt(ins.literals[0]), ins.literals[1], t.s.spelt(ins.literals[2])
	return statement{query: before + strings.TrimSuffix(strings.Repeat(one, rows), ",") + after, args: args, rows: rows}
}

// updateRowsMySQL changes rows by joining a table of literals. The table that is changed comes first, by its keys, for only then are rows
// changed as they are found: behind another one the server notes them in a temporary table, on its disk, and changes them afterwards.
func updateRowsMySQL(ctx context.Context, t *tx, up *updater, n int, row func(args []any, i int) []any) error {
	return t.byTheStatement(ctx, n, row, func(rows int, args []any) error {
		query, args := up.rowsMySQL(rows, args)
		if err := t.later(ctx, statement{query: query, args: args, rows: rows}); err != nil {
			return err
		}
		return t.wrote(ctx, rows)
	})
}

// rowsMySQL is the statement that changes rows, and its values. Keys that are texts are literals of bytes, as the columns are, or the
// server would not look literals up by them.
func (up *updater) rowsMySQL(rows int, args []any) (query string, all []any) {
	for i := range rows {
		key := &args[i*len(up.columns)+up.key]
		if text, ok := (*key).(string); ok {
			*key = []byte(text)
		}
		args = append(args, *key)
	}
	return up.literals[0] + strings.Repeat(up.literals[1], rows-1) + up.literals[2] + "(" + marks(rows) + ")", args
}

// wrote has the transaction fail unless the statement before it has written so many rows: nobody compares them before the transaction
// is committed, so the server does, which takes no two rows for one value. (DO would take them.)
func (t *tx) wrote(ctx context.Context, rows int) error {
	return t.later(ctx, statement{query: `SET @wrote = (SELECT 1 UNION ALL SELECT 2 FROM DUAL WHERE ROW_COUNT() <> ?)`, args: []any{int64(rows)}})
}

// byTheStatement gathers the values of as many rows as one statement takes, and has them sent. What waits to be sent together is
// bounded, too.
func (t *tx) byTheStatement(ctx context.Context, n int, row func(args []any, i int) []any, send func(rows int, args []any) error) error {
	for i := 0; i < n; {
		var args []any
		rows, bytes := 0, 0
		for i < n && rows < mysqlRowsMax && bytes < mysqlBytesMax {
			was := len(args)
			args = row(args, i)
			for _, a := range args[was:] {
				switch v := a.(type) {
				case string:
					bytes += len(v)
				case []byte:
					bytes += len(v)
				}
			}
			rows++
			i++
		}
		bytes += len(args) * mysqlNumberBytes
		if t.bytes+bytes > mysqlBytesMax {
			if err := t.flush(ctx); err != nil {
				return err
			}
		}
		t.bytes += bytes
		if err := send(rows, args); err != nil {
			return err
		}
	}
	return nil
}

// intoOutboxMySQL leaves the ids to the server.
var intoOutboxMySQL = into(`outbox`, `subject_kind text, subject text, sequence int, type text, at int, data text`)

// waitingMySQL has the events that the statement before it has written wait, each in the shard that a text of digits says for it. How
// many rows come is known to the server when it hands out their ids, so these are one after another, whatever else is written meanwhile.
const waitingMySQL = `INSERT INTO outbox_waiting (shard, event_id)
	SELECT ORD(SUBSTRING(?, 1 + (id - LAST_INSERT_ID()) DIV @@auto_increment_increment)) - ORD('0'), id FROM outbox FORCE INDEX (PRIMARY)
	WHERE id >= LAST_INSERT_ID() AND id < LAST_INSERT_ID() + ? * @@auto_increment_increment`

// insertEventsMySQL writes events, some to a statement, and that they wait. A subject's ids rise with its sequence, for the server hands
// them out as rows come.
func insertEventsMySQL(ctx context.Context, t *tx, events []event.Event) error {
	left := events
	return t.byTheStatement(ctx, len(events), func(a []any, i int) []any {
		e := &events[i]
		return append(a, string(e.Subject.Kind), e.Subject.ID, e.Sequence, string(e.Type), ms(e.Time), string(e.Data))
	}, func(rows int, args []any) error {
		shards := make([]byte, rows)
		for i := range shards {
			shards[i] = '0' + byte(left[i].Subject.Shard())
		}
		left = left[rows:]
		if err := t.later(ctx, t.rowsMySQL(&intoOutboxMySQL, rows, args)); err != nil {
			return err
		}
		if err := t.later(ctx, statement{query: waitingMySQL, args: []any{string(shards), int64(rows)}, rows: rows}); err != nil {
			return err
		}
		return t.wrote(ctx, rows)
	})
}
