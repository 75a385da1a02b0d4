package httpapi

import (
	"encoding/json"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// statuses is the one table from the kind of a fault to the HTTP status.
var statuses = [...]int{
	fault.Internal:             http.StatusInternalServerError,
	fault.Malformed:            http.StatusBadRequest,
	fault.Unauthenticated:      http.StatusUnauthorized,
	fault.Forbidden:            http.StatusForbidden,
	fault.NotFound:             http.StatusNotFound,
	fault.MethodNotAllowed:     http.StatusMethodNotAllowed,
	fault.Conflict:             http.StatusConflict,
	fault.Gone:                 http.StatusGone,
	fault.TooLarge:             http.StatusRequestEntityTooLarge,
	fault.UnsupportedMediaType: http.StatusUnsupportedMediaType,
	fault.Invalid:              http.StatusUnprocessableEntity,
	fault.Limited:              http.StatusTooManyRequests,
	fault.Unavailable:          http.StatusServiceUnavailable,
}

// StatusOf is the HTTP status that a kind of fault is answered with.
func StatusOf(k fault.Kind) int { return statuses[k] }

// retrySecondsMax bounds the random wait that is asked of clients who come while there is too much to do: were it the same
// for all, they would come back together.
const retrySecondsMax = 5

// problem answers with a fault, as application/problem+json.
func (x *exchange) problem(f *fault.Error) {
	h := x.Header()
	h["Content-Type"] = problemType
	switch {
	case f.Kind == fault.Unavailable:
		h["Retry-After"] = []string{strconv.Itoa(1 + rand.IntN(retrySecondsMax))} //nolint:gosec // jitter
	case f.RetryAfter > 0:
		h["Retry-After"] = []string{strconv.FormatInt(int64((f.RetryAfter+time.Second-1)/time.Second), 10)}
	case f.Kind == fault.Unauthenticated && x.route != nil && x.route.scope != "":
		h["Www-Authenticate"] = challenge
	}
	if f.Kind == fault.TooLarge {
		h["Connection"] = closing // or the server would first wait for all of it
	}
	x.out = appendProblem(x.out[:0], f, x.id)
	x.write(statuses[f.Kind], x.out)
}

// appendProblem writes a fault as RFC 9457 has it. Where an order's status is told, it takes the place of the HTTP status:
// the standard leaves that one out where it likes, and a name may stand only once.
func appendProblem(b []byte, f *fault.Error, requestID string) []byte {
	status := statuses[f.Kind]
	b = append(b, `{"type":"about:blank","title":"`...)
	b = append(b, http.StatusText(status)...)
	b = append(b, '"')
	if !slices.ContainsFunc(f.Members, func(m fault.Member) bool { return m.Name == "status" }) {
		b = strconv.AppendInt(append(b, `,"status":`...), int64(status), 10)
	}
	b = wire.AppendString(append(b, `,"code":`...), f.Code)
	b = wire.AppendString(append(b, `,"detail":`...), f.Detail)
	for _, m := range f.Members {
		b = wire.AppendString(append(b, ','), m.Name)
		b = appendMember(append(b, ':'), m.Value)
	}
	b = wire.AppendString(append(b, `,"request_id":`...), requestID)
	if len(f.Fields) > 0 {
		b = append(b, `,"errors":[`...)
		for i, field := range f.Fields {
			if i > 0 {
				b = append(b, ',')
			}
			b = wire.AppendString(append(b, `{"field":`...), field.Field)
			b = wire.AppendString(append(b, `,"detail":`...), field.Detail)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func appendMember(b []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return wire.AppendString(b, v)
	case int64:
		return strconv.AppendInt(b, v, 10)
	default:
		text, err := json.Marshal(v)
		if err != nil {
			return append(b, `null`...)
		}
		return append(b, text...)
	}
}
