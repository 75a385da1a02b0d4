// Package httpapi is the door: HTTP in, the desk's answers out. routes.go is the whole map; all routes take one road.
package httpapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/cors"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// Options of a Server. The zero value of each is its default.
type Options struct {
	Log         *slog.Logger                // access at debug level, faults of ours above it; nil is silent
	Clock       func() time.Time            // the desk's
	Ready       func(context.Context) error // what is not ready yet; nil: always ready
	Degraded    func() []string             // what a ready desk does without, or may lose; nil: nothing
	Quarantined func() int64                // products whose sale is stopped; nil: nobody knows of any
	Metrics     http.Handler                // /metrics; nil: not found

	// Observe is told of every answered request. It must not keep what it is given.
	Observe func(*Answered)
	// Trace begins the trace of a request. Where it is traced, ctx goes along the road in place of the request's own, and ended is
	// called with the answer; otherwise both are nil. A nil Trace traces none.
	Trace func(*http.Request) (ctx context.Context, ended func(*Answered))

	Version   string                  // of the program, in /healthz
	PublicURL string                  // where clients reach the desk, for the document; "": as the document has it
	CursorKey []byte                  // seals the cursors, one per record; nil: cursors end with this process
	Callbacks []CallbackProvider      // who may send notices
	Pages     map[string]http.Handler // further patterns of the mux, open to anyone

	SessionIdle time.Duration // how long a session lasts unused; 30 min
	SessionMax  time.Duration // and however much it is used; 24 h
	Ended       Ended         // tells other processes that sessions were ended; nil: there are none

	Limits  []ratelimit.Rule // none: nobody is limited
	Limiter Limiter          // that keeps their quotas
	Proxies Proxies          // in front

	Origins []string // of web pages that may call from a browser; "*" is any, none is none

	Feed       *feed.Hub // what streams are fed by; nil: there are none
	StreamsMax int       // open at a time
}

func (o *Options) defaults(d *checkout.Desk) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Clock == nil {
		o.Clock = d.Clock
	}
	if o.Degraded == nil {
		o.Degraded = func() []string { return nil }
	}
	if o.Quarantined == nil {
		o.Quarantined = func() int64 { return 0 }
	}
	if o.Ready == nil {
		o.Ready = func(context.Context) error { return nil }
	}
	if o.Observe == nil {
		o.Observe = func(*Answered) {}
	}
	if o.CursorKey == nil {
		o.CursorKey = make([]byte, sealBytes)
		_, _ = rand.Read(o.CursorKey)
	}
	o.SessionIdle, o.SessionMax = cmp.Or(o.SessionIdle, sessionIdle), cmp.Or(o.SessionMax, sessionMax)
	o.Version = cmp.Or(o.Version, "unknown")
}

// Answered is one request with its answer, as far as logs, metrics and traces may know of it: no path (it may name a user), no
// query, no body, no header.
type Answered struct {
	Route    string // the pattern it matched, "/" when none
	Method   string // one of HTTP's, or "other"
	Status   int
	Code     string // of a problem
	Limited  string // the subject whose quota was used up, of a request that was refused for it
	OrderNo  string // which order it was about, if one
	Panicked bool
	Took     time.Duration
}

// Load is how busy the door is.
type Load struct {
	InFlight           int64 // requests being answered
	Lists, ListsMax    int   // running
	KnownKeys, Unknown int   // API keys remembered: good ones, made-up ones
	KeyLookups         int64 // times the record was asked for a key
	Sessions           int   // remembered
	SessionLookups     int64 // times the record was asked for one
}

// Load tells how busy the door is.
func (s *Server) Load() Load {
	l := Load{InFlight: s.inFlight.Load(), Lists: len(s.lists), ListsMax: cap(s.lists), KeyLookups: s.keys.asked.Load()}
	l.KnownKeys, l.Unknown = s.keys.size()
	l.Sessions, _ = s.sessions.size()
	l.SessionLookups = s.sessions.asked.Load()
	return l
}

// Bounds of a process.
const (
	listsAtOnce = 8                      // lists look at many rows, so few of them may run beside the orders
	listWait    = 250 * time.Millisecond // for a turn
	listMax     = 5 * time.Second        // of one list
	warnEvery   = time.Second            // that the record is unavailable

	sessionIdle = 30 * time.Minute
	sessionMax  = 24 * time.Hour
)

// Server answers the API.
type Server struct {
	desk     *checkout.Desk
	opt      Options
	mux      *http.ServeMux
	routes   []route
	streams  *streams
	cors     *cors.Cors // nil: off
	keys     *keyring[*apikey.Key]
	sessions *keyring[*apikey.Session]
	cursors  cursors
	lists    chan struct{} // a place for each list that may run
	refusals *pace         // of orders, when there are too many
	audit    sync.Mutex    // held by the one audit
	document *static
	page     map[string]*static // the files of /docs

	exchanges sync.Pool
	inFlight  atomic.Int64
	warned    atomic.Int64 // when, in Unix nanoseconds
}

// New makes the server of a desk.
func New(d *checkout.Desk, opt Options) *Server {
	opt.defaults(d)
	s := &Server{
		desk:     d,
		opt:      opt,
		mux:      http.NewServeMux(),
		routes:   routes(),
		streams:  newStreams(opt.StreamsMax),
		cors:     newCORS(opt.Origins),
		keys:     newKeyring(d.Record, opt.Clock, opt.Log),
		sessions: newSessionRing(d.Record, opt.Clock, opt.Log, opt.SessionIdle, opt.Ended),
		cursors:  cursors{opt.CursorKey},
		lists:    make(chan struct{}, listsAtOnce),
		refusals: newRefusals(),
		document: newDocument(opt.PublicURL),
		page:     docsPage(),
	}
	limitRoutes(s.routes, opt.Limits)
	s.exchanges.New = func() any { return &exchange{s: s} }
	for pattern, methods := range byPattern(s.routes) {
		s.mux.Handle(pattern, newEndpoint(methods))
	}
	for pattern, handler := range opt.Pages {
		s.mux.Handle(pattern, page{handler})
	}
	s.mux.Handle("/", nothing{})
	return s
}

// Close ends the streams and waits for what goes on beside the requests.
func (s *Server) Close(ctx context.Context) error {
	s.Drain()
	return errors.Join(s.keys.close(ctx), s.sessions.close(ctx))
}

// ServeHTTP takes a request along the road: its id, the log and the guard around everything, then by its pattern
// authentication, scope, query, body, handler, answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := s.exchanges.Get().(*exchange)
	x.begin(w, r)
	s.inFlight.Add(1)
	defer func() { s.end(x, recover()) }()
	if !clean(r.URL) {
		x.refuse(fault.ErrNotFound)
		return
	}
	s.mux.ServeHTTP(x, x.r)
}

// end turns a panic into an answer, writes the log line, and puts the exchange away.
func (s *Server) end(x *exchange, panicked any) {
	abort := false
	if panicked != nil {
		abort = x.panicked(panicked)
	}
	s.inFlight.Add(-1)
	lasted := s.opt.Clock().Sub(x.now)
	x.answered = Answered{
		Route: x.pattern(), Method: method(x.r), Status: x.status, Code: x.code, Limited: string(x.limitedBy), Panicked: panicked != nil && !abortedByHandler(panicked),
		Took: cmp.Or(x.took, lasted), // a stream is answered when it begins
	}
	debug := s.opt.Log.Enabled(x.r.Context(), slog.LevelDebug)
	if x.no != 0 && (debug || x.traced != nil) {
		x.answered.OrderNo = x.no.String()
	}
	s.opt.Observe(&x.answered)
	if x.traced != nil {
		x.traced(&x.answered)
	}
	if debug {
		s.logAccess(x, &x.answered)
	}
	if abort {
		panic(http.ErrAbortHandler) // what was begun cannot be taken back; the client must not take it for whole
	}
	if !x.lent && panicked == nil {
		x.reset()
		s.exchanges.Put(x)
	}
}

func (s *Server) logAccess(x *exchange, a *Answered) {
	attrs := []slog.Attr{
		slog.String("request_id", x.id),
		slog.String("method", a.Method),
		slog.String("route", a.Route),
		slog.Int("status", a.Status),
		slog.Duration("took", a.Took),
	}
	if a.Code != "" {
		attrs = append(attrs, slog.String("code", a.Code))
	}
	if a.OrderNo != "" {
		attrs = append(attrs, slog.String("order_no", a.OrderNo))
	}
	if x.key != nil {
		attrs = append(attrs, slog.String("key_id", x.key.ID))
	}
	s.opt.Log.LogAttrs(x.r.Context(), slog.LevelDebug, "request", attrs...)
}

// method keeps made-up methods out of logs and metrics.
func method(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodConnect, http.MethodOptions, http.MethodTrace:
		return r.Method
	}
	return "other"
}

// clean reports whether the path is spelled in the one way that the mux serves. It would answer any other with a redirect to
// somewhere the client has not asked for.
func clean(u *url.URL) bool {
	p := u.EscapedPath()
	if p == "" || p[0] != '/' {
		return false
	}
	if cleaned := path.Clean(p); cleaned != "/" {
		return cleaned == strings.TrimSuffix(p, "/")
	}
	return p == "/"
}

// endpoint is all that one pattern of the mux serves.
type endpoint struct {
	methods []*route
	allow   []string
}

func byPattern(all []route) map[string][]*route {
	by := map[string][]*route{}
	for i := range all {
		by[all[i].pattern] = append(by[all[i].pattern], &all[i])
	}
	return by
}

func newEndpoint(methods []*route) *endpoint {
	var allowed []string
	for _, r := range methods {
		allowed = append(allowed, r.method)
		if r.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	return &endpoint{methods, []string{strings.Join(allowed, ", ")}}
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, _ := w.(*exchange) // the server's mux is given nothing else
	if x.s.cors != nil {
		x.s.cors.HandlerFunc(x, r)
		if preflight(r) {
			return
		}
	}
	for _, rt := range e.methods {
		if rt.method == r.Method || rt.method == http.MethodGet && r.Method == http.MethodHead {
			x.route = rt
			if err := x.s.carry(x); err != nil {
				x.refuse(err)
			}
			return
		}
	}
	x.Header()["Allow"] = e.allow
	x.refuse(fault.ErrMethodNotAllowed)
}

// carry takes an exchange from its route to its answer.
func (s *Server) carry(x *exchange) error {
	if err := s.letIn(x); err != nil {
		return err
	}
	if err := x.readQuery(); err != nil {
		if limited := x.settle(); limited != nil {
			return limited
		}
		return err
	}
	if !x.route.list {
		return x.route.handle(s, x)
	}
	ctx, cancel := context.WithTimeout(x.r.Context(), listMax)
	defer cancel()
	if err := s.takeTurn(ctx); err != nil {
		return err
	}
	defer func() { <-s.lists }()
	x.ctx = ctx
	return x.route.handle(s, x)
}

// letIn asks who is there and whether he has not come too often. All that a request counts for is asked in one call, but where the
// record has to be asked who is there: then his address comes first, so that made-up keys cost no look. Whoever is turned away for
// another reason is counted, too.
func (s *Server) letIn(x *exchange) error {
	if x.route.limitedBy(ratelimit.ByAddress) {
		x.counts(ratelimit.ByAddress, s.opt.Proxies.client(x.r))
	}
	if x.route.scope == "" {
		return nil
	}
	if len(x.counted.asks) > 0 && !s.remembers(x) {
		if err := x.settle(); err != nil {
			return err
		}
	}
	err := s.recognize(x)
	if err == nil {
		if x.session != nil {
			x.counts(ratelimit.ByUser, string(x.session.UserID))
		} else {
			x.counts(ratelimit.ByKey, x.key.ID)
		}
		if !x.route.anyKey {
			err = x.needs(x.route.scope)
		}
	}
	if err == nil && x.route.forUser && x.session == nil {
		return nil // its handler settles, when it knows for whom it is
	}
	if limited := x.settle(); limited != nil {
		return limited
	}
	return err
}

// takeTurn waits a little for a list's place.
func (s *Server) takeTurn(ctx context.Context) error {
	select {
	case s.lists <- struct{}{}:
		return nil
	default:
	}
	late := time.NewTimer(listWait)
	defer late.Stop()
	select {
	case s.lists <- struct{}{}:
		return nil
	case <-late.C:
		return fault.ErrOverloaded
	case <-ctx.Done():
		return ctx.Err()
	}
}

// page is a handler that is not of the table.
type page struct{ http.Handler }

func (p page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if x, ok := w.(*exchange); ok {
		x.lent = true
	}
	p.Handler.ServeHTTP(w, r)
}

// nothing is what is found where there is no route.
type nothing struct{}

func (nothing) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	x, _ := w.(*exchange)
	x.refuse(fault.ErrNotFound)
}

// warn logs that the record is out of reach, not more than once a second: under load everybody meets it.
func (s *Server) warn(x *exchange, err error) {
	last, now := s.warned.Load(), s.opt.Clock().UnixNano() // a stream began long ago
	if now-last < int64(warnEvery) || !s.warned.CompareAndSwap(last, now) {
		return
	}
	s.opt.Log.WarnContext(x.r.Context(), "unavailable", "request_id", x.id, "route", x.pattern(), "err", err)
}
