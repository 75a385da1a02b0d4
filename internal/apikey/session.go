package apikey

import (
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/user"
)

// Session is a buyer's login: whoever brings its token sees and touches what belongs to one user, and nothing else. As of a key,
// only the hash is kept.
type Session struct {
	ID        string
	UserID    user.ID
	Hash      Hash
	CreatedAt time.Time
	ExpiresAt time.Time // unless it is used before
	EndsAt    time.Time // however much it is used; never before ExpiresAt
}

const sessionPrefix = "hf_session_"

// MakeSession makes a new session's id and its token, in the form of keys.
func MakeSession() (id, token string) { return makeLike(sessionPrefix) }

// SessionLike reports whether a secret is meant to be a session's token.
func SessionLike(secret string) bool { return strings.HasPrefix(secret, sessionPrefix) }

// Valid reports whether the session opens anything at now.
func (s *Session) Valid(now time.Time) bool { return now.Before(s.ExpiresAt) }

// Until is how long a session lasts that is used at now and may then rest for idle.
func (s *Session) Until(now time.Time, idle time.Duration) time.Time {
	if until := now.Add(idle); until.Before(s.EndsAt) {
		return until
	}
	return s.EndsAt
}
