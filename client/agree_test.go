package client

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
)

// others are the routes that are not for merchants' programs, each with who calls it.
var others = map[string]string{
	"POST /v1/callbacks/{provider}": "the provider, with its notices",
}

// streaming are the routes of streams, which a document may say more about.
var streaming = []string{
	"GET /v1/orders/{order_no}/stream", "GET /v1/users/{user_id}/stream", "GET /v1/events/stream", "POST /v1/stream-tickets",
}

// drain reads a list to its end.
func drain[T any](each func(func(T, error) bool)) error {
	for _, err := range each {
		if err != nil {
			return err
		}
	}
	return nil
}

// calls is every method of the client that makes requests.
var calls = map[string]func(*testing.T, *Client) error{
	"PutProduct": func(t *testing.T, c *Client) error {
		return err2(c.PutProduct(t.Context(), "a b/c", api.PutProduct{Title: api.Set("T")}))
	},
	"GetProduct":   func(t *testing.T, c *Client) error { return err2(c.GetProduct(t.Context(), "a b/c")) },
	"ListProducts": func(t *testing.T, c *Client) error { return drain(c.ListProducts(t.Context())) },
	"AdjustStock": func(t *testing.T, c *Client) error {
		return err2(c.AdjustStock(t.Context(), "a", api.AdjustStock{Delta: 1}))
	},
	"AdjustStock with a ref": func(t *testing.T, c *Client) error {
		return err2(c.AdjustStock(t.Context(), "a", api.AdjustStock{Delta: 1, Ref: "PO-7"}))
	},
	"GetStock": func(t *testing.T, c *Client) error { return err2(c.GetStock(t.Context(), "a")) },
	"PutUser": func(t *testing.T, c *Client) error {
		return err2(c.PutUser(t.Context(), "u", api.PutUser{Name: api.Set("Li")}))
	},
	"GetUser": func(t *testing.T, c *Client) error { return err2(c.GetUser(t.Context(), "u")) },
	"PlaceOrder": func(t *testing.T, c *Client) error {
		return err2(c.PlaceOrder(t.Context(), "", api.PlaceOrder{UserID: "u", Lines: []api.PlaceLine{{ProductID: "a", Quantity: 1}}}))
	},
	"GetOrder":         func(t *testing.T, c *Client) error { return err2(c.GetOrder(t.Context(), orderNo)) },
	"GetOrderWithUser": func(t *testing.T, c *Client) error { return err2(c.GetOrderWithUser(t.Context(), orderNo)) },
	"ListOrders":       func(t *testing.T, c *Client) error { return drain(c.ListOrders(t.Context(), OrderFilter{UserID: "u"})) },
	"CancelOrder":      func(t *testing.T, c *Client) error { return err2(c.CancelOrder(t.Context(), orderNo, "")) },
	"FulfilOrder":      func(t *testing.T, c *Client) error { return err2(c.FulfilOrder(t.Context(), orderNo, "")) },
	"CreatePayment":    func(t *testing.T, c *Client) error { return err2(c.CreatePayment(t.Context(), orderNo, "sandbox")) },
	"ListPayments":     func(t *testing.T, c *Client) error { return drain(c.ListPayments(t.Context(), orderNo)) },
	"GetPayment":       func(t *testing.T, c *Client) error { return err2(c.GetPayment(t.Context(), "pay_1")) },
	"ListEvents":       func(t *testing.T, c *Client) error { return drain(c.ListEvents(t.Context(), EventFilter{})) },
	"ReadEvents":       func(t *testing.T, c *Client) error { return err2(c.ReadEvents(t.Context(), EventFilter{}, "")) },
	"RunAudit":         func(t *testing.T, c *Client) error { return err2(c.RunAudit(t.Context())) },
	"ListNumbers":      func(t *testing.T, c *Client) error { return drain(c.ListNumbers(t.Context())) },
	"CreateKey":        func(t *testing.T, c *Client) error { return err2(c.CreateKey(t.Context(), api.CreateKey{Name: "n"})) },
	"ListKeys":         func(t *testing.T, c *Client) error { return drain(c.ListKeys(t.Context())) },
	"RevokeKey":        func(t *testing.T, c *Client) error { return err2(c.RevokeKey(t.Context(), "k")) },
	"CreateStreamTicket": func(t *testing.T, c *Client) error {
		return err2(c.CreateStreamTicket(t.Context(), "/v1/events/stream"))
	},
	"GetHealth": func(t *testing.T, c *Client) error { return err2(c.GetHealth(t.Context())) },
	"GetReady":  func(t *testing.T, c *Client) error { return err2(c.GetReady(t.Context())) },
	"StreamOrder": func(t *testing.T, c *Client) error {
		return drain(c.StreamOrder(t.Context(), orderNo, StreamOptions{}))
	},
	"StreamUser":   func(t *testing.T, c *Client) error { return drain(c.StreamUser(t.Context(), "u", StreamOptions{})) },
	"StreamEvents": func(t *testing.T, c *Client) error { return drain(c.StreamEvents(t.Context(), nil, StreamOptions{})) },
}

const orderNo = "202611200000042"

func err2[T any](_ T, err error) error { return err }

// documented reads the operations of the OpenAPI document, by method and path.
func documented(t *testing.T) map[string]bool {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(api.Document, &doc); err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for path, methods := range doc.Paths {
		for method := range methods {
			if ours := strings.HasPrefix(path, "/v1/") || path == "/healthz" || path == "/readyz"; ours {
				all[strings.ToUpper(method)+" "+path] = true
			}
		}
	}
	return all
}

// A route without a method of the client is as wrong as a method that calls a route there is not. Which route a method calls is
// seen, not said.
func TestTheClientCallsEveryRouteOfTheDocumentAndNoOther(t *testing.T) {
	routes := documented(t)
	if len(routes) < 20 {
		t.Fatalf("read %d routes: the test did not see the document", len(routes))
	}
	for _, route := range streaming {
		routes[route] = true
	}
	for route, who := range others {
		if !routes[route] {
			t.Errorf("%s, called by %s, is not in the document", route, who)
		}
		delete(routes, route)
	}
	called := map[string]bool{}
	var mu sync.Mutex
	desk := http.NewServeMux()
	for route := range routes {
		desk.HandleFunc(route, func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			called[r.Pattern] = true
			switch {
			case strings.HasSuffix(r.Pattern, "/stream"):
				w.WriteHeader(http.StatusNoContent)
			default:
				_, _ = io.WriteString(w, `{}`)
			}
		})
	}
	desk.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s is called, and not in the document", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	})
	server := httptest.NewServer(desk)
	defer server.Close()
	c := newClient(t, server.URL, Options{})
	for name, call := range calls {
		if err := call(t, c); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for route := range routes {
		if !called[route] {
			t.Errorf("%s is in the document, and no method of the client calls it", route)
		}
	}
}

func newClient(t *testing.T, url string, opt Options) *Client {
	t.Helper()
	c, err := New(url, "a-key", opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestWhatCannotBeADeskIsRefusedWithoutRepeatingIt(t *testing.T) {
	for _, address := range []string{"", "desk:8080", "ftp://desk", "http://", "http://user:canary@desk", "http://desk?canary", "http://desk/#canary", "http://%zz"} {
		if c, err := New(address, "key", Options{}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: got %v and %v, want an error that does not repeat it", address, c, err)
		}
	}
	for _, key := range []string{"canary\n", "canary key", "canary\x7f", "канарейка"} {
		if _, err := New("http://desk", key, Options{}); err == nil || strings.Contains(err.Error(), key) {
			t.Errorf("%q: got %v, want an error that does not repeat it", key, err)
		}
	}
}

func TestAClientThatIsPrintedDoesNotShowItsKey(t *testing.T) {
	c, err := New("http://desk", "canary", Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		if shown := fmt.Sprintf(verb, c); strings.Contains(shown, "canary") {
			t.Errorf("%s shows the key: %s", verb, shown)
		}
	}
}
