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

// Reads are looks at single things. What does not exist is fault.ErrNotFound.
type Reads interface {
	Order(ctx context.Context, no order.Number) (*order.Order, error)
	Shelf(ctx context.Context, id product.ID) (Shelf, error)
	User(ctx context.Context, id user.ID) (*user.User, error)
	Payment(ctx context.Context, id string) (*payment.Payment, error)
	// PaymentsOf gives the payments of an order, oldest first.
	PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error)
}

// Record is the read side of the record.
type Record interface {
	Reads
	Now(ctx context.Context) (time.Time, error)
	Orders(ctx context.Context, f OrderFilter) ([]*order.Order, error)
	// OrdersEnd settles how far a page looks: the lowest number that it may look at, for Until; 0: as far as the list goes.
	OrdersEnd(ctx context.Context, f OrderFilter) (order.Number, error)
	Shelves(ctx context.Context, after product.ID, limit int) ([]Shelf, error)
	// NumberDays gives the days before one on which numbers were granted, newest first.
	NumberDays(ctx context.Context, before order.Day, limit int) ([]NumberDay, error)
	Events(ctx context.Context, f EventFilter) ([]event.Event, error)
	LogEnd(ctx context.Context) (position int64, err error)
	LogStart(ctx context.Context) (position int64, err error)
	Audit(ctx context.Context) (audit.Report, error)
	KeyStore
	SessionStore
	TicketStore
}

// KeyStore keeps the API keys.
type KeyStore interface {
	AddKey(ctx context.Context, k *apikey.Key) error
	KeyByHash(ctx context.Context, h apikey.Hash) (*apikey.Key, error)
	Keys(ctx context.Context, after string, limit int) ([]*apikey.Key, error)
	RevokeKey(ctx context.Context, id string) (*apikey.Key, error)
	TouchKey(ctx context.Context, id string, at time.Time) error
}

// SessionStore keeps the buyers' sessions. What is no longer good is fault.ErrNotFound, as what never was.
type SessionStore interface {
	// AddSession writes a new session and ends those of the same user that were used longest ago, beyond the kept ones. It gives these.
	AddSession(ctx context.Context, s *apikey.Session, kept int) (ended []apikey.Hash, err error)
	SessionByHash(ctx context.Context, h apikey.Hash) (*apikey.Session, error)
	// ExtendSession lets a session that is still good last until a later time.
	ExtendSession(ctx context.Context, id string, until time.Time) error
	EndSession(ctx context.Context, id string) error
	// EndSessionsOf ends all sessions of a user and gives them.
	EndSessionsOf(ctx context.Context, id user.ID) (ended []apikey.Hash, err error)
}

// TicketStore keeps the tickets of streams.
type TicketStore interface {
	AddTicket(ctx context.Context, t *apikey.Ticket) error
	// TakeTicket uses a ticket of a stream up and gives the key or the session that it was made with. Of all who try, one gets it;
	// the others, and whoever comes too late or for another stream, get fault.ErrNotFound.
	TakeTicket(ctx context.Context, h apikey.Hash, stream string) (*apikey.Key, *apikey.Session, error)
}

// Shelf is a product with its stock.
type Shelf struct {
	*product.Product
	Stock *stock.Stock
}

// NumberDay is what became of the order numbers of one day.
type NumberDay struct {
	Day     order.Day
	Granted int64
	Used    int64        // by orders
	Last    order.Number // the highest of an order; 0: there is none
}

// OrderFilter chooses orders, newest first.
type OrderFilter struct {
	UserID       user.ID      // "": anyone's
	Status       order.Status // "": any
	CreatedAfter time.Time    // zero: any time; exclusive
	Before       order.Number // 0: from the newest; exclusive
	Until        order.Number // 0: to the oldest; inclusive
	Limit        int
}

// EventFilter chooses events of the log, in its order.
type EventFilter struct {
	Types   []event.Type // none: all
	OrderNo order.Number // 0: any subject
	UserID  user.ID      // "": any subject; else the events of this user's orders. Not with OrderNo.
	After   int64        // position; exclusive; when the log begins further on, fault.ErrEventsPruned
	Until   int64        // position; inclusive; 0: to the log's end
	Anew    bool         // nobody has read up to After: where the log begins further on, so does he
	Limit   int
}

// Numbers makes order numbers ready before they are needed.
type Numbers interface {
	// Fill makes today's and tomorrow's ready and gives how many it added.
	Fill(ctx context.Context) (added int64, err error)
	// Purge removes what is left of the days before today and gives how many were lost with it.
	Purge(ctx context.Context) (removed int64, err error)
	// Unused is how many granted numbers of a day can still be given to orders, as far as this process knows.
	Unused(ctx context.Context, day order.Day) (int64, error)
}

// Gate is the quick check in front of the ledger. It may refuse what cannot succeed; it never decides that something will.
type Gate interface {
	// Admit gives the reason to refuse a user's order now, or nil.
	Admit(ctx context.Context, by user.ID, lines []ledger.PlaceLine) error
	// Answered tells what the ledger said of an order that was admitted.
	Answered(by user.ID, lines []ledger.PlaceLine, err error)
	// MayHaveUsed reports whether an idempotency key may have been answered already; false is certain.
	MayHaveUsed(ctx context.Context, key ledger.Key) bool
}

// NoGate leaves every order to the ledger.
type NoGate struct{}

// Admit refuses nothing.
func (NoGate) Admit(context.Context, user.ID, []ledger.PlaceLine) error { return nil }

// Answered teaches it nothing.
func (NoGate) Answered(user.ID, []ledger.PlaceLine, error) {}

// MayHaveUsed knows nothing.
func (NoGate) MayHaveUsed(context.Context, ledger.Key) bool { return true }

// Buyers is the quick look at who would be refused whatever he orders. It may refuse what the ledger has refused a moment ago.
type Buyers interface {
	// Refusal gives the reason to refuse a buyer now, or nil.
	Refusal(id user.ID) error
	// Refused is told what the ledger refused an order of a buyer with.
	Refused(id user.ID, why error)
}

// OrderCache remembers orders as the commits of this process left them, where no other writes the record. A nil order is not there.
type OrderCache interface {
	Get(no order.Number) *order.Order
	Fill(no order.Number, load func() (*order.Order, error)) (*order.Order, error)
}

// Memory is what processes that share a record remember of it together: it is as good as the record, and what it gives is shared, not
// to be changed.
type Memory interface {
	Reads
	// Warm loads what a sale begins with, before anybody asks for it.
	Warm(ctx context.Context) (Warmed, error)
}

// Warmed is what became of a warm-up.
type Warmed struct {
	Products int // that are remembered now
	Loaded   int // of those, that were not before
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
	Buyers    Buyers // nil: the ledger alone knows
	Orders    OrderCache
	Memory    Memory // nil: there is none, single things are read in the record
	Numbers   Numbers
	Providers []Provider
	Clock     func() time.Time
	Random    io.Reader // of the ids of payments; crypto/rand unless a test owns chance

	// Observe is told what became of each order that was asked for, and who said so; nil: nobody is.
	Observe func(by Judge, replayed bool, err error)
}

// Judge is who decides about an order.
type Judge string

// The judges.
const (
	TheGate   Judge = "gate"
	TheLedger Judge = "ledger"
)

func (d *Desk) observe(by Judge, replayed bool, err error) {
	if d.Observe != nil {
		d.Observe(by, replayed, err)
	}
}
