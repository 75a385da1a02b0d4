package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

var update = flag.Bool("update", false, "write the generated document and the golden files again")

// documentFile is where clients find the document; the server serves what is compiled in from there.
const documentFile = "../../api/openapi.json"

// TestDocumentIsFresh makes the OpenAPI document of the route table and the Go shapes, and compares; -update writes it.
func TestDocumentIsFresh(t *testing.T) {
	want, err := json.MarshalIndent(document(routes()), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile(documentFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is stale: run make generate", documentFile)
	}
}

// TestServedRoutesAreTheDocumented: the document that is served names every route of the table and nothing else, and every
// error that the table lets a route answer.
func TestServedRoutesAreTheDocumented(t *testing.T) {
	d := newDesk(t)
	answer := d.get("/openapi.json", "")
	if answer.status != http.StatusOK || !bytes.Equal(answer.body, api.Document) {
		t.Fatalf("GET /openapi.json: %d with %d bytes, want 200 with the %d bytes of api.Document",
			answer.status, len(answer.body), len(api.Document))
	}
	var served struct {
		OpenAPI string `json:"openapi"`
		Paths   map[string]map[string]struct {
			OperationID string `json:"operationId"`
			Responses   map[string]struct {
				Description string `json:"description"`
			} `json:"responses"`
		} `json:"paths"`
	}
	if err := json.Unmarshal(answer.body, &served); err != nil {
		t.Fatal(err)
	}
	if served.OpenAPI != "3.1.0" {
		t.Errorf("openapi: got %q, want 3.1.0", served.OpenAPI)
	}
	for _, r := range routes() {
		operation, ok := served.Paths[r.pattern][strings.ToLower(r.method)]
		if !ok || operation.OperationID != r.id {
			t.Errorf("%s %s is served, and documented as %q, want %q", r.method, r.pattern, operation.OperationID, r.id)
		}
		for _, f := range r.allFaults() {
			response := operation.Responses[strconv.Itoa(StatusOf(f.Kind))]
			if !strings.Contains(response.Description, f.Code) {
				t.Errorf("%s: %d %s is not documented, but: %q", r.id, StatusOf(f.Kind), f.Code, response.Description)
			}
		}
		delete(served.Paths[r.pattern], strings.ToLower(r.method))
	}
	for path, methods := range served.Paths {
		for method := range methods {
			t.Errorf("%s %s is documented, and not served", method, path)
		}
	}
}

const (
	jsonMedia    = "application/json"
	problemMedia = "application/problem+json"
	schemaPrefix = "#/components/schemas/"
)

// overview is the first thing that is read on the page.
const overview = "The order desk behind a shop that sells scarce things: it gives every order a number, holds its stock, counts down the time to " +
	"pay, and lets go at the deadline.\n\n" +
	"**Begin** with the key that the desk showed at its first start, as `Authorization: Bearer <key>`: put it into *Token* beside an operation and send. " +
	"The curl lines read it from `HOLDFAST_API_KEY`, and work as they are on a desk with the sample products (`make run`).\n\n" +
	"- Bodies are JSON in UTF-8. Unknown fields and query parameters are refused; every mistake that is found is named at once.\n" +
	"- Money is in minor units: `{\"amount\": 1999, \"currency\": \"CNY\"}` is 19.99. Times are RFC 3339 in UTC with milliseconds.\n" +
	"- Lists are `{\"data\": […], \"next_cursor\": …}`; a page goes on where `?cursor=` says.\n" +
	"- An order is placed with an `Idempotency-Key` of your own: after a lost answer the same request gets the same order, byte for byte.\n" +
	"- Every refusal is a problem of RFC 9457 with a `code` that never changes, and each operation lists those it can answer."

// document describes a route table as OpenAPI 3.1.
func document(all []route) *huma.OpenAPI {
	huma.DefaultArrayNullable = false
	schemas := huma.NewMapRegistry(schemaPrefix, huma.DefaultSchemaNamer)
	for wire, stands := range map[reflect.Type]reflect.Type{
		reflect.TypeFor[api.Metadata]():               reflect.TypeFor[map[string]any](),
		reflect.TypeFor[api.Optional[api.Metadata]](): reflect.TypeFor[map[string]any](),
		reflect.TypeFor[api.Optional[api.Money]]():    reflect.TypeFor[api.Money](),
		reflect.TypeFor[api.Optional[string]]():       reflect.TypeFor[*string](),
		reflect.TypeFor[api.Optional[int64]]():        reflect.TypeFor[*int64](),
		reflect.TypeFor[api.Optional[bool]]():         reflect.TypeFor[*bool](),
		reflect.TypeFor[api.Optional[time.Time]]():    reflect.TypeFor[*time.Time](),
	} {
		schemas.RegisterTypeAlias(wire, stands)
	}
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title:       "Holdfast",
			Version:     "1",
			Description: overview,
			License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Servers: []*huma.Server{{URL: documented, Description: "This desk"}},
		Components: &huma.Components{
			Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", Description: "An API key, with the scope that the operation names; or a buyer's session, where it says so."},
			},
		},
	}
	shown, used := examples(), map[string]bool{}
	for i := range all {
		op := operation(schemas, &all[i])
		op.Tags = []string{tagFor(all[i].pattern)}
		used[op.Tags[0]] = true
		show(op, &all[i], shown[all[i].id])
		doc.AddOperation(op)
	}
	for _, tag := range tags {
		if used[tag.name] {
			doc.Tags = append(doc.Tags, &huma.Tag{Name: tag.name, Description: tag.about})
		}
	}
	open(schemas.Map(), all)
	status := schemas.Map()["Problem"].Properties["status"]
	status.AnyOf, status.Type, status.Format = []*huma.Schema{{Type: huma.TypeInteger}, {Type: huma.TypeString}}, "", ""
	user := schemas.Map()["Order"].Properties["user"]
	user.AnyOf, user.Ref = []*huma.Schema{{Ref: user.Ref}, {Type: "null"}}, ""
	return doc
}

func operation(schemas huma.Registry, r *route) *huma.Operation {
	op := &huma.Operation{
		Method: r.method, Path: r.pattern, OperationID: r.id, Summary: r.summary, Description: r.about,
		Responses: map[string]*huma.Response{},
	}
	for _, name := range regexp.MustCompile(`{([a-z_]+)}`).FindAllStringSubmatch(r.pattern, -1) {
		about := inPath[name[1]]
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: name[1], In: "path", Required: true, Description: about.about, Example: about.example,
			Schema: &huma.Schema{Type: huma.TypeString},
		})
	}
	for _, p := range r.query {
		schema := schemas.Schema(reflect.TypeOf(p.kind), true, "")
		if p.name == limitParam.name {
			lowest, highest := 1.0, float64(limits.PageMax)
			schema.Minimum, schema.Maximum, schema.Default = &lowest, &highest, limits.PageDefault
		}
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: "query", Description: p.doc, Schema: schema})
	}
	if r.id == "placeOrder" {
		shortest, longest := 1, limits.KeyChars
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: idempotencyHeader, In: "header", Required: true,
			Description: "Names this wish, so that asking again gives the same order. One header of 1 to 255 visible ASCII characters, " +
				"taken as it is: quotes belong to it.",
			Example: "my-first-order", Schema: &huma.Schema{Type: huma.TypeString, MinLength: &shortest, MaxLength: &longest, Pattern: "^[!-~]+$"},
		})
	}
	if r.takes != nil {
		op.RequestBody = &huma.RequestBody{Required: !r.bodyOptional, Content: content(jsonMedia, schemas, r.takes)}
	}
	if r.scope != "" {
		op.Security = []map[string][]string{{"bearer": {string(r.scope)}}}
	} else {
		op.Security = []map[string][]string{}
	}
	for _, g := range r.gives {
		op.Responses[strconv.Itoa(g.status)] = &huma.Response{Description: g.about, Content: content(jsonMedia, schemas, g.shape)}
	}
	for _, f := range r.allFaults() {
		status := strconv.Itoa(StatusOf(f.Kind))
		if op.Responses[status] == nil {
			op.Responses[status] = &huma.Response{Content: content(problemMedia, schemas, api.Problem{})}
			if f.RetryAfter > 0 {
				op.Responses[status].Headers = map[string]*huma.Header{
					"Retry-After": {Description: "Seconds.", Schema: &huma.Schema{Type: huma.TypeInteger}},
				}
			}
		}
		op.Responses[status].Description += "`" + f.Code + "`: " + f.Detail + " "
	}
	for _, response := range op.Responses {
		response.Description = strings.TrimSpace(response.Description)
	}
	return op
}

func content(media string, schemas huma.Registry, shape any) map[string]*huma.MediaType {
	if shape == nil {
		return nil
	}
	return map[string]*huma.MediaType{media: {Schema: schemas.Schema(reflect.TypeOf(shape), true, "")}}
}

// inPath says what the names in paths are.
var inPath = map[string]struct{ about, example string }{
	"product_id": {"The merchant's own string for the product: 1 to 128 printable characters.", "sku-ticket"},
	"user_id":    {"The merchant's own string for the user: 1 to 128 printable characters.", "u-7"},
	"order_no":   {"The order's number, as the 201 gave it.", "202611200000001"},
	"payment_id": {"As the payment was answered.", "pay_01JD4KVYQ8R3T5W7X9Z1A2B3C4"},
	"key_id":     {"Names the key; it is the middle of the key itself.", "4fjR0bXyLq9T"},
	"provider":   {"The provider's name.", "sandbox"},
	"file":       {"The file's name.", "page.js"},
}

// tags group the operations, in the order in which one meets them.
var tags = []struct {
	name, about string
	paths       []string
}{
	{"Products", "What is on sale, and how much of it there is.", []string{"/v1/products"}},
	{"Users", "What the shop tells of its buyers.", []string{"/v1/users"}},
	{"Orders", "Placing them, looking at them, ending them.", []string{"/v1/orders"}},
	{"Sessions", "Logging buyers in and out.", []string{"/v1/sessions", "/sessions"}},
	{"Payments", "Attempts to pay, and what providers say of them.", []string{"/payments", "/callbacks"}},
	{"Live", "Streams that tell of changes as they happen.", []string{"/stream"}},
	{"Events", "Every fact, in the order that the log has it in.", []string{"/v1/events"}},
	{"Operator", "Keys, checks and what has been used.", []string{"/v1/"}},
	{"Process", "The running program itself.", []string{"/"}},
}

// tagFor finds the tag whose path stands furthest behind in a pattern, and of two the longer one: the payments of an order
// are payments.
func tagFor(pattern string) string {
	found, at, length := "", -1, 0
	for _, tag := range tags {
		for _, path := range tag.paths {
			if i := strings.Index(pattern, path); i > at || i == at && len(path) > length {
				found, at, length = tag.name, i, len(path)
			}
		}
	}
	return found
}

// show puts an example into an operation: the lines to paste, the body that they send, an answer.
func show(op *huma.Operation, r *route, e example) {
	op.Extensions = map[string]any{"x-codeSamples": []map[string]string{{"lang": "shell", "label": "curl", "source": e.source(r)}}}
	if r.takes == nil && e.body != "" {
		op.RequestBody = &huma.RequestBody{Required: true, Description: "In the provider's own format.", Content: map[string]*huma.MediaType{jsonMedia: {}}}
	}
	if e.body != "" {
		op.RequestBody.Content[jsonMedia].Example = json.RawMessage(e.body)
	}
	status, answer, err := e.answer()
	if err != nil {
		panic(err) // the file is missing, or misspelled in the example
	}
	if answer != nil {
		for _, g := range r.gives {
			if media := op.Responses[strconv.Itoa(g.status)].Content[jsonMedia]; media != nil && (g.status == status || len(r.gives) == 1) {
				media.Example = answer
			}
		}
	}
}

// open lets answers grow new fields: only what is taken refuses unknown ones.
func open(schemas map[string]*huma.Schema, all []route) {
	closed := map[string]bool{}
	var takes func(s *huma.Schema)
	takes = func(s *huma.Schema) {
		if name, ok := strings.CutPrefix(s.Ref, schemaPrefix); ok {
			closed[name] = true
			s = schemas[name]
		}
		for _, property := range s.Properties {
			takes(property)
		}
		if s.Items != nil {
			takes(s.Items)
		}
	}
	for i := range all {
		if all[i].takes != nil {
			takes(&huma.Schema{Ref: schemaPrefix + reflect.TypeOf(all[i].takes).Name()})
		}
	}
	for name, schema := range schemas {
		if !closed[name] {
			schema.AdditionalProperties = nil
		}
	}
}
