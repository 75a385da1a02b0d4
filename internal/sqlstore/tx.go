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
	s    *Store
	tx   *sql.Tx
	args []any // reused from one bulk insert to the next
}

// Begin opens the transaction of a batch, holding the one write lock that SQLite has.
func (s *Store) Begin(ctx context.Context) (ledger.Tx, error) {
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return nil, classify(err)
	}
	return &tx{s: s, tx: t}, nil
}

// Claim inserts the batch's id. May run twice: the second time is ErrCommitted when the first was committed.
func (t *tx) Claim(ctx context.Context, id ledger.BatchID) error {
	_, err := t.exec(ctx, `INSERT INTO ledger_batches (batch_id, at) VALUES (?, ?)`, id[:], ms(t.s.now()))
	if errors.Is(err, ledger.ErrDuplicate) {
		return ledger.ErrCommitted
	}
	return err
}

// GrantNumbers moves the day's mark up by n. Two processes that ask for the same day wait for each other here.
func (t *tx) GrantNumbers(ctx context.Context, day order.Day, n int64) (int64, error) {
	_, err := t.exec(ctx, `INSERT INTO number_days (day, next) VALUES (?, 1 + ?)
		ON CONFLICT (day) DO UPDATE SET next = next + ?`, int64(day), n, n)
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

func (t *tx) Commit(context.Context) error { return classify(t.tx.Commit()) }

func (t *tx) Rollback() { _ = t.tx.Rollback() }
