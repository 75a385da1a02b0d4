// Package order is the noun everything is about: lines at a price, a total, a time to pay, and a status that leaves
// pending exactly once.
package order

import (
	"errors"
	"time"

	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Status is where an order is in its life.
type Status string

// The statuses. Only pending holds stock.
const (
	Pending   Status = "pending"
	Paid      Status = "paid"
	Cancelled Status = "cancelled"
	Expired   Status = "expired"
	Fulfilled Status = "fulfilled"
	Refunded  Status = "refunded"
)

// Statuses lists every status, in the order of an order's life.
func Statuses() []Status { return []Status{Pending, Paid, Fulfilled, Cancelled, Expired, Refunded} }

// next is the whole life of an order: nothing else is a legal step.
var next = map[Status][]Status{
	Pending: {Paid, Cancelled, Expired},
	Paid:    {Fulfilled, Refunded},
}

// CanBecome reports whether to is a legal step from s.
func (s Status) CanBecome(to Status) bool {
	for _, t := range next[s] {
		if t == to {
			return true
		}
	}
	return false
}

// Final reports whether an order keeps this status for ever.
func (s Status) Final() bool { return len(next[s]) == 0 }

// CountsForLimit reports whether the units of an order in this status count against its user's purchase limit.
func (s Status) CountsForLimit() bool { return s == Pending || s == Paid || s == Fulfilled }

// ErrStep is returned for a step that the life of an order does not have.
var ErrStep = errors.New("not a legal step in an order's life")

// Line is a quantity of one product at the price it had when the order was placed, in the order's currency.
type Line struct {
	ProductID product.ID
	Title     string
	Quantity  int64
	UnitPrice int64 // minor units
}

// Order is one buyer's order. Lines never change.
type Order struct {
	Number      Number
	UserID      user.ID
	Status      Status
	Lines       []Line
	Total       money.Money
	CreatedAt   time.Time
	PayBy       time.Time
	PaidAt      time.Time // zero: not paid
	ClosedAt    time.Time // zero: still open
	CloseReason string
	PaidLate    bool
	Reminded    bool
	Version     int64 // the number of its transitions
	Events      int64 // the number of events told about it
	Metadata    []byte
}

// Deadline is a pending order's last moment to pay. Deadlines are sorted by the moment, then by the number; the zero Deadline
// comes before all.
type Deadline struct {
	Number Number
	PayBy  time.Time
}

// Transition is one step of an order's life as it is written down: the first, from nothing to pending, has Seq 1.
type Transition struct {
	Number        Number
	Seq           int64
	From          Status // "" for the first
	To            Status
	Reason        string
	EventSequence int64 // of the event that tells it
	At            time.Time
}

// Step moves the order to a new status and gives the transition to be written down.
func (o *Order) Step(to Status, reason string, at time.Time) (Transition, error) {
	if !o.Status.CanBecome(to) {
		return Transition{}, ErrStep
	}
	t := Transition{Number: o.Number, Seq: o.Version + 1, From: o.Status, To: to, Reason: reason, EventSequence: o.Events + 1, At: at}
	o.Status = to
	o.Version++
	if to == Paid {
		o.PaidAt = at
		o.PaidLate = !at.Before(o.PayBy)
		return t, nil
	}
	o.ClosedAt = at
	o.CloseReason = reason
	return t, nil
}

// Due reports whether the time to pay is over at now. An order is never due early: at pay_by exactly, not before.
func (o *Order) Due(now time.Time) bool { return !now.Before(o.PayBy) }

// SecondsLeft is the countdown as buyers see it: whole seconds, rounded up, 0 once the order is no longer pending.
func (o *Order) SecondsLeft(now time.Time) int64 {
	if o.Status != Pending || o.Due(now) {
		return 0
	}
	return int64((o.PayBy.Sub(now) + time.Second - 1) / time.Second)
}
