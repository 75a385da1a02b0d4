package httpapi

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
)

// exchange is one request and its answer. It is the ResponseWriter that the mux and the handlers are given, so that the road
// needs no context values; and it is used again, with its buffers, for a later request.
type exchange struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	ctx     context.Context //nolint:containedctx // the request's, or a shorter one that the road made of it
	now     time.Time
	id      string
	route   *route          // nil where no route matched
	key     *apikey.Key     // nil where none was asked for, and for a buyer
	session *apikey.Session // of a buyer; nil: it is none
	query   url.Values

	status    int               // 0: nothing written yet
	code      string            // of a problem
	counted   counted           // whom it counts for
	limitedBy ratelimit.Subject // whose quota was used up; "": nobody's
	no        order.Number      // of the order it is about; 0: of none
	took      time.Duration     // until a stream began; 0: of no stream

	traced   func(*Answered) // nil: it is not
	answered Answered
	lent     bool // to a handler outside this package, who might keep it

	fields fields // of the body, and whatever is wrong with any input
	raw    []byte // the body
	out    []byte // the answer
}

// bufferKept bounds the buffers that stay with an exchange.
const bufferKept = 16 << 10

func (x *exchange) begin(w http.ResponseWriter, r *http.Request) {
	x.w, x.r, x.ctx, x.now = w, r, r.Context(), x.s.opt.Clock()
	x.id = requestID(r.Header)
	if x.s.opt.Trace != nil {
		x.trace()
	}
	h := w.Header()
	h["X-Request-Id"] = []string{x.id}
	h["Cache-Control"] = noStore
	h["X-Content-Type-Options"] = noSniff
}

// trace begins the trace of the request, where it is traced.
func (x *exchange) trace() {
	ctx, ended := x.s.opt.Trace(x.r)
	if ended != nil {
		x.r, x.ctx, x.traced = x.r.WithContext(ctx), ctx, ended
	}
}

func (x *exchange) reset() {
	x.w, x.r, x.ctx, x.route, x.key, x.session, x.query = nil, nil, nil, nil, nil, nil, nil
	x.id, x.code, x.limitedBy, x.status, x.took, x.no, x.traced = "", "", "", 0, 0, 0, nil
	x.fields.wrong = x.fields.wrong[:0]
	x.counted.rules, x.counted.asks = x.counted.rules[:0], x.counted.asks[:0]
	if cap(x.raw) > bufferKept {
		x.raw = nil
	}
	if cap(x.out) > bufferKept {
		x.out = nil
	}
}

// Header values that never change are shared by all answers.
var (
	noStore     = []string{"no-store"}
	noSniff     = []string{"nosniff"}
	jsonType    = []string{"application/json"}
	problemType = []string{"application/problem+json"}
	challenge   = []string{`Bearer realm="holdfast"`}
	replayed    = []string{"true"}
	closing     = []string{"close"}
)

// requestID takes the client's X-Request-Id if it is a UUID, as proxies make them, or makes one of its own. It goes into the log: any
// other text might be a phone number or a key that somebody put there.
func requestID(h http.Header) string {
	if sent := h["X-Request-Id"]; len(sent) == 1 && isUUID(sent[0]) {
		return sent[0]
	}
	const alphabet = "0123456789abcdefghjkmnpqrstvwxyz"
	var id [16]byte
	hi, lo := rand.Uint64(), rand.Uint64() //nolint:gosec // a name, not a secret
	for i := range id {
		n := hi
		if i >= len(id)/2 {
			n = lo
		}
		id[i] = alphabet[n>>(i%8*5)&31]
	}
	return string(id[:])
}

// isUUID reports whether a text is a UUID as RFC 9562 writes it.
func isUUID(s string) bool {
	const like = "00000000-0000-0000-0000-000000000000"
	if len(s) != len(like) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if like[i] == '-' {
			if c != '-' {
				return false
			}
		} else if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return true
}

// The http.ResponseWriter.

// Header gives the answer's header.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader begins the answer.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= http.StatusOK {
		x.status = status
	}
	x.w.WriteHeader(status)
}

func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.status = http.StatusOK
	}
	return x.w.Write(b)
}

// Unwrap is for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// Answers.

func (x *exchange) ok(body []byte) { x.json(http.StatusOK, body) }

// put answers a PUT: 201 when the thing is new.
func (x *exchange) put(created bool, body []byte) {
	if created {
		x.json(http.StatusCreated, body)
		return
	}
	x.json(http.StatusOK, body)
}

func (x *exchange) json(status int, body []byte) {
	x.Header()["Content-Type"] = jsonType
	x.write(status, body)
}

func (x *exchange) write(status int, body []byte) {
	x.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	x.WriteHeader(status)
	_, _ = x.w.Write(body) // a client that has left is nobody's mistake
}

// statusGone is what the log and the metrics say of a client who left before his answer was there.
const statusGone = 499

// What becomes of a request whose context ended.
var (
	gone = fault.ErrUnavailable.Detailf("The request was given up; whether it was carried out is not known.")
	slow = fault.ErrUnavailable.Detailf("It would have taken too long.")
)

// refuse answers with what went wrong.
func (x *exchange) refuse(err error) {
	f := x.blame(err)
	x.problem(f)
	if f == gone {
		x.status = statusGone
	}
}

// blame finds the fault in an error, and logs what is our own.
func (x *exchange) blame(err error) *fault.Error {
	f := fault.Of(err)
	x.code = f.Code
	if f.Kind != fault.Internal && f.Kind != fault.Unavailable {
		return f
	}
	switch {
	case errors.Is(err, context.Canceled):
		f = gone
	case errors.Is(err, context.DeadlineExceeded):
		f = slow
	case f.Kind == fault.Internal:
		x.s.opt.Log.ErrorContext(x.r.Context(), "internal error", "request_id", x.id, "route", x.pattern(), "err", err)
	case errors.Unwrap(f) != nil:
		x.s.warn(x, err)
	}
	x.code = f.Code
	return f
}

// panicked answers for a handler that panicked, and reports whether the connection has to be cut because the answer had
// begun.
func (x *exchange) panicked(p any) (abort bool) {
	if abortedByHandler(p) {
		return true
	}
	x.s.opt.Log.ErrorContext(x.r.Context(), "panic", "request_id", x.id, "route", x.pattern(), "panic", mistake(p), "stack", string(debug.Stack()))
	if x.status != 0 {
		return true
	}
	x.code = fault.ErrInternal.Code
	x.problem(fault.ErrInternal)
	return false
}

func abortedByHandler(p any) bool {
	return p == http.ErrAbortHandler //nolint:errorlint // it is panicked with as it is
}

// mistake says what a panic was about, for the log. What somebody panicked with may hold anything, a buyer's address too: only the
// language's own mistakes are told in words. The stack says where it was.
func mistake(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", p)
}

// pattern is the route as it stands in the table, never the path that was sent.
func (x *exchange) pattern() string {
	if x.route != nil {
		return x.route.pattern
	}
	if x.r.Pattern != "" {
		return x.r.Pattern
	}
	return "/"
}

// What the path names.

func (x *exchange) orderNo() (order.Number, error) {
	no, err := order.ParseNumber(x.r.PathValue("order_no"))
	if err != nil {
		return 0, fault.ErrNotFound.Detailf("There is no such order.")
	}
	x.no = no
	return no, nil
}

// existing reads an id in the path that should be there; what cannot be an id is not.
func (x *exchange) existing(thing string) (string, error) {
	id := x.r.PathValue(thing + "_id")
	if limits.ID(id) != "" {
		return "", fault.ErrNotFound.Detailf("There is no such %s.", thing)
	}
	return id, nil
}

// possible reads an id in the path that may be new.
func (x *exchange) possible(thing string) string {
	id := x.r.PathValue(thing + "_id")
	if wrong := limits.ID(id); wrong != "" {
		x.fields.note(thing+"_id", "%s", wrong)
	}
	return id
}
