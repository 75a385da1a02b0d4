package fault

import "time"

// Every fault a client can meet, declared once. Codes never change.
var (
	ErrInternal = &Error{Kind: Internal, Code: "internal", Detail: "Something went wrong on our side; it has been logged."}

	ErrMalformed        = &Error{Kind: Malformed, Code: "malformed_request", Detail: "The request cannot be read."}
	ErrUnauthenticated  = &Error{Kind: Unauthenticated, Code: "unauthenticated", Detail: "A valid key is needed: Authorization: Bearer <key>."}
	ErrBadSignature     = &Error{Kind: Unauthenticated, Code: "bad_signature", Detail: "The signature is missing, wrong or too old."}
	ErrForbidden        = &Error{Kind: Forbidden, Code: "forbidden", Detail: "The key lacks the scope for this."}
	ErrNotFound         = &Error{Kind: NotFound, Code: "not_found", Detail: "There is no such thing."}
	ErrMethodNotAllowed = &Error{Kind: MethodNotAllowed, Code: "method_not_allowed", Detail: "This resource does not know that method."}
	ErrTooLarge         = &Error{Kind: TooLarge, Code: "body_too_large", Detail: "The request body is too large."}
	ErrMediaType        = &Error{Kind: UnsupportedMediaType, Code: "unsupported_media_type", Detail: "The body must be application/json in UTF-8, not compressed."}

	ErrInvalid   = &Error{Kind: Invalid, Code: "invalid_request", Detail: "Some values are not acceptable."}
	ErrKeyReused = &Error{Kind: Invalid, Code: "idempotency_key_reused", Detail: "This Idempotency-Key was used with another request."}

	ErrOutOfStock        = &Error{Kind: Conflict, Code: "out_of_stock", Detail: "There is not enough stock."}
	ErrNotOnSale         = &Error{Kind: Conflict, Code: "not_on_sale", Detail: "The product is not on sale."}
	ErrPurchaseLimit     = &Error{Kind: Conflict, Code: "purchase_limit", Detail: "This would exceed what one user may buy."}
	ErrNotPayable        = &Error{Kind: Conflict, Code: "order_not_payable", Detail: "The order can no longer be paid."}
	ErrNotCancellable    = &Error{Kind: Conflict, Code: "order_not_cancellable", Detail: "The order can no longer be cancelled."}
	ErrNotFulfillable    = &Error{Kind: Conflict, Code: "order_not_fulfillable", Detail: "Only a paid order can be fulfilled."}
	ErrKeyInProgress     = &Error{Kind: Conflict, Code: "idempotency_in_progress", Detail: "A request with this Idempotency-Key is being worked on.", RetryAfter: time.Second}
	ErrInsufficientStock = &Error{Kind: Conflict, Code: "insufficient_stock", Detail: "That would take more stock than is available."}
	ErrPaymentMismatch   = &Error{Kind: Conflict, Code: "payment_mismatch", Detail: "The notice does not agree with the order."}
	ErrTooManyPayments   = &Error{Kind: Conflict, Code: "too_many_payments", Detail: "The order has had as many attempts to pay it as an order may have."}
	ErrTooManyKeys       = &Error{Kind: Conflict, Code: "too_many_keys", Detail: "There are as many keys as there may be; revoke some that are not needed."}
	ErrAuditRunning      = &Error{Kind: Conflict, Code: "audit_running", Detail: "An audit is running; one runs at a time.", RetryAfter: 5 * time.Second}

	ErrEventsPruned = &Error{Kind: Gone, Code: "events_pruned", Detail: "Events behind this place are no longer kept; begin without a cursor, at the earliest that is."}

	ErrRateLimited   = &Error{Kind: Limited, Code: "rate_limited", Detail: "Too many requests.", RetryAfter: time.Second}
	ErrTooManyUnpaid = &Error{Kind: Limited, Code: "too_many_unpaid_orders", Detail: "Too many orders are waiting to be paid.", RetryAfter: time.Minute}
	ErrOverloaded    = &Error{Kind: Unavailable, Code: "overloaded", Detail: "There is more to do than can be done now.", RetryAfter: time.Second}
	ErrUnavailable   = &Error{Kind: Unavailable, Code: "unavailable", Detail: "The record cannot be written now; nothing was changed.", RetryAfter: time.Second}
)
