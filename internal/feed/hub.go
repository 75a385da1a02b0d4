// Package feed is the end of the log, live: one hub in the process reads the log forward, once, and hands each event to the
// streams that want it. What it hands out is in the log, so whoever loses his stream reads on there.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Limits of the hub and of a stream.
const (
	look     = 100 * time.Millisecond // between two looks at the log when nobody wakes the hub: another process may have written
	pageMax  = 512                    // events in one look
	queueMax = 8192                   // events that wait for one reader: some seconds of a rush, then he is too slow
	pageWait = 5 * time.Second        // for one look
)

// Why a stream ended.
var (
	ErrSlow   = errors.New("the reader is too slow")
	ErrClosed = errors.New("the feed has ended")
)

// Log is the durable log of events: nothing ever appears in it at or before its end.
type Log interface {
	Events(ctx context.Context, f checkout.EventFilter) ([]event.Event, error)
	LogEnd(ctx context.Context) (position int64, err error)
}

// Orders is where an order is found: the data of a few events is not the order itself.
type Orders interface {
	Order(ctx context.Context, no order.Number) (*order.Order, error)
}

// Interest is what a stream is told of: the events of one order, of all orders of one user, or all of some types.
type Interest struct {
	OrderNo order.Number
	UserID  user.ID
	Types   []event.Type // of neither an order nor a user: none means all
}

// Hub reads the log for all streams of the process. While there are none it does nothing.
type Hub struct {
	log    Log
	orders Orders
	logger *slog.Logger
	wake   chan struct{}

	mu       sync.Mutex
	position int64              // everything up to here was handed out
	byOrder  map[string]*Stream // by the events' subject; further ones are linked
	byUser   map[user.ID]*Stream
	all      *Stream
	streams  int
	ofUsers  int // of them
	slow     int64
	closed   bool
}

// NewHub makes a hub. Nothing is handed out unless it runs.
func NewHub(log Log, orders Orders, logger *slog.Logger) *Hub {
	return &Hub{
		log: log, orders: orders, logger: logger, wake: make(chan struct{}, 1),
		byOrder: map[string]*Stream{}, byUser: map[user.ID]*Stream{},
	}
}

// Wake tells that the log has grown. It never blocks.
func (h *Hub) Wake() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// Run reads on until ctx ends; then all streams end.
func (h *Hub) Run(ctx context.Context) {
	defer h.close()
	timer := time.NewTicker(look)
	defer timer.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.wake:
		case <-timer.C:
		}
		more, err := h.RunOnce(ctx)
		if more {
			h.Wake()
		}
		if err != nil && ctx.Err() == nil && !failing { // said once, not ten times a second
			h.logger.Error("feed: the log cannot be read; tried again", "err", err)
		}
		failing = err != nil
	}
}

// RunOnce hands out one page of the log. more: there may be a further one. After an error the same page is read again.
func (h *Hub) RunOnce(ctx context.Context) (more bool, err error) {
	after, wanted := h.next()
	if !wanted {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, pageWait)
	defer cancel()
	events, err := h.log.Events(ctx, checkout.EventFilter{After: after, Limit: pageMax})
	if err != nil || len(events) == 0 {
		return false, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var users []user.ID
	if h.ofUsers > 0 { // a user who comes only now begins before this page, as everybody does until it is handed out
		h.mu.Unlock()
		users, err = h.usersOf(ctx, events)
		h.mu.Lock()
		if err != nil {
			return false, err
		}
	}
	for i := range events {
		e := events[i] // a copy: one that waits in a queue is not to keep its whole page
		h.tell(&e, userAt(users, i))
	}
	h.position = max(h.position, events[len(events)-1].Position)
	return len(events) == pageMax, nil
}

func userAt(users []user.ID, i int) user.ID {
	if users == nil {
		return ""
	}
	return users[i]
}

func (h *Hub) next() (after int64, wanted bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position, h.streams > 0
}

// tell hands an event to all who want it. The hub is locked.
func (h *Hub) tell(e *event.Event, of user.ID) {
	kind := maskOf(e.Type)
	if e.Subject.Kind == event.Order {
		push(h.byOrder[e.Subject.ID], e, kind)
		if of != "" {
			push(h.byUser[of], e, kind)
		}
	}
	push(h.all, e, kind)
}

func push(list *Stream, e *event.Event, kind typeMask) {
	for s := list; s != nil; {
		next := s.next // a slow one is taken out
		if e.Position > s.from && (s.types == 0 || s.types&kind != 0) {
			s.push(e)
		}
		s = next
	}
}

// usersOf finds whose the events are, "" for those of products. It is never nil.
func (h *Hub) usersOf(ctx context.Context, events []event.Event) ([]user.ID, error) {
	users := make([]user.ID, len(events))
	for i := range events {
		e := &events[i]
		if e.Subject.Kind != event.Order {
			continue
		}
		if id, ok := userIn(e); ok {
			users[i] = id
			continue
		}
		no, err := order.ParseNumber(e.Subject.ID)
		if err != nil {
			continue // not an order of ours
		}
		o, err := h.orders.Order(ctx, no)
		if err != nil {
			return nil, err
		}
		users[i] = o.UserID
	}
	return users, nil
}

// Follow opens a stream: from its From on it is told of every event it is interested in. The caller closes it.
func (h *Hub) Follow(ctx context.Context, in Interest) (*Stream, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.streams == 0 {
		// The hub slept, so it may be far behind.
		h.mu.Unlock()
		end, err := h.log.LogEnd(ctx)
		h.mu.Lock()
		if err != nil {
			return nil, err
		}
		if h.streams == 0 {
			h.position = max(h.position, end)
		}
	}
	if h.closed {
		return nil, ErrClosed
	}
	s := &Stream{hub: h, in: in, types: maskOf(in.Types...), from: h.position, ready: make(chan struct{}, 1)}
	h.link(s)
	return s, nil
}

// Position is how far the hub is: every event up to here was handed to all streams that wanted it.
func (h *Hub) Position() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.position
}

// Slow is how many streams were ended because their readers were too slow.
func (h *Hub) Slow() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.slow
}

func (h *Hub) link(s *Stream) {
	h.streams++
	switch {
	case s.in.OrderNo != 0:
		key := s.in.OrderNo.String()
		s.before(h.byOrder[key])
		h.byOrder[key] = s
	case s.in.UserID != "":
		h.ofUsers++
		s.before(h.byUser[s.in.UserID])
		h.byUser[s.in.UserID] = s
	default:
		s.before(h.all)
		h.all = s
	}
	s.linked = true
}

// unlink takes a stream out. The hub is locked.
func (h *Hub) unlink(s *Stream) {
	if !s.linked {
		return
	}
	s.linked = false
	h.streams--
	if s.next != nil {
		s.next.prev = s.prev
	}
	if s.in.UserID != "" && s.in.OrderNo == 0 {
		h.ofUsers--
	}
	switch {
	case s.prev != nil:
		s.prev.next = s.next
	case s.in.OrderNo != 0:
		relist(h.byOrder, s.in.OrderNo.String(), s.next)
	case s.in.UserID != "":
		relist(h.byUser, s.in.UserID, s.next)
	default:
		h.all = s.next
	}
	s.next, s.prev = nil, nil
}

func relist[K comparable](lists map[K]*Stream, key K, first *Stream) {
	if first == nil {
		delete(lists, key)
		return
	}
	lists[key] = first
}

func (h *Hub) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	end := func(list *Stream) {
		for s := list; s != nil; {
			next := s.next
			s.end(ErrClosed)
			s = next
		}
	}
	for _, list := range h.byOrder {
		end(list)
	}
	for _, list := range h.byUser {
		end(list)
	}
	end(h.all)
}

// Wants reports whether an event of a type is told, by its type.
func (in *Interest) Wants(t event.Type) bool {
	return len(in.Types) == 0 || slices.Contains(in.Types, t)
}
