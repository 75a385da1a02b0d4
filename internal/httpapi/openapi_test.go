package httpapi

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/http"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/fault"
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

// allFaults lists what a route can be answered with, by its own account and because of what it takes.
func (r *route) allFaults() []*fault.Error {
	all := append([]*fault.Error{fault.ErrInternal, fault.ErrUnavailable}, r.faults...)
	if r.scope != "" {
		all = append(all, fault.ErrUnauthenticated, fault.ErrForbidden, fault.ErrOverloaded)
	}
	if !r.lenient {
		all = append(all, fault.ErrMalformed, fault.ErrInvalid)
	}
	if r.takes != nil {
		all = append(all, fault.ErrTooLarge, fault.ErrMediaType)
	}
	slices.SortFunc(all, func(a, b *fault.Error) int {
		if d := StatusOf(a.Kind) - StatusOf(b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return slices.CompactFunc(all, func(a, b *fault.Error) bool { return a.Code == b.Code })
}

const (
	jsonMedia    = "application/json"
	problemMedia = "application/problem+json"
	schemaPrefix = "#/components/schemas/"
)

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
			Title:   "Holdfast",
			Version: "1",
			Description: "The order desk behind a shop that sells scarce things. Money is in minor units, times are RFC 3339 in UTC with " +
				"milliseconds, unknown fields and query parameters are refused. Every refusal is a problem of RFC 9457 with a stable code.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{
			Schemas: schemas,
			SecuritySchemes: map[string]*huma.SecurityScheme{
				"bearer": {Type: "http", Scheme: "bearer", Description: "An API key. Each operation names the scope it needs."},
			},
		},
	}
	for i := range all {
		doc.AddOperation(operation(schemas, &all[i]))
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
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: name[1], In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
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
			Schema: &huma.Schema{Type: huma.TypeString, MinLength: &shortest, MaxLength: &longest, Pattern: "^[!-~]+$"},
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
