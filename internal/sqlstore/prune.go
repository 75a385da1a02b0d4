package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// What the record forgets. Each method takes a short transaction, bounded by its limit, and may run twice, beside itself too:
// what is gone is gone. What they never touch are orders, their lines and transitions, payments, refunds, the stock ledger and
// users: those are the shop's own.

// PruneBatches forgets up to limit ids of batches committed before a time: nobody is in doubt about them any more.
func (s *Store) PruneBatches(ctx context.Context, before time.Time, limit int) (removed int64, err error) {
	removed, err = s.exec(ctx, `DELETE FROM ledger_batches WHERE batch_id IN
		(SELECT batch_id FROM (SELECT batch_id FROM ledger_batches WHERE at < ? ORDER BY at LIMIT ?) AS old)`, ms(before), limit)
	if err != nil {
		return 0, fmt.Errorf("prune batches: %w", err)
	}
	return removed, nil
}

// PruneKeys looks at up to limit idempotency keys behind one and forgets those whose orders were placed before a time. It
// gives the last it looked at; more: there are further ones behind it. Keys are random and are walked in their own order:
// what has to go lies side by side on few pages then, and an index by age, which every placed order would have to write, is
// not needed. A key without an order stays, for the audit to find.
func (s *Store) PruneKeys(ctx context.Context, before time.Time, after ledger.Key, limit int) (
	removed int64, last ledger.Key, more bool, err error,
) {
	const page = `(SELECT key, order_no FROM idempotency_keys WHERE key > ? ORDER BY key LIMIT ?) AS page`
	var found, old int64
	var end []byte
	err = s.queryRow(ctx, `SELECT COUNT(*), COALESCE(SUM(CASE WHEN o.created_at < ? THEN 1 ELSE 0 END), 0),
		(SELECT key FROM `+page+` ORDER BY key DESC LIMIT 1) FROM `+page+` LEFT JOIN orders o ON o.order_no = page.order_no`,
		ms(before), after[:], limit, after[:], limit).Scan(&found, &old, &end)
	if err != nil {
		return 0, last, false, fmt.Errorf("prune keys: %w", classify(err))
	}
	if found == 0 {
		return 0, after, false, nil
	}
	last = ledger.Key(end)
	if old > 0 {
		removed, err = s.exec(ctx, `DELETE FROM idempotency_keys WHERE key > ? AND key <= ?
			AND (SELECT o.created_at FROM orders o WHERE o.order_no = idempotency_keys.order_no) < ?`,
			after[:], last[:], ms(before))
		if err != nil {
			return 0, after, true, fmt.Errorf("prune keys: %w", err)
		}
	}
	return removed, last, found == int64(limit), nil
}

// PruneEvents forgets up to limit events from the log's beginning, with the facts themselves, as long as they were written before
// a time. What the log has left begins behind them without a gap; the newest fact always stays, for its number is where the
// next one's comes from.
func (s *Store) PruneEvents(ctx context.Context, before time.Time, limit int) (removed int64, err error) {
	if old, err := s.beginsBefore(ctx, before); err != nil || !old {
		return 0, err // no transaction for nothing
	}
	t, err := s.begin(ctx)
	if err != nil {
		return 0, fmt.Errorf("prune events: %w", err)
	}
	defer t.Rollback()
	var head int64
	if err := t.lockHead(ctx, &head); err != nil { // one at a time: another process may be at it
		return 0, fmt.Errorf("prune events: %w", err)
	}
	from, to, err := t.forgettable(ctx, before, limit)
	if err != nil || to <= from {
		return 0, err
	}
	for _, forget := range []string{
		`DELETE FROM outbox WHERE id IN (SELECT event_id FROM event_log WHERE position > ? AND position <= ?)`,
		`DELETE FROM event_log WHERE position > ? AND position <= ?`,
	} {
		n, err := t.exec(ctx, forget, from, to)
		if err == nil && n != to-from {
			err = fmt.Errorf("%d of %d events are there: the audit will say which are not", n, to-from)
		}
		if err != nil {
			return 0, fmt.Errorf("prune events: %w", err)
		}
	}
	err = t.change(ctx, `UPDATE log_head SET pruned = ?, pruned_before = CASE WHEN pruned_before < ? THEN ? ELSE pruned_before END
		WHERE id = 1 AND pruned = ?`, to, ms(before), ms(before), from)
	if err == nil {
		err = t.Commit(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("prune events: %w", err)
	}
	return to - from, nil
}

// beginsBefore reports whether the log's first event was written before a time.
func (s *Store) beginsBefore(ctx context.Context, before time.Time) (old bool, err error) {
	err = s.queryRow(ctx, `SELECT EXISTS (SELECT 1 FROM log_head h JOIN event_log l ON l.position = h.pruned + 1
		JOIN outbox e ON e.id = l.event_id WHERE e.at < ?)`, ms(before)).Scan(&old)
	if err != nil {
		return false, fmt.Errorf("look at the log's beginning: %w", classify(err))
	}
	return old, nil
}

// forgettable gives the positions, from exclusive and to inclusive, that can be forgotten at once.
func (t *tx) forgettable(ctx context.Context, before time.Time, limit int) (from, to int64, err error) {
	rows, err := t.query(ctx, `SELECT pruned, CASE WHEN position - pruned < ? THEN position ELSE pruned + ? END
		FROM log_head WHERE id = 1`+t.s.dialect.lock, limit, limit)
	err = scan(rows, err, func(r *sql.Rows) error { return r.Scan(&from, &to) })
	if err != nil {
		return 0, 0, fmt.Errorf("look at the log's head: %w", err)
	}
	rows, err = t.query(ctx, `SELECT l.position FROM event_log l JOIN outbox e ON e.id = l.event_id
		WHERE l.position > ? AND l.position <= ? AND (e.at >= ? OR e.id = (SELECT MAX(id) FROM outbox)) ORDER BY l.position LIMIT 1`,
		from, to, ms(before))
	err = scan(rows, err, func(r *sql.Rows) error {
		var kept int64
		err := r.Scan(&kept)
		to = kept - 1
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("look at the log's beginning: %w", err)
	}
	return from, to, nil
}

// LastWritten is when the newest fact was written, by the record's clock of that time; zero: there is none. That fact is never
// forgotten.
func (s *Store) LastWritten(ctx context.Context) (time.Time, error) {
	var last sql.NullInt64
	if err := s.queryRow(ctx, `SELECT MAX(at) FROM outbox WHERE id = (SELECT MAX(id) FROM outbox)`).Scan(&last); err != nil {
		return time.Time{}, fmt.Errorf("look when the record was written: %w", classify(err))
	}
	return atOrZero(last), nil
}

// PruneDays forgets up to limit days' marks of granted order numbers, of days before one, and what jobs were done on those days.
// Should a day's numbers be asked for again, they go on above those of its orders (see GrantNumbers).
func (s *Store) PruneDays(ctx context.Context, before order.Day, limit int) (removed int64, err error) {
	if _, err = s.exec(ctx, `DELETE FROM jobs WHERE day < ?`, int64(before)); err != nil {
		return 0, fmt.Errorf("forget jobs: %w", err)
	}
	removed, err = s.exec(ctx, `DELETE FROM number_days WHERE day IN
		(SELECT day FROM (SELECT day FROM number_days WHERE day < ? ORDER BY day LIMIT ?) AS old)`, int64(before), limit)
	if err != nil {
		return 0, fmt.Errorf("prune days: %w", err)
	}
	return removed, nil
}

// PruneAPIKeys forgets up to limit API keys that were revoked or ran out before a time, and the longest-ended ones beyond the
// kept newest. The first key ever made stays: that there is one says that this is not a first start.
func (s *Store) PruneAPIKeys(ctx context.Context, before time.Time, kept, limit int) (removed int64, err error) {
	now, err := s.now(ctx, s)
	if err != nil {
		return 0, fmt.Errorf("prune keys of the API: %w", err)
	}
	// Looked up first: MariaDB knows no WITH inside DELETE.
	var ended []string
	found, err := s.query(ctx, `WITH ended (key_id, at) AS (
			SELECT key_id, CASE WHEN revoked_at IS NULL OR expires_at < revoked_at THEN expires_at ELSE revoked_at END FROM api_keys
			WHERE (revoked_at IS NOT NULL OR expires_at < ?) AND key_id <> (SELECT key_id FROM api_keys ORDER BY created_at, key_id LIMIT 1))
		SELECT key_id FROM (
			SELECT key_id, at FROM ended WHERE at < ?
			UNION SELECT key_id, at FROM (SELECT key_id, at FROM ended ORDER BY at DESC, key_id LIMIT 9223372036854775807 OFFSET ?) AS beyond
		) AS gone ORDER BY at, key_id LIMIT ?`, ms(now), ms(before), kept, limit)
	err = scan(found, err, func(r *sql.Rows) error {
		var id string
		err := r.Scan(&id)
		ended = append(ended, id)
		return err
	})
	if err == nil {
		err = lists(s, ended, text, func(in string, args []any) error {
			n, err := s.exec(ctx, `DELETE FROM api_keys WHERE key_id `+in+` AND (revoked_at IS NOT NULL OR expires_at < ?)`, append(args, ms(now))...)
			removed += n
			return err
		})
	}
	if err != nil {
		return removed, fmt.Errorf("prune keys of the API: %w", err)
	}
	return removed, nil
}

// PruneBuyers looks at up to limit buyers behind one and forgets those who have placed nothing since a time. It gives the last it
// looked at; more: there are further ones behind it. They are walked like the keys, and for the same reason.
func (s *Store) PruneBuyers(ctx context.Context, before time.Time, after user.ID, limit int) (removed int64, last user.ID, more bool, err error) {
	var found int64
	var end sql.NullString
	err = s.queryRow(ctx, `SELECT COUNT(*), MAX(user_id) FROM (SELECT user_id FROM buyers WHERE user_id > ? ORDER BY user_id LIMIT ?) AS page`,
		string(after), limit).Scan(&found, &end)
	if err != nil {
		return 0, after, false, fmt.Errorf("prune buyers: %w", classify(err))
	}
	if found == 0 {
		return 0, after, false, nil
	}
	last = user.ID(end.String)
	removed, err = s.exec(ctx, `DELETE FROM buyers WHERE user_id > ? AND user_id <= ? AND at < ?`, string(after), string(last), ms(before))
	if err != nil {
		return 0, after, true, fmt.Errorf("prune buyers: %w", err)
	}
	return removed, last, found == int64(limit), nil
}

// PruneSessions forgets up to limit sessions that were over before a time.
func (s *Store) PruneSessions(ctx context.Context, before time.Time, limit int) (removed int64, err error) {
	removed, err = s.exec(ctx, `DELETE FROM sessions WHERE session_id IN (SELECT session_id FROM
		(SELECT session_id FROM sessions WHERE idle_at < ? ORDER BY idle_at LIMIT ?) AS old)`, ms(before), limit)
	if err != nil {
		return 0, fmt.Errorf("prune sessions: %w", err)
	}
	return removed, nil
}
