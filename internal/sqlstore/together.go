package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"net"
	"time"
)

// statement is one that needs nothing of those before it but that they went well: a database may be sent several of them before it has
// answered the first.
type statement struct {
	query string // as the dialect spells it
	args  []any
	rows  int                 // that it writes, if many
	each  func(scanner) error // called for every row; nil: it looks for none
	done  func()              // called when it went well; nil: nobody asks
	tag   string              // what its answer has to say, where it has words for it; "": anything
}

// rowMax is how much longer statements that are sent together may take for each row they write.
const rowMax = 100 * time.Microsecond

// scanner is a row that was found.
type scanner interface{ Scan(dest ...any) error }

// later has a statement run: at once, or by flush together with others, where the dialect can send several. None is run after one
// that failed.
func (t *tx) later(ctx context.Context, st statement) error {
	if t.s.dialect.together != nil {
		t.waiting = append(t.waiting, st)
		return nil
	}
	if st.each != nil {
		found, err := t.ask(ctx, st.query, st.args)
		return scan(found, err, func(r *sql.Rows) error { return st.each(r) })
	}
	_, err := t.send(ctx, st.query, st.args)
	if err == nil && st.done != nil {
		st.done()
	}
	return err
}

// look is later for a query: each has seen its rows once the transaction was flushed.
func (t *tx) look(ctx context.Context, query string, args []any, each func(scanner) error) error {
	return t.later(ctx, statement{query: t.s.spelt(query), args: args, each: each})
}

// flush has everything run that was put off.
func (t *tx) flush(ctx context.Context) error {
	waiting := t.waiting
	t.waiting, t.bytes = nil, 0
	switch {
	case len(waiting) == 0:
		return nil
	case t.conn == nil:
		return classify(sql.ErrConnDone)
	}
	answers, err := t.sendAll(ctx, waiting)
	if t.unheard && answers == 0 && t.conn == nil && !waitedFor(err) && mysqlKindOf(err) != mysqlReadOnly {
		// The server has ended a connection that idled in the pool; nothing was done on it.
		one, taken := t.s.writer.take(ctx)
		if taken != nil {
			return classify(taken)
		}
		t.session = one
		answers, err = t.sendAll(ctx, waiting)
	}
	t.unheard = t.unheard && answers == 0
	return err
}

// waitedFor reports whether an answer did not come in time. Whoever waited once does not wait twice.
func waitedFor(err error) bool {
	var network net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &network) && network.Timeout()
}

func (t *tx) sendAll(ctx context.Context, statements []statement) (answers int, err error) {
	rows := 0
	for i := range statements {
		t.s.statements.count(statements[i].query)
		rows += statements[i].rows
	}
	ctx, cancel := context.WithTimeout(ctx, t.s.dialect.statementMax+time.Duration(rows)*rowMax) // the first answer may come with the last
	defer cancel()
	answers, err = t.s.dialect.together(ctx, t.session, statements)
	return answers, t.checked(err)
}

// exec is the session's, behind what was put off.
func (t *tx) exec(ctx context.Context, query string, args ...any) (int64, error) {
	if err := t.flush(ctx); err != nil {
		return 0, err
	}
	return t.session.exec(ctx, query, args...)
}

// query is the session's, behind what was put off.
func (t *tx) query(ctx context.Context, query string, args ...any) (*rows, error) {
	if err := t.flush(ctx); err != nil {
		return nil, err
	}
	return t.session.query(ctx, query, args...)
}

// look runs a query at once.
func (s *Store) look(ctx context.Context, query string, args []any, each func(scanner) error) error {
	return lookNow(ctx, s, query, args, each)
}

func (s *snapshot) look(ctx context.Context, query string, args []any, each func(scanner) error) error {
	return lookNow(ctx, s, query, args, each)
}

func lookNow(ctx context.Context, q querier, query string, args []any, each func(scanner) error) error {
	found, err := q.query(ctx, query, args...)
	return scan(found, err, func(r *sql.Rows) error { return each(r) })
}
