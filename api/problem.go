package api

import "encoding/json"

// Problem is every answer that is not a success (RFC 9457, application/problem+json).
type Problem struct {
	Type      string  `json:"type" const:"about:blank"`
	Title     string  `json:"title" doc:"The HTTP status in words."`
	Status    int     `json:"status,omitzero" doc:"The HTTP status; where the code is about an order's status, that one as a string."`
	Code      string  `json:"code" doc:"For programs: never changes."`
	Detail    string  `json:"detail" doc:"For people: may change."`
	RequestID string  `json:"request_id" doc:"Names the request in the server's log."`
	Errors    []Field `json:"errors,omitempty" doc:"Which inputs were wrong, all that were found."`

	// Members are the further facts that some codes carry, such as the units still available. An order's status is among
	// them, and Status is 0 then: they share the name.
	Members map[string]json.RawMessage `json:"-"`
}

// Field names one wrong input and says what is wrong with it.
type Field struct {
	Field  string `json:"field" doc:"Where it stands in the body (lines[0].quantity), or the name of the query parameter or header."`
	Detail string `json:"detail" doc:"What is wrong with it; the value is never repeated."`
}

// UnmarshalJSON reads a problem with all its members.
func (p *Problem) UnmarshalJSON(text []byte) error {
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	*p = Problem{Members: members}
	for name, into := range map[string]any{
		"type": &p.Type, "title": &p.Title, "status": &p.Status, "code": &p.Code, "detail": &p.Detail,
		"request_id": &p.RequestID, "errors": &p.Errors,
	} {
		value, there := members[name]
		if !there || name == "status" && value[0] == '"' {
			continue
		}
		if err := json.Unmarshal(value, into); err != nil {
			return err
		}
		delete(members, name)
	}
	return nil
}

func (p *Problem) Error() string { return p.Code + ": " + p.Detail }

// The codes of problems. They never change.
const (
	CodeInternal             = "internal"
	CodeMalformedRequest     = "malformed_request"
	CodeUnauthenticated      = "unauthenticated"
	CodeBadSignature         = "bad_signature"
	CodeForbidden            = "forbidden"
	CodeNotFound             = "not_found"
	CodeMethodNotAllowed     = "method_not_allowed"
	CodeBodyTooLarge         = "body_too_large"
	CodeUnsupportedMediaType = "unsupported_media_type"
	CodeInvalidRequest       = "invalid_request"
	CodeIdempotencyKeyReused = "idempotency_key_reused"
	CodeIdempotencyProgress  = "idempotency_in_progress"
	CodeOutOfStock           = "out_of_stock"          // with product_id and available
	CodeNotOnSale            = "not_on_sale"           // with product_id
	CodePurchaseLimit        = "purchase_limit"        // with product_id and max_per_user
	CodeInsufficientStock    = "insufficient_stock"    // with product_id and available
	CodeOrderNotPayable      = "order_not_payable"     // with status
	CodeOrderNotCancellable  = "order_not_cancellable" // with status
	CodeOrderNotFulfillable  = "order_not_fulfillable" // with status
	CodePaymentMismatch      = "payment_mismatch"
	CodeTooManyPayments      = "too_many_payments" // with max_payments
	CodeTooManyKeys          = "too_many_keys"     // with max_keys
	CodeEventsPruned         = "events_pruned"     // with earliest_position
	CodeAuditRunning         = "audit_running"     // with Retry-After, as all below
	CodeRateLimited          = "rate_limited"
	CodeTooManyUnpaidOrders  = "too_many_unpaid_orders"
	CodeOverloaded           = "overloaded"
	CodeUnavailable          = "unavailable"
)
