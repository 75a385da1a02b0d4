package httpapi

import (
	"cmp"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/danielgtaylor/huma/v2"
)

// sample is a request that a route answers well on the desk of newShop. Its body has every field that the route takes.
type sample struct {
	target string
	body   string
	header []string
	status int // of the answer; 0: any good one of the route
	takes  any // the shape of a body that the table does not know, because it is not JSON of ours

	// sign gives the headers that belong to a body; nil: none do.
	sign func(body string) []string
	// fresh gives a target at which the route can do its work once more; nil: the same can be asked again and again.
	fresh func() string
	// once is a text in the body that must not come twice, or the route takes the second for a repetition.
	once string
}

// headers gives all headers of a request with a body. Where the desk must not take two requests for one, n tells them apart.
func (s *sample) headers(body, n string) []string {
	var all []string
	for i := 0; i < len(s.header); i += 2 {
		all = append(all, s.header[i], s.header[i+1]+n)
	}
	if s.sign != nil {
		all = append(all, s.sign(body)...)
	}
	return all
}

// anew gives a body of the same length that is no repetition.
func (s *sample) anew(body string, n int) string {
	if s.once == "" {
		return body
	}
	return strings.Replace(body, s.once, fmt.Sprintf("%0*d", len(s.once), n), 1)
}

// noticeShape is a notice as the sandbox sends it.
type noticeShape struct {
	OrderNo       string `json:"order_no"`
	TransactionID string `json:"transaction_id" minLength:"1" maxLength:"128"`
	Amount        int64  `json:"amount" minimum:"0"`
	Currency      string `json:"currency"`
	Status        string `json:"status"`
}

// samplesOf makes a sample for every route of the table: the path of what stands in the shop, the body of the shape. What is
// said of a route goes before. A route for which none can be made fails the test.
func samplesOf(tb testing.TB, stands map[string]any, said map[string]sample) map[string]sample {
	tb.Helper()
	samples := map[string]sample{}
	known := map[string]bool{}
	for _, r := range routes() {
		known[r.id] = true
		s := said[r.id]
		s.target = cmp.Or(s.target, targetOf(tb, &r, stands))
		if s.takes == nil {
			s.takes = r.takes
		}
		if s.takes != nil && s.body == "" {
			s.body = bodyOf(tb, r.id, s.takes, stands)
		}
		samples[r.id] = s
	}
	for id := range said {
		if !known[id] {
			tb.Errorf("newShop says how to ask for %s, which is no route", id)
		}
	}
	return samples
}

func targetOf(tb testing.TB, r *route, stands map[string]any) string {
	tb.Helper()
	return pathParam.ReplaceAllStringFunc(r.pattern, func(param string) string {
		value, ok := stands[strings.Trim(param, "{}")].(string)
		if !ok {
			tb.Errorf("%s has %s in its path: say in newShop (auth_test.go), in stands, which one there is, or in said how to ask for %s",
				r.pattern, param, r.id)
		}
		return value
	})
}

// shapes are the schemas of everything that the routes take, and of the bodies that are not JSON of ours, made once: making
// them is slow, and sets variables of the library.
var shapes = sync.OnceValue(func() map[string]*huma.Schema {
	schemas := document(routes()).Components.Schemas
	schemas.Schema(reflect.TypeFor[noticeShape](), true, "")
	return schemas.Map()
})

// shapeOf is the name of a shape among the schemas.
func shapeOf(shape any) string { return huma.DefaultSchemaNamer(reflect.TypeOf(shape), "") }

func bodyOf(tb testing.TB, id string, shape any, stands map[string]any) string {
	tb.Helper()
	value := valueOf(tb, id, "", shapes()[shapeOf(shape)], stands)
	body, err := json.Marshal(value)
	if err != nil {
		tb.Fatal(err)
	}
	return string(body)
}

// valueOf makes a value that a schema allows: what stands in the shop under this name, else what its kind suggests.
func valueOf(tb testing.TB, id, name string, schema *huma.Schema, stands map[string]any) any {
	tb.Helper()
	if ref, ok := strings.CutPrefix(schema.Ref, schemaPrefix); ok {
		schema = shapes()[ref]
	}
	if value, ok := stands[name]; ok && schema.Properties == nil {
		return value
	}
	switch schema.Type {
	case huma.TypeObject:
		if schema.Properties == nil {
			return map[string]any{"a": 1}
		}
		object := map[string]any{}
		for property, s := range schema.Properties {
			object[property] = valueOf(tb, id, property, s, stands)
		}
		return object
	case huma.TypeArray:
		return []any{valueOf(tb, id, name, schema.Items, stands)}
	case huma.TypeString:
		switch {
		case len(schema.Enum) > 0:
			return schema.Enum[0]
		case schema.Format == "":
			return "some " + name
		}
	case huma.TypeInteger:
		return 5
	case huma.TypeBoolean:
		return true
	}
	tb.Errorf("no sample can be made of %s of %s, a %s of format %q: say in newShop (auth_test.go), in stands, what it may be",
		name, id, schema.Type, schema.Format)
	return nil
}
