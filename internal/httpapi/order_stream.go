package httpapi

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// streamOrder tells an order as it is, and then at each of its events.
func (s *Server) streamOrder(x *exchange) error {
	o, err := x.order()
	if err != nil {
		return err
	}
	return s.follow(x, &telling{
		of: feed.Interest{OrderNo: o.Number}, event: s.orderOf(x), order: (*order.Order).AppendJSON, key: x.stillAllowed,
	})
}

// orderOf tells an event of an order by the order: as the event has it, or, where the event is of something else (money that came
// late), as it is.
func (s *Server) orderOf(x *exchange) func([]byte, *event.Event) ([]byte, error) {
	return func(b []byte, e *event.Event) ([]byte, error) {
		if strings.HasPrefix(string(e.Type), "order.") {
			return append(b, e.Data...), nil
		}
		o, err := s.orderAt(x.ctx, e)
		if err != nil {
			return b, err
		}
		return o.AppendJSON(b, s.opt.Clock()), nil
	}
}

// orderAt gives the order that an event is about, at the event or later.
func (s *Server) orderAt(ctx context.Context, e *event.Event) (*order.Order, error) {
	no, err := order.ParseNumber(e.Subject.ID)
	if err != nil {
		return nil, err
	}
	return s.orderNotBefore(ctx, no, e.Sequence)
}

// stillAllowed looks again whether the key or the session opens the stream: a revoked one is dead in seconds, for streams too. A
// record that cannot be asked ends nobody's stream. A buyer who listens uses his session.
func (x *exchange) stillAllowed(ctx context.Context) error {
	if x.session != nil {
		_, err := x.s.sessions.look(ctx, x.session.Hash, x.s.opt.Clock(), true)
		if err != nil && fault.Of(err).Kind == fault.Unauthenticated {
			return fault.ErrUnauthenticated
		}
		return nil
	}
	key, err := x.s.keys.look(ctx, x.key.Hash, x.s.opt.Clock(), true)
	switch {
	case err == nil && key.Allows(x.route.scope):
		return nil
	case err != nil && fault.Of(err).Kind != fault.Unauthenticated:
		return nil
	}
	return fault.ErrUnauthenticated
}

// FollowOrder answers a page's request with a stream of one order, as show appends it: its first message is named order, the
// others like the events. It ends when the order has come to a status that it keeps, and 204 tells an EventSource that comes back
// that there will be no more. Pages have places of their own, for anyone may open as many as he likes. Whose order it is and who may see it is the page's to know. w is what the page was given.
func (s *Server) FollowOrder(w http.ResponseWriter, r *http.Request, no order.Number, show func([]byte, *order.Order) []byte) {
	x, ours := w.(*exchange)
	if !ours {
		http.Error(w, "A stream is answered on the desk's own connection only.", http.StatusInternalServerError)
		return
	}
	x.r, x.ctx = r, r.Context()
	t := &telling{of: feed.Interest{OrderNo: no}, page: true}
	tell := func(b []byte, o *order.Order) []byte {
		t.over = o.Status.Final()
		return show(b, o)
	}
	t.order = func(o *order.Order, b []byte, _ time.Time) []byte { return tell(b, o) }
	t.event = func(b []byte, e *event.Event) ([]byte, error) {
		o, err := s.orderAt(x.ctx, e)
		if err != nil {
			return b, err
		}
		return tell(b, o), nil
	}
	if err := s.follow(x, t); err != nil {
		x.refuse(err)
	}
}
