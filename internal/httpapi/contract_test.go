package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// contract is the document as a program reads it: with the schema of each answer.
type contract struct {
	compiler *jsonschema.Compiler
	mu       sync.Mutex
	schemas  map[string]*jsonschema.Schema
}

const contractName = "https://holdfast.example/openapi.json"

// documentedContract is that of the route table, so that an answer is held against what is being written, not against what was.
var documentedContract = sync.OnceValues(func() (*contract, error) {
	text, err := json.Marshal(document(routes()))
	if err != nil {
		return nil, err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	c := &contract{compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	c.compiler.DefaultDraft(jsonschema.Draft2020)
	c.compiler.AssertFormat()
	return c, c.compiler.AddResource(contractName, doc)
})

// schema compiles what stands at a place of the document, once. The compiler refuses what is no JSON Schema.
func (c *contract) schema(place ...string) (*jsonschema.Schema, error) {
	pointer := contractName + "#"
	for _, name := range place {
		pointer += "/" + strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(name)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if known := c.schemas[pointer]; known != nil {
		return known, nil
	}
	compiled, err := c.compiler.Compile(pointer)
	if err == nil {
		c.schemas[pointer] = compiled
	}
	return compiled, err
}

// keepsContract fails unless an answer is what the document promises: its type, and its body by the schema.
func keepsContract(tb testing.TB, r *route, a answer) {
	tb.Helper()
	c, err := documentedContract()
	if err != nil {
		tb.Fatal(err)
	}
	media, _, _ := strings.Cut(a.header.Get("Content-Type"), ";")
	schema, err := c.schema("paths", r.pattern, strings.ToLower(r.method), "responses", fmt.Sprint(a.status), "content", media, "schema")
	if err != nil {
		tb.Errorf("%s: %d of type %q is not in the document: %v", r.id, a.status, media, err)
		return
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(a.body))
	if err != nil {
		tb.Errorf("%s: %d with %q: %v", r.id, a.status, a.body, err)
		return
	}
	if err := schema.Validate(value); err != nil {
		tb.Errorf("%s: %d does not keep to its schema: %v\n%s", r.id, a.status, err, a.body)
	}
}

// TestDocumentIsOpenAPI holds the document against the schema that the OpenAPI Initiative publishes, and each of its own
// schemas against that of JSON Schema.
func TestDocumentIsOpenAPI(t *testing.T) {
	published, err := os.Open("testdata/openapi/schema.json")
	if err != nil {
		t.Fatal(err)
	}
	defer published.Close() //nolint:errcheck // it was only read
	rules, err := jsonschema.UnmarshalJSON(published)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi-3.1", rules); err != nil {
		t.Fatal(err)
	}
	openAPI, err := compiler.Compile("openapi-3.1")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(documentFile)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := openAPI.Validate(doc); err != nil {
		t.Errorf("the document is not OpenAPI 3.1: %v", err)
	}
	broken, _ := jsonschema.UnmarshalJSON(strings.NewReader(`{"openapi":"3.1.0","info":{"title":"x"},"paths":{}}`))
	if openAPI.Validate(broken) == nil {
		t.Error("a document without a version is taken for OpenAPI: the check is blind")
	}

	c, err := documentedContract()
	if err != nil {
		t.Fatal(err)
	}
	for name := range document(routes()).Components.Schemas.Map() {
		if _, err := c.schema("components", "schemas", name); err != nil {
			t.Errorf("%s is not a JSON Schema: %v", name, err)
		}
	}
}

// TestExamplesKeepToTheirSchemas: what people are shown to send, and what they are shown to come back.
func TestExamplesKeepToTheirSchemas(t *testing.T) {
	c, err := documentedContract()
	if err != nil {
		t.Fatal(err)
	}
	looked := 0
	for _, r := range routes() {
		e := examples()[r.id]
		if r.takes != nil {
			schema, err := c.schema("paths", r.pattern, strings.ToLower(r.method), "requestBody", "content", jsonMedia, "schema")
			if err != nil {
				t.Fatal(err)
			}
			body, err := jsonschema.UnmarshalJSON(strings.NewReader(e.body))
			if err != nil {
				t.Fatalf("%s: %v", r.id, err)
			}
			if err := schema.Validate(body); err != nil {
				t.Errorf("%s: the example's body: %v", r.id, err)
			}
			looked++
		}
		status, body, err := e.answer()
		if err != nil {
			t.Fatal(err)
		}
		if status != 0 && r.gives[0].shape != nil && len(r.gives) == 1 {
			keepsContract(t, &r, answer{r.gives[0].status, http.Header{"Content-Type": {jsonMedia}}, body})
			looked++
		}
	}
	if looked < 15 {
		t.Errorf("looked at %d examples: the test did not see them", looked)
	}
}
