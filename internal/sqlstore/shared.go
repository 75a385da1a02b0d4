package sqlstore

import (
	"context"
	"database/sql"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Shared reports whether several processes may share this record. What one process remembers of it, and was not told to forget,
// must then be asked anew. A file of SQLite is one process' own: its lock says so.
func (s *Store) Shared() bool { return !s.dialect.alone }

// KeysUsed picks the idempotency keys that were used, in no order.
func (s *Store) KeysUsed(ctx context.Context, keys []ledger.Key) (used []ledger.Key, err error) {
	err = lists(s, keys, keyBytes, func(in string, args []any) error {
		rows, err := s.query(ctx, `SELECT key FROM idempotency_keys WHERE key `+in, args...)
		return scan(rows, err, func(r *sql.Rows) error {
			var key []byte
			err := r.Scan(&key)
			used = append(used, ledger.Key(key))
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("look for used keys: %w", err)
	}
	return used, nil
}
