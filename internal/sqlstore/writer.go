package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
)

// writer is the one connection that writes. Whoever needs it waits for his turn here, in order, rather than on the database's
// lock; its prepared statements live as long as it does. (A *sql.Tx would prepare them anew in every transaction.)
type writer struct {
	db    *sql.DB
	count *kinds
	turn  chan struct{} // holds one token
	ended chan struct{} // closed when nobody writes any more
	conn  *sql.Conn     // of whoever has the turn
	by    map[string]*sql.Stmt
	held  bool // another program held the database when it was last tried, and may still do so
}

var errClosed = errors.New("the record is closed")

func newWriter(db *sql.DB, count *kinds) *writer {
	w := &writer{db: db, count: count, turn: make(chan struct{}, 1), ended: make(chan struct{}), by: map[string]*sql.Stmt{}}
	w.turn <- struct{}{}
	return w
}

// take waits for the turn and gives the connection; give ends the turn.
func (w *writer) take(ctx context.Context) error {
	select {
	case <-w.turn:
	case <-w.ended:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	if w.conn != nil {
		return nil
	}
	conn, err := w.db.Conn(ctx)
	if err != nil {
		w.give()
		return err
	}
	w.conn = conn
	return nil
}

func (w *writer) give() { w.turn <- struct{}{} }

// drop forgets a connection that is broken; the next turn opens another.
func (w *writer) drop() {
	for _, stmt := range w.by {
		_ = stmt.Close()
	}
	clear(w.by)
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
	w.held = false // the next one is patient
}

func (w *writer) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if w.conn == nil {
		return nil, sql.ErrConnDone // it broke earlier in this turn
	}
	if stmt, ok := w.by[query]; ok {
		return stmt, nil
	}
	stmt, err := w.conn.PrepareContext(ctx, query) // closed by drop
	if err != nil {
		return nil, fmt.Errorf("prepare: %w", w.checked(err))
	}
	w.by[query] = stmt
	return stmt, nil
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (int64, error) {
	stmt, err := w.statement(ctx, query) //nolint:sqlclosecheck // closed by drop
	if err != nil {
		return 0, err
	}
	w.count.count(query)
	res, err := stmt.ExecContext(ctx, args...)
	if err != nil {
		if err = w.checked(err); errors.Is(err, errHeld) {
			w.hold(ctx, true)
		}
		return 0, err
	}
	w.hold(ctx, false)
	return res.RowsAffected()
}

// hold notes whether another program holds the database. One who waited for its lock in vain has waited for all behind him:
// they ask, and hardly wait, until one of them gets it.
func (w *writer) hold(ctx context.Context, held bool) {
	if held == w.held || w.conn == nil {
		return
	}
	patience := sqliteBusyTimeoutMs
	if held {
		patience = sqliteHeldTimeoutMs
	}
	if _, err := w.conn.ExecContext(context.WithoutCancel(ctx), fmt.Sprintf(`PRAGMA busy_timeout = %d`, patience)); err == nil {
		w.held = held
	}
}

func (w *writer) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	stmt, err := w.statement(ctx, query) //nolint:sqlclosecheck // closed by drop
	if err != nil {
		return nil, err
	}
	w.count.count(query)
	rows, err := stmt.QueryContext(ctx, args...)
	return rows, w.checked(err)
}

// checked classifies an error, and drops the connection when it is the connection that failed.
func (w *writer) checked(err error) error {
	if errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) {
		w.drop()
	}
	return classify(err)
}

// once runs one statement in a transaction of its own.
func (w *writer) once(ctx context.Context, query string, args ...any) (int64, error) {
	if err := w.take(ctx); err != nil {
		return 0, classify(err)
	}
	defer w.give()
	return w.exec(ctx, query, args...)
}

func (w *writer) close() {
	if w == nil {
		return
	}
	select {
	case <-w.turn: // whoever writes finishes first; nobody writes after
		close(w.ended)
		w.drop()
	case <-w.ended:
	}
}
