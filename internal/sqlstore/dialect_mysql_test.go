package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const anOrder = `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, close_reason, paid_late, reminded,
	version, events, metadata) VALUES (?, 'u', ?, 'CNY', ?, 1, 2, '', 0, 0, 1, 1, ?)`

func TestMariaDBSaysWhatFailed(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	s.mustExec(t, anOrder, int64(1), "pending", int64(1), "")
	for _, c := range []struct {
		about, query string
		args         []any
		want         error
	}{
		{"a number is taken", anOrder, []any{int64(1), "pending", int64(1), ""}, ledger.ErrDuplicate},
		{"a state that is none", anOrder, []any{int64(2), "Pending", int64(1), ""}, ledger.ErrRefused},
		{"less than nothing", anOrder, []any{int64(2), "pending", int64(-1), ""}, ledger.ErrRefused},
		{"nothing where something must be", anOrder, []any{int64(2), "pending", nil, ""}, ledger.ErrRefused},
		{"no number", anOrder, []any{int64(2), "pending", "much", ""}, ledger.ErrRefused},
		{"more than there is room for", anOrder, []any{int64(2), "pending", int64(1), strings.Repeat("m", 1<<17)}, ledger.ErrRefused},
		{"no text", anOrder, []any{int64(2), "pending", int64(1), "\xff"}, ledger.ErrRefused},
		{
			"available below zero", `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES ('p', 1, 1, 1, 1, 1)`,
			nil, ledger.ErrRefused,
		},
	} {
		if _, err := s.exec(t.Context(), c.query, c.args...); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.about, err, c.want)
		}
	}
}

// A transaction whose process is stopped is ended by the server, and one that waits for it is to be run again; neither is heard of
// later than three seconds after.
func TestMariaDBEndsATransactionThatIdles(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	s.mustExec(t, `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES ('p', 1, 0, 0, 1, 1)`)
	stopped := begin(t, s)
	change(t, stopped)
	began := time.Now()
	for waited := 1; ; waited++ {
		other := begin(t, s)
		_, err := other.exec(t.Context(), `UPDATE stock SET version = version + 1 WHERE product_id = 'p'`)
		if err == nil {
			err = other.Commit(t.Context())
		}
		other.Rollback()
		if err == nil {
			break
		}
		if !errors.Is(err, ledger.ErrRetry) || waited > 2 {
			t.Fatalf("after %v: got %v, want %v at most twice", time.Since(began), err, ledger.ErrRetry)
		}
	}
	if took := time.Since(began); took > 3500*time.Millisecond { // half a second for a machine that does other things
		t.Errorf("held for %v", took)
	}
	if err := stopped.Commit(t.Context()); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("the commit of the stopped transaction: got %v, want %v", err, fault.ErrUnavailable)
	}
	begin(t, s).Rollback() // on another connection
	if got := s.number(t, `SELECT version FROM stock WHERE product_id = 'p'`); got != 2 {
		t.Errorf("version %d, want 2: the stopped transaction is rolled back", got)
	}
}

// A lock waited for in vain ends the statement only. Whoever is told to run the transaction again must have lost all of it.
func TestMariaDBLosesAllOfATransactionThatWaitedInVain(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	s.mustExec(t, `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES ('p', 1, 0, 0, 1, 1)`)
	holder, waiter := begin(t, s), begin(t, s)
	defer holder.Rollback()
	if _, err := waiter.exec(t.Context(), anOrder, int64(7), "pending", int64(1), ""); err != nil {
		t.Fatal(err)
	}
	change(t, holder)
	ended := make(chan error, 1)
	go func() { // keeps the holder from idling
		var err error
		for range 15 {
			if err == nil {
				_, err = holder.exec(context.Background(), `UPDATE stock SET version = version WHERE product_id = 'p'`)
			}
			time.Sleep(200 * time.Millisecond) //nolint:forbidigo // the server's clock, which nobody can move
		}
		ended <- err
	}()
	_, err := waiter.exec(t.Context(), `UPDATE stock SET version = 9 WHERE product_id = 'p'`)
	if !errors.Is(err, ledger.ErrRetry) {
		t.Errorf("got %v, want %v", err, ledger.ErrRetry)
	}
	waiter.Rollback()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := s.number(t, `SELECT COUNT(*) FROM orders`); got != 0 {
		t.Errorf("%d orders are left of a transaction that is to be run again", got)
	}
}

// Every session is as it must be, whatever the server's own settings are.
func TestMariaDBSessionsSetThemselvesUp(t *testing.T) {
	t.Parallel()
	server := testenv.StartMariaDB(t, testenv.Options{Settings: map[string]string{
		"sql-mode": "ANSI", "character-set-server": "latin1", "transaction-isolation": "SERIALIZABLE", "innodb-lock-wait-timeout": "50",
		"default-time-zone": "+09:00", "autocommit": "0", "innodb-rollback-on-timeout": "0",
		"auto-increment-increment": "7", "auto-increment-offset": "3", "lower-case-table-names": "1",
	}})
	s, err := Open(t.Context(), server.URL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the server goes away
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pool := range []*sql.DB{s.read, s.write} {
		var mode, isolation, zone, charset, collation string
		var wait int
		err := pool.QueryRowContext(t.Context(), `SELECT @@sql_mode, @@tx_isolation, @@time_zone, @@character_set_client, @@collation_connection,
			@@innodb_lock_wait_timeout`).Scan(&mode, &isolation, &zone, &charset, &collation, &wait)
		got := fmt.Sprint(isolation, " ", zone, " ", charset, " ", collation, " ", wait)
		if want := "READ-COMMITTED +00:00 utf8mb4 utf8mb4_bin 2"; err != nil || got != want || !strings.Contains(mode, "STRICT_ALL_TABLES") {
			t.Errorf("got %s %s (%v), want %s and a strict mode", got, mode, err, want)
		}
	}
	if _, err := s.exec(t.Context(), anOrder, int64(2), "lost", int64(1), ""); !errors.Is(err, ledger.ErrRefused) {
		t.Errorf("a CHECK: got %v, want %v", err, ledger.ErrRefused)
	}
	if now, err := s.Now(t.Context()); err != nil || time.Until(now).Abs() > time.Minute {
		t.Errorf("the clock says %v (%v)", now, err)
	}
	var events []event.Event
	for i := range int64(200) {
		events = append(events, event.Event{Subject: event.Subject{Kind: "order", ID: fmt.Sprint("o", i%3)}, Sequence: i/3 + 1, Type: event.OrderPlaced, Data: []byte(`"` + "\U0001F39F" + `"`)})
	}
	large := bytes.Repeat([]byte("x"), 200<<10) // more than goes into one packet, all together
	for i := range int64(60) {
		events = append(events, event.Event{Subject: event.Subject{Kind: "order", ID: "large"}, Sequence: i + 1, Type: event.OrderPlaced, Data: large})
	}
	s.writeEvents(t, events)
	ids := s.waitInOrder(t, events)
	if ids[1] != ids[0]+7 {
		t.Errorf("ids %d and %d, want them to be 7 apart", ids[0], ids[1])
	}
	for i := range events {
		if got := s.number(t, `SELECT COUNT(*) FROM outbox WHERE id = ? AND data = ?`, ids[i], string(events[i].Data)); got != 1 {
			t.Fatalf("event %d is not as it was written", i)
		}
	}
}

// The server hands out ids while others write, too; each event waits under its own, in its own shard.
func TestEventsWaitInTheOrderInWhichTheyWereWritten(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	var wg sync.WaitGroup
	of := make([][]event.Event, 4)
	for w := range of {
		for i := range int64(3 * mysqlRowsMax) {
			of[w] = append(of[w], event.Event{Subject: event.Subject{Kind: "order", ID: fmt.Sprint(w, "-", i%50)}, Sequence: i/50 + 1, Type: event.OrderPlaced, Data: []byte(`{}`)})
		}
		wg.Go(func() { s.writeEvents(t, of[w]) })
	}
	wg.Wait()
	for w := range of {
		s.waitInOrder(t, of[w])
	}
	if got, want := s.number(t, `SELECT COUNT(*) FROM outbox_waiting`), int64(len(of)*len(of[0])); got != want {
		t.Errorf("%d events wait, want %d", got, want)
	}
}

func (s *Store) writeEvents(t *testing.T, events []event.Event) {
	t.Helper()
	tx := begin(t, s)
	defer tx.Rollback()
	err := insertEventsMySQL(t.Context(), tx, events)
	if err == nil {
		err = tx.Commit(t.Context())
	}
	if err != nil {
		t.Error(err)
	}
}

// waitInOrder gives the ids under which events wait, which must rise.
func (s *Store) waitInOrder(t *testing.T, events []event.Event) []int64 {
	t.Helper()
	ids := make([]int64, len(events))
	for i, e := range events {
		found, err := s.query(t.Context(), `SELECT w.event_id FROM outbox e JOIN outbox_waiting w ON w.event_id = e.id
			WHERE e.subject_kind = 'order' AND e.subject = ? AND e.sequence = ? AND w.shard = ?`, e.Subject.ID, e.Sequence, e.Subject.Shard())
		err = scan(found, err, func(r *sql.Rows) error { return r.Scan(&ids[i]) })
		if err != nil || ids[i] == 0 || i > 0 && ids[i] <= ids[i-1] {
			t.Fatalf("event %d waits under the id %d (%v), behind %v", i, ids[i], err, ids[max(i-1, 0)])
		}
	}
	return ids
}

// Several processes start at once: one of them migrates, the others find it done.
func TestMariaDBIsMigratedByOneOfSeveralProcesses(t *testing.T) {
	t.Parallel()
	url := testenv.MariaDBURL(t)
	var wg sync.WaitGroup
	taken := make([]int, 4)
	for i := range taken {
		s, err := Open(t.Context(), url, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		wg.Go(func() {
			var err error
			if taken[i], err = s.Migrate(t.Context()); err != nil {
				t.Errorf("process %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, n := range taken {
		sum += n
	}
	if steps := StepsOf(t, "mysql"); sum != steps {
		t.Errorf("steps taken: %v, want each of %d once", taken, steps)
	}
}

// DDL commits by itself there, so a migration can be cut off behind any of its statements. Run again, it does the rest.
func TestMariaDBMigrationsCanBeCutOffAnywhere(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	schema := s.schema(t)
	s.mustExec(t, `DELETE FROM goose_db_version WHERE version_id > 0`) // all was done, none was noted
	s.mustExec(t, `UPDATE log_head SET position = 7, pruned = 3`)
	for range 2 {
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if again := s.schema(t); again != schema {
		t.Errorf("got\n%s\nwant\n%s", again, schema)
	}
	for version, last := range map[int]string{3: `ALTER TABLE orders DROP INDEX orders_status`, 5: `ALTER TABLE stream_tickets DROP COLUMN session_id`} {
		s.mustExec(t, last) // it was cut off before its last statement
		s.mustExec(t, `DELETE FROM goose_db_version WHERE version_id >= ?`, version)
		if _, err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		if again := s.schema(t); again != schema {
			t.Errorf("migration %d cut off in its middle: got\n%s\nwant\n%s", version, again, schema)
		}
	}
	if got := s.number(t, `SELECT position + pruned FROM log_head`); got != 10 {
		t.Errorf("the log's head is not as it was: %d", got)
	}
}

func (s *Store) schema(t *testing.T) string {
	t.Helper()
	var all []string
	found, err := s.query(t.Context(), `SELECT CONCAT_WS(' ', table_name, column_name, column_type, is_nullable, collation_name, generation_expression)
		FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name <> 'goose_db_version'
		UNION ALL SELECT CONCAT_WS(' ', table_name, index_name, non_unique, seq_in_index, column_name)
		FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name <> 'goose_db_version'
		UNION ALL SELECT CONCAT_WS(' ', constraint_name, check_clause)
		FROM information_schema.check_constraints WHERE constraint_schema = DATABASE() ORDER BY 1`)
	err = scan(found, err, func(r *sql.Rows) error {
		var line string
		err := r.Scan(&line)
		all = append(all, line)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

func begin(t *testing.T, s *Store) *tx {
	t.Helper()
	tx, err := s.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx
}

func change(t *testing.T, tx *tx) {
	t.Helper()
	if err := tx.change(t.Context(), `UPDATE stock SET version = version + 1 WHERE product_id = 'p'`); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) number(t *testing.T, query string, args ...any) (n int64) {
	t.Helper()
	found, err := s.query(t.Context(), query, args...)
	if err := scan(found, err, func(r *sql.Rows) error { return r.Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// A server that may lose what it has committed is refused, unless its operator says that he knows; what must be set is named.
func TestMariaDBWithWeakSettingsIsRefused(t *testing.T) {
	t.Parallel()
	server := testenv.StartMariaDB(t, testenv.Options{Settings: map[string]string{
		"innodb-flush-log-at-trx-commit": "2", "innodb-doublewrite": "0", "log-bin": "bin", "sync-binlog": "0",
	}})
	_, err := Open(t.Context(), server.URL(), Options{})
	for _, says := range []string{"innodb_flush_log_at_trx_commit is 2, and must be 1", "innodb_doublewrite is OFF", "sync_binlog is 0"} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("got %v, want an error that says %q", err, says)
		}
	}
	s, err := Open(t.Context(), server.URL(), Options{Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the server goes away
	if got := s.Weaknesses(); len(got) != 3 {
		t.Errorf("weaknesses: %v", got)
	}
	asAdministrator(t, server, `SET GLOBAL binlog_format = 'STATEMENT'`)
	if _, err := Open(t.Context(), server.URL(), Options{Degraded: true}); err == nil || !strings.Contains(err.Error(), "binlog_format is STATEMENT") {
		t.Errorf("got %v, want an error that names binlog_format", err)
	}
}

// A server that only reads is a record that cannot be written now. Once it writes again, so does whoever had it open.
func TestMariaDBThatOnlyReadsIsUnavailableForAWhile(t *testing.T) {
	t.Parallel()
	server := testenv.StartMariaDB(t, testenv.Options{})
	s, err := Open(t.Context(), server.URL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // the server goes away
	if _, err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.mustExec(t, `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES ('p', 1, 0, 0, 1, 1)`)
	open := begin(t, s)
	change(t, open)
	asAdministrator(t, server, `SET GLOBAL read_only = 1`)
	if err := open.Commit(t.Context()); !errors.Is(err, ledger.ErrNotCommitted) || !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("a commit: got %v, want %v and %v", err, ledger.ErrNotCommitted, fault.ErrUnavailable)
	}
	if _, err := s.exec(t.Context(), `UPDATE stock SET version = 7`); !errors.Is(err, fault.ErrUnavailable) {
		t.Errorf("a write: got %v, want %v", err, fault.ErrUnavailable)
	}
	if got := s.number(t, `SELECT version FROM stock`); got != 1 {
		t.Errorf("version %d, want 1", got)
	}
	asAdministrator(t, server, `SET GLOBAL read_only = 0`)
	s.mustExec(t, `UPDATE stock SET version = 2`)
}

// Writes travel with the COMMIT. A server that fails at one of them does not come to it.
func TestABatchWhoseLastWritesFailIsCertainlyNotCommitted(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	s.mustExec(t, `INSERT INTO stock (product_id, received, held, sold, version, events) VALUES ('p', 1, 0, 0, 1, 1)`)
	for number, want := range map[int]error{1114: fault.ErrUnavailable, 1021: fault.ErrUnavailable, 1969: fault.ErrUnavailable, 4242: nil} {
		s.mustExec(t, fmt.Sprintf(`CREATE OR REPLACE TRIGGER no_room BEFORE INSERT ON outbox_waiting FOR EACH ROW
			SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = %d, MESSAGE_TEXT = 'no room'`, number))
		tx := begin(t, s)
		change(t, tx)
		err := insertEventsMySQL(t.Context(), tx, []event.Event{{Subject: event.Subject{Kind: "order", ID: "o"}, Sequence: 1, Type: event.OrderPlaced, Data: []byte(`{}`)}})
		if err != nil {
			t.Fatal(err)
		}
		if err = tx.Commit(t.Context()); !errors.Is(err, ledger.ErrNotCommitted) || want != nil && !errors.Is(err, want) {
			t.Errorf("error %d: got %v, want %v and %v", number, err, ledger.ErrNotCommitted, want)
		}
		if got := s.number(t, `SELECT version + (SELECT COUNT(*) FROM outbox) FROM stock`); got != 1 {
			t.Errorf("error %d: got %d, want 1: nothing was committed", number, got)
		}
	}
}

// What fails behind the row was the COMMIT, of which such an error tells nothing.
func TestARowTellsHowFarAServerCame(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	seen := func(scanner) error { return nil }
	write, look, fails := statement{query: `SET @a = 1`}, statement{query: `SELECT 1`, each: seen}, statement{query: `SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = 1114`}
	for _, c := range []struct {
		statements []statement
		want       int
	}{
		{[]statement{write, fails, look, write}, 0},
		{[]statement{write, look, fails}, 2},
		{[]statement{write, look, write, fails, look, write}, 2},
	} {
		tx := begin(t, s)
		got, err := sendMySQL(t.Context(), tx.session, c.statements)
		if got != c.want || mysqlKindOf(err) != mysqlUnavailable {
			t.Errorf("got %d answers and %v, want %d and error 1114", got, err, c.want)
		}
		tx.Rollback()
	}
}

// A connection that was found dead at once is replaced; one that was waited for in vain is not waited for again.
func TestWhoWaitedForAServerInVainDoesNotWaitTwice(t *testing.T) {
	t.Parallel()
	s := openMariaDB(t)
	broken := *s.dialect
	s.dialect = &broken
	for _, c := range []struct {
		err   error
		tries int
	}{
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, 1},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ETIMEDOUT)}, 1},
		{context.DeadlineExceeded, 1},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, 2},
		{mysql.ErrInvalidConn, 2},
	} {
		tries := 0
		broken.together = func(context.Context, *session, []statement) (int, error) {
			tries++
			return 0, c.err
		}
		tx := begin(t, s)
		if err := tx.flush(t.Context()); !errors.Is(err, fault.ErrUnavailable) {
			t.Errorf("got %v, want %v", err, fault.ErrUnavailable)
		}
		tx.Rollback()
		if tries != c.tries {
			t.Errorf("%v: tried %d times, want %d", c.err, tries, c.tries)
		}
	}
}

// MySQL ends sessions that idle for two seconds, here MariaDB is made to do the same: whoever writes next has another.
func TestSessionsThatWereEndedForIdlingAreOpenedAgain(t *testing.T) {
	t.Parallel()
	server := testenv.StartMariaDB(t, testenv.Options{})
	open := func() *Store {
		s, err := Open(t.Context(), server.URL(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	if _, err := s.Migrate(t.Context()); err != nil { // which may idle for longer on a busy machine
		t.Fatal(err)
	}
	_ = s.Close()
	asAdministrator(t, server, `SET GLOBAL wait_timeout = 1`)
	s = open()
	defer s.Close() //nolint:errcheck // the server goes away
	admin, err := Open(t.Context(), server.AdminURL(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close() //nolint:errcheck // the server goes away
	for range 2 {
		begin(t, s).Rollback()
		s.mustExec(t, `UPDATE relay_leases SET until = 0`)
		s.number(t, `SELECT 1`)
		for began := time.Now(); admin.number(t, `SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'holdfast'`) > 0; {
			if time.Since(began) > 10*time.Second {
				t.Fatal("the server does not end sessions that idle")
			}
			time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the server's clock, which nobody can move
		}
	}
}

func TestOldServersAreRefused(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{
		"8.0.16": true, "8.0.15": false, "8.4.3": true, "9.1.0-commercial": true, "5.7.44-log": false, "8.0.36-0ubuntu0.22.04.1": true,
		"10.6.0-MariaDB": true, "10.5.27-MariaDB": false, "5.5.5-10.11.19-MariaDB-0+deb12u1": true, "11.8.1-MariaDB-log": true, "": false,
	} {
		if got := mysqlIsRecent(strings.ToUpper(version)); got != want {
			t.Errorf("%s: got %t, want %t", version, got, want)
		}
	}
}

func asAdministrator(t *testing.T, server *testenv.Server, statement string) {
	t.Helper()
	admin, err := Open(t.Context(), server.AdminURL(), Options{Degraded: true})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close() //nolint:errcheck // nothing is left to be written
	admin.mustExec(t, statement)
}
