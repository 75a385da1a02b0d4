// Package fault is the one kind of error that reaches a client: a kind that decides the HTTP status, a code that
// programs act on, and a sentence for people. Every other error is internal: logged in full, shown as nothing.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the family of a fault. One table, in httpapi, maps it to an HTTP status.
type Kind uint8

// The kinds, in the order of their HTTP statuses. The zero kind is Internal: what nobody classified is our mistake.
const (
	Internal Kind = iota
	Malformed
	Unauthenticated
	Forbidden
	NotFound
	MethodNotAllowed
	Conflict
	Gone
	TooLarge
	UnsupportedMediaType
	Invalid
	Limited
	Unavailable
)

// Error is a fault. Declare one per code in codes.go and derive from it; compare with errors.Is, which compares codes.
type Error struct {
	Kind       Kind
	Code       string        // stable, for programs: never changes once published
	Detail     string        // a sentence for people; may change
	Fields     []Field       // which inputs were wrong
	Members    []Member      // further facts a client acts on, such as the units still available
	RetryAfter time.Duration // when trying again makes sense; 0: not said
	cause      error         // for the log only
}

// Field names one wrong input and says what is wrong with it, never repeating the value.
type Field struct {
	Field  string `json:"field"`
	Detail string `json:"detail"`
}

// Member is one extension member of the problem document (RFC 9457, section 3.2).
type Member struct {
	Name  string
	Value any
}

func (e *Error) Error() string {
	text := e.Code + ": " + e.Detail
	for _, f := range e.Fields {
		text += fmt.Sprintf(" (%s: %s)", f.Field, f.Detail)
	}
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

// Unwrap gives the cause, which is for the log and never for the client.
func (e *Error) Unwrap() error { return e.cause }

// Is reports whether target is a fault with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// With returns a copy that carries one more fact for the client.
func (e *Error) With(name string, value any) *Error {
	c := *e
	c.Members = append(c.Members[:len(c.Members):len(c.Members)], Member{name, value})
	return &c
}

// Field returns a copy that names one more wrong input.
func (e *Error) Field(field, format string, args ...any) *Error {
	c := *e
	c.Fields = append(c.Fields[:len(c.Fields):len(c.Fields)], Field{field, fmt.Sprintf(format, args...)})
	return &c
}

// Detailf returns a copy with another sentence.
func (e *Error) Detailf(format string, args ...any) *Error {
	c := *e
	c.Detail = fmt.Sprintf(format, args...)
	return &c
}

// After returns a copy that tells the client when to try again.
func (e *Error) After(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// Because returns a copy that carries the cause for the log.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Of finds the fault in err's chain; an error that carries none is internal, with err as its cause.
func Of(err error) *Error {
	if f, ok := errors.AsType[*Error](err); ok {
		return f
	}
	return ErrInternal.Because(err)
}
