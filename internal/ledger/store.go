package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Store is the record: it opens the transaction of a batch.
type Store interface {
	Begin(ctx context.Context) (Tx, error)
}

// Tx is one batch's transaction. The ledger calls Claim, Load, Save, Commit, in this order and from one goroutine;
// GrantNumbers between Load and Save. An error of any of them is one of those below, or means that the record cannot be
// used now. Rollback after Commit does nothing.
type Tx interface {
	// Claim writes the batch's id. ErrCommitted: a transaction with this id is in the record already. It may be put off until Load,
	// which then says so, or with any other reason ErrUnclaimed.
	Claim(ctx context.Context, id BatchID) error

	// Load locks what is wanted in one global order (products by id, orders by number), then reads the keys, and reads the
	// clock last. What does not exist is absent from the maps. The rows belong to the caller.
	Load(ctx context.Context, want *Want) (*Rows, error)

	// GrantNumbers grants n numbers of a day to this process and gives the first. The grant is committed with the batch.
	GrantNumbers(ctx context.Context, day order.Day, n int64) (first int64, err error)

	// Save writes all changes. A row that is not as it was loaded is ErrRetry. It may be put off until Commit, whose error is then
	// ErrNotCommitted, too.
	Save(ctx context.Context, changes *Changes) error

	// Commit makes the batch durable. Whatever its error, but for ErrNotCommitted, the outcome is unknown until Claim has told.
	Commit(ctx context.Context) error

	Rollback()
}

// What the store says of a transaction that failed.
var (
	// ErrCommitted: the batch id is in the record.
	ErrCommitted = errors.New("the batch is committed")
	// ErrUnclaimed: what went wrong did so before the batch's id was known to be written. It tells nothing of an earlier transaction
	// with this id.
	ErrUnclaimed = errors.New("batch not begun")
	// ErrDuplicate: a unique key is taken. Another process was first; what it did is seen when the batch is run again.
	ErrDuplicate = errors.New("duplicate key")
	// ErrRetry: the database asks for the transaction to be run again (deadlock, lock wait, serialization, a changed row).
	ErrRetry = errors.New("transaction to be run again")
	// ErrNotCommitted: a commit has certainly not taken place and cannot any more.
	ErrNotCommitted = errors.New("not committed")
	// ErrRefused: the database refused a row (a CHECK, a type). Some command of the batch is poisoned.
	ErrRefused = errors.New("the database refused a row")
)

// BatchID names a batch: random, so that no other ever has it.
type BatchID [16]byte

// Key is the hash of a caller's scope and his Idempotency-Key.
type Key [16]byte

// Fingerprint is the hash of a request, to tell whether a key comes back with another one.
type Fingerprint [16]byte

// Answered is what a key was used for.
type Answered struct {
	Fingerprint Fingerprint
	Number      order.Number
	Body        []byte // the stored bytes of the 201
}

// Transaction names money at a provider: it counts once in the whole desk.
type Transaction struct{ Provider, ID string }

// Ref names a delivery to a product's stock: it counts once.
type Ref struct {
	ProductID product.ID
	Ref       string
}

// Buyer names the counter of a user's units of a product.
type Buyer struct {
	ProductID product.ID
	UserID    user.ID
}

// Want is what the commands of a batch need to see.
type Want struct {
	Products     []product.ID
	Orders       []order.Number // with their lines, their payments, and the products in their lines
	Users        []user.ID
	Keys         []Key
	Refs         []Ref
	Transactions []Transaction
	Buyers       []Buyer      // counted only where the product counts users
	Guarded      bool         // a guard is on: the histories of the wanted orders' users are wanted, too
	Histories    []user.ID    // of those who place orders; to be locked after the users, each present in Rows even if nothing is known
	Limited      []product.ID // products that may begin to count in this batch: their buyers are counted already
}

// Rows is what a batch's transaction holds locked and knows.
type Rows struct {
	Now          time.Time // by the record's clock, in whole milliseconds, read after the locks
	Products     map[product.ID]*product.Product
	Stock        map[product.ID]*stock.Stock
	Orders       map[order.Number]*order.Order
	Payments     map[order.Number][]*payment.Payment
	Users        map[user.ID]*user.User
	Keys         map[Key]Answered
	Refs         map[Ref]bool
	Transactions map[Transaction]*payment.Payment
	Units        map[Buyer]int64 // of every wanted buyer, and of the buyers of the wanted orders
	Histories    map[user.ID]*History
	WorkedOut    []Buyer // whose units no counter said
}

// Changes is what a batch writes: rows as they are to be, and what guards them.
type Changes struct {
	Now time.Time

	NewProducts []*product.Product
	Products    []*product.Product
	NewStock    []*stock.Stock
	Stock       []StockChange
	Entries     []stock.Entry

	NewOrders   []*order.Order // with their lines; each stands for its first transition too: seq 1, told by event 1
	Orders      []OrderChange
	Transitions []order.Transition

	NewPayments []*payment.Payment
	Payments    []*payment.Payment
	Refunds     []*payment.Refund

	NewUsers  []*user.User
	Users     []*user.User
	Units     map[Buyer]int64
	Histories map[user.ID]HistoryChange
	Keys      map[Key]Answered // Body is not written: it is the data of the order's first event
	Events    []event.Event
}

// ChangedProducts names the products whose row or stock is new or changed.
func (c *Changes) ChangedProducts() map[product.ID]bool {
	ids := map[product.ID]bool{}
	for _, products := range [][]*product.Product{c.NewProducts, c.Products} {
		for _, p := range products {
			ids[p.ID] = true
		}
	}
	for _, s := range c.Stock { // new stock comes with its product
		ids[s.ProductID] = true
	}
	return ids
}

// ChangedOrders names the orders that were there before and are changed, or whose payments are.
func (c *Changes) ChangedOrders() map[order.Number]bool {
	numbers := map[order.Number]bool{}
	for _, o := range c.Orders {
		numbers[o.Number] = true
	}
	for _, payments := range [][]*payment.Payment{c.NewPayments, c.Payments} {
		for _, p := range payments {
			numbers[p.OrderNumber] = true
		}
	}
	return numbers
}

// StockChange is a stock row as it is to be; it must still have version Was.
type StockChange struct {
	*stock.Stock
	Was int64
}

// OrderChange is an order as it is to be; it must still have the events it Had: whatever happens to an order is told.
type OrderChange struct {
	*order.Order
	Had int64
}

// Empty reports whether there is nothing to write.
func (c *Changes) Empty() bool {
	return len(c.NewProducts)+len(c.Products)+len(c.NewStock)+len(c.Stock)+len(c.NewOrders)+len(c.Orders)+
		len(c.NewPayments)+len(c.Payments)+len(c.NewUsers)+len(c.Users) == 0
}
