package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// Bounds of a stream.
const (
	silenceMax        = 45 * time.Second // a desk lets hear from it every 15 s; one that is silent for longer is gone
	streamFailuresMax = 30               // in a row, without a word from the desk: a few minutes
	problemBytesMax   = 64 << 10
	steadyAfter       = 10 * time.Second // a connection that stood for so long was no failure
)

// EventOrder is the type of the first message of an order's stream: the order as it was then.
const EventOrder = "order"

// Message is one message of a stream.
type Message[T any] struct {
	// Position is where it stands in the log of events. Kept, it is where a later stream goes on.
	Position int64
	Type     string // of the event, such as order.paid; EventOrder for an order as it was when the stream began
	Data     T
}

// StreamOptions of a stream. The zero value of each is its default.
type StreamOptions struct {
	// After is the Position of the last message that was dealt with: the stream goes on behind it, without a gap. 0: an order's
	// stream begins with the order as it is, the others with what happens next.
	After int64
}

// StreamOrder gives an order as it is, and then each event about it, as it happens. Cut connections are opened again behind
// what was seen, so nothing is missed and nothing comes twice. It goes on when the order is over, for money can still come late:
// leave the loop at what you waited for. It ends by itself when the desk says that nothing can follow (204), when the context
// ends, or with an error, which is the last thing it gives.
func (c *Client) StreamOrder(ctx context.Context, orderNo string, opt StreamOptions) iter.Seq2[Message[api.Order], error] {
	s := stream[api.Order]{c: c, operation: "streamOrder", path: path("orders", orderNo, "stream")}
	return s.all(ctx, opt)
}

// StreamUser gives the events of all orders of a user as they happen, each with its order, as StreamOrder does.
func (c *Client) StreamUser(ctx context.Context, userID string, opt StreamOptions) iter.Seq2[Message[api.Order], error] {
	s := stream[api.Order]{c: c, operation: "streamUser", path: path("users", userID, "stream")}
	return s.all(ctx, opt)
}

// StreamEvents gives the events of the log as they happen, of some types or, without any, of all, as StreamOrder does.
func (c *Client) StreamEvents(ctx context.Context, types []string, opt StreamOptions) iter.Seq2[Message[api.Event], error] {
	s := stream[api.Event]{c: c, operation: "streamEvents", path: path("events", "stream"), query: url.Values{}}
	set(s.query, "types", strings.Join(types, ","))
	return s.all(ctx, opt)
}

// stream is one stream over all its connections.
type stream[T any] struct {
	c         *Client
	operation string
	path      string
	query     url.Values

	after int64 // the position of the last message, once known
	known bool
	heard bool // this connection brought something
}

// errLeft: whoever listened has left.
var errLeft = errors.New("the loop was left")

// all opens connections, one after another.
func (s stream[T]) all(ctx context.Context, opt StreamOptions) iter.Seq2[Message[T], error] {
	return func(yield func(Message[T], error) bool) {
		s := s // each loop over it is a stream of its own
		s.after, s.known = opt.After, opt.After > 0
		for failures := 0; ; failures++ {
			s.heard = false
			err := s.listen(ctx, yield)
			switch {
			case errors.Is(err, errLeft), err == nil:
				return
			case ctx.Err() != nil:
				yield(Message[T]{}, ctx.Err())
				return
			case !mayRecover(err):
				yield(Message[T]{}, fmt.Errorf("%s: %w", s.operation, err))
				return
			}
			if s.heard {
				failures = 0
			}
			if failures >= streamFailuresMax || !pause(ctx, s.c.wait(failures, err)) {
				yield(Message[T]{}, s.gaveUp(ctx, err))
				return
			}
		}
	}
}

func (s *stream[T]) gaveUp(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &NoAnswer{Operation: s.operation, Err: err}
}

// mayRecover is whether a new connection may bring what this one did not.
func mayRecover(err error) bool {
	var f foreign
	var e *Error
	switch {
	case errors.As(err, &f), errors.Is(err, errLine), errors.Is(err, errData), errors.Is(err, errText):
		return false
	case errors.As(err, &e):
		return transient(e.Status)
	}
	return true
}

// listen gives the messages of one connection. nil: the desk says that there will be no more.
func (s *stream[T]) listen(ctx context.Context, yield func(Message[T], error) bool) error {
	ctx, cut := context.WithCancelCause(ctx)
	defer cut(nil)
	quiet := time.AfterFunc(silenceMax, func() { cut(fmt.Errorf("nothing was heard for %v", silenceMax)) })
	defer quiet.Stop()
	resp, err := s.open(ctx)
	if err != nil || resp == nil {
		return err
	}
	defer resp.Body.Close()
	opened, resumed := time.Now(), s.known
	messages := newSSEReader(&watched{resp.Body, func() { quiet.Reset(silenceMax) }})
	for {
		m, err := messages.next()
		if err != nil {
			s.heard = s.heard || time.Since(opened) > steadyAfter
			if position, ok := positionOf(messages.mark); ok && (!s.known || position > s.after) {
				s.after, s.known = position, true // of a block without data: the stream is there, and nothing has happened
			}
			return reason(ctx, err)
		}
		out, fresh, err := s.read(m, resumed)
		if err != nil {
			return err
		}
		if !fresh {
			continue
		}
		s.heard = true
		quiet.Stop() // whoever listens may take his time
		if !yield(out, nil) {
			return errLeft
		}
		quiet.Reset(silenceMax)
	}
}

// open makes the connection. Neither a response nor an error: the desk says that there will be no more.
func (s *stream[T]) open(ctx context.Context) (*http.Response, error) {
	r, err := s.c.request(ctx, &call{operation: s.operation, method: http.MethodGet, path: s.path, query: s.query}, nil)
	if err != nil {
		return nil, foreign{err}
	}
	r.Header.Set("Accept", "text/event-stream")
	if s.known {
		r.Header.Set("Last-Event-ID", strconv.FormatInt(s.after, 10))
	}
	asked := time.Now()
	resp, err := s.c.http.Do(r)
	if err != nil {
		return nil, reason(ctx, err)
	}
	s.c.desk.observe(resp.Header.Get("Date"), asked, time.Now())
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	switch {
	case resp.StatusCode == http.StatusOK && media == "text/event-stream":
		return resp, nil
	case resp.StatusCode == http.StatusOK:
		err = foreignf("%w: it is no stream", ErrForeign)
	case resp.StatusCode == http.StatusNoContent:
	default:
		text, cut := io.ReadAll(io.LimitReader(resp.Body, problemBytesMax))
		if err = cut; cut == nil {
			err = problem(s.operation, resp, text)
		}
	}
	_ = resp.Body.Close()
	return nil, err
}

// read makes a message of what was sent, and says whether it is news. On a connection that goes on from a position, only what
// happened since is: an order as it is would hide the steps that led there.
func (s *stream[T]) read(m sseMessage, resumed bool) (out Message[T], fresh bool, err error) {
	position, ok := positionOf(m.id)
	switch {
	case !ok:
		return out, false, foreignf("%w: a message of the stream has no position", ErrForeign)
	case m.event == "":
		return out, false, foreignf("%w: a message of the stream has no type", ErrForeign)
	case m.event == EventOrder && resumed, s.known && position <= s.after:
		return out, false, nil
	}
	out.Position, out.Type = position, m.event
	if json.Unmarshal(m.data, &out.Data) != nil {
		return out, false, foreignf("%w: a message of the stream is not what it should be", ErrForeign)
	}
	s.after, s.known = position, true
	return out, true, nil
}

// positionOf reads a position of the log.
func positionOf(id string) (int64, bool) {
	n, err := strconv.ParseUint(id, 10, 63)
	return int64(n), err == nil
}

// watched is a reader that tells whenever it got something.
type watched struct {
	io.Reader
	each func()
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.Reader.Read(b)
	if n > 0 {
		w.each()
	}
	return n, err
}
