package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// Ended is how processes tell each other which sessions were ended: each remembers for a moment which are good.
type Ended interface {
	// Tell says that sessions were ended, and reports whether every process that asks will hear of it.
	Tell(ctx context.Context, sessions []apikey.Hash) (told bool)
	// Ended reports whether one was ended a moment ago. Where that is not known, what is remembered is not good enough.
	Ended(ctx context.Context, session apikey.Hash) (ended, known bool)
}

// Untold is for processes that can tell each other nothing: whoever ends a session waits until nobody remembers it.
type Untold struct{}

// Tell tells nobody.
func (Untold) Tell(context.Context, []apikey.Hash) bool { return false }

// Ended says that none was: for whoever ends one waits.
func (Untold) Ended(context.Context, apikey.Hash) (ended, known bool) { return false, true }

// ended has sessions that the record does not have any more forgotten everywhere. When it returns none of them opens anything.
func (s *Server) ended(ctx context.Context, sessions []apikey.Hash) {
	if len(sessions) == 0 {
		return
	}
	s.sessions.forget(sessions)
	if s.opt.Ended == nil || s.opt.Ended.Tell(ctx, sessions) {
		return
	}
	outlast(ctx)
}

// endedBefore is for sessions that somebody else has ended: who may have been killed before he told anybody which, or is about to.
func (s *Server) endedBefore(ctx context.Context) {
	s.sessions.forgetAll()
	if s.opt.Ended != nil {
		outlast(ctx)
	}
}

// outlast waits until no process remembers what the record does not have any more.
func outlast(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(sessionStale):
	}
}

// createSession logs a buyer in, on the word of the merchant's server, and shows the token, this once.
func (s *Server) createSession(x *exchange) error {
	now := x.now.UTC().Truncate(time.Millisecond)
	session := &apikey.Session{CreatedAt: now, EndsAt: now.Add(s.opt.SessionMax)}
	session.ExpiresAt = session.Until(now, s.opt.SessionIdle)
	err := x.decode([]string{"user_id"}, func(f *fields, name []byte) {
		switch string(name) {
		case "user_id":
			session.UserID = user.ID(f.id())
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	var token string
	session.ID, token = apikey.MakeSession()
	session.Hash = apikey.HashOf(token)
	ended, err := s.desk.Record.AddSession(x.ctx, session, limits.SessionsOfUser)
	if err != nil {
		return notWritten(err)
	}
	s.ended(x.ctx, ended)
	b := appendSession(x.out[:0], session)
	b = wire.AppendString(append(b[:len(b)-1], `,"token":`...), token)
	b = append(b, '}')
	x.json(http.StatusCreated, b)
	clear(b) // the buffer is used again, and the token is not to stay in it
	return nil
}

// currentSession gives the session that the request came with.
func (x *exchange) currentSession() (*apikey.Session, error) {
	if x.session == nil {
		return nil, fault.ErrNotFound.Detailf("There is no such session: the request came with a key.")
	}
	return x.session, nil
}

func (s *Server) getSession(x *exchange) error {
	session, err := x.currentSession()
	if err != nil {
		return err
	}
	x.out = appendSession(x.out[:0], session)
	x.ok(x.out)
	return nil
}

// endSession logs the buyer out.
func (s *Server) endSession(x *exchange) error {
	session, err := x.currentSession()
	if err != nil {
		return err
	}
	if err := s.desk.Record.EndSession(x.ctx, session.ID); err != nil {
		return notWritten(err)
	}
	s.ended(x.ctx, []apikey.Hash{session.Hash})
	x.out = appendSession(x.out[:0], session)
	x.ok(x.out)
	return nil
}

// endSessions logs a user out everywhere.
func (s *Server) endSessions(x *exchange) error {
	id, err := x.existing("user")
	if err != nil {
		return err
	}
	ended, err := s.desk.Record.EndSessionsOf(x.ctx, user.ID(id))
	if err != nil {
		return notWritten(err)
	}
	if s.ended(x.ctx, ended); len(ended) == 0 {
		s.endedBefore(x.ctx)
	}
	b := wire.AppendString(append(x.out[:0], `{"user_id":`...), id)
	b = strconv.AppendInt(append(b, `,"ended":`...), int64(len(ended)), 10)
	b = append(b, '}')
	x.out = b
	x.ok(x.out)
	return nil
}

func appendSession(b []byte, s *apikey.Session) []byte {
	b = wire.AppendString(append(b, `{"session_id":`...), s.ID)
	b = wire.AppendString(append(b, `,"user_id":`...), string(s.UserID))
	b = wire.AppendTime(append(b, `,"created_at":`...), s.CreatedAt)
	b = wire.AppendTime(append(b, `,"expires_at":`...), s.ExpiresAt)
	b = wire.AppendTime(append(b, `,"ends_at":`...), s.EndsAt)
	return append(b, '}')
}
