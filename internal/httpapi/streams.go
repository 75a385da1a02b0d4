package httpapi

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of streams.
const (
	streamsMax        = 4000                    // open at a time, unless set otherwise
	pageStreamsMax    = 2000                    // of pages, besides: those are open to anyone
	streamBeat        = 1500 * time.Millisecond // between two looks at a quiet stream: is its key still good?
	streamKeepBeats   = 10                      // of quiet, then a comment keeps the line open: 15 s
	streamWriteMax    = 10 * time.Second        // for what is written at once; whoever takes longer is gone
	streamPage        = 256                     // events of the log read at once for who has fallen behind
	streamReadsAtOnce = 4                       // of such pages: when all come back at once, the orders go on
	streamReadMax     = 5 * time.Second
	streamFlushBytes  = 16 << 10
	streamKeepBytes   = 4 << 10                // of a quiet stream's buffer
	snapshotWait      = 2 * time.Second        // for the log to come to where the order is
	retryMin          = 500 * time.Millisecond // after which clients come back …
	retrySpread       = 2 * time.Second        // … not all at once
)

// streams is what all open streams have in common.
type streams struct {
	seats
	pages   seats         // those of pages
	beat    time.Duration // see streamBeat
	behind  time.Duration // see snapshotWait
	reads   chan struct{}
	drained chan struct{}
	drain   sync.Once
}

// seats bounds how many streams of one kind are open.
type seats struct {
	most int64
	open atomic.Int64
}

func newStreams(most int) *streams {
	if most == 0 {
		most = streamsMax
	}
	return &streams{
		seats: seats{most: int64(most)}, pages: seats{most: pageStreamsMax}, beat: streamBeat, behind: snapshotWait,
		reads: make(chan struct{}, streamReadsAtOnce), drained: make(chan struct{}),
	}
}

var (
	errTooMany  = fault.ErrOverloaded.Detailf("Too many streams are open.")
	errStopping = fault.ErrUnavailable.Detailf("The desk is stopping.")
)

// enter takes a place, which leave gives back.
func (s *seats) enter() error {
	if s.open.Add(1) > s.most {
		s.open.Add(-1)
		return errTooMany
	}
	return nil
}

func (s *seats) leave() { s.open.Add(-1) }

// Drain ends all streams at once and lets no more begin: their readers come back to another process, or to the next one, and
// go on where they were.
func (s *Server) Drain() { s.streams.drain.Do(func() { close(s.streams.drained) }) }

// Streams is how many are open, those of pages aside.
func (s *Server) Streams() int64 { return s.streams.open.Load() }

// PageStreams is how many of pages are open, and how many may be.
func (s *Server) PageStreams() (open, most int64) {
	return s.streams.pages.open.Load(), s.streams.pages.most
}

// telling is what one kind of stream tells.
type telling struct {
	of    feed.Interest
	event func(b []byte, e *event.Event) ([]byte, error)       // appends the data that tells an event
	order func(o *order.Order, b []byte, now time.Time) []byte // how a stream of one order shows it, to begin with
	key   func(ctx context.Context) error                      // whether the reader may still listen; nil: always

	page bool // it has a page's place, and ends with the status that its order keeps; others go on, for money can come late
	over bool // such a status was told
}

// lastEventID is where a reader goes on: the header that browsers send by themselves, or, for a stream that is opened anew, the
// parameter.
func (x *exchange) lastEventID() (position int64, given bool) {
	name := "last_event_id"
	value, given := x.given(name)
	if sent := x.r.Header["Last-Event-Id"]; len(sent) > 0 && sent[0] != "" {
		value, name = strings.Join(sent, ","), "Last-Event-ID"
	} else if !given {
		return 0, false
	}
	position, whole := wholeNumber([]byte(value))
	if !whole || position < 0 {
		x.fields.note(name, "must be the id of an event in a stream")
	}
	return position, true
}

// follow answers with a stream. It begins with what is now, or behind the event that the reader saw last, and never leaves one
// out: first it stands at the end of the log, then it reads up to there, then it goes on with what comes.
func (s *Server) follow(x *exchange, t *telling) error {
	since, resumed := x.lastEventID()
	if _, twice := x.given("ticket"); twice && len(x.r.Header["Authorization"]) > 0 {
		x.fields.note("ticket", "is taken in place of a key, not with one")
	}
	if err := x.fields.invalid(); err != nil {
		return err
	}
	if resumed {
		end, err := s.desk.Record.LogEnd(x.ctx)
		if err != nil {
			return err
		}
		if since > end {
			return fault.ErrInvalid.Detailf("The log of events does not go that far.").Field("Last-Event-ID", "is ahead of the log")
		}
		start, err := s.desk.Record.LogStart(x.ctx)
		if err != nil {
			return err
		}
		if since < start {
			return fault.ErrEventsPruned.With("earliest_position", start+1)
		}
	}
	if x.r.Method == http.MethodHead {
		x.beginStream()
		return nil
	}
	if s.opt.Feed == nil {
		return errStopping
	}
	select {
	case <-s.streams.drained:
		return errStopping
	default:
	}
	among := &s.streams.seats
	if t.page {
		among = &s.streams.pages
	}
	if err := among.enter(); err != nil {
		return err
	}
	defer among.leave()
	l := &stream{x: x, telling: t, last: since, control: http.NewResponseController(x.w)}
	defer l.close()
	if resumed && t.page {
		if all, err := l.heardAll(); err != nil || all {
			if all {
				x.WriteHeader(http.StatusNoContent) // a browser comes back no more
			}
			return err
		}
	}
	if !resumed {
		if err := l.open(); err != nil {
			return unread(err)
		}
		l.last = l.in.From()
	}
	_ = l.control.SetReadDeadline(time.Time{}) // the request has been read; what is waited for now is its end
	x.beginStream()
	l.finish(l.tell())
	return nil
}

// unread says of the feed what is said of the record.
func unread(err error) error {
	if errors.Is(err, feed.ErrClosed) {
		return errStopping
	}
	return err
}

var (
	streamType  = []string{"text/event-stream"}
	notBuffered = []string{"no"}
)

// beginStream begins an answer that goes on. For the metrics the request was answered now.
func (x *exchange) beginStream() {
	h := x.Header()
	h["Content-Type"] = streamType
	h["X-Accel-Buffering"] = notBuffered
	x.WriteHeader(http.StatusOK)
	x.took = x.s.opt.Clock().Sub(x.now)
}

// stream is one open stream.
type stream struct {
	*telling
	x       *exchange
	control *http.ResponseController
	in      *feed.Stream // nil while it reads on in the log
	last    int64        // everything up to here was told
	shown   int64        // of the one order, its events up to this sequence were told by showing it
	out     []byte
}

// Why a stream ends that nobody has to hear of.
var (
	errEnded = errors.New("the stream was ended")
	errGone  = errors.New("the reader has gone")
)

func (l *stream) tell() error {
	retry := retryMin + rand.N(retrySpread) //nolint:gosec // jitter
	l.out = l.x.out[:0]
	l.out = append(l.out, "retry: "...)
	l.out = append(strconv.AppendInt(l.out, retry.Milliseconds(), 10), "\n\n"...)
	if err := l.write(); err != nil {
		return err
	}
	if err := l.begin(); err != nil {
		return err
	}
	return l.live()
}

// begin tells what a reader has to know before what comes: what he missed, or how things are.
func (l *stream) begin() error {
	switch {
	case l.in == nil:
		return l.catchUp()
	case l.order != nil:
		return l.first()
	default:
		l.mark()
		return l.write()
	}
}

func (l *stream) open() (err error) {
	l.in, err = l.x.s.opt.Feed.Follow(l.x.ctx, l.of)
	return err
}

func (l *stream) close() {
	if l.in != nil {
		l.in.Close()
	}
}

// catchUp reads on in the log, a page at a time and as fast as the reader takes them, until the next page would be at the end.
// There it opens the stream, and reads what came in between.
func (l *stream) catchUp() error {
	for {
		near, err := l.page()
		if err != nil {
			return err
		}
		if near {
			break
		}
	}
	if err := l.open(); err != nil {
		return err
	}
	for {
		if end, err := l.page(); err != nil || end {
			return err
		}
	}
}

// read reads a page of the log, when it is its turn.
func (l *stream) read(filter checkout.EventFilter) ([]event.Event, error) {
	s := l.x.s
	select {
	case s.streams.reads <- struct{}{}:
	case <-l.x.ctx.Done():
		return nil, errGone
	case <-s.streams.drained:
		return nil, errEnded
	}
	defer func() { <-s.streams.reads }()
	ctx, cancel := context.WithTimeout(l.x.ctx, streamReadMax)
	defer cancel()
	filter.Limit = cmp.Or(filter.Limit, streamPage)
	return s.desk.Record.Events(ctx, filter)
}

// page tells one page of the log. last: there was no more of it.
func (l *stream) page() (last bool, err error) {
	// Not by types: a look for what is rare would go through all of the log.
	events, err := l.read(checkout.EventFilter{OrderNo: l.of.OrderNo, UserID: l.of.UserID, After: l.last})
	if err != nil {
		return false, err
	}
	if l.key != nil {
		if err := l.key(l.x.ctx); err != nil {
			return false, errEnded
		}
	}
	for i := range events {
		if l.of.Wants(events[i].Type) {
			if err := l.append(&events[i]); err != nil {
				return false, err
			}
		}
		l.last = events[i].Position
	}
	l.mark()
	return len(events) < streamPage, l.write()
}

// first shows the order as the log has told it so far. The order itself may be ahead of the log, for the moment until what was
// committed has its place there: then that is waited for, so that the reader never sees it go back.
func (l *stream) first() error {
	told, end, err := l.toldSoFar()
	if err != nil {
		return err
	}
	l.last = max(l.last, end)
	late := time.NewTimer(l.x.s.streams.behind)
	defer late.Stop()
	for patient := true; ; {
		o, err := l.x.s.orderNotBefore(l.x.ctx, l.of.OrderNo, told)
		if err != nil {
			return err
		}
		if told == 0 && patient {
			gone, err := l.forgotten(o)
			if err != nil {
				return err
			}
			patient = !gone
		}
		if o.Events <= told || !patient {
			l.shown = o.Events
			l.message("order", l.last)
			l.out = append(l.order(o, l.out, l.x.s.opt.Clock()), "\n\n"...)
			return l.write()
		}
		select {
		case <-l.in.Ready():
			events, err := l.in.Take()
			if err != nil {
				return err
			}
			for _, e := range events {
				told, l.last = max(told, e.Sequence), max(l.last, e.Position)
			}
		case <-late.C:
			patient = false
		case <-l.x.ctx.Done():
			return errGone
		case <-l.x.s.streams.drained:
			return errEnded
		}
	}
}

// toldSoFar is the last event of the order in the log.
func (l *stream) toldSoFar() (sequence, position int64, err error) {
	for {
		events, err := l.read(checkout.EventFilter{OrderNo: l.of.OrderNo, After: position, Anew: position == 0})
		if err != nil || len(events) == 0 {
			return sequence, position, err
		}
		end := events[len(events)-1]
		sequence, position = end.Sequence, end.Position
		if len(events) < streamPage {
			return sequence, position, nil
		}
	}
}

// forgotten reports whether the log, which has nothing of an order, has had it: it begins later than the order did.
func (l *stream) forgotten(o *order.Order) (bool, error) {
	oldest, err := l.read(checkout.EventFilter{Anew: true, Limit: 1})
	return len(oldest) > 0 && oldest[0].Time.After(o.CreatedAt), err
}

// heardAll reports whether the order keeps its status, and the reader was told it.
func (l *stream) heardAll() (bool, error) {
	o, err := l.x.s.desk.Order(l.x.ctx, l.of.OrderNo)
	if err != nil || !o.Status.Final() {
		return false, err
	}
	told, end, err := l.toldSoFar()
	return told >= o.Events && end <= l.last, err
}

// orderNotBefore gives an order that has at least the events that were told: what is remembered of it may be older where
// another process changed it.
func (s *Server) orderNotBefore(ctx context.Context, no order.Number, told int64) (*order.Order, error) {
	o, err := s.desk.Order(ctx, no)
	if err != nil || o.Events >= told {
		return o, err
	}
	return s.desk.Record.Order(ctx, no)
}

// live tells what comes, until the reader leaves, falls behind or may listen no longer, or the process ends.
func (l *stream) live() error {
	s := l.x.s
	beat := time.NewTicker(s.streams.beat)
	defer beat.Stop()
	quiet := 0
	for {
		if l.over {
			return errEnded
		}
		select {
		case <-l.in.Ready():
			quiet = 0
			if err := l.takeAndTell(); err != nil {
				return err
			}
		case <-beat.C:
			if l.key != nil && l.key(l.x.ctx) != nil {
				return errEnded
			}
			if quiet++; quiet < streamKeepBeats {
				continue
			}
			quiet = 0
			if err := l.keep(); err != nil {
				return err
			}
		case <-l.x.ctx.Done():
			return errGone
		case <-s.streams.drained:
			return errEnded
		}
	}
}

func (l *stream) takeAndTell() error {
	events, err := l.in.Take()
	if err != nil {
		return err
	}
	if len(events) > 0 && l.x.session != nil && l.key(l.x.ctx) != nil { // a buyer's own orders: few, and for nobody else's eyes
		return errEnded
	}
	for _, e := range events {
		if e.Position <= l.last {
			continue // read in the log, as the stream was opened
		}
		if l.order != nil && e.Sequence <= l.shown {
			l.last = e.Position
			continue
		}
		if err := l.append(e); err != nil {
			return err
		}
		l.last = e.Position
		if len(l.out) >= streamFlushBytes {
			if err := l.write(); err != nil {
				return err
			}
			if err := l.mayGoOn(); err != nil { // to a slow reader what is queued takes long
				return err
			}
		}
	}
	return l.write()
}

// mayGoOn looks, between two writes, whether the reader is there, may listen still, and the process goes on.
func (l *stream) mayGoOn() error {
	select {
	case <-l.x.ctx.Done():
		return errGone
	case <-l.x.s.streams.drained:
		return errEnded
	default:
	}
	if l.key != nil && l.key(l.x.ctx) != nil {
		return errEnded
	}
	return nil
}

// keep keeps the line open, and tells a reader of whom nothing was said how far that is true, so that he need not go through all
// of it when he comes back.
func (l *stream) keep() error {
	at := l.x.s.opt.Feed.Position()
	if err := l.takeAndTell(); err != nil { // up to there everything is in the queue
		return err
	}
	l.last = max(l.last, at)
	l.out = append(l.out, ": keep\n"...)
	l.mark()
	return l.write()
}

// append adds the message of an event.
func (l *stream) append(e *event.Event) (err error) {
	l.message(string(e.Type), e.Position)
	if l.out, err = l.event(l.out, e); err == nil {
		l.out = append(l.out, "\n\n"...)
	}
	return err
}

// message begins a message. Its data is JSON without line breaks.
func (l *stream) message(name string, position int64) {
	l.out = append(append(l.out, "event: "...), name...)
	l.out = strconv.AppendInt(append(l.out, "\nid: "...), position, 10)
	l.out = append(l.out, "\ndata: "...)
}

// mark moves the reader's Last-Event-ID without telling him anything: a block without data is no message.
func (l *stream) mark() {
	l.out = append(l.out, "id: "...)
	l.out = append(strconv.AppendInt(l.out, l.last, 10), "\n\n"...)
}

// write sends what was made. It takes no longer than streamWriteMax: the server's own limit is for answers that end.
func (l *stream) write() error {
	if len(l.out) == 0 {
		return nil
	}
	_ = l.control.SetWriteDeadline(time.Now().Add(streamWriteMax)) // a recorder in a test has none
	if _, err := l.x.w.Write(l.out); err != nil {
		return errGone
	}
	if err := l.control.Flush(); err != nil {
		return errGone
	}
	if l.out = l.out[:0]; cap(l.out) > streamKeepBytes {
		l.out = nil
	}
	l.x.out = l.out
	return nil
}

// finish logs why a stream ended, when it is our doing.
func (l *stream) finish(err error) {
	switch {
	case errors.Is(err, errGone), errors.Is(err, errEnded), errors.Is(err, feed.ErrClosed), errors.Is(err, context.Canceled):
	case errors.Is(err, feed.ErrSlow):
		l.x.s.opt.Log.Debug("stream ended: its reader is too slow", "request_id", l.x.id, "route", l.x.pattern())
	default:
		l.x.s.warn(l.x, err)
	}
}
