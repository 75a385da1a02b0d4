package httpapi

import (
	"net/http"
	"slices"
	"testing"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/fault"
)

func TestEveryKindOfFaultHasItsStatus(t *testing.T) {
	for kind, status := range statuses {
		if http.StatusText(status) == "" {
			t.Errorf("kind %d has the status %d", kind, status)
		}
	}
}

// TestCodesAreTheSameOnBothSides: clients compare with the constants of package api.
func TestCodesAreTheSameOnBothSides(t *testing.T) {
	client := []string{
		api.CodeInternal, api.CodeMalformedRequest, api.CodeUnauthenticated, api.CodeBadSignature, api.CodeForbidden, api.CodeNotFound,
		api.CodeMethodNotAllowed, api.CodeBodyTooLarge, api.CodeUnsupportedMediaType, api.CodeInvalidRequest, api.CodeIdempotencyKeyReused,
		api.CodeIdempotencyProgress, api.CodeOutOfStock, api.CodeNotOnSale, api.CodePurchaseLimit, api.CodeInsufficientStock,
		api.CodeOrderNotPayable, api.CodeOrderNotCancellable, api.CodeOrderNotFulfillable, api.CodePaymentMismatch, api.CodeAuditRunning,
		api.CodeTooManyPayments, api.CodeTooManyKeys, api.CodeEventsPruned,
		api.CodeRateLimited, api.CodeTooManyUnpaidOrders, api.CodeOverloaded, api.CodeUnavailable,
	}
	server := []string{fault.ErrMethodNotAllowed.Code}
	for _, r := range routes() {
		for _, f := range r.allFaults() {
			server = append(server, f.Code)
		}
	}
	for _, list := range []*[]string{&client, &server} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	if !slices.Equal(client, server) {
		t.Errorf("clients know %q\nroutes answer %q", client, server)
	}
}
