package httpapi

import (
	"net/http"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

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
	if err := s.desk.Record.AddSession(x.ctx, session, limits.SessionsOfUser); err != nil {
		return notWritten(err)
	}
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

// endSession logs the buyer out: in this process at once, in others within a second.
func (s *Server) endSession(x *exchange) error {
	session, err := x.currentSession()
	if err != nil {
		return err
	}
	if err := s.desk.Record.EndSession(x.ctx, session.ID); err != nil {
		return notWritten(err)
	}
	s.sessions.forgetOne(session.Hash)
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
	n, err := s.desk.Record.EndSessionsOf(x.ctx, user.ID(id))
	if err != nil {
		return notWritten(err)
	}
	s.sessions.forget()
	b := wire.AppendString(append(x.out[:0], `{"user_id":`...), id)
	b = strconv.AppendInt(append(b, `,"ended":`...), n, 10)
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
