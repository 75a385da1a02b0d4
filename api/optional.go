package api

import (
	"bytes"
	"encoding/json"
)

// Optional is a field of a change: left out (the zero value), the old value stays; cleared, it goes as null; set, it replaces
// what was there. Its tag needs omitzero.
type Optional[T any] struct {
	value   T
	present bool // not left out
	set     bool // not null
}

// Set is a field with a new value.
func Set[T any](value T) Optional[T] { return Optional[T]{value: value, present: true, set: true} }

// Clear is a field that is to be emptied.
func Clear[T any]() Optional[T] { return Optional[T]{present: true} }

// Get gives the value, and whether there is one.
func (o Optional[T]) Get() (T, bool) { return o.value, o.set }

// IsZero reports whether the field is left out.
func (o Optional[T]) IsZero() bool { return !o.present }

// MarshalJSON writes the value, or null.
func (o Optional[T]) MarshalJSON() ([]byte, error) {
	if !o.set {
		return []byte("null"), nil
	}
	return json.Marshal(o.value)
}

// UnmarshalJSON reads a value, or null.
func (o *Optional[T]) UnmarshalJSON(text []byte) error {
	*o = Optional[T]{present: true, set: !bytes.Equal(text, []byte("null"))}
	if !o.set {
		return nil
	}
	return json.Unmarshal(text, &o.value)
}
