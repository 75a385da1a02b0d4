package inproc_test

import (
	"errors"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

func TestARefusedBuyerIsRefusedForASecondOrUntilAnOrderOfHisEnds(t *testing.T) {
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	b := inproc.NewBuyers(func() time.Time { return now })
	b.Refused("u", fault.ErrTooManyUnpaid.After(time.Minute))
	b.Refused("v", fault.ErrTooManyUnpaid.After(time.Minute))
	b.Refused("w", fault.ErrOutOfStock) // of what he ordered, not of him
	if b.Refusal("w") != nil || b.Refusal("x") != nil {
		t.Error("a buyer is refused for what others did, or for one product")
	}
	if err := b.Refusal("u"); !errors.Is(err, fault.ErrTooManyUnpaid) || fault.Of(err).RetryAfter != time.Minute {
		t.Errorf("got %v, want what the ledger said", err)
	}
	b.Applied(&ledger.Applied{Orders: []*order.Order{{UserID: "u", Status: order.Pending}, {UserID: "v", Status: order.Paid}}})
	if b.Refusal("u") == nil || b.Refusal("v") != nil {
		t.Error("want u refused still, and v no longer: an order of his was paid")
	}
	now = now.Add(time.Second)
	if b.Refusal("u") != nil {
		t.Error("u is refused after a second, without anybody having looked again")
	}
}
