package httpapi

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/money"
)

// decode reads the request's body: exactly one JSON object, each of whose members is handed to each by name. Broken text is
// ErrMalformed; wrong values are ErrInvalid, all of them named together with the wrong query parameters.
//
// An optional body may be empty.
func (x *exchange) decode(required []string, each func(f *fields, name []byte)) error {
	if err := acceptable(x.r); err != nil {
		return err
	}
	raw, err := x.readBody()
	if err != nil {
		return err
	}
	if len(raw) == 0 && x.route.bodyOptional {
		return x.fields.invalid()
	}
	return x.fields.read(raw, required, each)
}

// acceptable refuses a body that is not plain JSON before it is read. A body without a type is taken for JSON; `curl -d`
// names it a form, and is told so.
func acceptable(r *http.Request) error {
	types, codings := r.Header["Content-Type"], r.Header["Content-Encoding"]
	if len(codings) > 1 || len(codings) == 1 && !strings.EqualFold(codings[0], "identity") {
		return fault.ErrMediaType
	}
	if len(types) == 0 || len(types) == 1 && types[0] == "application/json" || r.ContentLength == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if err != nil || len(types) > 1 || kind != "application/json" {
		return fault.ErrMediaType
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return fault.ErrMediaType
	}
	return nil
}

// readBody reads a body that is no larger than a body may be. What it gives is valid until the exchange ends.
func (x *exchange) readBody() ([]byte, error) {
	if x.r.ContentLength > limits.BodyBytes {
		return nil, fault.ErrTooLarge
	}
	x.raw = x.raw[:0]
	for {
		if len(x.raw) == cap(x.raw) {
			x.raw = append(x.raw, 0)[:len(x.raw)]
		}
		n, err := x.r.Body.Read(x.raw[len(x.raw):min(cap(x.raw), limits.BodyBytes+1)])
		x.raw = x.raw[:len(x.raw)+n]
		switch {
		case len(x.raw) > limits.BodyBytes:
			return nil, fault.ErrTooLarge
		case errors.Is(err, io.EOF):
			return x.raw, nil
		case err != nil:
			return nil, fault.ErrMalformed.Detailf("The body did not arrive as announced.").Because(err)
		}
	}
}

// wrongMax bounds the wrong inputs that one answer names.
const wrongMax = 32

var (
	errTooDeep  = errors.New("nested too deeply")
	errTrailing = errors.New("more than one value")
)

// fields reads a JSON text in one pass, strictly: whatever is not exactly what was asked for is noted and passed over, so
// that all of it can be named. It is written by hand on the tokens because no decoder over structs goes on after the first
// wrong value.
type fields struct {
	dec   jsontext.Decoder
	src   bytes.Buffer
	wrong []fault.Field
	bad   error // the text is not JSON as it is accepted: nothing else matters then
}

func (f *fields) read(raw []byte, required []string, each func(f *fields, name []byte)) error {
	f.bad = nil
	if len(bytes.TrimLeft(raw, " \t\r\n")) == 0 {
		return fault.ErrMalformed.Detailf("A JSON object is needed as the body.")
	}
	if tooDeep(raw) {
		return malformed(errTooDeep)
	}
	f.src = *bytes.NewBuffer(raw)
	f.dec.Reset(&f.src)
	f.object(required, each)
	if f.bad == nil {
		f.end()
	}
	if f.bad != nil {
		return malformed(f.bad)
	}
	return f.invalid()
}

// invalid gives what was noted, or nil.
func (f *fields) invalid() error {
	if len(f.wrong) == 0 {
		return nil
	}
	invalid := *fault.ErrInvalid
	invalid.Fields = append([]fault.Field(nil), f.wrong...)
	return &invalid
}

// malformed says what is wrong with a text, never repeating any of it.
func malformed(err error) error {
	f := fault.ErrMalformed.Because(err)
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return f.Detailf("The body names a field twice.")
	case errors.Is(err, errTooDeep):
		return f.Detailf("The body is nested more than %d deep.", limits.JSONDepth)
	case errors.Is(err, errTrailing):
		return f.Detailf("Something follows the JSON object in the body.")
	default:
		return f.Detailf("The body is not valid JSON in UTF-8.")
	}
}

// tooDeep looks at the brackets outside of strings. What is not JSON may be counted wrong: it is refused either way.
func tooDeep(raw []byte) bool {
	depth, quoted := 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > limits.JSONDepth {
				return true
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return false
}

// end makes sure that nothing follows.
func (f *fields) end() {
	switch _, err := f.dec.ReadToken(); {
	case errors.Is(err, io.EOF):
	case err != nil:
		f.bad = err
	default:
		f.bad = errTrailing
	}
}

// object reads an object. each must read the value of every name it is given, or pass it over with unknown.
func (f *fields) object(required []string, each func(f *fields, name []byte)) {
	if !f.next(jsontext.KindBeginObject, "must be an object") {
		return
	}
	f.token()
	var seen uint
	for f.bad == nil && f.dec.PeekKind() == jsontext.KindString {
		name, err := f.name()
		if err != nil {
			f.bad = err
			return
		}
		for i, r := range required {
			if r == string(name) {
				seen |= 1 << i
			}
		}
		each(f, name)
	}
	f.token() // the closing bracket, or why it is not there
	for i, r := range required {
		if f.bad == nil && seen&(1<<i) == 0 {
			f.note(join(f.path(), r), "is required")
		}
	}
}

// array reads an array of 1 to limit elements, calling each for every one of them.
func (f *fields) array(limit int, what string, each func(i int)) {
	if !f.next(jsontext.KindBeginArray, "must be an array") {
		return
	}
	f.token()
	n := 0
	for ; f.bad == nil && f.dec.PeekKind() != jsontext.KindEndArray; n++ {
		if n < limit {
			each(n)
			continue
		}
		f.skip()
	}
	f.token()
	if n < 1 || n > limit {
		f.fail("must be 1 to %d %s", limit, what)
	}
}

// null passes over a null, if there is one.
func (f *fields) null() bool {
	if f.bad != nil || f.dec.PeekKind() != jsontext.KindNull {
		return false
	}
	f.skip()
	return true
}

// unknown passes over a field that nobody asked for.
func (f *fields) unknown() {
	f.skip()
	f.fail("is not a field of this")
}

// text reads a line of text of up to limit characters.
func (f *fields) text(limit int) string {
	s, ok := f.string()
	if ok {
		f.failIf(limits.Text(s, limit))
	}
	return s
}

// label reads a line of text that may not be empty.
func (f *fields) label(limit int) string {
	s := f.text(limit)
	if s == "" {
		f.fail("must not be empty")
	}
	return s
}

// id reads an identifier.
func (f *fields) id() string {
	s, ok := f.string()
	if ok {
		f.failIf(limits.ID(s))
	}
	return s
}

// integer reads a whole number from lowest to highest, written as such: 1.0 and 1e2 are refused.
func (f *fields) integer(lowest, highest int64) int64 {
	if !f.next(jsontext.KindNumber, "must be a whole number") {
		return 0
	}
	raw, err := f.dec.ReadValue()
	if err != nil {
		f.bad = err
		return 0
	}
	n, whole := wholeNumber(raw)
	switch {
	case !whole:
		f.fail("must be a whole number, without fraction or exponent")
	case n < lowest || n > highest:
		f.fail("must be from %d to %d", lowest, highest)
	}
	return n
}

// wholeNumber reads a number as JSON has it, saturating: what does not fit is out of any range.
func wholeNumber(raw []byte) (n int64, whole bool) {
	digits := bytes.TrimPrefix(raw, []byte("-"))
	negative := len(digits) < len(raw)
	if len(digits) == 0 || digits[0] == '0' && (negative || len(digits) > 1) {
		return 0, false
	}
	const most = 1<<63 - 1
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		if d := int64(c - '0'); n > (most-d)/10 {
			n = most
		} else {
			n = n*10 + d
		}
	}
	if negative {
		n = -n
	}
	return n, true
}

// boolean reads true or false.
func (f *fields) boolean() bool {
	if f.bad == nil && f.dec.PeekKind() == jsontext.KindTrue {
		f.skip()
		return true
	}
	if f.next(jsontext.KindFalse, "must be true or false") {
		f.skip()
	}
	return false
}

// money reads an amount of minor units with its currency.
func (f *fields) money() money.Money {
	var m money.Money
	f.object([]string{"amount", "currency"}, func(f *fields, name []byte) {
		switch string(name) {
		case "amount":
			m.Amount = f.integer(0, limits.PriceAmount)
		case "currency":
			var ok bool
			if m.Currency, ok = f.string(); ok && !money.ValidCurrency(m.Currency) {
				f.fail("must be three capital letters")
			}
		default:
			f.unknown()
		}
	})
	return m
}

// time reads a time of RFC 3339.
func (f *fields) time() time.Time {
	s, ok := f.string()
	if !ok {
		return time.Time{}
	}
	t, wrong := parseTime(s)
	f.failIf(wrong)
	return t
}

// parseTime reads a time with any offset and gives it in UTC and whole milliseconds, as the record keeps it.
func parseTime(s string) (t time.Time, wrong string) {
	if err := t.UnmarshalText([]byte(s)); err != nil || strings.Contains(s, ",") { // Go takes a comma for a point
		return time.Time{}, "must be a time of RFC 3339, such as 2026-11-20T10:00:00Z"
	}
	t = t.UTC().Truncate(time.Millisecond)
	if t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}, "must be in the years 1970 to 9999"
	}
	return t, ""
}

// payWindow reads how long an order may stay unpaid.
func (f *fields) payWindow() time.Duration {
	s, ok := f.string()
	if !ok {
		return 0
	}
	d, err := time.ParseDuration(s)
	switch {
	case err != nil:
		f.fail("must be a duration, such as 30m or 1h30m")
	case d < limits.PayWindowMin || d > limits.PayWindowMax:
		f.fail("must be from %s to %s", limits.PayWindowMin, limits.PayWindowMax)
	case d%time.Millisecond != 0:
		f.fail("must be in whole milliseconds")
	}
	return d
}

// metadata reads an object that belongs to the caller and gives it in one spelling: names sorted, no spaces. Its numbers
// stay as they were written, for they may be ids that no float can hold. An empty object, or null, is nil.
func (f *fields) metadata() []byte {
	if f.null() || !f.next(jsontext.KindBeginObject, "must be an object") {
		return nil
	}
	raw, err := f.dec.ReadValue()
	if err != nil {
		f.bad = err
		return nil
	}
	object := raw.Clone()
	if err := object.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		f.bad = err
		return nil
	}
	switch {
	case len(object) == len(`{}`):
		return nil
	case len(object) > limits.MetadataBytes:
		f.fail("must be at most %d bytes as compact JSON", limits.MetadataBytes)
	default:
		f.failIf(unfit(object))
	}
	return object
}

// unfit says what in a JSON text that was read before would hurt those who read it later, or "": a database that keeps JSON
// refuses NUL together with the whole batch, and most programs refuse a text with a number that no float can hold.
func unfit(text []byte) string {
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	for {
		t, err := d.ReadToken()
		if err != nil {
			return "" // the end
		}
		switch t.Kind() {
		case jsontext.KindString:
			if strings.IndexByte(t.String(), 0) >= 0 {
				return "must not hold the character U+0000"
			}
		case jsontext.KindNumber:
			if _, err := strconv.ParseFloat(t.String(), 64); err != nil {
				return "must not hold numbers beyond 64-bit floating point"
			}
		default:
		}
	}
}

func (f *fields) string() (s string, ok bool) {
	if !f.next(jsontext.KindString, "must be a string") {
		return "", false
	}
	t, err := f.dec.ReadToken()
	if err != nil {
		f.bad = err
		return "", false
	}
	return t.String(), true
}

// name reads a name. It is valid until the next read; most need no copy to be compared.
func (f *fields) name() ([]byte, error) {
	raw, err := f.dec.ReadValue()
	if err != nil {
		return nil, err
	}
	if bytes.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], nil
	}
	return jsontext.AppendUnquote(nil, raw)
}

// next reports whether a value of this kind comes next. Another one is passed over, and noted.
func (f *fields) next(kind jsontext.Kind, otherwise string) bool {
	if f.bad != nil {
		return false
	}
	switch f.dec.PeekKind() {
	case kind:
		return true
	case jsontext.KindNull:
		otherwise = "must not be null"
	default:
	}
	f.skip()
	f.fail("%s", otherwise)
	return false
}

func (f *fields) skip() {
	if f.bad == nil {
		f.bad = f.dec.SkipValue()
	}
}

func (f *fields) token() {
	if f.bad == nil {
		_, f.bad = f.dec.ReadToken()
	}
}

// fail notes what is wrong with the value read last.
func (f *fields) fail(format string, args ...any) {
	if f.bad == nil {
		f.note(f.path(), format, args...)
	}
}

func (f *fields) failIf(wrong string) {
	if wrong != "" {
		f.fail("%s", wrong)
	}
}

// note names a wrong input, once: what was said of it first is nearer to the cause.
func (f *fields) note(where, format string, args ...any) {
	if n := len(f.wrong); n < wrongMax && (n == 0 || f.wrong[n-1].Field != where) {
		f.wrong = append(f.wrong, fault.Field{Field: where, Detail: fmt.Sprintf(format, args...)})
	}
}

// path is where the value read last stands: lines[0].quantity. The body itself is "body".
func (f *fields) path() string {
	path := ""
	level := 1
	for token := range f.dec.StackPointer().Tokens() {
		if kind, _ := f.dec.StackIndex(level); kind == jsontext.KindBeginArray {
			path += "[" + token + "]"
		} else {
			path = join(path, speakable(token))
		}
		level++
	}
	if path == "" {
		return "body"
	}
	return path
}

func join(path, name string) string {
	if path == "" || path == "body" {
		return name
	}
	return path + "." + name
}

// speakable keeps a name that a client made up out of answers, unless it looks like a name.
func speakable(name string) string {
	const longest = 64
	if len(name) == 0 || len(name) > longest {
		return "(unreadable)"
	}
	for _, c := range []byte(name) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return "(unreadable)"
		}
	}
	return name
}
