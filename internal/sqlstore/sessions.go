package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/user"
)

const sessionColumns = `session_id, user_id, hash, created_at, idle_at, ends_at`

func scanSession(r interface{ Scan(...any) error }) (*apikey.Session, error) {
	s := &apikey.Session{}
	var hash []byte
	var created, expires, ends int64
	if err := r.Scan(&s.ID, &s.UserID, &hash, &created, &expires, &ends); err != nil {
		return nil, err
	}
	copy(s.Hash[:], hash)
	s.CreatedAt, s.ExpiresAt, s.EndsAt = at(created), at(expires), at(ends)
	return s, nil
}

// AddSession writes a session and ends those of its user that would be used up first, beyond the kept ones. It gives those that it has
// ended. Two processes that do so at once may leave one more; the next one ends it.
func (s *Store) AddSession(ctx context.Context, session *apikey.Session, kept int) (ended []apikey.Hash, err error) {
	t, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("add session: %w", err)
	}
	defer t.Rollback()
	_, err = t.exec(ctx, `INSERT INTO sessions (`+sessionColumns+`) VALUES (?, ?, ?, ?, ?, ?)`, session.ID, string(session.UserID),
		session.Hash[:], ms(session.CreatedAt), ms(session.ExpiresAt), ms(session.EndsAt))
	if err != nil {
		return nil, fmt.Errorf("add session: %w", err)
	}
	if ended, err = t.endSessions(ctx, session.UserID, session.ID, kept-1); err != nil {
		return nil, fmt.Errorf("end old sessions: %w", err)
	}
	return ended, t.Commit(ctx)
}

// endSessions ends the sessions of a user but one, and of the others those used last. It ends whom it has read, and no other, so that
// whom it gives are all whom it has ended.
func (t *tx) endSessions(ctx context.Context, of user.ID, but string, kept int) (ended []apikey.Hash, err error) {
	var ids []string
	rows, err := t.query(ctx, `SELECT session_id, hash FROM sessions WHERE user_id = ? AND session_id <> ? ORDER BY idle_at DESC, session_id`, string(of), but)
	err = scan(rows, err, func(r *sql.Rows) error {
		var id string
		var hash []byte
		if err := r.Scan(&id, &hash); err != nil {
			return err
		}
		ids, ended = append(ids, id), append(ended, apikey.Hash(hash))
		return nil
	})
	if err != nil || len(ids) <= kept {
		return nil, err
	}
	ids, ended = ids[kept:], ended[kept:]
	slices.Sort(ids) // everybody locks in one order
	for _, id := range ids {
		if _, err := t.exec(ctx, `DELETE FROM sessions WHERE session_id = ?`, id); err != nil {
			return nil, err
		}
	}
	return ended, nil
}

// SessionByHash finds the session whose token a client sent, if it is still good.
func (s *Store) SessionByHash(ctx context.Context, h apikey.Hash) (*apikey.Session, error) {
	now, err := s.now(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("look for a session: %w", err)
	}
	found, err := scanSession(s.queryRow(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE hash = ? AND idle_at > ?`, h[:], ms(now)))
	if err != nil {
		return nil, missing(err, "session")
	}
	return found, nil
}

// ExtendSession lets a session last until a later time. One that is over stays over, and none outlasts its end.
func (s *Store) ExtendSession(ctx context.Context, id string, until time.Time) error {
	now, err := s.now(ctx, s)
	if err != nil {
		return fmt.Errorf("extend session: %w", err)
	}
	_, err = s.exec(ctx, `UPDATE sessions SET idle_at = ? WHERE session_id = ? AND idle_at > ? AND idle_at < ? AND ends_at >= ?`,
		ms(until), id, ms(now), ms(until), ms(until))
	return err
}

// EndSession ends a session. Its row goes with it: there is nothing left that could be taken for good.
func (s *Store) EndSession(ctx context.Context, id string) error {
	if _, err := s.exec(ctx, `DELETE FROM sessions WHERE session_id = ?`, id); err != nil {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

// EndSessionsOf ends all sessions of a user and gives them.
func (s *Store) EndSessionsOf(ctx context.Context, id user.ID) (ended []apikey.Hash, err error) {
	t, err := s.begin(ctx)
	if err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	defer t.Rollback()
	if ended, err = t.endSessions(ctx, id, "", 0); err != nil {
		return nil, fmt.Errorf("end sessions: %w", err)
	}
	return ended, t.Commit(ctx)
}
