package httpapi

import (
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
	most    int64
	beat    time.Duration
	open    atomic.Int64
	reads   chan struct{}
	drained chan struct{}
	drain   sync.Once
}

func newStreams(most int) *streams {
	if most == 0 {
		most = streamsMax
	}
	return &streams{
		most: int64(most), beat: streamBeat,
		reads: make(chan struct{}, streamReadsAtOnce), drained: make(chan struct{}),
	}
}

var (
	errTooMany  = fault.ErrOverloaded.Detailf("Too many streams are open.")
	errStopping = fault.ErrUnavailable.Detailf("The desk is stopping.")
)

// enter takes a place, which leave gives back.
func (s *streams) enter() error {
	select {
	case <-s.drained:
		return errStopping
	default:
	}
	if s.open.Add(1) > s.most {
		s.open.Add(-1)
		return errTooMany
	}
	return nil
}

func (s *streams) leave() { s.open.Add(-1) }

// Drain ends all streams at once and lets no more begin: their readers come back to another process, or to the next one, and
// go on where they were.
func (s *Server) Drain() { s.streams.drain.Do(func() { close(s.streams.drained) }) }

// Streams is how many are open.
func (s *Server) Streams() int64 { return s.streams.open.Load() }

// telling is what one kind of stream tells.
type telling struct {
	of    feed.Interest
	event func(b []byte, e *event.Event) ([]byte, error)       // appends the data that tells an event
	order func(o *order.Order, b []byte, now time.Time) []byte // how a stream of one order shows it, to begin with
	key   func(ctx context.Context) error                      // whether the reader may still listen; nil: always
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
	if err := s.streams.enter(); err != nil {
		return err
	}
	defer s.streams.leave()
	l := &stream{x: x, telling: t, last: since, control: http.NewResponseController(x.w)}
	defer l.close()
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
	filter.Limit = streamPage
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
	told, err := l.toldSoFar()
	if err != nil {
		return err
	}
	late := time.NewTimer(snapshotWait)
	defer late.Stop()
	for patient := true; ; {
		o, err := l.x.s.orderNotBefore(l.x.ctx, l.of.OrderNo, told)
		if err != nil {
			return err
		}
		if o.Events <= told || !patient {
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

// toldSoFar is the sequence of the last event of the order in the log.
func (l *stream) toldSoFar() (sequence int64, err error) {
	for after := int64(0); ; {
		events, err := l.read(checkout.EventFilter{OrderNo: l.of.OrderNo, After: after, Anew: after == 0})
		if err != nil || len(events) == 0 {
			return sequence, err
		}
		end := events[len(events)-1]
		sequence, after, l.last = end.Sequence, end.Position, max(l.last, end.Position)
		if len(events) < streamPage {
			return sequence, nil
		}
	}
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
	for _, e := range events {
		if e.Position <= l.last {
			continue // read in the log, as the stream was opened
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
