package client

import (
	"context"
	"net/http"

	"github.com/holdfast-oms/holdfast/api"
)

// CreateSession logs a user in whom the shop has recognized. The token is in the answer, and is never shown again: New takes it in
// place of a key, for a client that sees and touches what belongs to this user. When no answer comes, call again: an old session that
// nobody uses runs out by itself.
func (c *Client) CreateSession(ctx context.Context, userID string) (api.CreatedSession, error) {
	var s api.CreatedSession
	_, err := c.do(ctx, &call{
		operation: "createSession", method: http.MethodPost, path: path("sessions"), sent: api.CreateSession{UserID: userID}, answer: &s,
	})
	return s, err
}

// GetSession looks at the session whose token this client has; api.CodeNotFound says that it has a key.
func (c *Client) GetSession(ctx context.Context) (api.Session, error) {
	return get[api.Session](ctx, c, "getSession", path("sessions", "current"), nil)
}

// EndSession logs the buyer out whose token this client has. Where an answer was lost, asking again is api.CodeUnauthenticated.
func (c *Client) EndSession(ctx context.Context) (api.Session, error) {
	var s api.Session
	_, err := c.do(ctx, &call{operation: "endSession", method: http.MethodDelete, path: path("sessions", "current"), answer: &s})
	return s, err
}

// EndSessionsOf logs a user out everywhere.
func (c *Client) EndSessionsOf(ctx context.Context, userID string) (api.EndedSessions, error) {
	var e api.EndedSessions
	_, err := c.do(ctx, &call{
		operation: "endSessions", method: http.MethodDelete, path: path("users", userID, "sessions"), answer: &e, repeats: true,
	})
	return e, err
}
