package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/feed"
)

// streamEvents tells all events, or all of some types, as the log has them.
func (s *Server) streamEvents(x *exchange) error {
	return s.follow(x, &telling{
		of:    feed.Interest{Types: x.eventTypes()},
		event: func(b []byte, e *event.Event) ([]byte, error) { return e.AppendCloudEvent(b), nil },
		key:   x.stillAllowed,
	})
}
