package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// SharedSecret gives what is kept in the desk under a name, putting value there if nothing is: the first process decides for
// all of them.
func (s *Store) SharedSecret(ctx context.Context, name, value string) (kept string, err error) {
	kept, err = s.shared(ctx, name)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return kept, err
	}
	_, err = s.exec(ctx, `INSERT INTO desk (name, value) VALUES (?, ?)`, name, value)
	if err != nil && !errors.Is(err, ledger.ErrDuplicate) {
		return "", fmt.Errorf("share %s: %w", name, err)
	}
	return s.shared(ctx, name)
}

// ReplaceShared puts value in the place of what was kept in the desk under a name, and gives what is kept now: of all who would
// replace the same value the first decides.
func (s *Store) ReplaceShared(ctx context.Context, name, was, value string) (kept string, err error) {
	if _, err := s.exec(ctx, `UPDATE desk SET value = ? WHERE name = ? AND value = ?`, value, name, was); err != nil {
		return "", fmt.Errorf("replace %s: %w", name, err)
	}
	return s.shared(ctx, name)
}

func (s *Store) shared(ctx context.Context, name string) (kept string, err error) {
	if err := s.queryRow(ctx, `SELECT value FROM desk WHERE name = ?`, name).Scan(&kept); err != nil {
		return "", fmt.Errorf("read %s: %w", name, classify(err))
	}
	return kept, nil
}
