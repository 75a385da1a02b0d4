package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/user"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// createTicket makes a ticket for one stream, for who cannot send a header there.
func (s *Server) createTicket(x *exchange) error {
	t := &apikey.Ticket{ExpiresAt: x.now.UTC().Truncate(time.Millisecond).Add(apikey.TicketLasts)}
	if x.session != nil {
		t.SessionID = x.session.ID
	} else {
		t.KeyID = x.key.ID
	}
	var of *route
	err := x.decode([]string{"stream"}, func(f *fields, name []byte) {
		if string(name) != "stream" {
			f.unknown()
			return
		}
		path, ok := f.string()
		if !ok {
			return
		}
		if of, ok = s.streamAt(path); !ok {
			f.fail("must be the path of a stream, such as /v1/orders/202611200000042/stream")
		}
		t.Stream = path
	})
	if err != nil {
		return err
	}
	if err := x.mayFollow(of, t.Stream); err != nil {
		return err
	}
	secret := apikey.MakeTicket()
	t.Hash = apikey.HashOf(secret)
	if err := s.desk.Record.AddTicket(x.ctx, t); err != nil {
		return notWritten(err)
	}
	b := wire.AppendString(append(x.out[:0], `{"ticket":`...), secret)
	b = wire.AppendString(append(b, `,"stream":`...), t.Stream)
	b = wire.AppendTime(append(b, `,"expires_at":`...), t.ExpiresAt)
	b = append(b, '}')
	x.json(http.StatusCreated, b)
	clear(b) // the buffer is used again, and the ticket is not to stay in it
	return nil
}

// streamPathChars bounds the path of a stream: a user's id of 128 characters, each escaped.
const streamPathChars = 4096

// streamAt finds the stream by its path, which is spelled as requests for it are.
func (s *Server) streamAt(path string) (stream *route, ok bool) {
	u, err := url.Parse(path)
	if err != nil || len(path) > streamPathChars || u.Scheme != "" || u.Host != "" || u.EscapedPath() != path || !clean(u) {
		return nil, false
	}
	_, pattern := s.mux.Handler(&http.Request{Method: http.MethodGet, URL: u})
	for i := range s.routes {
		if r := &s.routes[i]; r.pattern == pattern && r.stream {
			return r, true
		}
	}
	return nil, false
}

// mayFollow refuses who could not open a stream himself: a key that lacks its scope, a buyer to whom what it is about does not belong.
func (x *exchange) mayFollow(stream *route, path string) error {
	ticketRoute := x.route
	x.route = stream // whose scope and whose openness to buyers count
	defer func() { x.route = ticketRoute }()
	if err := x.needs(stream.scope); err != nil || x.session == nil {
		return err
	}
	before, _, _ := strings.Cut(stream.pattern, "{")
	id, err := url.PathUnescape(strings.Split(path, "/")[strings.Count(before, "/")])
	switch {
	case err != nil:
		return fault.ErrNotFound
	case strings.Contains(stream.pattern, "{user_id}"):
		return x.mine(user.ID(id), "user")
	}
	x.r.SetPathValue("order_no", id)
	_, err = x.order()
	return err
}

// ticket gives the ticket in a request for a stream, when it comes in place of a key.
func (x *exchange) ticket() (secret string, given bool) {
	if !x.route.stream || len(x.r.Header["Authorization"]) > 0 || !strings.Contains(x.r.URL.RawQuery, "ticket=") {
		return "", false
	}
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil || len(query["ticket"]) != 1 {
		return "", false
	}
	return query["ticket"][0], true
}

// redeem uses a ticket up: it opens the one stream that it was made for, if the key or the session that made it still would.
func (s *Server) redeem(x *exchange, secret string) error {
	if !apikey.TicketLike(secret) {
		return errTicket
	}
	select {
	case s.keys.lookups <- struct{}{}: // made-up tickets are no better than made-up keys
		defer func() { <-s.keys.lookups }()
	default:
		return fault.ErrOverloaded
	}
	key, session, err := s.desk.Record.TakeTicket(x.ctx, apikey.HashOf(secret), x.r.URL.EscapedPath())
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return errTicket
	case err != nil:
		return fault.ErrUnavailable.Detailf("Tickets cannot be looked up now.").Because(err)
	case key != nil && !key.Valid(x.now), session != nil && !session.Valid(x.now):
		return errTicket
	}
	x.key, x.session = key, session
	return nil
}

var errTicket = fault.ErrUnauthenticated.Detailf("The ticket opens nothing here: it is good once, for one stream, within a minute.")
