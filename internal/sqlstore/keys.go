package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

const keyColumns = `key_id, name, hash, scopes, created_at, last_used_at, expires_at, revoked_at`

func scanAPIKey(r interface{ Scan(...any) error }) (*apikey.Key, error) {
	k := &apikey.Key{}
	var hash []byte
	var scopes string
	var created int64
	var used, expires, revoked sql.NullInt64
	if err := r.Scan(&k.ID, &k.Name, &hash, &scopes, &created, &used, &expires, &revoked); err != nil {
		return nil, err
	}
	copy(k.Hash[:], hash)
	for _, s := range strings.Fields(scopes) {
		k.Scopes = append(k.Scopes, apikey.Scope(s))
	}
	k.CreatedAt, k.LastUsedAt, k.ExpiresAt, k.RevokedAt = at(created), atOrZero(used), atOrZero(expires), atOrZero(revoked)
	return k, nil
}

func scopeText(scopes []apikey.Scope) string {
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = string(s)
	}
	return strings.Join(names, " ")
}

// AddKey writes a new key, unless there are as many good ones as there may be: fault.ErrTooManyKeys.
func (s *Store) AddKey(ctx context.Context, k *apikey.Key) error {
	now, err := s.now(ctx, s)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	n, err := s.exec(ctx, `INSERT INTO api_keys (key_id, name, hash, scopes, created_at, expires_at) SELECT ?, ?, ?, ?, ?, ?
		FROM (SELECT 1) AS one WHERE (SELECT COUNT(*) FROM api_keys WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ?)) < ?`,
		k.ID, k.Name, k.Hash[:], scopeText(k.Scopes), ms(k.CreatedAt), msOrNull(k.ExpiresAt), ms(now), limits.APIKeys)
	if err != nil {
		return fmt.Errorf("add key: %w", err)
	}
	if n == 0 {
		return fault.ErrTooManyKeys.With("max_keys", limits.APIKeys)
	}
	return nil
}

// KeyByHash finds the key that a client sent.
func (s *Store) KeyByHash(ctx context.Context, h apikey.Hash) (*apikey.Key, error) {
	k, err := scanAPIKey(s.queryRow(ctx, `SELECT `+keyColumns+` FROM api_keys WHERE hash = ?`, h[:]))
	if err != nil {
		return nil, missing(err, "key")
	}
	return k, nil
}

// Keys lists keys by id, from the one after the given.
func (s *Store) Keys(ctx context.Context, after string, limit int) ([]*apikey.Key, error) {
	var keys []*apikey.Key
	rows, err := s.query(ctx, `SELECT `+keyColumns+` FROM api_keys WHERE key_id > ? ORDER BY key_id LIMIT ?`, after, limit)
	err = scan(rows, err, func(r *sql.Rows) error {
		k, err := scanAPIKey(r)
		keys = append(keys, k)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	return keys, nil
}

// RevokeKey ends a key for good and gives it as it is. Revoking it again changes nothing.
func (s *Store) RevokeKey(ctx context.Context, id string) (*apikey.Key, error) {
	now, err := s.now(ctx, s)
	if err == nil {
		_, err = s.exec(ctx, `UPDATE api_keys SET revoked_at = COALESCE(revoked_at, ?) WHERE key_id = ?`, ms(now), id)
	}
	if err != nil {
		return nil, fmt.Errorf("revoke key: %w", err)
	}
	k, err := scanAPIKey(s.queryRow(ctx, `SELECT `+keyColumns+` FROM api_keys WHERE key_id = ?`, id))
	if err != nil {
		return nil, missing(err, "key")
	}
	return k, nil
}

// TouchKey notes that a key was used.
func (s *Store) TouchKey(ctx context.Context, id string, used time.Time) error {
	_, err := s.exec(ctx, `UPDATE api_keys SET last_used_at = ? WHERE key_id = ?`, ms(used), id)
	return err
}

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
