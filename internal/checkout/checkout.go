// Package checkout is what a request does around the ledger: merge and fingerprint, ask the gate, submit, look up.
package checkout

import (
	"context"
	"io"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Record is the read side of the record. What does not exist is fault.ErrNotFound.
type Record interface {
	Now(ctx context.Context) (time.Time, error)
	Order(ctx context.Context, no order.Number) (*order.Order, error)
	Orders(ctx context.Context, f OrderFilter) ([]*order.Order, error)
	Shelf(ctx context.Context, id product.ID) (Shelf, error)
	Shelves(ctx context.Context, after product.ID, limit int) ([]Shelf, error)
	User(ctx context.Context, id user.ID) (*user.User, error)
	Payment(ctx context.Context, id string) (*payment.Payment, error)
	PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error)
	Events(ctx context.Context, f EventFilter) ([]event.Event, error)
	LogEnd(ctx context.Context) (position int64, err error)
	Audit(ctx context.Context) (audit.Report, error)
	KeyStore
}

// KeyStore keeps the API keys.
type KeyStore interface {
	AddKey(ctx context.Context, k *apikey.Key) error
	KeyByHash(ctx context.Context, h apikey.Hash) (*apikey.Key, error)
	Keys(ctx context.Context, after string, limit int) ([]*apikey.Key, error)
	RevokeKey(ctx context.Context, id string) (*apikey.Key, error)
	TouchKey(ctx context.Context, id string, at time.Time) error
}

// Shelf is a product with its stock.
type Shelf struct {
	*product.Product
	Stock *stock.Stock
}

// OrderFilter chooses orders, newest first.
type OrderFilter struct {
	UserID       user.ID      // "": anyone's
	Status       order.Status // "": any
	CreatedAfter time.Time    // zero: any time; exclusive
	Before       order.Number // 0: from the newest; exclusive
	Limit        int
}

// EventFilter chooses events of the log, in its order.
type EventFilter struct {
	Types   []event.Type // none: all
	OrderNo order.Number // 0: any subject
	After   int64        // position; exclusive
	Limit   int
}

// Gate is the quick check in front of the ledger. It may refuse what cannot succeed; it never decides that something will.
type Gate interface {
	// Admit gives the reason to refuse an order now, or nil.
	Admit(ctx context.Context, lines []ledger.PlaceLine) error
	// MayHaveUsed reports whether an idempotency key may have been answered already; false is certain.
	MayHaveUsed(key ledger.Key) bool
}

// OrderCache remembers orders as they are. A nil order is not there.
type OrderCache interface {
	Get(no order.Number) *order.Order
	Fill(no order.Number, load func() (*order.Order, error)) (*order.Order, error)
}

// Provider is one way to pay.
type Provider interface {
	Name() string
	// PayURL is where the buyer can pay an open payment.
	PayURL(p *payment.Payment) string
}

// Desk answers requests.
type Desk struct {
	Ledger    *ledger.Ledger
	Record    Record
	Gate      Gate
	Orders    OrderCache
	Providers []Provider
	Clock     func() time.Time
	Random    io.Reader // of the ids of payments; crypto/rand unless a test owns chance
}
