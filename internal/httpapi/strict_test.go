package httpapi

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// mutations is the catalogue of bad input. Each is tried on every route of the table, so a new route is covered by being in it.
// What needs a connection (bodies that trickle, resets, other protocols: G24 to G26) is tried in internal/server; a hundred
// requests at once (G29) in TestAHundredAtOnceAreAsOne.
var mutations = []struct {
	id, what string
	try      func(*probe)
}{
	{"G1", "empty body", (*probe).empty},
	{"G2", "not JSON", (*probe).notJSON},
	{"G3", "cut off at every byte", (*probe).cutOff},
	{"G4", "two values", (*probe).twoValues},
	{"G5", "something behind", (*probe).somethingBehind},
	{"G6", "a name twice", (*probe).twice},
	{"G7", "another spelling of a name", (*probe).misspelled},
	{"G8", "an unknown or a missing field", (*probe).unknownOrMissing},
	{"G9", "another type in every field", (*probe).wrongTypes},
	{"G10", "null in every field", (*probe).nulls},
	{"G11", "nested deeply", (*probe).deep},
	{"G12", "long strings and lists", (*probe).long},
	{"G13", "the limit of a body", (*probe).bodyLimit},
	{"G14", "a body that is not as announced", (*probe).wrongLength},
	{"G15", "coded bodies", (*probe).coded},
	{"G16", "odd characters", (*probe).oddText},
	{"G17", "media types", (*probe).mediaTypes},
	{"G18", "methods", (*probe).methods},
	{"G19", "paths", (*probe).paths},
	{"G20", "queries", (*probe).queries},
	{"G21", "headers", (*probe).headers},
	{"G22", "payloads for other machines", (*probe).payloads},
	{"G23", "numbers", (*probe).numbers},
	{"G27", "ids of nobody", (*probe).idsOfNobody},
	{"G28", "dead keys", (*probe).deadKeys},
	{"G30", "the client's clock", (*probe).clocks},
}

// casesMin is how many cases there are at least. More routes make more; fewer means that a mutation has gone blind.
const casesMin = 5000

// TestBadInputChangesNothing: each case is refused with a status and a code that the route documents, and leaves no trace in
// the record; or it is harmless, and then it is taken as it is.
func TestBadInputChangesNothing(t *testing.T) {
	var mu sync.Mutex
	tried, probed := map[string]int{}, 0
	t.Run("routes", func(t *testing.T) {
		for _, r := range routes() {
			t.Run(r.id, func(t *testing.T) {
				t.Parallel()
				p := newProbe(t, r)
				for _, m := range mutations {
					p.id, p.cases = m.id, 0
					m.try(p)
					mu.Lock()
					tried[m.id] += p.cases
					mu.Unlock()
				}
				if _, fault, wrong := strings.Cut(p.log.String(), `"level":"ERROR"`); wrong {
					t.Errorf("something went wrong inside: …%.600s", fault)
				}
				mu.Lock()
				probed++
				mu.Unlock()
			})
		}
	})
	whole, total := probed == len(routes()), 0
	for _, m := range mutations {
		t.Logf("%-4s %-34s %5d", m.id, m.what, tried[m.id])
		total += tried[m.id]
		if whole && tried[m.id] < len(routes()) && m.id != "G27" && m.id != "G28" {
			t.Errorf("%s, %s, was tried %d times on %d routes", m.id, m.what, tried[m.id], len(routes()))
		}
	}
	t.Logf("%-4s %-34s %5d on %d routes", "all", "", total, len(routes()))
	if whole && total < casesMin {
		t.Errorf("%d cases, want at least %d", total, casesMin)
	}
}

// probe sends nonsense to one route and looks at what comes of it.
type probe struct {
	*desk
	*testing.T
	r       route
	s       sample
	record  *watcher
	shape   string  // of the body
	places  []place // in the body
	expired string
	revoked string

	id    string // of the mutation
	cases int
	sent  int
	plain answer // to a GET as it should be: nothing that is tried here changes it
	seen  rows   // the record after the last refusal; nil: something was accepted since
}

// before is the record as it stands. After a refusal it is what was seen then, or that refusal would have failed.
func (p *probe) before() rows {
	p.Helper()
	if p.seen == nil {
		p.seen = p.record.look()
	}
	return p.seen
}

// unchanged fails if the record is not as it was before.
func (p *probe) unchanged(story string, before rows) {
	p.Helper()
	p.seen = p.record.look()
	if tables := p.seen.changed(before); len(tables) > 0 {
		p.Errorf("%s, %s: the tables %q changed", p.id, story, tables)
	}
}

func newProbe(t *testing.T, r route) *probe {
	t.Helper()
	quiet := &testenv.Log{} // without a line for every request
	d, samples := newShop(t, func(o *Options, _ *ledger.Options) { o.Log = slog.New(slog.NewJSONHandler(quiet, nil)) })
	d.log = quiet
	p := &probe{desk: d, T: t, r: r, s: samples[r.id], record: d.watch()}
	if p.s.takes != nil {
		p.shape = shapeOf(p.s.takes)
		p.places = places(t, shapes(), p.shape, p.s.body)
	}
	id, secret := apikey.Make()
	d.must(d.store.AddKey(t.Context(), &apikey.Key{
		ID: id, Name: "expired", Hash: apikey.HashOf(secret), Scopes: []apikey.Scope{apikey.Admin}, CreatedAt: d.clock.Now(),
		ExpiresAt: d.clock.Now().Add(time.Second),
	}))
	p.expired = secret
	id, p.revoked = d.newKey("revoked", apikey.Admin)
	if _, err := d.store.RevokeKey(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	d.clock.advance(time.Minute)
	if a := p.send(p.s.body); a.status >= 300 || p.s.status != 0 && a.status != p.s.status {
		t.Fatalf("the sample of %s gets %d %s: say in newShop (auth_test.go), in stands or in said, what it takes to ask well", r.id, a.status, a.body)
	}
	d.must(d.server.sessions.close(t.Context()))
	d.must(d.server.keys.close(t.Context())) // by now the use of the key is noted: the list of keys will not change by itself
	return p
}

// ours: whether the body is JSON in the form that all routes share. A provider's notice is not.
func (p *probe) ours() bool { return p.r.takes != nil }

// ask makes a request like the sample, with another body. No two of them have the same Idempotency-Key.
func (p *probe) ask(body string, header ...string) *http.Request {
	p.sent++
	body = p.s.anew(body, p.sent)
	r := p.request(p.r.method, p.s.target, body, apikey.Admin)
	for _, pairs := range [][]string{p.s.headers(body, strconv.Itoa(p.sent)), header} {
		for pair := range slices.Chunk(pairs, 2) {
			r.Header.Set(pair[0], pair[1])
		}
	}
	return r
}

func (p *probe) send(body string, header ...string) answer { return p.do(p.ask(body, header...)) }

// inside are words that would tell of what is behind the desk.
var inside = []string{"goroutine", ".go:", "sqlite", "SQL", "constraint", "panic", "runtime error", "holdfast/internal", "encoding/json", "jsontext"}

// turnedAway fails unless a request is refused with a status and a code, says nothing of the inside, and leaves no trace.
func (p *probe) turnedAway(story string, r *http.Request, status int, code string) api.Problem {
	p.Helper()
	p.cases++
	before := p.before()
	a := p.do(r)
	var refusal api.Problem
	switch {
	case a.status < 400 || a.status >= 500:
		p.Errorf("%s, %s: got %d %.300s, want it refused: %s %.200q", p.id, story, a.status, a.body, r.Method, r.URL)
	default:
		refusal = p.problem(a)
		if status != 0 && (a.status != status || refusal.Code != code) {
			p.Errorf("%s, %s: got %d %.300s, want %d %s: %s %.200q", p.id, story, a.status, a.body, status, code, r.Method, r.URL)
		}
		for _, word := range inside {
			if bytes.Contains(a.body, []byte(word)) {
				p.Errorf("%s, %s: %s tells of %q", p.id, story, a.body, word)
			}
		}
	}
	p.unchanged(story, before)
	return refusal
}

// refused sends a body that has to be turned away, naming a field if one is given. A notice has a form of its own: any refusal
// will do, and with the signature of another body it has to be the one for forgeries.
func (p *probe) refused(story, body string, status int, code, field string, header ...string) {
	p.Helper()
	if !p.ours() {
		p.turnedAway(story, p.ask(body, header...), 0, "")
		forged := p.ask(p.s.body, header...)
		forged.Body, forged.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
		if body != p.s.body && len(body) <= limits.BodyBytes {
			p.turnedAway(story+", forged", forged, 401, api.CodeBadSignature)
		}
		return
	}
	refusal := p.turnedAway(story, p.ask(body, header...), status, code)
	named := slices.ContainsFunc(refusal.Errors, func(f api.Field) bool { return f.Field == field })
	if field != "" && !named {
		p.Errorf("%s, %s: got %+v, want %q named, for %.200q", p.id, story, refusal.Errors, field, body)
	}
}

// notOfTheReader is what the rules say of a value that can be read.
var notOfTheReader = []string{
	"there is no such product", "is not one of the providers of this desk",
	"must be the path of a stream, such as /v1/orders/202611200000042/stream",
}

// passes fails if a body is refused because of a field. Other rules may still refuse it.
func (p *probe) passes(story, body, field string, header ...string) answer {
	p.Helper()
	p.cases++
	p.seen = nil
	a := p.send(body, header...)
	if a.status == http.StatusBadRequest || a.status == 413 || a.status == 415 || a.status >= 500 {
		p.Errorf("%s, %s: got %d %s for %.200q", p.id, story, a.status, a.body, body)
	}
	if a.status != http.StatusUnprocessableEntity {
		return a
	}
	for _, f := range p.problem(a).Errors {
		if f.Field == field && !slices.Contains(notOfTheReader, f.Detail) {
			p.Errorf("%s, %s: got %s for %.200q", p.id, story, a.body, body)
		}
	}
	return a
}

// ignored fails unless a request is answered as if what was done to it had not been. A writing route may have been asked for
// the same before, and say so.
func (p *probe) ignored(story string, change func(*http.Request)) {
	p.Helper()
	p.cases++
	r := p.ask(p.s.body)
	change(r)
	if p.r.method != http.MethodGet {
		p.seen = nil
		got := p.do(r)
		if got.status >= 300 && got.status != http.StatusConflict {
			p.Errorf("%s, %s: got %d %.300s, want it ignored", p.id, story, got.status, got.body)
		}
		return
	}
	if p.plain.status == 0 {
		p.plain = p.send(p.s.body)
	}
	before, want := p.before(), p.plain
	got := p.do(r)
	stream := strings.HasPrefix(got.header.Get("Content-Type"), streamMedia)
	if got.status != want.status || !stream && !bytes.Equal(got.body, want.body) {
		p.Errorf("%s, %s: got %d %.300s, want it ignored: %d %.300s", p.id, story, got.status, got.body, want.status, want.body)
	}
	p.unchanged(story, before)
}

// unread sends bodies to a route that reads none: they are ignored, whatever is wrong with them.
func (p *probe) unread(bodies ...string) {
	p.Helper()
	for _, body := range bodies {
		p.ignored(fmt.Sprintf("the body %.20q that nobody reads", body), func(r *http.Request) { p.put(r, body) })
	}
}

func (p *probe) put(r *http.Request, body string) {
	r.Body, r.ContentLength = io.NopCloser(strings.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", "application/json")
}

// G1 to G17: the body.

const badText, badValue = api.CodeMalformedRequest, api.CodeInvalidRequest

func (p *probe) empty() {
	switch {
	case p.s.takes == nil:
		p.unread("", " ")
	case p.r.bodyOptional:
		p.passes("empty", "", "")
		p.passes("an empty object", "{}", "")
	default:
		p.refused("empty", "", 400, badText, "")
	}
	if p.s.takes != nil {
		p.refused("nothing but space", " \r\n\t", 400, badText, "")
	}
}

func (p *probe) notJSON() {
	if p.s.takes == nil {
		p.unread("nope", "{", "\x00", `{"a":1}`)
		return
	}
	for story, body := range map[string]string{
		"not JSON": `nope`, "single quotes": `{'a':1}`, "a comment": `{/**/}`, "a trailing comma": p.s.body[:len(p.s.body)-1] + `,}`,
		"NaN": `{"a":NaN}`, "Infinity": `{"a":-Infinity}`, "a form": `user_id=u-1&quantity=1`, "XML": `<order/>`, "undefined": `{"a":undefined}`,
		"leading zero": `{"a":01}`, "plus": `{"a":+1}`, "hex": `{"a":0x1}`, "bare point": `{"a":1.}`, "a raw line break": "{\"a\":\"\n\"}",
		"no colon": `{"a" 1}`, "a bare name": `{a:1}`, "an unknown escape": `{"a":"\x"}`, "half an escape": `{"a":"\u12"}`,
	} {
		p.refused(story, body, 400, badText, "")
	}
}

func (p *probe) cutOff() {
	if p.s.takes == nil {
		p.unread(`{"a":`)
		return
	}
	for i := 1; i < len(p.s.body); i++ {
		p.refused("cut off", p.s.body[:i], 400, badText, "")
	}
}

func (p *probe) twoValues() {
	if p.s.takes == nil {
		p.unread(`{}{}`)
		return
	}
	good := p.s.body
	for _, body := range []string{good + good, good + "\n" + good, good + `{}`, good + `,` + good, `{}` + good, `null` + good} {
		p.refused("two values", body, 400, badText, "")
	}
}

func (p *probe) somethingBehind() {
	if p.s.takes == nil {
		p.unread(`{}x`)
		return
	}
	for _, behind := range []string{"x", "}", "]", "\x00", ",", "//", "\u2028", "\ufeff", `"`} {
		p.refused("something behind", p.s.body+behind, 400, badText, "")
	}
}

func (p *probe) deep() {
	if p.s.takes == nil {
		p.unread(strings.Repeat(`[`, 10_000))
		return
	}
	for story, body := range map[string]string{
		"depth 10 000":               strings.Repeat(`[`, 10_000) + strings.Repeat(`]`, 10_000),
		"one too deep":               `{"a":` + strings.Repeat(`[`, limits.JSONDepth) + strings.Repeat(`]`, limits.JSONDepth) + `}`,
		"depth 10 000, never closed": strings.Repeat(`{"a":`, 10_000),
		"objects, depth 10 000":      strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000),
	} {
		p.refused(story, body, 400, badText, "")
	}
	for _, at := range p.places {
		p.refused("too deep in "+at.path, at.with(strings.Repeat(`[`, 40)+strings.Repeat(`]`, 40)), 400, badText, "")
	}
}

func (p *probe) bodyLimit() {
	if p.s.takes == nil {
		p.unread(strings.Repeat(" ", limits.BodyBytes), strings.Repeat(" ", limits.BodyBytes+1))
		return
	}
	pad := func(size int) string { return p.s.body + strings.Repeat(" ", size-len(p.s.body)) }
	p.passes("one byte less than may be", pad(limits.BodyBytes-1), "")
	p.passes("as large as may be", pad(limits.BodyBytes), "")
	p.refused("one byte too large", pad(limits.BodyBytes+1), 413, api.CodeBodyTooLarge, "")
	p.refused("1 MB", `{"a":"`+strings.Repeat("x", 1<<20)+`"}`, 413, api.CodeBodyTooLarge, "")
}

func (p *probe) wrongLength() {
	if p.s.takes == nil {
		p.ignored("a body that breaks off, which nobody reads", func(r *http.Request) {
			r.Body, r.ContentLength = io.NopCloser(iotest.ErrReader(io.ErrUnexpectedEOF)), 9
		})
		return
	}
	good := p.s.body
	broken := func(arrived string, length int64) *http.Request {
		r := p.ask(good)
		r.Body, r.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader(arrived), iotest.ErrReader(io.ErrUnexpectedEOF))), length
		return r
	}
	p.turnedAway("it breaks off", broken(good[:len(good)/2], int64(len(good))), 400, badText)
	p.turnedAway("it breaks off behind the whole object", broken(good, int64(len(good)+1)), 400, badText)
	p.turnedAway("it breaks off at once", broken("", 1), 400, badText)
	p.turnedAway("chunks break off", broken(good, -1), 400, badText)
	p.turnedAway("it is announced too large", broken("", limits.BodyBytes+1), 413, api.CodeBodyTooLarge)
	endless := p.ask(good)
	endless.Body, endless.ContentLength = io.NopCloser(endlessSpace{}), -1
	p.turnedAway("chunks without end", endless, 413, api.CodeBodyTooLarge)
	p.cases++
	p.seen = nil
	chunked := p.ask(good)
	chunked.Body, chunked.ContentLength = io.NopCloser(iotest.OneByteReader(chunked.Body)), -1
	if a := p.do(chunked); a.status >= 300 && a.status != 409 {
		p.Errorf("chunks of one byte: got %d %s", a.status, a.body)
	}
}

type endlessSpace struct{}

func (endlessSpace) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	return len(b), nil
}

func (p *probe) coded() {
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, _ = io.WriteString(z, p.s.body)
	_ = z.Close()
	codings := []string{"gzip", "br", "deflate", "zstd", "compress", "identity, gzip", "nonsense", "gzip, gzip"}
	for _, coding := range codings {
		switch {
		case p.s.takes == nil:
			p.ignored("coded, which nobody reads", func(r *http.Request) {
				p.put(r, zipped.String())
				r.Header.Set("Content-Encoding", coding)
			})
		case p.ours():
			p.refused("coded as "+coding, zipped.String(), 415, api.CodeUnsupportedMediaType, "", "Content-Encoding", coding)
			p.refused("said to be "+coding, p.s.body, 415, api.CodeUnsupportedMediaType, "", "Content-Encoding", coding)
		default:
			p.refused("coded as "+coding, zipped.String(), 400, badText, "", "Content-Encoding", coding)
		}
	}
	if p.ours() {
		p.passes("not coded", p.s.body, "", "Content-Encoding", "identity")
		twice := p.ask(p.s.body)
		twice.Header["Content-Encoding"] = []string{"identity", "identity"}
		p.turnedAway("coded twice", twice, 415, api.CodeUnsupportedMediaType)
	}
}

func (p *probe) mediaTypes() {
	for _, kind := range []string{
		"application/x-www-form-urlencoded", "text/plain", "text/json", "application/xml", "application/jsonp", "application/problem+json",
		"application/json; charset=latin1", "application/json; charset=utf-16", "multipart/form-data; boundary=x", "nonsense;;", "*/*",
		"application/json, text/plain", "application/json;charset=utf-8;charset=latin1", "application/", "/json", "applicаtion/json",
	} {
		switch {
		case p.s.takes == nil:
			p.ignored("type "+kind+" of no body", func(r *http.Request) { r.Header.Set("Content-Type", kind) })
		case p.ours():
			p.refused("type "+kind, p.s.body, 415, api.CodeUnsupportedMediaType, "", "Content-Type", kind)
		default:
			p.passes("type "+kind+" of a notice", p.s.body, "", "Content-Type", kind)
		}
	}
	if p.s.takes == nil {
		return
	}
	for _, kind := range []string{"application/json", "application/json; charset=utf-8", `Application/JSON;charset="UTF-8"`} {
		p.passes("type "+kind, p.s.body, "", "Content-Type", kind)
	}
	p.ignored("no type", func(r *http.Request) { r.Header.Del("Content-Type") })
	if p.ours() {
		twice := p.ask(p.s.body)
		twice.Header["Content-Type"] = []string{"application/json", "application/json"}
		p.turnedAway("two types", twice, 415, api.CodeUnsupportedMediaType)
	}
}

// The fields of the body: G6 to G10, G12, G16, G22, G23.

// objects gives every object of the body that has fields of ours, with its members.
func (p *probe) objects() map[string]object {
	all := map[string]object{}
	if p.s.takes == nil {
		return all
	}
	for _, at := range append(p.places, place{path: "", schema: shapes()[p.shape], body: hole}) {
		if at.schema.Type == huma.TypeObject && at.schema.Properties != nil {
			all[at.path] = object{at, p.objectAt(at)}
		}
	}
	return all
}

// object is one object of the body.
type object struct {
	place
	members map[string]jsontext.Value
}

// body writes the whole body with this object changed: without one member, and with more behind.
func (o object) write(without string, more ...string) string {
	var list []string
	for _, name := range sortedNames(o.members) {
		if name != without {
			list = append(list, o.member(name))
		}
	}
	return o.with(`{` + strings.Join(append(list, more...), ",") + `}`)
}

func (o object) member(name string) string {
	return strconv.Quote(name) + ":" + string(o.members[name])
}

// escaped spells a name with an escape in it.
func escaped(name string) string { return fmt.Sprintf(`"\u%04x%s"`, name[0], name[1:]) }

func (p *probe) twice() {
	if p.s.takes == nil {
		p.unread(`{"a":1,"a":2}`)
	}
	for _, o := range p.objects() {
		for name := range o.members {
			p.refused("twice "+name, o.write("", o.member(name)), 400, badText, "")
			p.refused("twice in another spelling "+name, o.write("", escaped(name)+":null"), 400, badText, "")
		}
		p.refused("an unknown one twice", o.write("", `"x":1`, `"x":1`), 400, badText, "")
	}
}

func (p *probe) misspelled() {
	if p.s.takes == nil {
		p.unread(`{"A":1}`)
	}
	for path, o := range p.objects() {
		for name, value := range o.members {
			for _, spelled := range []string{
				strings.ToUpper(name[:1]) + name[1:], strings.ToUpper(name), name + " ", " " + name, strings.ReplaceAll(name, "_", "") + "_", name + "\u0000",
				strings.ReplaceAll(name, "e", "е"),
			} {
				if spelled != name {
					quoted, _ := json.Marshal(spelled)
					p.refused("misspelled "+join(path, name), o.write(name, string(quoted)+":"+string(value)), 422, badValue, "")
				}
			}
			p.passes("spelled with an escape "+join(path, name), o.write(name, escaped(name)+":"+string(value)), join(path, name))
		}
	}
}

func (p *probe) unknownOrMissing() {
	if p.s.takes == nil {
		p.unread(`{"nobody_knows":1}`)
	}
	for path, o := range p.objects() {
		p.refused("unknown field", o.write("", `"nobody_knows":{"a":[1]}`), 422, badValue, join(path, "nobody_knows"))
		p.refused("unspeakable field", o.write("", `"\u0000<>":1`), 422, badValue, join(path, "(unreadable)"))
		for _, name := range []string{"status", "total", "paid_at", "unit_price", "version", "available", "__proto__", "constructor", "$where", "id", ""} {
			if _, there := o.members[name]; !there {
				p.refused("a field that is not the client's to set", o.write("", strconv.Quote(name)+`:1`), 422, badValue, join(path, speakable(name)))
			}
		}
		for _, name := range o.schema.Required {
			p.refused("missing "+name, o.write(name), 422, badValue, join(path, name))
		}
	}
}

func (p *probe) wrongTypes() {
	if p.s.takes == nil {
		p.unread(`[]`, `""`, `1`)
		return
	}
	for _, body := range []string{`[]`, `""`, `1`, `true`, `null`, `[` + p.s.body + `]`, `"` + strings.ReplaceAll(p.s.body, `"`, `\"`) + `"`} {
		p.refused("not an object", body, 422, badValue, "body")
	}
	for _, at := range p.places {
		for kind, raws := range map[string][]string{
			"string": {`"abc"`, `""`, `"7"`, `"null"`, `"{}"`}, "integer": {`7`, `0`, `-1`}, "boolean": {`true`, `false`},
			"object": {`{"x":1}`, `{}`}, "array": {`[1]`, `[]`, `[null]`, `["abc"]`, `[{}]`},
		} {
			free := at.schema.Type == huma.TypeObject && at.schema.Properties == nil
			if kind == at.schema.Type || kind == "object" && free {
				continue
			}
			for _, raw := range raws {
				p.refused("wrong type of "+at.path, at.with(raw), 422, badValue, at.path)
			}
		}
	}
}

func (p *probe) nulls() {
	if p.s.takes == nil {
		p.unread(`null`)
	}
	for _, at := range p.places {
		if at.schema.Nullable {
			p.passes("null for "+at.path, at.with(`null`), at.path)
		} else {
			p.refused("null for "+at.path, at.with(`null`), 422, badValue, at.path)
		}
	}
}

func (p *probe) long() {
	if p.s.takes == nil {
		p.unread(`{"a":"` + strings.Repeat("x", 1<<20) + `"}`)
	}
	for _, at := range p.places {
		p.refused("1 MB in "+at.path, at.with(`"`+strings.Repeat("x", 1<<20)+`"`), 413, api.CodeBodyTooLarge, "")
		switch {
		case at.schema.Type == huma.TypeString:
			p.longString(at)
		case at.schema.Type == huma.TypeArray:
			p.longList(at)
		case at.schema.Type == huma.TypeObject && at.schema.Properties == nil:
			p.longObject(at)
		}
	}
}

func (p *probe) longString(at place) {
	p.refused("60 kB in "+at.path, at.with(`"`+strings.Repeat("x", 60<<10)+`"`), 422, badValue, at.path)
	if least := at.schema.MinLength; least != nil && *least > 0 {
		p.refused("empty "+at.path, at.with(`""`), 422, badValue, at.path)
	}
	most := at.schema.MaxLength
	if most == nil {
		return // an enumeration, a time, a duration
	}
	for _, unit := range []string{"x", "é", "😀"} {
		p.passes("as long as may be "+at.path, at.with(`"`+strings.Repeat(unit, *most)+`"`), at.path)
		p.refused("one too long "+at.path, at.with(`"`+strings.Repeat(unit, *most+1)+`"`), 422, badValue, at.path)
	}
}

func (p *probe) longList(at place) {
	p.refused("none in "+at.path, at.with(`[]`), 422, badValue, at.path)
	one := strings.Trim(p.s.body[strings.Index(p.s.body, `[`):strings.Index(p.s.body, `]`)], `[`)
	p.refused("10 000 in "+at.path, at.with(`[`+strings.Repeat(`1,`, 9_999)+`1]`), 422, badValue, "")
	if most := at.schema.MaxItems; most != nil {
		p.refused("too many in "+at.path, at.with(`[`+strings.Repeat(one+`,`, *most)+one+`]`), 422, badValue, at.path)
		p.passes("many in "+at.path, at.with(`[`+strings.Repeat(one+`,`, *most-1)+one+`]`), at.path)
	}
}

func (p *probe) longObject(at place) {
	fill := func(size int) string { return `{"a":"` + strings.Repeat("x", size-len(`{"a":""}`)) + `"}` }
	p.passes("one byte less than may be "+at.path, at.with(fill(limits.MetadataBytes-1)), at.path)
	p.passes("as much as may be "+at.path, at.with(fill(limits.MetadataBytes)), at.path)
	p.refused("too much "+at.path, at.with(fill(limits.MetadataBytes+1)), 422, badValue, at.path)
	p.passes("spaces do not count "+at.path, at.with(strings.Replace(fill(limits.MetadataBytes), `:`, ` :   `, 1)), at.path)
	p.refused("a name twice in "+at.path, at.with(`{"a":1,"a":2}`), 400, badText, "")
}

func (p *probe) oddText() {
	if p.s.takes == nil {
		p.unread("\xff", "\ufeff{}")
	} else {
		for story, body := range map[string]string{
			"a byte order mark": "\ufeff" + p.s.body, "UTF-16": "{\x00}\x00", "invalid UTF-8": strings.Replace(p.s.body, `:`, ":\xff", 1),
			"invalid UTF-8 in a name": "{\"\xff\":1}", "a lone surrogate": `{"a":"\ud800"}`, "the wrong way round": `{"a":"\udc00\ud800"}`,
			"overlong UTF-8": "{\"a\":\"\xc0\xaf\"}", "a surrogate as UTF-8": "{\"a\":\"\xed\xa0\x80\"}", "a NUL byte": "{\"a\":\"\x00\"}",
			"a NUL in front": "\x00" + p.s.body, "space that is not JSON's": "\u00a0" + p.s.body,
		} {
			p.refused(story, body, 400, badText, "")
		}
	}
	for _, at := range p.places {
		free := at.schema.Type == huma.TypeObject && at.schema.Properties == nil
		if free {
			p.refused("NUL in "+at.path, at.with(`{"a":"x\u0000"}`), 422, badValue, at.path)
			p.refused("NUL in a name of "+at.path, at.with(`{"\u0000":1}`), 422, badValue, at.path)
			p.refused("NUL deep in "+at.path, at.with(`{"a":[{"b":"\u0000"}]}`), 422, badValue, at.path)
			p.passes("what only looks like NUL in "+at.path, at.with(`{"a":"\\u0000"}`), at.path)
			p.kept(at, at.path, "{\"a\":\"\u202e ½\u2028 ﷽ \u200d\"}")
		}
		if at.schema.Type != huma.TypeString {
			continue
		}
		for story, raw := range map[string]string{
			"NUL": `"a\u0000b"`, "a line break": `"a\r\nb"`, "an escape": `"\u001b[31m"`, "right to left": `"a\u202eb"`,
			"a line separator": `"a\u2028b"`, "a replacement": `"\ufffd"`, "DEL": `"\u007f"`, "a byte order mark": `"\ufeffa"`,
			"no width": `"a\u200bb"`, "an unassigned one": `"\ud83f\udfff"`, "a C1 control": `"\u0085"`,
		} {
			p.refused(story+" in "+at.path, at.with(raw), 422, badValue, at.path)
		}
		for _, text := range []string{"é", "e\u0301", "е", "😀", "\u00a0x", "Ǆ", "ﬁ", "١٢", "李"} {
			p.kept(at, at.path, quote(text))
		}
	}
	p.oddIDs()
}

func quote(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw)
}

// kept sends a value that is fine for us, whatever it looks like to others. Once accepted, it stands in the record and in the
// answer byte for byte.
func (p *probe) kept(at place, path, raw string) {
	p.Helper()
	if at.schema.Type == huma.TypeString && at.schema.MaxLength == nil {
		return // an enumeration, a time, a duration
	}
	if p.s.fresh != nil {
		p.s.target, p.seen = p.s.fresh(), nil
	}
	a := p.passes("as it is, in "+path, at.with(raw), path)
	if a.status >= 300 {
		return
	}
	var text string
	if json.Unmarshal([]byte(raw), &text) == nil && !p.record.look().holds(text) {
		p.Errorf("%s: %s was accepted in %s, and is not in the record", p.id, raw, path)
	}
	var told map[string]jsontext.Value
	p.must(json.Unmarshal(a.body, &told))
	value, shown := told[path]
	if !shown {
		return
	}
	var want, got any
	p.must(json.Unmarshal([]byte(raw), &want))
	p.must(json.Unmarshal(value, &got))
	if !reflect.DeepEqual(got, want) {
		p.Errorf("%s: %s in %s is given back as %s", p.id, raw, path, value)
	}
}

// oddIDs: ids in the path that no id can be. Where one could be made, it is said what is wrong with it.
func (p *probe) oddIDs() {
	for _, at := range p.idsInPath() {
		for _, odd := range []string{
			"%00", "a%00b", "%0a", "a%0d%0aX-Evil:%201", "%1b%5b31m", "%ff%fe", "%c0%af", "%ed%a0%80", "%e2%80%ae", "%e2%80%a8", "%ef%bb%bf", "%7f",
			"%ef%bf%bd", strings.Repeat("x", limits.IDChars+1), strings.Repeat("%F0%9F%98%80", limits.IDChars+1), strings.Repeat("x", 8<<10),
		} {
			p.badID("an odd "+at.name, at.before+odd+at.after, at.name)
		}
	}
}

// badID: a path with an id that cannot be is not there; where one could be made, it is said what is wrong with it.
func (p *probe) badID(story, target, name string) {
	p.Helper()
	r := p.ask(p.s.body)
	if !p.retarget(r, target) {
		return
	}
	if p.r.method == http.MethodPut {
		refusal := p.turnedAway(story, r, 422, badValue)
		if !slices.ContainsFunc(refusal.Errors, func(f api.Field) bool { return f.Field == name }) {
			p.Errorf("%s, %s: got %+v, want %s named", p.id, story, refusal.Errors, name)
		}
		return
	}
	p.turnedAway(story, r, 404, api.CodeNotFound)
}

// pathID is an id in the path of the sample, with what stands before and after it.
type pathID struct{ name, before, after string }

func (p *probe) idsInPath() (ids []pathID) {
	segments := strings.Split(p.s.target, "/")
	for i, segment := range strings.Split(p.r.pattern, "/") {
		if name := strings.Trim(segment, "{}"); name != segment {
			ids = append(ids, pathID{name, strings.Join(segments[:i], "/") + "/", strings.Join(append([]string{""}, segments[i+1:]...), "/")})
		}
	}
	return ids
}

// retarget turns a request to another target, as the server of net/http would read it; what that refuses never comes here.
func (p *probe) retarget(r *http.Request, target string) bool {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return false
	}
	r.URL, r.RequestURI = u, target
	return true
}

// machines are texts that other programs would take for orders.
var machines = []string{
	`'; DROP TABLE orders; --`, `" OR 1=1 --`, `1); DELETE FROM stock; --`, `${jndi:ldap://x/a}`, `{{7*7}}`, `<%= 7*7 %>`, `#{7*7}`,
	`<script>alert(1)</script>`, `return redis.call('FLUSHALL')`, `../../etc/passwd`, `%s%n%x`, `%0d%0aSet-Cookie:a=b`, `$(reboot)`, "`reboot`",
	`=HYPERLINK("http://x")`, `{"$gt":""}`, `\u0000`, `\`, `"`, `&lt;`, `*`, `null`, `NaN`, `-1`, `;`, `|cat`, `__proto__`,
}

func (p *probe) payloads() {
	if p.s.takes == nil {
		p.unread(machines[0])
	}
	for _, at := range p.places {
		if at.schema.Type == huma.TypeString {
			for _, payload := range machines {
				p.sent++
				p.kept(at, at.path, quote(payload+strconv.Itoa(p.sent)))
			}
		}
		if at.schema.Type == huma.TypeObject && at.schema.Properties == nil {
			for _, payload := range machines {
				p.kept(at, at.path, `{`+quote(payload)+`:`+quote(payload+strconv.Itoa(p.sent))+`}`)
			}
		}
	}
	for _, payload := range machines {
		for _, at := range p.idsInPath() {
			r := p.ask(p.s.body)
			if !p.retarget(r, at.before+url.PathEscape(payload)+at.after) {
				continue
			}
			if p.r.method != http.MethodPut {
				p.ofNobody("a payload as "+at.name, r)
				continue
			}
			p.cases++
			p.seen = nil
			if a := p.do(r); a.status >= 300 || !p.record.look().holds(payload) {
				p.Errorf("%s: %q as %s: got %d %s, want it taken as it is", p.id, payload, at.name, a.status, a.body)
			}
		}
		for _, q := range p.r.query {
			p.cases++
			before := p.before()
			r := p.ask(p.s.body)
			p.retarget(r, p.s.target+"?"+q.name+"="+url.QueryEscape(payload))
			if a := p.do(r); a.status != 422 && a.status != 200 {
				p.Errorf("%s: %q as %s: got %d %s, want 422, or 200 where any text is fine", p.id, payload, q.name, a.status, a.body)
			}
			p.unchanged(payload+" as "+q.name, before)
		}
		p.ignored("a payload in headers", func(r *http.Request) {
			for _, header := range []string{"X-Request-Id", "User-Agent", "Referer", "Cookie", "Origin", "X-Forwarded-For", "Accept-Language", "Traceparent"} {
				r.Header.Set(header, payload)
			}
		})
	}
}

func (p *probe) numbers() {
	if p.s.takes == nil {
		p.unread(`{"quantity":1e400}`)
	}
	for _, at := range p.places {
		switch {
		case at.schema.Type == huma.TypeInteger:
			p.integer(at)
		case at.schema.Type == huma.TypeObject && at.schema.Properties == nil:
			p.kept(at, at.path, `{"a":[1.0,1e300,-0,123456789012345678901234567890,9007199254740993,1E2,0.1e-5]}`)
			p.refused("a number beyond numbers in "+at.path, at.with(`{"a":[1e400]}`), 422, badValue, at.path)
			p.refused("a number far beyond numbers in "+at.path, at.with(`{"a":{"b":-1e99999}}`), 422, badValue, at.path)
		}
	}
}

func (p *probe) integer(at place) {
	for _, raw := range []string{
		`-0`, `1.0`, `1.5`, `1e2`, `1E2`, `1e400`, `1e-1`, `-1.0`, `9223372036854775808`, `-9223372036854775809`, `18446744073709551616`,
		`123456789012345678901234567890`, `"1"`, `1` + strings.Repeat("0", 400), `0.0`, `-1e0`, `9007199254740993.0`, `true`,
	} {
		p.refused(raw+" for "+at.path, at.with(raw), 422, badValue, at.path)
	}
	for _, raw := range []string{`01`, `+1`, `.5`, `1.`, `NaN`, `-`, `0x10`, `1_000`, `1,5`, `٣`} {
		p.refused(raw+" for "+at.path, at.with(raw), 400, badText, "")
	}
	if lowest := at.schema.Minimum; lowest != nil {
		for _, n := range []int64{int64(*lowest) - 1, -1 << 63} {
			p.refused("below the least "+at.path, at.with(strconv.FormatInt(n, 10)), 422, badValue, at.path)
		}
		p.passes("the least "+at.path, at.with(strconv.FormatInt(int64(*lowest), 10)), at.path)
	}
	if highest := at.schema.Maximum; highest != nil {
		for _, n := range []int64{int64(*highest) + 1, 1<<53 + 1, 1<<63 - 1} {
			p.refused("beyond the most "+at.path, at.with(strconv.FormatInt(n, 10)), 422, badValue, at.path)
		}
		p.passes("the most "+at.path, at.with(strconv.FormatInt(int64(*highest), 10)), at.path)
	}
}

// G18 to G21: the line and the headers of a request.

func (p *probe) methods() {
	served := map[string]bool{}
	for _, r := range routes() {
		if r.pattern == p.r.pattern {
			served[r.method] = true
			served["HEAD"] = served["HEAD"] || r.method == "GET"
		}
	}
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "BREW", "get", "QUERY", "PROPFIND", "M-SEARCH"} {
		if served[method] {
			continue
		}
		r := p.ask(p.s.body, "X-HTTP-Method-Override", p.r.method)
		r.Method = method
		p.turnedAway(method, r, 405, api.CodeMethodNotAllowed)
	}
	for _, header := range []string{"X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"} {
		for _, method := range []string{"DELETE", "PUT", "GET", "TRACE"} {
			p.ignored("to be taken for another method", func(r *http.Request) { r.Header.Set(header, method) })
		}
	}
}

func (p *probe) paths() {
	target := p.s.target
	last := strings.LastIndex(target, "/")
	capital := strings.Replace(target, "/v1/", "/V1/", 1)
	if capital == target {
		capital = strings.ToUpper(target)
	}
	for _, other := range []string{
		target + "/", "/" + target, target[:last] + "/" + target[last:], "/." + target, "/x/.." + target, "/%2e" + target, "/x/%2e%2e" + target,
		target + "/.", target + "/..", target + "/%2e%2e", target + "%00/", target + "/%00", capital, "/v1" + target, "/api" + target,
		target + "//", target + "/..;/", "/..%2f" + target[1:], "/%2f" + target[1:], target + "/x", target + "/x/y/z",
		"/" + strings.Repeat("a/", 4<<10), target + "/" + strings.Repeat("x", 8<<10), "/v1/products/../.." + target,
		target[:last] + "%2f" + target[last+1:], target + "/" + strings.Repeat("../", 500), "/\\" + target, strings.ReplaceAll(target, "/", "%5c"),
		target[:2] + "\u212a" + target[2:], target + "/?", target + "/#",
	} {
		r := p.ask(p.s.body)
		if !p.retarget(r, other) {
			continue
		}
		// What is not this route's path may be another's, which does not know the method.
		if code := p.turnedAway("not the path", r, 0, "").Code; code != api.CodeNotFound && code != api.CodeMethodNotAllowed {
			p.Errorf("%s: %s %.100s: got %s, want it not found", p.id, p.r.method, other, code)
		}
	}
	for _, raw := range []string{"", "*", "x", "http:", "//", "/../..", "/.", "/%"} {
		r := p.ask(p.s.body)
		r.URL = &url.URL{Path: raw}
		p.turnedAway("no path", r, 404, api.CodeNotFound)
	}
	p.ignored("a whole URL as the target", func(r *http.Request) {
		r.URL, _ = url.Parse("https://user:password@evil.example:99" + target)
		r.RequestURI, r.Host = r.URL.String(), r.URL.Host
	})
}

func (p *probe) queries() {
	if p.r.lenient {
		for _, query := range []string{"nobody_knows=1", "a=%zz", "a=1;b=2", "a=" + strings.Repeat("x", 8<<10), "a=1&a=1", "%00=%00", "_method=DELETE"} {
			p.ignored("a query that nobody reads", func(r *http.Request) { r.URL.RawQuery = query })
		}
		return
	}
	turnedAway := func(query string, status int, code string) {
		p.Helper()
		r := p.ask(p.s.body)
		r.URL.RawQuery = query
		p.turnedAway("?"+query[:min(len(query), 40)], r, status, code)
	}
	for _, query := range []string{
		"nobody_knows=1", "Limit=1", "limit[]=1&limit[]=2", "a=" + strings.Repeat("x", 8<<10), "_method=DELETE", "%00=1", "=", "=1", "limit%00=1",
		"a.b=1", "a%5bb%5d=1", "ﬁlter=1", "callback=x", "debug=true", "fields=*", "%ff=1",
	} {
		turnedAway(query, 422, badValue)
	}
	for _, query := range []string{"a=%zz", "a=%", "a=1;b=2", "%", "%f=1", "a=%u0041"} {
		turnedAway(query, 400, badText)
	}
	for _, q := range p.r.query {
		for _, value := range []string{"1&" + q.name + "=1", "", "%00", "%0d%0aX:1", "%ff", strings.Repeat("x", 8<<10), "1&" + q.name + "[]=1", "%e2%80%ae"} {
			turnedAway(q.name+"="+value, 422, badValue)
		}
		turnedAway(strings.ToUpper(q.name)+"=1", 422, badValue)
		if q.name == limitParam.name {
			p.limits(turnedAway)
		}
	}
}

func (p *probe) limits(turnedAway func(query string, status int, code string)) {
	p.Helper()
	for _, n := range []string{
		"0", "-1", "-0", "201", "1000000000", "1.0", "1e1", "05", "%2B5", "x", "9223372036854775808", "0x10", "%201", "1%20", "٣", "NaN", "1,2",
	} {
		turnedAway("limit="+n, 422, badValue)
	}
	for _, n := range []string{"1", "200"} {
		p.cases++
		r := p.ask(p.s.body)
		r.URL.RawQuery = "limit=" + n
		if a := p.do(r); a.status != 200 {
			p.Errorf("limit=%s: got %d %s", n, a.status, a.body)
		}
	}
}

func (p *probe) headers() {
	for name, value := range map[string]string{
		"Range": "bytes=0-1", "If-None-Match": "*", "If-Match": `"x"`, "If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT",
		"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT", "If-Range": `"x"`, "Accept": "image/png", "Accept-Charset": "utf-16",
		"Accept-Encoding": "gzip, br;q=1.0, *;q=0", "Accept-Language": "xx", "X-Original-Url": "/v1/audit", "X-Rewrite-Url": "/v1/audit",
		"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "gopher", "X-Forwarded-For": "127.0.0.1, 10.0.0.1", "X-Real-Ip": "::1",
		"Forwarded": "for=127.0.0.1;host=evil.example", "X-Http-Method-Override": "DELETE", "Connection": "Authorization, close", "Te": "trailers",
		"Upgrade": "websocket", "Cookie": strings.Repeat("a=b;", 1000), "Origin": "null", "X-Request-Id": "two words", "Proxy": "http://evil.example",
		"X-Anything": strings.Repeat("x", 8<<10), "Prefer": "return=minimal", "Cache-Control": "only-if-cached", "Max-Forwards": "0", "Via": "1.0 x",
		"Transfer-Encoding": "gzip", "Trailer": "Authorization", "X-User-Id": "admin", "X-Api-Key": "admin", "Content-Length": "999999", "Sec-Fetch-Site": "cross-site",
	} {
		if p.r.cached && (name == "If-None-Match" || name == "Accept-Encoding") {
			continue // heard, and tested where the cache is
		}
		p.ignored(name, func(r *http.Request) { r.Header.Set(name, value) })
	}
	p.ignored("a hundred headers", func(r *http.Request) {
		for i := range 100 {
			r.Header.Set("X-Header-"+strconv.Itoa(i), strings.Repeat("x", 50))
		}
	})
	p.ignored("one header a hundred times", func(r *http.Request) { r.Header["X-Again"] = slices.Repeat([]string{"x"}, 100) })
	for _, host := range []string{"", "evil.example", "a b", "localhost:99999", "[::1", "127.0.0.1", strings.Repeat("x", 8<<10), "\x00"} {
		p.ignored("host", func(r *http.Request) { r.Host = host })
	}
	for name, code := range map[string]string{
		"Authorization": api.CodeUnauthenticated, idempotencyHeader: badText, "Holdfast-Signature": api.CodeBadSignature,
	} {
		r := p.ask(p.s.body)
		sent := r.Header[name]
		if len(sent) == 0 || name == "Authorization" && p.r.scope == "" {
			continue
		}
		refused := map[string]int{api.CodeUnauthenticated: 401, api.CodeBadSignature: 401, badText: 400}[code]
		for _, values := range [][]string{
			nil,
			{""},
			{sent[0], sent[0]},
			{sent[0], ""},
			{sent[0] + "\r\nX: 1"},
			{sent[0] + "\x00"},
			{" " + sent[0] + " "},
			{"é" + sent[0]},
			{strings.Repeat("x", 8<<10)},
			{sent[0] + ", " + sent[0]},
		} {
			r := p.ask(p.s.body)
			r.Header[name] = values
			p.turnedAway(name, r, refused, code)
		}
	}
}

// G27, G28, G30.

func (p *probe) idsOfNobody() {
	if p.r.method == http.MethodPut {
		return // it would be made
	}
	for _, at := range p.idsInPath() {
		for _, id := range []string{"nobody", "0", "-1", "202611200009999", "202611209999999", "pay_00000000000000000000000000", "sku-1%20", "SKU-1", "U-1", "*", "me"} {
			if r := p.ask(p.s.body); p.retarget(r, at.before+id+at.after) {
				p.ofNobody("nobody's "+at.name, r)
			}
		}
	}
}

// ofNobody: what is not there is not found. A user need not be known to be listened to, or logged out.
func (p *probe) ofNobody(story string, r *http.Request) {
	p.Helper()
	if p.r.id != "streamUser" && p.r.id != "endSessions" {
		p.turnedAway(story, r, 404, api.CodeNotFound)
		return
	}
	p.cases++
	before := p.before()
	if a := p.do(r); a.status != 200 || len(p.record.look().changed(before)) > 0 {
		p.Errorf("%s, %s: got %d %s, want 200 and no trace", p.id, story, a.status, a.body)
	}
}

func (p *probe) deadKeys() {
	if p.r.scope == "" {
		return
	}
	for story, secret := range map[string]string{"expired": p.expired, "revoked": p.revoked} {
		p.turnedAway(story, withKey(p.ask(p.s.body), secret), 401, api.CodeUnauthenticated)
		for _, target := range []string{p.s.target + "?nobody_knows=1", p.s.target + "?a=%zz"} {
			r := withKey(p.ask("nonsense"), secret)
			p.retarget(r, target)
			p.turnedAway(story+", and more is wrong", r, 401, api.CodeUnauthenticated)
		}
	}
}

func (p *probe) clocks() {
	for _, date := range []string{"Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "yesterday", "-1"} {
		p.ignored("the client's time is "+date, func(r *http.Request) {
			for _, header := range []string{"Date", "X-Timestamp", "Expires", "Last-Modified"} {
				r.Header.Set(header, date)
			}
		})
	}
}

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

// objectAt gives the members of the object that stands at a place of the sample.
func (p *probe) objectAt(at place) map[string]jsontext.Value {
	p.Helper()
	whole, body := jsontext.Value(p.s.body), jsontext.Value(at.body)
	for _, text := range []*jsontext.Value{&whole, &body} {
		if err := text.Canonicalize(); err != nil {
			p.Fatal(err)
		}
	}
	start := bytes.Index(body, []byte(hole))
	rest := len(body) - start - len(hole)
	inner := map[string]jsontext.Value{}
	if err := json.Unmarshal(whole[start:len(whole)-rest], &inner); err != nil {
		p.Fatalf("%s is not an object: %v", at.path, err)
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
