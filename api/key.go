package api

import "time"

// Key is an API key as it is kept: never the key itself.
type Key struct {
	KeyID      string     `json:"key_id"`
	Name       string     `json:"name"`
	Scopes     []string   `json:"scopes"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at" doc:"To the minute; null: never."`
	ExpiresAt  *time.Time `json:"expires_at" doc:"null: never."`
	RevokedAt  *time.Time `json:"revoked_at" doc:"null: not revoked."`
}

// CreateKey asks for a new key.
type CreateKey struct {
	Name      string    `json:"name" minLength:"1" maxLength:"200" example:"checkout service"`
	Scopes    []string  `json:"scopes" minItems:"1" uniqueItems:"true" enum:"orders:read,orders:write,catalogue:read,catalogue:write,users:read,users:write,events:read,sessions:write,admin" doc:"A write scope includes reading the same; admin includes everything."`
	ExpiresAt time.Time `json:"expires_at,omitzero" nullable:"true" doc:"In the future; left out: never."`
}

// CreatedKey is a new key. Key is shown this once.
type CreatedKey struct {
	KeyID     string     `json:"key_id"`
	Name      string     `json:"name"`
	Scopes    []string   `json:"scopes"`
	Key       string     `json:"key" doc:"The key itself, shown this once."`
	CreatedAt time.Time  `json:"created_at"`
	ExpiresAt *time.Time `json:"expires_at"`
}
