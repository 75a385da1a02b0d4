package sqlstore

import (
	"context"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/apikey"
)

// SetKey writes a key under its id, in place of whatever key had it: the operator's own admin key, when he changed it.
func (s *Store) SetKey(ctx context.Context, k *apikey.Key) error {
	_, err := s.exec(ctx, `INSERT INTO api_keys (key_id, name, hash, scopes, created_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (key_id) DO UPDATE SET hash = excluded.hash, scopes = excluded.scopes, revoked_at = NULL, expires_at = NULL`,
		k.ID, k.Name, k.Hash[:], scopeText(k.Scopes), ms(k.CreatedAt))
	if err != nil {
		return fmt.Errorf("set key: %w", err)
	}
	return nil
}

// HasKeys reports whether any key was ever made: whether this is a first start.
func (s *Store) HasKeys(ctx context.Context) (bool, error) {
	var n int
	if err := s.queryRow(ctx, `SELECT COUNT(*) FROM (SELECT 1 FROM api_keys LIMIT 1) AS any_key`).Scan(&n); err != nil {
		return false, fmt.Errorf("look for keys: %w", classify(err))
	}
	return n > 0, nil
}
