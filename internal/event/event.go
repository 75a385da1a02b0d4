// Package event is a fact, written in the transaction that made it true and told to the world afterwards.
package event

import (
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/wire"
)

// Type names a fact in the past tense.
type Type string

// Every type there is.
const (
	OrderPlaced     Type = "order.placed"
	OrderExpiring   Type = "order.expiring"
	OrderPaid       Type = "order.paid"
	OrderCancelled  Type = "order.cancelled"
	OrderExpired    Type = "order.expired"
	OrderFulfilled  Type = "order.fulfilled"
	OrderRefunded   Type = "order.refunded"
	PaymentLate     Type = "payment.late"
	RefundDue       Type = "refund.due"
	RefundSucceeded Type = "refund.succeeded"
	RefundFailed    Type = "refund.failed"
	StockChanged    Type = "stock.changed"
	StockDepleted   Type = "stock.depleted"
	UserCoolingDown Type = "user.cooling_down"
)

// Types lists every type, in the order of product.md.
func Types() []Type {
	return []Type{
		OrderPlaced, OrderExpiring, OrderPaid, OrderCancelled, OrderExpired, OrderFulfilled, OrderRefunded,
		PaymentLate, RefundDue, RefundSucceeded, RefundFailed, StockChanged, StockDepleted, UserCoolingDown,
	}
}

// Subject is what a fact is about. A product may be named like an order, so the kind belongs to it.
type Subject struct {
	Kind Kind
	ID   string
}

// Kind tells orders from products.
type Kind string

// The kinds of subjects.
const (
	Order   Kind = "order"
	Product Kind = "product"
)

// Shards is the number of independent streams that events are relayed in. All events of a subject are in one shard, so
// they keep their order. It is part of the schema: changing it needs a migration.
const Shards = 8

// Shard is the stream of this subject, 0 to Shards-1.
func (s Subject) Shard() int {
	h := uint32(2166136261) // FNV-1a
	for i := range len(s.ID) {
		h = (h ^ uint32(s.ID[i])) * 16777619
	}
	return int(h % Shards)
}

// ShardLease is the right to relay one shard of the outbox until it lapses. The token rises with every change of hands, and
// every write names it: a relay that slept through the end of its lease writes nothing.
type ShardLease struct {
	Shard int
	Token int64
}

// Event is one fact. Sequence numbers the facts of its subject 1, 2, 3, …; Data is the whole object as JSON.
type Event struct {
	Type     Type
	Subject  Subject
	Sequence int64
	Time     time.Time
	Data     []byte
	Position int64 // in the log; 0 until the relay has given it one
}

// ID is the same on every delivery: no other event has this subject and sequence.
func (e *Event) ID() string {
	return string(e.Subject.Kind) + ":" + e.Subject.ID + ":" + strconv.FormatInt(e.Sequence, 10)
}

// AppendCloudEvent appends the event in the JSON format of CloudEvents 1.0.
func (e *Event) AppendCloudEvent(b []byte) []byte {
	b = append(b, `{"specversion":"1.0","id":`...)
	b = wire.AppendString(b, e.ID())
	b = append(b, `,"source":"holdfast","type":"`...)
	b = append(b, e.Type...)
	b = append(b, `","subject":`...)
	b = wire.AppendString(b, e.Subject.ID)
	b = append(b, `,"time":`...)
	b = wire.AppendTime(b, e.Time)
	b = append(b, `,"sequence":`...)
	b = strconv.AppendInt(b, e.Sequence, 10)
	b = append(b, `,"datacontenttype":"application/json","data":`...)
	b = append(b, e.Data...)
	return append(b, '}')
}
