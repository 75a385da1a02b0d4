package client

import (
	"context"
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
var calls = map[string]func(context.Context, *Client) error{
	"PutProduct": func(ctx context.Context, c *Client) error {
		return err2(c.PutProduct(ctx, "a b/c", api.PutProduct{Title: api.Set("T")}))
	},
	"GetProduct":   func(ctx context.Context, c *Client) error { return err2(c.GetProduct(ctx, "a b/c")) },
	"ListProducts": func(ctx context.Context, c *Client) error { return drain(c.ListProducts(ctx)) },
	"AdjustStock": func(ctx context.Context, c *Client) error {
		return err2(c.AdjustStock(ctx, "a", api.AdjustStock{Delta: 1}))
	},
	"AdjustStock with a ref": func(ctx context.Context, c *Client) error {
		return err2(c.AdjustStock(ctx, "a", api.AdjustStock{Delta: 1, Ref: "PO-7"}))
	},
	"GetStock": func(ctx context.Context, c *Client) error { return err2(c.GetStock(ctx, "a")) },
	"PutUser": func(ctx context.Context, c *Client) error {
		return err2(c.PutUser(ctx, "u", api.PutUser{Name: api.Set("Li")}))
	},
	"GetUser": func(ctx context.Context, c *Client) error { return err2(c.GetUser(ctx, "u")) },
	"PlaceOrder": func(ctx context.Context, c *Client) error {
		return err2(c.PlaceOrder(ctx, "", api.PlaceOrder{UserID: "u", Lines: []api.PlaceLine{{ProductID: "a", Quantity: 1}}}))
	},
	"GetOrder":         func(ctx context.Context, c *Client) error { return err2(c.GetOrder(ctx, orderNo)) },
	"GetOrderWithUser": func(ctx context.Context, c *Client) error { return err2(c.GetOrderWithUser(ctx, orderNo)) },
	"ListOrders":       func(ctx context.Context, c *Client) error { return drain(c.ListOrders(ctx, OrderFilter{UserID: "u"})) },
	"CancelOrder":      func(ctx context.Context, c *Client) error { return err2(c.CancelOrder(ctx, orderNo, "")) },
	"FulfilOrder":      func(ctx context.Context, c *Client) error { return err2(c.FulfilOrder(ctx, orderNo, "")) },
	"CreatePayment":    func(ctx context.Context, c *Client) error { return err2(c.CreatePayment(ctx, orderNo, "sandbox")) },
	"ListPayments":     func(ctx context.Context, c *Client) error { return drain(c.ListPayments(ctx, orderNo)) },
	"GetPayment":       func(ctx context.Context, c *Client) error { return err2(c.GetPayment(ctx, "pay_1")) },
	"ListEvents":       func(ctx context.Context, c *Client) error { return drain(c.ListEvents(ctx, EventFilter{})) },
	"ReadEvents":       func(ctx context.Context, c *Client) error { return err2(c.ReadEvents(ctx, EventFilter{}, "")) },
	"ReleaseProduct":   func(ctx context.Context, c *Client) error { return err2(c.ReleaseProduct(ctx, "a b/c")) },
	"RunAudit":         func(ctx context.Context, c *Client) error { return err2(c.RunAudit(ctx)) },
	"ListNumbers":      func(ctx context.Context, c *Client) error { return drain(c.ListNumbers(ctx)) },
	"FillNumbers":      func(ctx context.Context, c *Client) error { return err2(c.FillNumbers(ctx)) },
	"PurgeNumbers":     func(ctx context.Context, c *Client) error { return err2(c.PurgeNumbers(ctx)) },
	"WarmCache":        func(ctx context.Context, c *Client) error { return err2(c.WarmCache(ctx)) },
	"CreateKey":        func(ctx context.Context, c *Client) error { return err2(c.CreateKey(ctx, api.CreateKey{Name: "n"})) },
	"ListKeys":         func(ctx context.Context, c *Client) error { return drain(c.ListKeys(ctx)) },
	"RevokeKey":        func(ctx context.Context, c *Client) error { return err2(c.RevokeKey(ctx, "k")) },
	"CreateStreamTicket": func(ctx context.Context, c *Client) error {
		return err2(c.CreateStreamTicket(ctx, "/v1/events/stream"))
	},
	"CreateSession": func(ctx context.Context, c *Client) error { return err2(c.CreateSession(ctx, "u")) },
	"GetSession":    func(ctx context.Context, c *Client) error { return err2(c.GetSession(ctx)) },
	"EndSession":    func(ctx context.Context, c *Client) error { return err2(c.EndSession(ctx)) },
	"EndSessionsOf": func(ctx context.Context, c *Client) error { return err2(c.EndSessionsOf(ctx, "u")) },
	"GetHealth":     func(ctx context.Context, c *Client) error { return err2(c.GetHealth(ctx)) },
	"GetReady":      func(ctx context.Context, c *Client) error { return err2(c.GetReady(ctx)) },
	"StreamOrder": func(ctx context.Context, c *Client) error {
		return drain(c.StreamOrder(ctx, orderNo, StreamOptions{}))
	},
	"StreamUser":   func(ctx context.Context, c *Client) error { return drain(c.StreamUser(ctx, "u", StreamOptions{})) },
	"StreamEvents": func(ctx context.Context, c *Client) error { return drain(c.StreamEvents(ctx, nil, StreamOptions{})) },
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
		if err := call(t.Context(), c); err != nil {
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
