package sqlstore

import (
	"strings"
	"testing"
)

func TestPlansAreToldForEveryLook(t *testing.T) {
	plans, err := openPlanned(t, 100).Plans(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for look, index := range map[string]string{
		"newest orders": "orders", "expired orders before one": "orders_status", "pending orders since a day": "orders_due", "orders of a user": "orders_user",
		"events of a user": "outbox_subject", "payments of an order": "payments_order",
	} {
		found := false
		for _, p := range plans {
			found = found || p.Look == look && strings.Contains(p.Steps, index)
		}
		if !found {
			t.Errorf("%s: no plan that names %s among %q", look, index, plans)
		}
	}
}
