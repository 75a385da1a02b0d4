package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

// Error is a refusal: the desk answered, and said no. The codes are constants of the package api.
type Error struct {
	Operation string // as the OpenAPI document names it: placeOrder
	Status    int    // of HTTP
	Code      string // for programs; "" when it was not a desk that answered
	Detail    string // for people
	RequestID string // names the request in the desk's log
	Fields    []api.Field

	// What some codes tell besides.
	ProductID   string // which line was refused
	Available   int64  // out_of_stock, insufficient_stock: the units that are left
	MaxPerUser  int64  // purchase_limit
	OrderStatus string // order_not_payable, order_not_cancellable, order_not_fulfillable: the order's status
	RetryAfter  time.Duration

	IdempotencyKey string // of PlaceOrder, to ask again with
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Operation)
	if e.Code == "" {
		fmt.Fprintf(&b, ": answered %d %s, and not by a desk", e.Status, http.StatusText(e.Status))
		return b.String()
	}
	fmt.Fprintf(&b, ": %s: %s", e.Code, e.Detail)
	for _, f := range e.Fields {
		fmt.Fprintf(&b, " (%s %s)", f.Field, f.Detail)
	}
	return b.String()
}

// NoAnswer is a call that was not answered, or not in whole.
type NoAnswer struct {
	Operation string
	// Sent is whether the desk may have got the request: true too where the transport does not show it. If it may, whether it was carried out is not known; calls that do no
	// more when they are made twice were repeated by then.
	Sent           bool
	IdempotencyKey string // of PlaceOrder, to ask again with
	Err            error
}

func (e *NoAnswer) Error() string { return fmt.Sprintf("%s: no answer: %v", e.Operation, e.Err) }

// Unwrap gives the reason.
func (e *NoAnswer) Unwrap() error { return e.Err }

// Errors of answers that no desk gives.
var (
	ErrTooLarge = errors.New("the answer is longer than any answer of a desk")
	ErrForeign  = errors.New("the answer cannot be read: that is not a desk")
	ErrStuck    = errors.New("the list does not go on: a page names itself as the next")
)

// HasCode reports whether an error is a refusal with one of some codes: HasCode(err, api.CodeOutOfStock).
func HasCode(err error, codes ...string) bool {
	var e *Error
	return errors.As(err, &e) && slices.Contains(codes, e.Code)
}

// problem reads an answer that is not a success.
func problem(operation string, resp *http.Response, body []byte) *Error {
	e := &Error{Operation: operation, Status: resp.StatusCode, RequestID: resp.Header.Get("X-Request-Id")}
	if seconds, err := strconv.ParseUint(resp.Header.Get("Retry-After"), 10, 31); err == nil {
		e.RetryAfter = time.Duration(seconds) * time.Second
	}
	var p api.Problem
	if json.Unmarshal(body, &p) != nil || p.Code == "" {
		return e
	}
	e.Code, e.Detail, e.Fields = p.Code, p.Detail, p.Errors
	for name, into := range map[string]any{
		"product_id": &e.ProductID, "available": &e.Available, "max_per_user": &e.MaxPerUser, "status": &e.OrderStatus,
	} {
		if value, there := p.Members[name]; there {
			_ = json.Unmarshal(value, into) // what is of another kind is not what we look for
		}
	}
	return e
}
