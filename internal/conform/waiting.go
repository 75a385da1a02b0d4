package conform

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

var waiting = []story{
	{name: "AFullOpenLaneRefusesAtOnceAndDelaysNoMoney", tell: openLaneFull, options: ledger.Options{OpenMax: 2}},
	{
		name: "AnOpenLaneThatBecomesTooLongInTimeIsFull", tell: openLaneLong,
		options: ledger.Options{BatchMax: 1, OpenWait: time.Nanosecond},
	},
	{name: "AFullSettleLaneRefusesAtOnce", tell: settleLaneFull, options: ledger.Options{SettleMax: 2}},
	{name: "MoneyIsTakenBeforeOrdersThatWaitedLonger", tell: settleFirst, options: ledger.Options{BatchMax: 4}},
	{name: "OrdersAreNotStarvedByMoney", tell: openNotStarved, options: ledger.Options{BatchMax: 4}},
	{name: "WhoWaitedTooLongIsRefusedButMoneyIsNot", tell: waitedTooLong, options: ledger.Options{WaitMax: time.Nanosecond}},
	{name: "WhoHasLeftIsNotPlaced", tell: whoLeft},
	{name: "CloseDecidesWhatWaitsAndTakesNoMore", tell: closeDrains, options: ledger.Options{BatchMax: 2}},
}

// untilMax is how long something may take that is about to happen, on a machine that does other things.
const untilMax = 20 * time.Second

// queue is commands on their way in while the door is held.
type queue struct {
	d       *desk
	gate    *gate
	waiting int
	all     sync.WaitGroup
	mu      sync.Mutex
	order   []string // of answers
	errs    map[string]error
}

// holdDoor lets commands wait from now on.
func (d *desk) holdDoor() *queue { return d.holdDoorWith(asks(ledger.Expire{})) }

// holdDoorWith lets a command hold the door.
func (d *desk) holdDoorWith(first asked) *queue {
	q := &queue{d: d, gate: d.watched.hold(), errs: map[string]error{}}
	q.all.Go(func() { _, _ = first(d.ledger) })
	<-q.gate.reached
	return q
}

// add hands a command in and returns when it waits.
func (q *queue) add(name string, c asked) {
	q.all.Go(func() {
		_, err := c(q.d.ledger)
		q.mu.Lock()
		defer q.mu.Unlock()
		q.order, q.errs[name] = append(q.order, name), err
	})
	q.waiting++
	q.until(name+" waits", func() bool { return q.d.ledger.Waiting(ledger.Open)+q.d.ledger.Waiting(ledger.Settle) >= q.waiting })
}

// gone waits until all who were added have gone, though the door is held.
func (q *queue) gone() {
	q.until("all have gone", func() bool {
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.order) >= q.waiting
	})
}

// until waits for what is about to come true while the door is held.
func (q *queue) until(what string, so func() bool) {
	q.d.Helper()
	for began := time.Now(); !so(); runtime.Gosched() {
		if time.Since(began) > untilMax {
			close(q.gate.open)
			q.d.Fatalf("not after %v: %s", untilMax, what)
		}
	}
}

// release opens the door and waits for all answers.
func (q *queue) release() {
	close(q.gate.open)
	q.all.Wait()
}

// want compares answers: nil is none.
func (q *queue) want(name string, want error) {
	q.d.Helper()
	if got := q.errs[name]; !errors.Is(got, want) || (want == nil && got != nil) {
		q.d.Errorf("%s: got %v, want %v", name, got, want)
	}
}

func openLaneFull(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	pay := d.money(no, "t1")
	q := d.holdDoor()
	q.add("one", asks(d.wish("u", line("a", 1))))
	q.add("two", asks(d.wish("u", line("a", 1))))
	if !d.ledger.Full(ledger.Open) || d.ledger.Full(ledger.Settle) {
		d.Error("two of two wait: want the open lane full, the other not")
	}
	three := d.wish("u", line("a", 1))
	refusal := refused(d, three, fault.ErrOverloaded) // answered while the door is held
	if refusal.RetryAfter == 0 {
		d.Error("overloaded without a time to come back")
	}
	q.add("pay", asks(pay))
	q.add("expire", asks(ledger.Expire{Number: no}))
	q.release()
	for _, name := range []string{"one", "two", "pay", "expire"} {
		q.want(name, nil)
	}
	d.wantStock("a", 7, 2, 1)
	must(d, three)
}

func openLaneLong(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	q := d.holdDoorWith(asks(d.wish("u", line("a", 1)))) // it waited more than a nanosecond
	q.add("one", asks(d.wish("u", line("a", 1))))
	q.add("two", asks(d.wish("u", line("a", 1)))) // one batch of one waits: it is not asked how long
	if !d.ledger.Full(ledger.Open) || d.ledger.Full(ledger.Settle) {
		d.Error("two batches wait behind an order that waited too long: want the open lane full, the other not")
		q.release()
		return
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrOverloaded)
	q.add("expire", asks(ledger.Expire{Number: no}))
	q.release()
	for _, name := range []string{"one", "two", "expire"} {
		q.want(name, nil)
	}
	d.place("u", line("a", 1))
	d.wantStock("a", 5, 5, 0)
}

func settleLaneFull(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	q := d.holdDoor()
	q.add("one", asks(ledger.Expire{Number: no}))
	q.add("two", asks(ledger.Expire{Number: no}))
	refused(d, ledger.Expire{Number: no}, fault.ErrOverloaded)
	q.add("place", asks(d.wish("u", line("a", 1))))
	q.release()
	q.want("place", nil)
}

func settleFirst(d *desk) {
	d.sell("a", 100)
	no := d.place("u", line("a", 1))
	pay := d.money(no, "t1")
	q := d.holdDoor()
	for _, name := range []string{"1", "2", "3", "4", "5", "6"} {
		q.add(name, asks(d.wish("u", line("a", 1))))
	}
	q.add("pay", asks(pay))
	events := &watchOrder{d: d}
	d.watched.breakAt(breaks{save: events.note})
	q.release()
	if len(events.first) != 2 || events.first[0] != "placed 3, settled 1" || events.first[1] != "placed 3, settled 0" {
		d.Errorf("batches: got %q", events.first)
	}
}

// watchOrder notes what each batch did.
type watchOrder struct {
	d     *desk
	first []string
}

func (w *watchOrder) note(c *ledger.Changes) error {
	settled := 0
	for _, o := range c.Orders {
		if o.Status != order.Pending {
			settled++
		}
	}
	w.first = append(w.first, fmt.Sprintf("placed %d, settled %d", len(c.NewOrders), settled))
	return nil
}

func openNotStarved(d *desk) {
	d.sell("a", 100)
	var cancels []asked
	for range 6 {
		cancels = append(cancels, asks(ledger.Cancel{Number: d.place("u", line("a", 1))}))
	}
	q := d.holdDoor()
	for i, c := range cancels {
		q.add(fmt.Sprint("cancel ", i), c)
	}
	for _, name := range []string{"1", "2", "3"} {
		q.add(name, asks(d.wish("u", line("a", 1))))
	}
	events := &watchOrder{d: d}
	d.watched.breakAt(breaks{save: events.note})
	q.release()
	want := []string{"placed 2, settled 2", "placed 1, settled 3", "placed 0, settled 1"}
	if len(events.first) != 3 || events.first[0] != want[0] || events.first[1] != want[1] || events.first[2] != want[2] {
		d.Errorf("batches: got %q, want %q", events.first, want)
	}
}

func waitedTooLong(d *desk) {
	d.stop()
	patient := d.options
	d.options = ledger.Options{}
	d.start()
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	pay := d.money(no, "t1")
	d.stop()
	d.options = patient
	d.start()
	if got := must(d, pay); got != ledger.PaidNow {
		d.Errorf("money that waited: got %s", got)
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrOverloaded)
	d.wantStock("a", 9, 0, 1)
}

func whoLeft(d *desk) {
	d.sell("a", 10)
	no := d.place("u", line("a", 1))
	pay := d.money(no, "t1")
	ctx, leave := context.WithCancel(context.Background())
	q := d.holdDoor()
	place := d.wish("u", line("a", 1))
	q.add("place", func(l *ledger.Ledger) (any, error) {
		return ledger.Submit(ctx, l, ledger.Command[ledger.Placed](place))
	})
	q.add("pay", func(l *ledger.Ledger) (any, error) {
		return ledger.Submit(ctx, l, ledger.Command[ledger.PayOutcome](pay))
	})
	leave()
	q.gone() // or an answer that is there would count
	q.release()
	q.want("place", context.Canceled)
	q.want("pay", context.Canceled) // but it was taken in
	d.sell("b", 1)                  // which is decided behind it
	d.wantStock("a", 9, 0, 1)
}

func closeDrains(d *desk) {
	d.sell("a", 20)
	q := d.holdDoor()
	var names []string
	for i := range 16 { // eight batches
		names = append(names, fmt.Sprint("order ", i))
		q.add(names[i], asks(d.wish("u", line("a", 1))))
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if err := d.ledger.Close(gone); !errors.Is(err, context.Canceled) {
		d.Errorf("close without time: got %v", err)
	}
	refused(d, d.wish("u", line("a", 1)), fault.ErrUnavailable)
	q.release()
	for _, name := range names {
		q.want(name, nil)
	}
	d.stop()
	d.wantStock("a", 4, 16, 0)
	d.start()
	d.place("u", line("a", 1))
}
