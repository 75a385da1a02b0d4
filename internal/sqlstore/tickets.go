package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/apikey"
)

// ticketsSwept is how many tickets that nobody used are forgotten with every new one: more than come, so they cannot pile up.
const ticketsSwept = 16

// AddTicket writes a ticket, and forgets some that nobody used in time.
func (s *Store) AddTicket(ctx context.Context, ticket *apikey.Ticket) error {
	t, err := s.begin(ctx)
	if err != nil {
		return fmt.Errorf("add ticket: %w", err)
	}
	defer t.Rollback()
	now, err := s.now(ctx, t)
	if err != nil {
		return fmt.Errorf("add ticket: %w", err)
	}
	_, err = t.exec(ctx, `DELETE FROM stream_tickets WHERE hash IN (SELECT hash FROM
		(SELECT hash FROM stream_tickets WHERE expires_at <= ? ORDER BY expires_at LIMIT ?) AS old)`, ms(now), ticketsSwept)
	if err != nil {
		return fmt.Errorf("forget tickets: %w", err)
	}
	_, err = t.exec(ctx, `INSERT INTO stream_tickets (hash, stream, key_id, session_id, expires_at) VALUES (?, ?, ?, ?, ?)`,
		ticket.Hash[:], ticket.Stream, ticket.KeyID, ticket.SessionID, ms(ticket.ExpiresAt))
	if err != nil {
		return fmt.Errorf("add ticket: %w", err)
	}
	return t.Commit(ctx)
}

// TakeTicket uses a ticket up and gives the key or the session that it was made with. The row that is deleted decides: of all who
// come with one ticket, one has deleted it.
func (s *Store) TakeTicket(ctx context.Context, h apikey.Hash, stream string) (key *apikey.Key, session *apikey.Session, err error) {
	clock, err := s.now(ctx, s)
	if err != nil {
		return nil, nil, fmt.Errorf("take ticket: %w", err)
	}
	now := ms(clock)
	var keyID, sessionID string
	err = s.queryRow(ctx, `SELECT key_id, session_id FROM stream_tickets WHERE hash = ? AND stream = ? AND expires_at > ?`,
		h[:], stream, now).Scan(&keyID, &sessionID)
	if err != nil {
		return nil, nil, missing(err, "ticket")
	}
	if sessionID != "" {
		session, err = scanSession(s.queryRow(ctx, `SELECT `+sessionColumns+` FROM sessions WHERE session_id = ? AND idle_at > ?`, sessionID, now))
	} else {
		key, err = scanAPIKey(s.queryRow(ctx, `SELECT `+keyColumns+` FROM api_keys WHERE key_id = ?`, keyID))
	}
	if err != nil {
		return nil, nil, missing(err, "ticket")
	}
	taken, err := s.exec(ctx, `DELETE FROM stream_tickets WHERE hash = ? AND stream = ? AND expires_at > ?`, h[:], stream, now)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("take ticket: %w", err)
	case taken == 0:
		return nil, nil, missing(sql.ErrNoRows, "ticket")
	}
	return key, session, nil
}
