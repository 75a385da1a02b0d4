package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// LeaseShards takes the shards that are free or already the owner's, for the given time.
func (s *Store) LeaseShards(ctx context.Context, owner string, lasts time.Duration) ([]event.ShardLease, error) {
	t, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("lease shards: %w", err)
	}
	defer t.Rollback()
	// In the order of shards, so that two relays that ask at once wait for each other.
	locked, err := t.query(ctx, `SELECT shard FROM relay_leases ORDER BY shard`+s.dialect.lock)
	if err := scan(locked, err, func(*sql.Rows) error { return nil }); err != nil {
		return nil, fmt.Errorf("lease shards: %w", err)
	}
	now, err := s.now(ctx, t)
	if err != nil {
		return nil, fmt.Errorf("lease shards: %w", err)
	}
	_, err = t.exec(ctx, `UPDATE relay_leases SET token = token + CASE WHEN owner <> ? THEN 1 ELSE 0 END, owner = ?, until = ? WHERE owner = ? OR until < ?`,
		owner, owner, ms(now.Add(lasts)), owner, ms(now))
	if err != nil {
		return nil, fmt.Errorf("lease shards: %w", err)
	}
	var leases []event.ShardLease
	rows, err := t.query(ctx, `SELECT shard, token FROM relay_leases WHERE owner = ? ORDER BY shard`, owner)
	err = scan(rows, err, func(r *sql.Rows) error {
		var l event.ShardLease
		err := r.Scan(&l.Shard, &l.Token)
		leases = append(leases, l)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("lease shards: %w", err)
	}
	return leases, t.Commit(ctx)
}

// ReleaseShards lets the owner's leases go, so that another relay need not wait for them to lapse.
func (s *Store) ReleaseShards(ctx context.Context, owner string) error {
	_, err := s.exec(ctx, `UPDATE relay_leases SET until = 0 WHERE owner = ?`, owner)
	return err
}

var (
	intoLog = into(`event_log`, `position int, event_id int`)
	setHead = setting(`log_head`, `position int`, `id int`, `position int`, ``)
)

// Relay gives up to limit waiting events of leased shards their position in the log, in the order they were written, and
// returns how many it moved. Claim and mark are one transaction under the lock of the log's head, so a position is never
// given twice and a reader that has seen one never finds a lower one appear. May run twice: what has a position keeps it.
func (s *Store) Relay(ctx context.Context, leases []event.ShardLease, limit int) (moved int, err error) {
	var newest int64 // asked for first: what does not wait any more, and is not swept up yet, lies before it
	if err := s.queryRow(ctx, `SELECT COALESCE(MAX(event_id), 0) FROM outbox_waiting`).Scan(&newest); err != nil || newest == 0 || len(leases) == 0 {
		return 0, classify(err) // no transaction for nothing
	}
	t, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	defer t.Rollback()
	if moved, err = t.relay(ctx, leases, limit); err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	if moved == 0 {
		return 0, nil
	}
	failpoint.Hit("relay.before_commit")
	if err := t.Commit(ctx); err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	failpoint.Hit("relay.after_commit")
	return moved, nil
}

const stopWaitingText = `DELETE FROM outbox_waiting WHERE event_id IN (SELECT event_id FROM event_log WHERE position > ? AND position <= ?)`

func waitingText(shards int) string {
	return `SELECT shard, event_id FROM outbox_waiting WHERE shard IN (` + marks(shards) + `) ORDER BY event_id LIMIT ?`
}

// relay puts the oldest waiting events of shards whose leases still hold into the log, behind its head. What it finds stays as it is
// while the head is locked: nobody else takes away what waits.
func (t *tx) relay(ctx context.Context, leases []event.ShardLease, limit int) (moved int, err error) {
	var head int64
	if err := t.lockHead(ctx, &head); err != nil {
		return 0, err
	}
	mine, args := map[int]bool{}, make([]any, 0, len(leases)+1)
	for _, l := range leases {
		args = append(args, l.Shard)
	}
	err = t.look(ctx, `SELECT shard, token FROM relay_leases`, nil, func(r scanner) error {
		var l event.ShardLease
		err := r.Scan(&l.Shard, &l.Token)
		mine[l.Shard] = slices.Contains(leases, l)
		return err
	})
	if err != nil {
		return 0, err
	}
	var moves []int64 // ids of events, rising
	err = t.look(ctx, waitingText(len(leases)), append(args, limit), func(r scanner) error {
		var shard int
		var id int64
		err := r.Scan(&shard, &id)
		if mine[shard] {
			moves = append(moves, id)
		}
		return err
	})
	if err == nil {
		err = t.flush(ctx)
	}
	if err != nil || len(moves) == 0 {
		return 0, err
	}
	err = t.insert(ctx, &intoLog, len(moves), func(a []any, i int) []any { return append(a, head+1+int64(i), moves[i]) })
	if err != nil {
		return 0, err
	}
	end := head + int64(len(moves))
	err = t.later(ctx, statement{query: t.s.spelt(stopWaitingText), args: []any{head, end}, rows: len(moves)})
	if err != nil {
		return 0, err
	}
	return len(moves), t.update(ctx, &setHead, 1, func(a []any, _ int) []any { return append(a, end, int64(1), head) })
}

// lockHead locks the log's end, and finds where it is.
func (t *tx) lockHead(ctx context.Context, head *int64) error {
	return t.look(ctx, `SELECT position FROM log_head WHERE id = 1`+t.s.dialect.lock, nil, func(r scanner) error { return r.Scan(head) })
}

// Waiting is the number of events that are not in the log yet, counted up to a limit, and when the oldest was written.
func (s *Store) Waiting(ctx context.Context, limit int) (n int64, oldest time.Time, err error) {
	var first sql.NullInt64
	err = s.queryRow(ctx, `SELECT COUNT(*), MIN(at) FROM
		(SELECT e.at FROM outbox_waiting w JOIN outbox e ON e.id = w.event_id LIMIT ?) AS waiting`, limit).Scan(&n, &first)
	if err != nil {
		return 0, time.Time{}, fmt.Errorf("look at the outbox: %w", classify(err))
	}
	return n, atOrZero(first), nil
}

var _ ledger.Store = (*Store)(nil)
