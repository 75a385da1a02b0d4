package httpapi

//go:generate go test -count=1 -run ^Test(DocumentIsFresh|ErrorsAreDocumented|EventsAreDocumented)$ . -update

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
	stream       bool // its answer goes on; a ticket may stand for the key
	anyKey       bool // which scope it needs depends on the body; the handler asks for it
	cached       bool // clients may keep it, and ask whether it is still the same
	buyers       bool // a session may come in too; what it is about has to be the buyer's own, if it is anybody's

	forUser bool // its body names whom it is for; the handler settles what it counts for, when it has read that

	limited *limited // what the operator has set; nil: nothing
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
	resumeParam = param{"last_event_id", "Go on behind this event, as the header Last-Event-ID does, which comes before it.", int64(0)}
	ticketParam = param{"ticket", "A ticket of this stream, in place of a key: EventSource can send no header.", ""}
	cursorParam = param{"cursor", "next_cursor of the page before, with the same filters. Opaque.", ""}
)

// resumes is said of every stream.
const resumes = "The id of each is its position in the log: come back with the last one as Last-Event-ID, and nothing is left out and nothing " +
	"told twice. A comment every 15 s keeps the line open. A reader who is too slow is cut off; so is everybody when the process stops."

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
			method: "GET", pattern: "/v1/products/{product_id}", id: "getProduct", scope: apikey.CatalogueRead, buyers: true,
			summary: "Look at a product",
			gives:   []reply{{200, "The product.", api.Product{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getProduct,
		},
		{
			method: "GET", pattern: "/v1/products", id: "listProducts", scope: apikey.CatalogueRead, buyers: true, list: true,
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

		{
			method: "POST", pattern: "/v1/products/{product_id}/release", id: "releaseProduct", scope: apikey.Admin,
			summary: "Let a product be sold again after its sale was stopped",
			about: "The auditor stops the sale of a product whose numbers do not add up. Release it once somebody has looked: the same " +
				"difference does not stop it again, another one does. A product whose sale is not stopped stays as it is.",
			gives:  []reply{{200, "The product; it is sold.", api.Product{}}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrOverloaded},
			handle: (*Server).releaseProduct,
		},

		// Users.
		{
			method: "PUT", pattern: "/v1/users/{user_id}", id: "putUser", scope: apikey.UsersWrite, buyers: true,
			summary: "Create or change a user",
			about:   "What is left out stays as it is; null clears it. With a buyer's session, metadata cannot be set: it is the shop's.",
			takes:   api.PutUser{},
			gives:   []reply{{200, "Changed, or as he was.", api.User{}}, {201, "Created.", api.User{}}},
			faults:  []*fault.Error{fault.ErrNotFound, fault.ErrOverloaded},
			handle:  (*Server).putUser,
		},
		{
			method: "GET", pattern: "/v1/users/{user_id}", id: "getUser", scope: apikey.UsersRead, buyers: true,
			summary: "Look at a user",
			gives:   []reply{{200, "The user.", api.User{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getUser,
		},

		// Orders.
		{
			method: "POST", pattern: "/v1/orders", id: "placeOrder", scope: apikey.OrdersWrite, buyers: true, forUser: true,
			summary: "Place an order",
			about: "All lines or none, at the catalogue's prices, in one currency. The same Idempotency-Key with the same request gets the " +
				"same 201, byte for byte, for at least 72 hours; refusals are not remembered. A key older than that may place a new order.",
			takes: api.PlaceOrder{},
			gives: []reply{{201, "Placed. Idempotency-Replayed: true says that it was placed by an earlier request with this key.", api.Order{}}},
			faults: []*fault.Error{
				fault.ErrOutOfStock, fault.ErrNotOnSale, fault.ErrPurchaseLimit, fault.ErrKeyInProgress, fault.ErrKeyReused,
				fault.ErrNotFound, fault.ErrTooManyUnpaid, fault.ErrOverloaded,
			},
			handle: (*Server).placeOrder,
		},
		{
			method: "GET", pattern: "/v1/orders", id: "listOrders", scope: apikey.OrdersRead, buyers: true, list: true,
			summary: "List orders, newest first",
			about: "With a buyer's session, his own. With created_after, or with a status of one user's orders, a page looks through 2000 orders " +
				"at most, of one user 200, so it may be short or empty before the end is reached: go on as long as there is a next_cursor.",
			query: []param{
				{"user_id", "Of this user.", ""},
				{"status", "In this status.", ""},
				{"created_after", "Created after this time.", time.Time{}},
				cursorParam, limitParam,
			},
			gives:  []reply{{200, "A page of orders.", api.Page[api.Order]{}}},
			faults: []*fault.Error{fault.ErrNotFound},
			handle: (*Server).listOrders,
		},
		{
			method: "GET", pattern: "/v1/orders/{order_no}", id: "getOrder", scope: apikey.OrdersRead, buyers: true,
			summary: "Look at an order",
			query:   []param{{"expand", "user joins the user in; the key needs users:read too.", ""}},
			gives:   []reply{{200, "The order, with its countdown as it stands.", api.Order{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getOrder,
		},
		{
			method: "POST", pattern: "/v1/orders/{order_no}/cancel", id: "cancelOrder", scope: apikey.OrdersWrite, buyers: true,
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

		{
			method: "GET", pattern: "/v1/orders/{order_no}/stream", id: "streamOrder", scope: apikey.OrdersRead, buyers: true, stream: true,
			summary: "Follow an order as it happens",
			about: "Server-Sent Events: first order, the order as it is, then its events by their names, with the order as each has it. " +
				"It goes on when the order is over: money can come late. " + resumes,
			query:  []param{resumeParam, ticketParam},
			gives:  []reply{{200, "A stream of orders, as text/event-stream.", nil}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrEventsPruned},
			handle: (*Server).streamOrder,
		},
		{
			method: "GET", pattern: "/v1/users/{user_id}/stream", id: "streamUser", scope: apikey.OrdersRead, buyers: true, stream: true,
			summary: "Follow all orders of a user as it happens",
			about: "Server-Sent Events: the events of all the user's orders by their names, with the order as each has it. It begins at now; the user " +
				"need not be known. " + resumes,
			query:  []param{resumeParam, ticketParam},
			gives:  []reply{{200, "A stream of orders, as text/event-stream.", nil}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrEventsPruned},
			handle: (*Server).streamUser,
		},
		{
			method: "POST", pattern: "/v1/stream-tickets", id: "createStreamTicket", scope: apikey.OrdersRead, buyers: true, anyKey: true,
			summary: "Make a ticket for one stream",
			about: "For browsers, whose EventSource can send no key: as ?ticket= it opens the stream it was made for, once, within 60 s, while the key " +
				"is good. It needs the scope that the stream needs. When the stream breaks, open it again with a new ticket and ?last_event_id=.",
			takes:  api.CreateStreamTicket{},
			gives:  []reply{{201, "Made. The ticket is shown this once.", api.StreamTicket{}}},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrOverloaded},
			handle: (*Server).createTicket,
		},

		// Sessions.
		{
			method: "POST", pattern: "/v1/sessions", id: "createSession", scope: apikey.SessionsWrite,
			summary: "Log a buyer in",
			about: "For a user whom the shop has recognized. The token is used like a key, as Authorization: Bearer, and sees and touches what " +
				"belongs to this user, and the products; what is somebody else's is not found. A user has 20 good sessions at most: a new one ends " +
				"the one that would run out first.",
			takes:  api.CreateSession{},
			gives:  []reply{{201, "Made. The token is shown this once.", api.CreatedSession{}}},
			faults: []*fault.Error{fault.ErrOverloaded},
			handle: (*Server).createSession,
		},
		{
			method: "GET", pattern: "/v1/sessions/current", id: "getSession", scope: apikey.SessionsWrite, buyers: true,
			summary: "Look at the session that the request comes with",
			gives:   []reply{{200, "The session.", api.Session{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getSession,
		},
		{
			method: "DELETE", pattern: "/v1/sessions/current", id: "endSession", scope: apikey.SessionsWrite, buyers: true,
			summary: "Log the buyer out",
			about:   "Ends the session that the request comes with, and the streams that it opened. When this is answered it is dead in all processes.",
			gives:   []reply{{200, "The session as it was.", api.Session{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).endSession,
		},
		{
			method: "DELETE", pattern: "/v1/users/{user_id}/sessions", id: "endSessions", scope: apikey.SessionsWrite,
			summary: "Log a user out everywhere",
			gives:   []reply{{200, "Ended, as many as there were.", api.EndedSessions{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).endSessions,
		},

		// Payments.
		{
			method: "POST", pattern: "/v1/orders/{order_no}/payments", id: "createPayment", scope: apikey.OrdersWrite, buyers: true,
			summary: "Open an attempt to pay an order",
			takes:   api.CreatePayment{},
			gives: []reply{
				{200, "An attempt is open already at this provider: that one.", api.Payment{}},
				{201, "Opened.", api.Payment{}},
			},
			faults: []*fault.Error{fault.ErrNotFound, fault.ErrNotPayable, fault.ErrTooManyPayments, fault.ErrOverloaded},
			handle: (*Server).createPayment,
		},
		{
			method: "GET", pattern: "/v1/orders/{order_no}/payments", id: "listPayments", scope: apikey.OrdersRead, buyers: true,
			summary: "List the payments of an order, oldest first",
			about:   "All of them on one page.",
			gives:   []reply{{200, "The payments.", api.Page[api.Payment]{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).listPayments,
		},
		{
			method: "GET", pattern: "/v1/payments/{payment_id}", id: "getPayment", scope: apikey.OrdersRead, buyers: true,
			summary: "Look at a payment",
			gives:   []reply{{200, "The payment.", api.Payment{}}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getPayment,
		},
		{
			method: "POST", pattern: "/v1/callbacks/{provider}", id: "receiveNotice", lenient: true,
			summary: "Receive a provider's notice",
			about: "In the provider's own format, signed in the provider's own way, and answered in the provider's own words after the commit. " +
				"The sandbox's is signed in the header Holdfast-Signature: t=<Unix seconds>,v1=<hex HMAC-SHA256 of the seconds, a dot and the " +
				"raw body>, with the desk's sandbox_secret.",
			gives: []reply{{200, "Applied, a duplicate, or late (the money goes back).", nil}},
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
				"with it gives what came since, or an empty page. With types a page looks through 10000 events at most, so it may be short " +
				"or empty before the end is reached: go on as long as next_cursor moves. Without a cursor it begins at the earliest event " +
				"that is kept; a cursor of a place before that is answered 410 events_pruned.",
			query: []param{
				{"types", "Types of events, separated by commas.", ""},
				{"order_no", "Of this order.", ""},
				cursorParam, limitParam,
			},
			gives:  []reply{{200, "A page of events.", api.Page[api.Event]{}}},
			faults: []*fault.Error{fault.ErrEventsPruned},
			handle: (*Server).listEvents,
		},
		{
			method: "GET", pattern: "/v1/events/stream", id: "streamEvents", scope: apikey.EventsRead, stream: true,
			summary: "Follow the log of events as it grows",
			about:   "Server-Sent Events, named like the types, with the event as data. It begins at the end of the log. " + resumes,
			query:   []param{{"types", "Types of events, separated by commas.", ""}, resumeParam, ticketParam},
			gives:   []reply{{200, "A stream of events, as text/event-stream.", nil}},
			faults:  []*fault.Error{fault.ErrEventsPruned},
			handle:  (*Server).streamEvents,
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
			faults:  []*fault.Error{fault.ErrTooManyKeys},
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
		{
			method: "POST", pattern: "/v1/numbers/fill", id: "fillNumbers", scope: apikey.Admin,
			summary: "Make today's and tomorrow's order numbers ready",
			about: "It is done by itself when few are left, and at 04:00 for tomorrow. They wait in Redis; a desk without Redis adds none and " +
				"takes them from the database as they are needed.",
			gives:  []reply{{200, "How many were added.", api.NumbersFilled{}}},
			faults: []*fault.Error{fault.ErrUnavailable},
			handle: (*Server).fillNumbers,
		},
		{
			method: "POST", pattern: "/v1/numbers/purge", id: "purgeNumbers", scope: apikey.Admin,
			summary: "Remove the order numbers that are left of the days before today",
			about:   "It is done by itself at 03:00. They are lost: no number is given on another day than its own.",
			gives:   []reply{{200, "How many were removed.", api.NumbersPurged{}}},
			faults:  []*fault.Error{fault.ErrUnavailable},
			handle:  (*Server).purgeNumbers,
		},
		{
			method: "POST", pattern: "/v1/cache/warm", id: "warmCache", scope: apikey.Admin,
			summary: "Load the products into Redis before anybody asks for them",
			about: "It is done by itself when a desk starts and whenever Redis begins anew; products are forgotten ten minutes after they were last loaded or " +
				"changed. 20000 products at most, by id. A desk without Redis, or alone on SQLite, loads none.",
			gives:  []reply{{200, "How many there are, and how many were loaded.", api.CacheWarmed{}}},
			faults: []*fault.Error{fault.ErrUnavailable},
			handle: (*Server).warmCache,
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
			method: "GET", pattern: "/openapi.json", id: "getDocument", lenient: true, cached: true,
			summary: "This document",
			gives:   []reply{{200, "OpenAPI 3.1.", nil}, {304, "It is still the one that If-None-Match names.", nil}},
			handle:  (*Server).getDocument,
		},
		{
			method: "GET", pattern: "/docs", id: "getDocs", lenient: true, cached: true,
			summary: "This document, as a page for people",
			about:   "Loads nothing from other hosts.",
			gives:   []reply{{200, "HTML.", nil}, {304, "It is still the one that If-None-Match names.", nil}},
			handle:  (*Server).getDocs,
		},
		{
			method: "GET", pattern: "/docs/{file}", id: "getDocsFile", lenient: true, cached: true,
			summary: "What the page loads",
			gives:   []reply{{200, "A script, a style sheet or a licence.", nil}, {304, "It is still the one that If-None-Match names.", nil}},
			faults:  []*fault.Error{fault.ErrNotFound},
			handle:  (*Server).getDocsFile,
		},
	}
}
