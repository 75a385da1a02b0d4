package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	gojson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

// hole stands in a body where something is to be put.
const hole = `"@hole@"`

// place is a value in a body: where it stands, what its schema says of it, and the body with a hole there.
type place struct {
	path   string
	schema *huma.Schema
	body   string
}

func (p place) with(raw string) string { return strings.Replace(p.body, hole, raw, 1) }

// places finds every value in a sample body, with its schema. A field that the sample lacks fails the test: it would not be
// tried.
func places(t *testing.T, schemas map[string]*huma.Schema, shape, sample string) []place {
	t.Helper()
	var root any
	if err := json.Unmarshal([]byte(sample), &root); err != nil {
		t.Fatal(err)
	}
	var found []place
	var walk func(path string, schema *huma.Schema, value any, put func(any))
	walk = func(path string, schema *huma.Schema, value any, put func(any)) {
		if name, ok := strings.CutPrefix(schema.Ref, schemaPrefix); ok {
			schema = schemas[name]
		}
		if path != "" {
			put("@hole@")
			body, err := json.Marshal(root)
			if err != nil {
				t.Fatal(err)
			}
			put(value)
			found = append(found, place{path, schema, string(body)})
		}
		switch value := value.(type) {
		case map[string]any:
			for name, property := range schema.Properties {
				if _, ok := value[name]; !ok {
					t.Errorf("the sample of %s lacks %s", shape, join(path, name))
					continue
				}
				walk(join(path, name), property, value[name], func(v any) { value[name] = v })
			}
		case []any:
			for i := range value {
				walk(path+"["+strconv.Itoa(i)+"]", schema.Items, value[i], func(v any) { value[i] = v })
			}
		}
	}
	walk("", schemas[shape], root, func(any) {})
	slices.SortFunc(found, func(a, b place) int { return strings.Compare(a.path, b.path) })
	return found
}

// bodyTest sends bodies to one route and looks at what they are answered with.
type bodyTest struct {
	*desk
	*testing.T
	r    route
	s    sample
	sent int
}

// send sends a body with the sample's headers, numbered so that no Idempotency-Key comes twice.
func (b *bodyTest) send(body string, header ...string) answer {
	b.sent++
	r := b.request(b.r.method, b.s.target, body, apikey.Admin)
	for i := 0; i < len(b.s.header); i += 2 {
		r.Header.Set(b.s.header[i], b.s.header[i+1]+strconv.Itoa(b.sent))
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return b.do(r)
}

// refused fails unless a body is refused with a status and a code, names a field if one is given, and changes nothing.
func (b *bodyTest) refused(story, body string, status int, code, field string, header ...string) {
	b.Helper()
	before := b.decided.Load()
	a := b.send(body, header...)
	if a.status != status {
		b.Errorf("%s: got %d %s, want %d for %.200q", story, a.status, a.body, status, body)
		return
	}
	p := b.problem(a)
	named := slices.ContainsFunc(p.Errors, func(f api.Field) bool { return f.Field == field })
	if p.Code != code || field != "" && !named {
		b.Errorf("%s: got %s, want %s naming %q, for %.200q", story, a.body, code, field, body)
	}
	if b.decided.Load() != before {
		b.Errorf("%s: it was refused and decided all the same", story)
	}
}

// notOfTheReader is what the rules say of a value that can be read.
var notOfTheReader = []string{
	"there is no such product", "is not one of the providers of this desk",
	"must be the path of a stream, such as /v1/orders/202611200000042/stream",
}

// passes fails if a body is refused because of a field. Other rules may still refuse it.
func (b *bodyTest) passes(story, body, field string, header ...string) {
	b.Helper()
	a := b.send(body, header...)
	if a.status == http.StatusBadRequest || a.status == 413 || a.status == 415 {
		b.Errorf("%s: got %d %s for %.200q", story, a.status, a.body, body)
	}
	if a.status != http.StatusUnprocessableEntity {
		return
	}
	for _, f := range b.problem(a).Errors {
		if f.Field == field && !slices.Contains(notOfTheReader, f.Detail) {
			b.Errorf("%s: got %s for %.200q", story, a.body, body)
		}
	}
}

// TestEveryBodyIsReadStrictly tries the whole catalogue of bad input on every route that reads a body, field by field as the
// published schema has them.
func TestEveryBodyIsReadStrictly(t *testing.T) {
	schemas := document(routes()).Components.Schemas.Map()
	for _, r := range routes() {
		if r.takes == nil {
			continue
		}
		t.Run(r.id, func(t *testing.T) {
			d, samples := newShop(t)
			b := &bodyTest{desk: d, T: t, r: r, s: samples[r.id]}
			shape := strings.TrimPrefix(fmt.Sprintf("%T", r.takes), "api.")
			b.text(b.s.body)
			b.transport(b.s.body)
			for _, p := range places(t, schemas, shape, b.s.body) {
				b.value(p)
				b.names(p)
			}
			b.names(place{path: "", schema: schemas[shape], body: hole})
		})
	}
}

// text: what is not one JSON object.
func (b *bodyTest) text(good string) {
	const malformed = api.CodeMalformedRequest
	if b.r.bodyOptional {
		b.passes("empty", "", "")
	} else {
		b.refused("empty", "", 400, malformed, "")
		b.refused("missing fields or nothing but space", " \r\n\t", 400, malformed, "")
	}
	for i := 1; i < len(good); i++ {
		b.refused("cut off", good[:i], 400, malformed, "")
	}
	for story, body := range map[string]string{
		"not JSON": `nope`, "single quotes": `{'a':1}`, "a comment": `{/**/}`, "a trailing comma": good[:len(good)-1] + `,}`,
		"two values": good + good, "trailing garbage": good + `x`, "trailing brace": good + `}`, "a NUL behind": good + "\x00",
		"a byte order mark": "\ufeff" + good, "UTF-16": "{\x00}\x00", "invalid UTF-8": strings.Replace(good, `:`, ":\xff", 1),
		"invalid UTF-8 in a name": "{\"\xff\":1}", "a lone surrogate": `{"a":"\ud800"}`, "a raw line break": "{\"a\":\"\n\"}",
		"depth 10 000":               strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000),
		"depth 33 in a field":        `{"a":` + strings.Repeat(`[`, limits.JSONDepth) + strings.Repeat(`]`, limits.JSONDepth) + `}`,
		"depth 30 000, never closed": strings.Repeat(`{"a":`, 10_000), "NaN": `{"a":NaN}`, "Infinity": `{"a":-Infinity}`,
		"leading zero": `{"a":01}`, "plus": `{"a":+1}`, "hex": `{"a":0x1}`, "bare point": `{"a":1.}`,
	} {
		b.refused(story, body, 400, malformed, "")
	}
	for _, body := range []string{`[]`, `""`, `1`, `true`, `null`, `[` + good + `]`} {
		b.refused("not an object", body, 422, api.CodeInvalidRequest, "body")
	}
}

// transport: how the body travels.
func (b *bodyTest) transport(good string) {
	pad := func(size int) string { return good + strings.Repeat(" ", size-len(good)) }
	b.refused("one byte too large", pad(limits.BodyBytes+1), 413, api.CodeBodyTooLarge, "")
	b.refused("1 MB", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`, 413, api.CodeBodyTooLarge, "")
	b.passes("as large as may be", pad(limits.BodyBytes), "")
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = z.Write([]byte(good))
	_ = z.Close()
	for _, coding := range []string{"gzip", "br", "deflate", "identity, gzip", "nonsense"} {
		b.refused("coded", zipped.String(), 415, api.CodeUnsupportedMediaType, "", "Content-Encoding", coding)
	}
	b.passes("not coded", good, "", "Content-Encoding", "identity")
	for _, kind := range []string{
		"application/x-www-form-urlencoded", "text/plain", "text/json", "application/xml", "application/jsonp", "application/problem+json",
		"application/json; charset=latin1", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "nonsense;;", "*/*",
	} {
		b.refused("type "+kind, good, 415, api.CodeUnsupportedMediaType, "", "Content-Type", kind)
	}
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", `Application/JSON;charset="UTF-8"`} {
		b.passes("type "+kind, good, "", "Content-Type", kind)
	}
	r := b.request(b.r.method, b.s.target, good, apikey.Admin, append(b.s.header, "Content-Type", "application/json")...)
	b.wants(b.do(r), 415, api.CodeUnsupportedMediaType) // two of them
	r = b.request(b.r.method, b.s.target, good, apikey.Admin, b.s.header...)
	r.Header.Del("Content-Type")
	if a := b.do(r); a.status == 415 || a.status == 400 {
		b.Errorf("no type: got %d %s, want it taken for JSON", a.status, a.body)
	}
}

// value: each value replaced by every other kind, and by what is at its limits.
func (b *bodyTest) value(p place) {
	const invalid = api.CodeInvalidRequest
	for kind, raw := range map[string]string{
		"string": `"abc"`, "integer": `7`, "boolean": `true`, "object": `{"x":1}`, "array": `[1]`,
	} {
		if kind != p.schema.Type && !(p.schema.Type == "object" && p.schema.Properties == nil && kind == "object") {
			b.refused("wrong type of "+p.path, p.with(raw), 422, invalid, p.path)
		}
	}
	if p.schema.Nullable {
		b.passes("null for "+p.path, p.with(`null`), p.path)
	} else {
		b.refused("null for "+p.path, p.with(`null`), 422, invalid, p.path)
	}
	switch p.schema.Type {
	case huma.TypeInteger:
		b.integer(p)
	case huma.TypeString:
		b.string(p)
	case huma.TypeArray:
		b.refused("none in "+p.path, p.with(`[]`), 422, invalid, p.path)
		if most := p.schema.MaxItems; most != nil {
			one := strings.Trim(b.s.body[strings.Index(b.s.body, `[`):strings.Index(b.s.body, `]`)], `[`)
			b.refused("too many in "+p.path, p.with(`[`+strings.Repeat(one+`,`, *most)+one+`]`), 422, invalid, p.path)
			b.passes("many in "+p.path, p.with(`[`+strings.Repeat(one+`,`, *most-1)+one+`]`), p.path)
		}
	case huma.TypeBoolean:
		b.passes("false for "+p.path, p.with(`false`), p.path)
	case huma.TypeObject:
		if p.schema.Properties == nil {
			b.metadata(p)
		}
	}
}

func (b *bodyTest) integer(p place) {
	const invalid = api.CodeInvalidRequest
	for _, raw := range []string{
		`-0`, `1.0`, `1.5`, `1e2`, `1E2`, `1e400`, `1e-1`, `-1.0`, `9223372036854775808`, `-9223372036854775809`,
		`123456789012345678901234567890`, `"1"`, `1` + strings.Repeat("0", 400),
	} {
		b.refused(raw+" for "+p.path, p.with(raw), 422, invalid, p.path)
	}
	if lowest := p.schema.Minimum; lowest != nil {
		b.refused("below the least "+p.path, p.with(strconv.FormatInt(int64(*lowest)-1, 10)), 422, invalid, p.path)
		b.passes("the least "+p.path, p.with(strconv.FormatInt(int64(*lowest), 10)), p.path)
	}
	if highest := p.schema.Maximum; highest != nil {
		b.refused("beyond the most "+p.path, p.with(strconv.FormatInt(int64(*highest)+1, 10)), 422, invalid, p.path)
		b.passes("the most "+p.path, p.with(strconv.FormatInt(int64(*highest), 10)), p.path)
	}
}

func (b *bodyTest) string(p place) {
	const invalid = api.CodeInvalidRequest
	for story, raw := range map[string]string{
		"NUL": `"a\u0000b"`, "a line break": `"a\r\nb"`, "an escape": `"\u001b[31m"`, "right to left": `"a\u202eb"`,
		"a line separator": `"a\u2028b"`, "a replacement": `"\ufffd"`, "DEL": `"\u007f"`, "60 kB": `"` + strings.Repeat("x", 60<<10) + `"`,
	} {
		b.refused(story+" in "+p.path, p.with(raw), 422, invalid, p.path)
	}
	if least := p.schema.MinLength; least != nil && *least > 0 {
		b.refused("empty "+p.path, p.with(`""`), 422, invalid, p.path)
	}
	most := p.schema.MaxLength
	if most == nil {
		return // an enumeration, a time, a duration
	}
	for _, unit := range []string{"x", "é", "😀"} {
		b.passes("as long as may be "+p.path, p.with(`"`+strings.Repeat(unit, *most)+`"`), p.path)
		b.refused("one too long "+p.path, p.with(`"`+strings.Repeat(unit, *most+1)+`"`), 422, invalid, p.path)
	}
	for _, payload := range []string{
		`'; DROP TABLE orders; --`, `${jndi:ldap://x/a}`, `{{7*7}}`, `<script>alert(1)</script>`, `return redis.call('FLUSHALL')`,
		`../../etc/passwd`, `%s%n`, `é`, `е`, "😀", "\u00a0x",
	} {
		raw, _ := json.Marshal(payload)
		b.passes("a payload in "+p.path, p.with(string(raw)), p.path)
	}
}

func (b *bodyTest) metadata(p place) {
	const invalid = api.CodeInvalidRequest
	fill := func(size int) string { return `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}` }
	b.passes("as much as may be "+p.path, p.with(fill(limits.MetadataBytes)), p.path)
	b.refused("too much "+p.path, p.with(fill(limits.MetadataBytes+1)), 422, invalid, p.path)
	b.passes("spaces do not count "+p.path, p.with(strings.Replace(fill(limits.MetadataBytes), `:`, ` :   `, 1)), p.path)
	b.refused("NUL in "+p.path, p.with(`{"a":"x\u0000"}`), 422, invalid, p.path)
	b.refused("NUL in a name of "+p.path, p.with(`{"\u0000":1}`), 422, invalid, p.path)
	b.passes("what only looks like NUL in "+p.path, p.with(`{"a":"\\u0000"}`), p.path)
	b.refused("a name twice in "+p.path, p.with(`{"a":1,"a":2}`), 400, api.CodeMalformedRequest, "")
	b.refused("too deep "+p.path, p.with(`{"a":`+strings.Repeat(`[`, 40)+strings.Repeat(`]`, 40)+`}`), 400, api.CodeMalformedRequest, "")
	b.passes("any number in "+p.path, p.with(`{"a":[1.0,1e300,-0,123456789012345678901234567890]}`), p.path)
	b.refused("a number beyond numbers in "+p.path, p.with(`{"a":[1e400]}`), 422, invalid, p.path)
}

// names: of an object that has fields of ours, each doubled, misspelled or missing, and one that nobody knows.
func (b *bodyTest) names(p place) {
	if p.schema.Type != huma.TypeObject || p.schema.Properties == nil {
		return
	}
	const invalid = api.CodeInvalidRequest
	inner := b.objectAt(p)
	if inner == nil {
		return
	}
	write := func(change func(names []string) string) string { return p.with(change(sortedNames(inner))) }
	member := func(name string) string { return strconv.Quote(name) + ":" + string(inner[name]) }
	all := func(names []string) []string {
		list := make([]string, len(names))
		for i, name := range names {
			list[i] = member(name)
		}
		return list
	}
	b.refused("unknown field in "+p.path, write(func(names []string) string {
		return `{` + strings.Join(append(all(names), `"nobody_knows":{"a":[1]}`), ",") + `}`
	}), 422, invalid, join(p.path, "nobody_knows"))
	b.refused("unspeakable field in "+p.path, write(func(names []string) string {
		return `{` + strings.Join(append(all(names), `"\u0000<>":1`), ",") + `}`
	}), 422, invalid, join(p.path, "(unreadable)"))
	for name := range inner {
		path := join(p.path, name)
		b.refused("twice "+path, write(func(names []string) string {
			return `{` + strings.Join(append(all(names), member(name)), ",") + `}`
		}), 400, api.CodeMalformedRequest, "")
		b.refused("twice in another spelling "+path, write(func(names []string) string {
			return `{` + strings.Join(append(all(names), fmt.Sprintf(`"\u%04x%s":null`, name[0], name[1:])), ",") + `}`
		}), 400, api.CodeMalformedRequest, "")
		for _, spelled := range []string{strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name), name + " ", strings.ReplaceAll(name, "_", "") + "_"} {
			b.refused("misspelled "+path, write(func(names []string) string {
				return `{` + strings.Join(append(all(without(names, name)), strconv.Quote(spelled)+":"+string(inner[name])), ",") + `}`
			}), 422, invalid, "")
		}
		b.passes("spelled with an escape "+path, write(func(names []string) string {
			return `{` + strings.Join(append(all(without(names, name)), fmt.Sprintf(`"\u%04x%s":%s`, name[0], name[1:], inner[name])), ",") + `}`
		}), path)
		if slices.Contains(p.schema.Required, name) {
			b.refused("missing "+path, write(func(names []string) string {
				return `{` + strings.Join(all(without(names, name)), ",") + `}`
			}), 422, invalid, path)
		}
	}
}

// objectAt gives the members of the object that stands at a place of the sample.
func (b *bodyTest) objectAt(p place) map[string]jsontext.Value {
	whole := jsontext.Value(b.s.body)
	if err := whole.Canonicalize(); err != nil {
		b.Fatal(err)
	}
	body := jsontext.Value(p.body)
	if err := body.Canonicalize(); err != nil {
		b.Fatal(err)
	}
	at := bytes.Index(body, []byte(hole))
	rest := len(body) - at - len(hole)
	inner := map[string]jsontext.Value{}
	if err := json.Unmarshal(whole[at:len(whole)-rest], &inner); err != nil {
		b.Fatalf("%s is not an object: %v", p.path, err)
	}
	return inner
}

func sortedNames(m map[string]jsontext.Value) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func without(names []string, name string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == name })
}

func TestAllWrongFieldsAreNamedTogether(t *testing.T) {
	d := newDesk(t)
	a := d.send("POST", "/v1/orders?debug=1", `{"user_id":"","lines":[{"product_id":"sku-1","quantity":0},{"quantity":"2","price":1},7],"metadata":[],"status":"paid"}`,
		apikey.OrdersWrite, "Idempotency-Key", "k")
	d.wants(a, 422, api.CodeInvalidRequest)
	var got []string
	for _, f := range d.problem(a).Errors {
		got = append(got, f.Field)
	}
	want := []string{
		"debug", "user_id", "lines[0].quantity", "lines[1].quantity", "lines[1].price", "lines[1].product_id", "lines[2]", "metadata", "status",
	}
	if !slices.Equal(got, want) {
		t.Errorf("named %q, want %q", got, want)
	}
	many := `{"user_id":"u","lines":[` + strings.Repeat(`0,`, 99) + `0]}`
	a = d.place("k", many)
	d.wants(a, 422, api.CodeInvalidRequest)
	if got := len(d.problem(a).Errors); got != wrongMax {
		t.Errorf("%d wrong fields are named, want %d at most", got, wrongMax)
	}
}

func TestQueriesAreReadStrictly(t *testing.T) {
	d, samples := newShop(t)
	for _, r := range routes() {
		if r.lenient {
			continue
		}
		s := samples[r.id]
		send := func(query string) answer {
			return d.send(r.method, s.target+"?"+query, s.body, apikey.Admin, s.header...)
		}
		for _, query := range []string{"nobody_knows=1", "Limit=1", "limit[]=1&limit[]=2", "a=" + strings.Repeat("x", 8<<10)} {
			d.wants(send(query), 422, api.CodeInvalidRequest)
		}
		for _, query := range []string{"a=%zz", "a=%", "a=1;b=2"} {
			d.wants(send(query), 400, api.CodeMalformedRequest)
		}
		for _, p := range r.query {
			d.wants(send(p.name+"=1&"+p.name+"=1"), 422, api.CodeInvalidRequest)
			d.wants(send(p.name+"="), 422, api.CodeInvalidRequest)
			if p.name == "limit" {
				for _, n := range []string{"0", "-1", "201", "1000000000", "1.0", "1e1", "05", "+5", "x", "9223372036854775808"} {
					d.wants(send("limit="+n), 422, api.CodeInvalidRequest)
				}
				d.wantsStatus(send("limit=1"), 200)
				d.wantsStatus(send("limit=200"), 200)
			}
		}
	}
}

// FuzzStrictJSON compares the reader with the library's own: what one calls broken the other does too, and what is accepted
// means the same.
func FuzzStrictJSON(f *testing.F) {
	for _, seed := range []string{
		`{"user_id":"u","lines":[{"product_id":"p","quantity":1}]}`, `{"user_id":"u","user_id":"v"}`, `{"lines":[[[[]]]]}`, ``, `{}`, `[]`, `{} {}`,
		`{"user_id":"\ud800","lines":null}`, "{\"user_id\":\"\xff\"}", `{"metadata":{"b":1,"a":[1.0,1e400]}}`, `{"u\u0073er_id":"u"}`,
		`{"lines":[{"quantity":1.0},{"quantity":-0},{"quantity":99999999999999999999}]}`, strings.Repeat(`[`, 99), "\ufeff{}", `{"a":01}`,
		`{"user_id":"u","lines":[{"product_id":"p","quantity":1}],"metadata":{"a":"\u0000"}}`, `{"":{}}`, `{"user_id":"u","lines":[{"product_id":"p","quantity":1},]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) > limits.BodyBytes {
			return
		}
		var r fields
		var got checkout.Order
		err := r.read(raw, orderRequired, func(f *fields, name []byte) { f.orderField(&got, name) })
		isMalformed := err != nil && strings.HasPrefix(err.Error(), api.CodeMalformedRequest)
		if broken := !jsontext.Value(raw).IsValid() || tooDeep(raw); broken != isMalformed {
			t.Fatalf("%q: %v, but broken is %t", raw, err, broken)
		}
		if err != nil {
			return
		}
		var want api.PlaceOrder
		if err := gojson.Unmarshal(raw, &want, gojson.RejectUnknownMembers(true)); err != nil {
			t.Fatalf("%q is accepted here and not there: %v", raw, err)
		}
		if string(got.UserID) != want.UserID || len(got.Lines) != len(want.Lines) || len(got.Metadata) > limits.MetadataBytes {
			t.Fatalf("%q: got %+v, want %+v", raw, got, want)
		}
		for i, l := range want.Lines {
			if string(got.Lines[i].ProductID) != l.ProductID || got.Lines[i].Quantity != l.Quantity {
				t.Fatalf("%q: got %+v, want %+v", raw, got.Lines[i], l)
			}
		}
		if got.Metadata != nil && !jsontext.Value(got.Metadata).IsValid() {
			t.Fatalf("%q: metadata %q", raw, got.Metadata)
		}
	})
}
