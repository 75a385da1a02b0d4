package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// SharedSecret gives what is kept in the desk under a name, putting value there if nothing is: the first process decides for
// all of them.
func (s *Store) SharedSecret(ctx context.Context, name, value string) (kept string, err error) {
	_, err = s.exec(ctx, `INSERT INTO desk (name, value) VALUES (?, ?)`, name, value)
	if err != nil && !errors.Is(err, ledger.ErrDuplicate) {
		return "", fmt.Errorf("share %s: %w", name, err)
	}
	if err := s.queryRow(ctx, `SELECT value FROM desk WHERE name = ?`, name).Scan(&kept); err != nil {
		return "", fmt.Errorf("share %s: %w", name, classify(err))
	}
	return kept, nil
}
