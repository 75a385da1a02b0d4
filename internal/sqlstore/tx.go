package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// tx is one batch's transaction.
type tx struct {
	*session
	s       *Store
	waiting []statement // put off until flush
	bytes   int         // of their values, where that is bounded
	unheard bool        // the database has not answered anything yet
	claimed bool        // the batch's id was written
	ended   bool
}

// Begin opens the transaction of a batch. SQLite: it waits for the writer, as long as ctx lasts, and takes the one write lock that
// there is. A server: it takes one of a few connections. It hears of it together with the first statement.
func (s *Store) Begin(ctx context.Context) (ledger.Tx, error) { return s.begin(ctx) }

func (s *Store) begin(ctx context.Context) (*tx, error) {
	for again := false; ; again = true {
		one, err := s.writer.take(ctx)
		if err != nil {
			return nil, classify(err)
		}
		if s.dialect.together != nil {
			return &tx{session: one, s: s, waiting: []statement{{query: s.dialect.begin}}, unheard: true}, nil
		}
		// BEGIN is not interrupted: it might have taken effect even so, and nobody would end what it began.
		_, err = one.exec(context.WithoutCancel(ctx), s.dialect.begin)
		if err == nil {
			return &tx{session: one, s: s}, nil
		}
		_, _ = one.exec(context.WithoutCancel(ctx), `ROLLBACK`) // should one be open that nobody ended
		ended := one.conn == nil && !errors.Is(err, context.DeadlineExceeded)
		one.give()
		if s.dialect.alone || !ended || again {
			return nil, err
		}
		// The server has ended a connection that idled in the pool; nothing was done on it.
	}
}

func (t *tx) speaks() *dialect { return t.s.dialect }

// Claim inserts the batch's id. May run twice: the second time is ErrCommitted when the first was committed.
func (t *tx) Claim(ctx context.Context, id ledger.BatchID) error {
	var now any // as the database has it
	if t.s.clock != nil {
		now = ms(t.s.clock())
	}
	err := t.later(ctx, statement{query: t.s.spelt(t.s.dialect.claim), args: []any{id[:], now}, done: func() { t.claimed = true }})
	if errors.Is(err, ledger.ErrDuplicate) {
		return ledger.ErrCommitted
	}
	return err
}

// GrantNumbers moves the day's mark up by n. Two processes that ask for the same day wait for each other here. A day without
// a mark begins above its orders: it may be one whose mark was forgotten, asked for again because a clock went back.
func (t *tx) GrantNumbers(ctx context.Context, day order.Day, n int64) (int64, error) {
	first, end := int64(order.NumberOf(day, 0)), int64(order.NumberOf(day+1, 0))
	_, err := t.exec(ctx, `INSERT INTO number_days (day, next)
		SELECT ?, 1 + ? + COALESCE(MAX(order_no) - ?, 0) FROM orders WHERE order_no >= ? AND order_no < ?
		ON CONFLICT (day) DO UPDATE SET next = number_days.next + ?, used = NULL`, int64(day), n, first, first, end, n)
	if err != nil {
		return 0, err
	}
	var next int64
	rows, err := t.query(ctx, `SELECT next FROM number_days WHERE day = ?`, int64(day))
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&next) })
	if err == nil && next <= n {
		err = fmt.Errorf("day %d has no row", day)
	}
	return next - n, err
}

// GrantAhead grants n numbers of a day before anybody needs them, and gives the first. When it fails they may be granted, and lost.
func (s *Store) GrantAhead(ctx context.Context, day order.Day, n int64) (first int64, err error) {
	t, err := s.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer t.Rollback()
	if first, err = t.GrantNumbers(ctx, day, n); err != nil {
		return 0, err
	}
	return first, t.Commit(ctx)
}

// Commit ends the transaction. One that could not be committed is rolled back, as far as it is still there. Where there was
// no room for its last page, or no lock, or where the database says that it rolled it back, it has certainly not taken place;
// after a disk's error, or when nothing was heard, that is not known.
func (t *tx) Commit(ctx context.Context) error {
	err := t.s.dialect.commit(ctx, t)
	if err != nil {
		t.Rollback()
		return err
	}
	t.end()
	return nil
}

func (t *tx) Rollback() {
	if t.ended {
		return
	}
	unsaid := t.unheard && len(t.waiting) > 0
	t.waiting = nil
	if unsaid {
		t.end()
		return
	}
	if _, err := t.exec(context.Background(), `ROLLBACK`); err != nil && !errors.Is(err, errNoTransaction) {
		t.drop() // whatever is open on it ends with it
	}
	t.end()
}

func (t *tx) end() {
	t.ended = true
	t.give()
}
