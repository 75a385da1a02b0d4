package api

import "time"

// CreateSession asks for a session of a user, who has logged in at the shop.
type CreateSession struct {
	UserID string `json:"user_id" minLength:"1" maxLength:"128" doc:"Need not be known." example:"u-7"`
}

// Session is a buyer's login: its token is a key to what belongs to the user, and to nothing else.
type Session struct {
	SessionID string    `json:"session_id"`
	UserID    string    `json:"user_id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"Unless it is used before: each use puts it off, about once a minute."`
	EndsAt    time.Time `json:"ends_at" doc:"However much it is used."`
}

// CreatedSession is a new session. Token is shown this once.
type CreatedSession struct {
	SessionID string    `json:"session_id"`
	UserID    string    `json:"user_id"`
	CreatedAt time.Time `json:"created_at"`
	ExpiresAt time.Time `json:"expires_at" doc:"Unless it is used before: each use puts it off, about once a minute."`
	EndsAt    time.Time `json:"ends_at" doc:"However much it is used."`
	Token     string    `json:"token" doc:"For Authorization: Bearer, shown this once."`
}

// EndedSessions says how many sessions of a user were ended.
type EndedSessions struct {
	UserID string `json:"user_id"`
	Ended  int64  `json:"ended"`
}
