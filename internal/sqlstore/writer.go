package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// writer gives out the connections that write. SQLite has one, and whoever needs it waits for his turn here, in order, rather than
// on the database's lock; its prepared statements live as long as it does. (A *sql.Tx would prepare them anew in every
// transaction.) A server has a small pool of them, one for every transaction that runs.
type writer struct {
	s     *Store
	db    *sql.DB
	turn  chan struct{} // holds one token; nil: as many may write at once as the pool has connections
	ended chan struct{} // closed when nobody writes any more
	one   *session      // of whoever has the turn; nil: there is none yet, or the pool keeps them
}

var errClosed = errors.New("the record is closed")

func newWriter(s *Store, db *sql.DB, alone bool) *writer {
	w := &writer{s: s, db: db, ended: make(chan struct{})}
	if alone {
		w.turn = make(chan struct{}, 1)
		w.turn <- struct{}{}
	}
	return w
}

// take gives a connection, to be given back: it waits for one as long as ctx lasts, and on a server as long as a statement may take.
func (w *writer) take(ctx context.Context) (*session, error) {
	if w.turn == nil {
		return w.open(ctx)
	}
	select {
	case <-w.turn:
	case <-w.ended:
		return nil, errClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if w.one != nil && w.one.conn != nil {
		return w.one, nil
	}
	one, err := w.open(ctx)
	if err != nil {
		w.turn <- struct{}{}
		return nil, err
	}
	w.one = one
	return one, nil
}

func (w *writer) open(ctx context.Context) (*session, error) {
	ctx, cancel := w.s.limited(ctx)
	defer cancel()
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	one := &session{w: w, conn: conn}
	if w.s.dialect.prepares {
		one.by = map[string]*sql.Stmt{}
	}
	return one, nil
}

// once runs one statement in a transaction of its own.
func (w *writer) once(ctx context.Context, query string, args ...any) (int64, error) {
	one, err := w.take(ctx)
	if err != nil {
		return 0, classify(err)
	}
	defer one.give()
	return one.exec(ctx, query, args...)
}

func (w *writer) close() {
	if w == nil || w.turn == nil {
		return
	}
	select {
	case <-w.turn: // whoever writes finishes first; nobody writes after
		close(w.ended)
		if w.one != nil {
			w.one.drop()
		}
	case <-w.ended:
	}
}

// session is a connection that writes, in the hands of whoever took it.
type session struct {
	w    *writer
	conn *sql.Conn            // nil: it broke
	by   map[string]*sql.Stmt // its prepared statements; nil: the driver keeps them
	held bool                 // another program held the database when it was last tried, and may still do so
	args []any                // of bulk writes, reused
}

// give ends the turn, or puts the connection back into the pool.
func (one *session) give() {
	if one.w.turn != nil {
		one.w.turn <- struct{}{}
		return
	}
	if one.conn != nil {
		_ = one.conn.Close()
		one.conn = nil
	}
}

// drop forgets a connection that is broken; whoever writes next opens another.
func (one *session) drop() {
	for _, stmt := range one.by {
		_ = stmt.Close()
	}
	clear(one.by)
	if one.conn != nil {
		_ = one.conn.Raw(func(any) error { return driver.ErrBadConn }) // never to be used again
		_ = one.conn.Close()
		one.conn = nil
	}
	one.held = false // the next one is patient
}

func (one *session) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if stmt, ok := one.by[query]; ok {
		return stmt, nil
	}
	stmt, err := one.conn.PrepareContext(ctx, query) // closed by drop
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", one.checked(err))
	}
	one.by[query] = stmt
	return stmt, nil
}

func (one *session) exec(ctx context.Context, query string, args ...any) (int64, error) {
	return one.send(ctx, one.w.s.spelt(query), args)
}

// send is exec of a query that is spelled as the dialect has it.
func (one *session) send(ctx context.Context, query string, args []any) (int64, error) {
	if one.conn == nil {
		return 0, classify(sql.ErrConnDone) // it broke earlier in this turn
	}
	ctx, cancel := one.w.s.limited(ctx)
	defer cancel()
	one.w.s.statements.count(query)
	res, err := one.run(ctx, query, args)
	if err != nil {
		if err = one.checked(err); errors.Is(err, errHeld) {
			one.hold(ctx, true)
		}
		return 0, err
	}
	one.hold(ctx, false)
	return res.RowsAffected()
}

func (one *session) run(ctx context.Context, query string, args []any) (sql.Result, error) {
	if one.by == nil {
		return one.conn.ExecContext(ctx, query, args...)
	}
	stmt, err := one.statement(ctx, query) //nolint:sqlclosecheck // closed by drop
	if err != nil {
		return nil, err
	}
	return stmt.ExecContext(ctx, args...)
}

// hold notes whether another program holds the database. One who waited for its lock in vain has waited for all behind him:
// they ask, and hardly wait, until one of them gets it.
func (one *session) hold(ctx context.Context, held bool) {
	if held == one.held || one.conn == nil {
		return
	}
	patience := sqliteBusyTimeoutMs
	if held {
		patience = sqliteHeldTimeoutMs
	}
	if _, err := one.conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience)); err == nil {
		one.held = held
	}
}

func (one *session) query(ctx context.Context, query string, args ...any) (*rows, error) {
	return one.ask(ctx, one.w.s.spelt(query), args)
}

// ask is query of one that is spelled as the dialect has it.
func (one *session) ask(ctx context.Context, query string, args []any) (*rows, error) {
	if one.conn == nil {
		return nil, classify(sql.ErrConnDone)
	}
	ctx, cancel := one.w.s.limited(ctx)
	one.w.s.statements.count(query)
	var found *sql.Rows
	var err error
	if one.by == nil {
		found, err = one.conn.QueryContext(ctx, query, args...) //nolint:rowserrcheck // scan does
	} else {
		var stmt *sql.Stmt
		if stmt, err = one.statement(ctx, query); err == nil { //nolint:sqlclosecheck // closed by drop
			found, err = stmt.QueryContext(ctx, args...) //nolint:rowserrcheck // scan does
		}
	}
	if err != nil {
		cancel()
		return nil, one.checked(err)
	}
	return &rows{found, cancel}, nil
}

// checked classifies an error, and drops the connection when it is the connection that failed.
func (one *session) checked(err error) error {
	if err != nil && one.w.s.dialect.breaks(err) {
		one.drop()
	}
	return classify(err)
}

// limited bounds how long a statement may take.
func (s *Store) limited(ctx context.Context) (context.Context, context.CancelFunc) {
	if s.dialect.statementMax == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, s.dialect.statementMax)
}

// rows are what a query has found, to be read by scan.
type rows struct {
	*sql.Rows
	cancel context.CancelFunc
}

func (r *rows) close() {
	_ = r.Close()
	r.cancel()
}
