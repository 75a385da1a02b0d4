package feed

import (
	"bytes"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Stream is one reader at the end of the log. Idle it is a few hundred bytes: its queue is there while something waits in it,
// and what waits is shared with all other streams.
type Stream struct {
	hub   *Hub
	in    Interest
	types typeMask
	from  int64
	ready chan struct{}

	// Of the hub's lists, under its lock.
	next, prev *Stream
	linked     bool

	mu    sync.Mutex
	queue []*event.Event
	ended error
}

// From is where the stream begins: it is told of what comes behind this position in the log.
func (s *Stream) From() int64 { return s.from }

// Ready is readable when Take has something to give.
func (s *Stream) Ready() <-chan struct{} { return s.ready }

// Take gives what has come since the last time, in the order of the log. They are shared: not to be changed. Once the stream
// has ended, its error says why: ErrSlow or ErrClosed.
func (s *Stream) Take() ([]*event.Event, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := s.queue
	s.queue = nil
	return events, s.ended
}

// Close ends the stream. It may be called twice.
func (s *Stream) Close() {
	s.hub.mu.Lock()
	defer s.hub.mu.Unlock()
	s.end(ErrClosed)
}

// push puts an event into the queue. The hub is locked.
func (s *Stream) push(e *event.Event) {
	s.mu.Lock()
	full := len(s.queue) >= queueMax
	if !full {
		s.queue = append(s.queue, e)
	}
	s.mu.Unlock()
	if full {
		s.hub.slow++
		s.end(ErrSlow)
		return
	}
	s.signal()
}

// end takes the stream out of the hub, which is locked. What waited for a slow reader is let go: he finds it in the log.
func (s *Stream) end(why error) {
	s.hub.unlink(s)
	s.mu.Lock()
	if s.ended == nil {
		s.ended, s.queue = why, nil
	}
	s.mu.Unlock()
	s.signal()
}

func (s *Stream) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// before puts a stream in front of a list.
func (s *Stream) before(list *Stream) {
	s.next = list
	if list != nil {
		list.prev = s
	}
}

// typeMask is a set of types: the zero mask has all.
type typeMask uint32

func maskOf(types ...event.Type) (m typeMask) {
	for _, t := range types {
		m |= 1 << (slices.Index(known, t) + 1)
	}
	return m
}

var known = event.Types()

// userIn reads whose an order is from the data of an event that is the order itself.
func userIn(e *event.Event) (id user.ID, ok bool) {
	if !strings.HasPrefix(string(e.Type), "order.") {
		return "", false
	}
	dec := jsontext.NewDecoder(bytes.NewReader(e.Data))
	if t, err := dec.ReadToken(); err != nil || t.Kind() != '{' {
		return "", false
	}
	for {
		name, err := dec.ReadToken()
		if err != nil || name.Kind() != '"' {
			return "", false
		}
		if name.String() != "user_id" {
			if dec.SkipValue() != nil {
				return "", false
			}
			continue
		}
		value, err := dec.ReadToken()
		if err != nil || value.Kind() != '"' {
			return "", false
		}
		return user.ID(value.String()), true
	}
}
