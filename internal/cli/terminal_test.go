package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/alecthomas/kong"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/audit"
)

// nasty would paint a terminal red, wipe it, turn its writing round, ring its bell and add a line and a column of its own.
const nasty = "a\x1b[31mb\u009b2Jc\u202ed\x07e\r\nFAKE\tf\u2028g\x7f"

// nastyDesk is not a desk that we know: it says something nasty wherever it says anything.
func nastyDesk(t *testing.T, code string) *httptest.Server {
	t.Helper()
	answers := map[string]any{
		"/v1/orders/{order_no}/payments": api.Payment{}, "/v1/payments/": api.Payment{}, "/v1/products/{product_id}/stock": api.Stock{},
		"/v1/products/": api.Product{}, "/v1/users/": api.User{}, "/v1/orders/": api.Order{}, "POST /v1/orders": api.Order{}, "GET /v1/keys": []api.Key{},
		"POST /v1/keys": api.CreatedKey{}, "/v1/keys/": api.Key{}, "/v1/numbers": []api.NumberDay{}, "/v1/numbers/fill": api.NumbersFilled{},
		"/v1/numbers/purge": api.NumbersPurged{}, "/v1/cache/warm": api.CacheWarmed{}, "/v1/products": []api.Product{},
		"GET /v1/orders": []api.Order{}, "POST /v1/sessions": api.CreatedSession{}, "/v1/users/{user_id}/sessions": api.EndedSessions{},
	}
	mux := http.NewServeMux()
	for pattern, thing := range answers {
		v := reflect.New(reflect.TypeOf(thing))
		fill(v.Elem())
		body := v.Interface()
		if v.Elem().Kind() == reflect.Slice {
			body = map[string]any{"data": body, "next_cursor": nil}
		}
		mux.HandleFunc(pattern, func(w http.ResponseWriter, _ *http.Request) {
			if code == "" {
				_ = json.NewEncoder(w).Encode(body)
				return
			}
			w.WriteHeader(http.StatusConflict)
			_ = json.NewEncoder(w).Encode(map[string]any{
				"title": nasty, "code": code, "detail": nasty, "product_id": nasty, "status": nasty, "available": 1, "request_id": nasty,
				"errors": []map[string]string{{"field": nasty, "detail": nasty}},
			})
		})
	}
	mux.HandleFunc("/v1/orders/{order_no}/stream", func(w http.ResponseWriter, r *http.Request) {
		if code != "" {
			mux.ServeHTTP(w, httptest.NewRequestWithContext(r.Context(), "GET", "/v1/orders/1", nil))
			return
		}
		var o api.Order
		fill(reflect.ValueOf(&o).Elem())
		data, _ := json.Marshal(o)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = w.Write([]byte("event: x\u009bFAKE\x1b[0m\nid: 1\ndata: " + string(data) + "\n\n"))
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// fill puts something nasty into every text of a thing.
func fill(v reflect.Value) {
	switch at := v.Addr().Interface().(type) {
	case *time.Time:
		*at = time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
		return
	case *api.Metadata:
		text, _ := json.Marshal(map[string]string{nasty: nasty})
		*at = text
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(nasty)
	case reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	default:
	}
}

// harmless fails where a terminal would obey, or where foreign text begins a line.
func harmless(t *testing.T, what, printed string) {
	t.Helper()
	if at := strings.IndexFunc(printed, func(r rune) bool { return !unicode.IsGraphic(r) && r != '\n' }); at >= 0 {
		t.Errorf("%s: a terminal would obey %q in %q", what, printed[at:min(at+8, len(printed))], printed)
	}
	if strings.Contains(printed, "\nFAKE") {
		t.Errorf("%s: a line is not ours: %q", what, printed)
	}
}

// calls are all commands that call a desk, with something nasty wherever they take a text.
func calls() map[string][]string {
	return map[string][]string{
		"order place": {nasty, "--user", nasty, "--idempotency-key", "k", "--metadata", `{"a":"b"}`}, "order get": {nasty, "--with-user"},
		"order list": {"--user", nasty, "--status", nasty}, "order pay": {nasty, "--open"}, "order cancel": {nasty, "--reason", nasty},
		"order fulfil": {nasty, "--reason", nasty}, "order watch": {nasty},
		"product put": {nasty, "--title", nasty}, "product get": {nasty}, "product list": {}, "product release": {nasty},
		"stock get": {nasty}, "stock adjust": {nasty, "--add", "1", "--ref", nasty, "--reason", nasty},
		"user put": {nasty, "--name", nasty}, "user get": {nasty},
		"key create": {nasty, "--scope", nasty}, "key list": {}, "key revoke": {nasty}, "numbers status": {}, "numbers fill": {}, "numbers purge": {}, "warm": {},
		"session create": {nasty}, "session end": {nasty},
	}
}

// local are the commands that call no desk.
var local = []string{"serve", "migrate up", "migrate status", "audit", "bench", "backup", "rebuild", "config", "completion", "__complete", "version"}

// counting are the commands that show nothing of the desk's but a number.
var counting = []string{"numbers fill", "numbers purge", "warm"}

func TestNoTextFromElsewhereSteersTheTerminal(t *testing.T) {
	for _, code := range []string{
		"", nasty, api.CodeOutOfStock, api.CodeNotOnSale, api.CodePurchaseLimit, api.CodeOrderNotPayable, api.CodeOrderNotFulfillable,
	} {
		t.Run(fmt.Sprintf("%q", code), func(t *testing.T) {
			t.Parallel()
			s := newShell(t)
			s.environ = append(s.environ, "HOLDFAST_URL="+nastyDesk(t, code).URL, "HOLDFAST_API_KEY=a-key-of-this-test-0123456789abcdef")
			for command, args := range calls() {
				for _, as := range []string{"table", "json"} {
					all := append(append(strings.Fields(command), args...), "--output", as)
					exit, stdout, stderr := s.run(t, all...)
					harmless(t, command+" --output "+as+" on standard output", stdout)
					harmless(t, command+" --output "+as+" on standard error", stderr)
					if want := min(len(code), 1); exit != want {
						t.Errorf("%s: exit %d, want %d: %s", command, exit, want, stderr)
					}
					if code == "" && !slices.Contains(counting, command) && !strings.Contains(stdout+stderr, "FAKE") {
						t.Errorf("%s --output %s: nothing of the desk's text is shown: %q", command, as, stdout)
					}
				}
			}
		})
	}
}

func TestEveryCommandIsTriedWithTextFromElsewhere(t *testing.T) {
	parser, err := kong.New(newGrammar(), kong.Vars{"version": ""}, kong.ExplicitGroups(groups()))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, name := range local {
		known[name] = true
	}
	for name := range calls() {
		known[name] = true
	}
	for _, leaf := range parser.Model.Leaves(false) {
		name := leaf.Path()
		if name = strings.TrimPrefix(name, parser.Model.Name+" "); !known[name] {
			t.Errorf("%q is not among the commands that are tried, and not among those that call no desk", name)
		}
	}
}

// What was typed comes back in errors, and what stands in the record in reports.
func TestNoTextThatWasTypedOrKeptSteersTheTerminal(t *testing.T) {
	s := newShell(t)
	for what, args := range map[string][]string{
		"a flag": {"--" + nasty}, "a command": {nasty}, "a flag's value": {"audit", "--output", nasty}, "a setting": {"serve", "--listen", nasty},
		"a scenario": {"bench", nasty}, "a file": {"backup", nasty}, "metadata": {"order", "place", "x", "--user", "u", "--metadata", nasty},
		"a setting shown": {"config", "--listen", nasty},
	} {
		_, stdout, stderr := s.run(t, args...)
		harmless(t, what, stdout+stderr)
	}
	var b bytes.Buffer
	report := audit.Report{Checks: []audit.Check{{ID: "V1", Name: nasty, Violations: 2, Samples: []string{nasty}}}}
	if err := (&auditCommand{}).write(&b, &report); err != nil {
		t.Fatal(err)
	}
	harmless(t, "an audit", b.String())
}
