package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
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

// Relay gives up to limit waiting events of each leased shard their position in the log, in the order they were written, and
// returns how many it moved. Claim and mark are one transaction under the lock of the log's head, so a position is never
// given twice and a reader that has seen one never finds a lower one appear. May run twice: what has a position keeps it.
func (s *Store) Relay(ctx context.Context, leases []event.ShardLease, limit int) (moved int, err error) {
	waiting := false
	if err := s.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM outbox_waiting)`).Scan(&waiting); err != nil || !waiting {
		return 0, classify(err) // no transaction for nothing
	}
	t, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	defer t.Rollback()
	head, err := t.lockHead(ctx)
	if err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	for _, l := range leases {
		n, err := t.relayShard(ctx, l, head+int64(moved), limit)
		if err != nil {
			return 0, fmt.Errorf("relay shard %d: %w", l.Shard, err)
		}
		moved += int(n)
	}
	if moved == 0 {
		return 0, nil
	}
	if err := t.change(ctx, `UPDATE log_head SET position = ? WHERE id = 1 AND position = ?`, head+int64(moved), head); err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	failpoint.Hit("relay.before_commit")
	if err := t.Commit(ctx); err != nil {
		return 0, fmt.Errorf("relay: %w", err)
	}
	failpoint.Hit("relay.after_commit")
	return moved, nil
}

// relayShard puts a shard's oldest waiting events into the log, behind head, if the lease still holds.
func (t *tx) relayShard(ctx context.Context, l event.ShardLease, head int64, limit int) (int64, error) {
	n, err := t.exec(ctx, `INSERT INTO event_log (position, event_id)
		SELECT ? + ROW_NUMBER() OVER (ORDER BY event_id), event_id
		FROM (SELECT event_id FROM outbox_waiting WHERE shard = ? ORDER BY event_id LIMIT ?) AS oldest
		WHERE EXISTS (SELECT 1 FROM relay_leases WHERE shard = ? AND token = ?)`, head, l.Shard, limit, l.Shard, l.Token)
	if err != nil || n == 0 {
		return 0, err
	}
	gone, err := t.exec(ctx, `DELETE FROM outbox_waiting WHERE event_id IN
		(SELECT event_id FROM event_log WHERE position > ? AND position <= ?) AND shard = ?`, head, head+n, l.Shard)
	if err == nil && gone != n {
		err = fmt.Errorf("%d events came into the log, %d stopped waiting", n, gone)
	}
	return n, err
}

func (t *tx) lockHead(ctx context.Context) (head int64, err error) {
	rows, err := t.query(ctx, `SELECT position FROM log_head WHERE id = 1`+t.s.dialect.lock)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&head) })
	return head, err
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
