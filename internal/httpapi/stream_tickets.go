package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// createTicket makes a ticket for one stream, for who cannot send a header there.
func (s *Server) createTicket(x *exchange) error {
	t := &apikey.Ticket{KeyID: x.key.ID, ExpiresAt: x.now.UTC().Truncate(time.Millisecond).Add(apikey.TicketLasts)}
	var scope apikey.Scope
	err := x.decode([]string{"stream"}, func(f *fields, name []byte) {
		if string(name) != "stream" {
			f.unknown()
			return
		}
		path, ok := f.string()
		if !ok {
			return
		}
		if scope, ok = s.streamAt(path); !ok {
			f.fail("must be the path of a stream, such as /v1/orders/202611200000042/stream")
		}
		t.Stream = path
	})
	if err != nil {
		return err
	}
	if err := x.needs(scope); err != nil {
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

// streamAt finds the scope that a stream needs by its path, which is spelled as requests for it are.
func (s *Server) streamAt(path string) (scope apikey.Scope, ok bool) {
	u, err := url.Parse(path)
	if err != nil || len(path) > streamPathChars || u.Scheme != "" || u.Host != "" || u.EscapedPath() != path || !clean(u) {
		return "", false
	}
	_, pattern := s.mux.Handler(&http.Request{Method: http.MethodGet, URL: u})
	for _, r := range s.routes {
		if r.pattern == pattern && r.stream {
			return r.scope, true
		}
	}
	return "", false
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

// redeem uses a ticket up: it opens the one stream that it was made for, if the key that made it still would.
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
	key, err := s.desk.Record.TakeTicket(x.ctx, apikey.HashOf(secret), x.r.URL.EscapedPath())
	switch {
	case errors.Is(err, fault.ErrNotFound):
		return errTicket
	case err != nil:
		return fault.ErrUnavailable.Detailf("Tickets cannot be looked up now.").Because(err)
	case !key.Valid(x.now):
		return errTicket
	}
	x.key = key
	return nil
}

var errTicket = fault.ErrUnauthenticated.Detailf("The ticket opens nothing here: it is good once, for one stream, within a minute.")
