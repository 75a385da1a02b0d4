package httpapi

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

// param is a query parameter that a route takes.
type param struct {
	name string
	doc  string
	kind any // a value of its Go type
}

// readQuery reads the query of a route strictly: what it does not take, or takes once and was sent twice, is noted. Where
// nothing else of the request is read, that is told at once.
func (x *exchange) readQuery() error {
	if x.r.URL.RawQuery == "" || x.route.lenient {
		return nil
	}
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return fault.ErrMalformed.Detailf("The query cannot be read.").Because(err)
	}
	for name, values := range query {
		if !slices.ContainsFunc(x.route.query, func(p param) bool { return p.name == name }) {
			x.fields.note(speakable(name), "is not a query parameter of this")
		} else if len(values) > 1 {
			x.fields.note(name, "must be given once")
		}
	}
	slices.SortFunc(x.fields.wrong, func(a, b fault.Field) int { return strings.Compare(a.Field, b.Field) })
	x.query = query
	if x.route.query == nil && x.route.takes == nil {
		return x.fields.invalid()
	}
	return nil
}

// given gives a query parameter, and whether it is there.
func (x *exchange) given(name string) (value string, there bool) {
	if x.query == nil {
		return "", false
	}
	values, there := x.query[name]
	if !there || len(values) != 1 {
		return "", false
	}
	return values[0], true
}

// checked reads a parameter that one function looks at.
func (x *exchange) checked(name string, check func(string) string) string {
	value, there := x.given(name)
	if !there {
		return ""
	}
	if wrong := check(value); wrong != "" {
		x.fields.note(name, "%s", wrong)
	}
	return value
}

func (x *exchange) timeParam(name string) time.Time {
	value, there := x.given(name)
	if !there {
		return time.Time{}
	}
	t, wrong := parseTime(value)
	if wrong != "" {
		x.fields.note(name, "%s", wrong)
	}
	return t
}

// limit reads how long a page may be.
func (x *exchange) limit() int {
	value, there := x.given("limit")
	if !there {
		return limits.PageDefault
	}
	n, whole := wholeNumber([]byte(value))
	if !whole || n < 1 || n > limits.PageMax {
		x.fields.note("limit", "must be a whole number from 1 to %d", limits.PageMax)
		return limits.PageDefault
	}
	return int(n)
}

// after reads the place that the list goes on from: nil at the beginning.
func (x *exchange) after(filter string) []byte {
	cursor, there := x.given("cursor")
	if !there {
		return nil
	}
	place, err := x.s.cursors.read(x.route.id, filter, cursor)
	if err != nil {
		x.fields.wrong = append(x.fields.wrong, errCursor.Fields...)
	}
	return place
}

// page writes one page of a list. next is where the list goes on, or nil on its last page.
func (x *exchange) page(n int, filter string, next []byte, item func(b []byte, i int) []byte) {
	b := x.out[:0]
	b = append(b, `{"data":[`...)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = item(b, i)
	}
	b = append(b, `],"next_cursor":`...)
	if next == nil {
		b = append(b, `null}`...)
	} else {
		b = append(b, '"')
		b = append(b, x.s.cursors.make(x.route.id, filter, next)...)
		b = append(b, `"}`...)
	}
	x.out = b
	x.ok(b)
}
