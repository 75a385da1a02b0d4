package httpapi

//go:generate go test -count=1 -run ^TestDocumentIsFresh$ . -update

import (
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
)

// route is one line of the map: what the server serves and what the OpenAPI document says are both made of it.
type route struct {
	method, pattern string
	id              string // of the operation
	summary         string
	about           string         // what the summary leaves out
	scope           apikey.Scope   // "": open to anyone
	query           []param        // anything else is refused, unless lenient
	takes           any            // the shape of the body; nil: none is read
	gives           []reply        // when all is well
	faults          []*fault.Error // beside those that come with a scope, a query, a body
	handle          func(*Server, *exchange) error

	bodyOptional bool
	list         bool // looks at many rows: few of these run at once
	lenient      bool // its query is not ours to judge
}

// reply is one answer. A nil shape is not JSON of ours.
type reply struct {
	status int
	about  string
	shape  any
}

// Query parameters that several routes take.
var (
	limitParam  = param{"limit", "How many, 1 to 200.", 50}
	cursorParam = param{"cursor", "next_cursor of the page before, with the same filters. Opaque.", ""}
)

// routes is the whole map.
func routes() []route {
	return []route{
		// Catalogue.
		{
			method: "PUT", pattern: "/v1/products/{product_id}", id: "putProduct", scope: apikey.CatalogueWrite,
			summary: "Create or change a product",
			about:   "What is left out stays as it is; null clears it. A new product needs title and price, and is active without limit and sale times unless said otherwise.",
			takes:   api.PutProduct{},
			gives:   []reply{{200, "Changed, or as it was.", api.Product{}}, {201, "Created.", api.Product{}}},
			faults:  []*fault.Error{fault.ErrOverloaded},
			handle:  (*Server).putProduct,
		},
		{
			method: "GET", pattern: "/v1/products/{product_id}", id: "getProduct", scope: apikey.CatalogueRead,
			summary: "Look at a product",
			gives:   []reply{{200, "The product.", api.Product{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getProduct,
		},
		{
			method: "GET", pattern: "/v1/products", id: "listProducts", scope: apikey.CatalogueRead, list: true,
			summary: "List the products by id",
			query:   []param{cursorParam, limitParam},
			gives:   []reply{{200, "A page of products.", api.Page[api.Product]{}}},
			handle:  (*Server).listProducts,
		},
		{
			method: "POST", pattern: "/v1/products/{product_id}/stock", id: "adjustStock", scope: apikey.CatalogueWrite,
			summary: "Take a delivery in, or write units off",
			takes:   api.AdjustStock{},
			gives: []reply{
				{200, "This ref was counted before; the stock as it is.", api.Stock{}},
				{201, "Counted; the stock as it is now.", api.Stock{}},
			},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrInsufficientStock, fault.ErrOverloaded},
			handle: (*Server).adjustStock,
		},
		{
			method: "GET", pattern: "/v1/products/{product_id}/stock", id: "getStock", scope: apikey.CatalogueRead,
			summary: "Look at a product's stock",
			gives:   []reply{{200, "The stock.", api.Stock{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getStock,
		},

		// Users.
		{
			method: "PUT", pattern: "/v1/users/{user_id}", id: "putUser", scope: apikey.UsersWrite,
			summary: "Create or change a user",
			about:   "What is left out stays as it is; null clears it.",
			takes:   api.PutUser{},
			gives:   []reply{{200, "Changed, or as he was.", api.User{}}, {201, "Created.", api.User{}}},
			faults:  []*fault.Error{fault.ErrOverloaded},
			handle:  (*Server).putUser,
		},
		{
			method: "GET", pattern: "/v1/users/{user_id}", id: "getUser", scope: apikey.UsersRead,
			summary: "Look at a user",
			gives:   []reply{{200, "The user.", api.User{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getUser,
		},

		// Orders.
		{
			method: "POST", pattern: "/v1/orders", id: "placeOrder", scope: apikey.OrdersWrite,
			summary: "Place an order",
			about: "All lines or none, at the catalogue's prices, in one currency. The same Idempotency-Key with the same request gets the " +
				"same 201, byte for byte, for at least 72 hours; refusals are not remembered.",
			takes: api.PlaceOrder{},
			gives: []reply{{201, "Placed. Idempotency-Replayed: true says that it was placed by an earlier request with this key.", api.Order{}}},
			faults: []*fault.Error{
				fault.ErrOutOfStock, fault.ErrNotOnSale, fault.ErrPurchaseLimit, fault.ErrKeyInProgress, fault.ErrKeyReused,
				fault.ErrTooManyUnpaid, fault.ErrRateLimited, fault.ErrOverloaded,
			},
			handle: (*Server).placeOrder,
		},
		{
			method: "GET", pattern: "/v1/orders", id: "listOrders", scope: apikey.OrdersRead, list: true,
			summary: "List orders, newest first",
			query: []param{
				{"user_id", "Of this user.", ""},
				{"status", "In this status.", ""},
				{"created_after", "Created after this time.", time.Time{}},
				cursorParam, limitParam,
			},
			gives:  []reply{{200, "A page of orders.", api.Page[api.Order]{}}},
			handle: (*Server).listOrders,
		},
		{
			method: "GET", pattern: "/v1/orders/{order_no}", id: "getOrder", scope: apikey.OrdersRead,
			summary: "Look at an order",
			query:   []param{{"expand", "user joins the user in; the key needs users:read too.", ""}},
			gives:   []reply{{200, "The order, with its countdown as it stands.", api.Order{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getOrder,
		},
		{
			method: "POST", pattern: "/v1/orders/{order_no}/cancel", id: "cancelOrder", scope: apikey.OrdersWrite,
			summary: "Cancel a pending order and give its stock back",
			takes:   api.Reason{}, bodyOptional: true,
			gives:  []reply{{200, "Cancelled.", api.Order{}}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrNotCancellable, fault.ErrOverloaded},
			handle: (*Server).cancelOrder,
		},
		{
			method: "POST", pattern: "/v1/orders/{order_no}/fulfil", id: "fulfilOrder", scope: apikey.OrdersWrite,
			summary: "Say that a paid order was handed over",
			takes:   api.Reason{}, bodyOptional: true,
			gives:  []reply{{200, "Fulfilled.", api.Order{}}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrNotFulfillable, fault.ErrOverloaded},
			handle: (*Server).fulfilOrder,
		},

		// Payments.
		{
			method: "POST", pattern: "/v1/orders/{order_no}/payments", id: "createPayment", scope: apikey.OrdersWrite,
			summary: "Open an attempt to pay an order",
			takes:   api.CreatePayment{},
			gives: []reply{
				{200, "An attempt is open already at this provider: that one.", api.Payment{}},
				{201, "Opened.", api.Payment{}},
			},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrNotPayable, fault.ErrOverloaded},
			handle: (*Server).createPayment,
		},
		{
			method: "GET", pattern: "/v1/orders/{order_no}/payments", id: "listPayments", scope: apikey.OrdersRead,
			summary: "List the payments of an order, oldest first",
			about:   "All of them on one page.",
			gives:   []reply{{200, "The payments.", api.Page[api.Payment]{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).listPayments,
		},
		{
			method: "GET", pattern: "/v1/payments/{payment_id}", id: "getPayment", scope: apikey.OrdersRead,
			summary: "Look at a payment",
			gives:   []reply{{200, "The payment.", api.Payment{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getPayment,
		},
		{
			method: "POST", pattern: "/v1/callbacks/{provider}", id: "receiveNotice", lenient: true,
			summary: "Receive a provider's notice",
			about:   "In the provider's own format, signed in the provider's own way, and answered in the provider's own words after the commit.",
			gives:   []reply{{200, "Applied, a duplicate, or late (the money goes back).", nil}},
			faults: []*fault.Error{
				fault.ErrMalformed, fault.ErrBadSignature, fault.ErrNotFound, fault.ErrPaymentMismatch, fault.ErrTooLarge,
				fault.ErrInvalid, fault.ErrOverloaded,
			},
			handle: (*Server).receiveNotice,
		},

		// Events.
		{
			method: "GET", pattern: "/v1/events", id: "listEvents", scope: apikey.EventsRead, list: true,
			summary: "Read the log of events, oldest first",
			about: "Its order never changes afterwards. next_cursor is always given: at the end of the log it waits there, and the same request " +
				"with it gives what came since, or an empty page.",
			query: []param{
				{"types", "Types of events, separated by commas.", ""},
				{"order_no", "Of this order.", ""},
				cursorParam, limitParam,
			},
			gives:  []reply{{200, "A page of events.", api.Page[api.Event]{}}},
			handle: (*Server).listEvents,
		},

		// The operator.
		{
			method: "GET", pattern: "/v1/audit", id: "runAudit", scope: apikey.Admin,
			summary: "Check the invariants on live data",
			gives:   []reply{{200, "What was found.", api.Audit{}}},
			faults:  []*fault.Error{fault.ErrAuditRunning},
			handle:  (*Server).runAudit,
		},
		{
			method: "POST", pattern: "/v1/keys", id: "createKey", scope: apikey.Admin,
			summary: "Make an API key",
			takes:   api.CreateKey{},
			gives:   []reply{{201, "Made. The key itself is shown this once.", api.CreatedKey{}}},
			handle:  (*Server).createKey,
		},
		{
			method: "GET", pattern: "/v1/keys", id: "listKeys", scope: apikey.Admin, list: true,
			summary: "List the API keys by id",
			query:   []param{cursorParam, limitParam},
			gives:   []reply{{200, "A page of keys.", api.Page[api.Key]{}}},
			handle:  (*Server).listKeys,
		},
		{
			method: "DELETE", pattern: "/v1/keys/{key_id}", id: "revokeKey", scope: apikey.Admin,
			summary: "Revoke an API key",
			about:   "It is dead in all processes within 5 s. Revoking it again changes nothing.",
			gives:   []reply{{200, "The key as it is now.", api.Key{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).revokeKey,
		},
		{
			method: "GET", pattern: "/v1/numbers", id: "listNumbers", scope: apikey.Admin, list: true,
			summary: "See what became of order numbers, newest day first",
			about: "Numbers are granted to processes in blocks and given to accepted orders. What a process had not given when it stopped " +
				"is lost; no number is given twice.",
			query:  []param{cursorParam, limitParam},
			gives:  []reply{{200, "A page of days.", api.Page[api.NumberDay]{}}},
			handle: (*Server).listNumbers,
		},

		// The process.
		{
			method: "GET", pattern: "/healthz", id: "getHealth", lenient: true,
			summary: "Does the process answer?",
			gives:   []reply{{200, "It does.", api.Health{}}},
			handle:  (*Server).getHealth,
		},
		{
			method: "GET", pattern: "/readyz", id: "getReady", lenient: true,
			summary: "Should requests be sent here?",
			gives:   []reply{{200, "Yes.", api.Health{}}},
			handle:  (*Server).getReady,
		},
		{
			method: "GET", pattern: "/metrics", id: "getMetrics", lenient: true,
			summary: "Metrics in Prometheus' format",
			gives:   []reply{{200, "The metrics.", nil}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getMetrics,
		},
		{
			method: "GET", pattern: "/openapi.json", id: "getDocument", lenient: true,
			summary: "This document",
			gives:   []reply{{200, "OpenAPI 3.1.", nil}},
			handle:  (*Server).getDocument,
		},
	}
}
