package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	raceOrders = 1000 // in the first round
	raceMore   = 400  // in each further one, should the first have come out lopsided
	raceRounds = 6
	raceEnough = 100 // orders that have to end each way
)

// racer is an order whose money arrives around its deadline.
type racer struct {
	placed, now api.Order
	sent        time.Duration // of the notice, after pay_by
	tellings    int           // of the same notice, at once
}

// Money and the deadline of its order meet within milliseconds, a thousand times. Each order ends paid or expired; money that
// lost goes back exactly once; no unit is lost or counted twice.
func TestPayMeetsExpire(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		db := w.database(t)
		s := w.serve(t, shipped, db)
		windows := []time.Duration{1000 * time.Millisecond, 1500 * time.Millisecond, 2000 * time.Millisecond, 2500 * time.Millisecond}
		for i, window := range windows {
			s.product(fmt.Sprintf("w-%d", i), 2*raceOrders, payWithin(window))
		}
		draw := rand.New(rand.NewPCG(*chaosSeed, 2))
		var racers []*racer
		var paid, expired int
		// How much earlier a notice has to leave in order to arrive in time depends on the machine, so it is found out by trying.
		earlier := time.Duration(0)
		for round := 0; round < raceRounds && (paid < raceEnough || expired < raceEnough); round++ {
			n := raceMore
			if round == 0 {
				n = raceOrders
			}
			batch := race(s.desk, draw, round, n, earlier)
			racers = append(racers, batch...)
			wonNow := 0
			for _, r := range batch {
				if r.now.Status == api.OrderPaid {
					wonNow++
				}
			}
			paid, expired = paid+wonNow, expired+n-wonNow
			t.Logf("round %d, notices %v earlier: %d paid, %d expired", round, earlier, wonNow, n-wonNow)
			if paid < raceEnough {
				earlier += 25 * time.Millisecond << round
			} else {
				earlier -= 25 * time.Millisecond << round
			}
		}
		if paid < raceEnough || expired < raceEnough {
			t.Errorf("%d paid, %d expired: want at least %d of each", paid, expired, raceEnough)
		}
		s.settled()
		checkRacers(t, racers, s.events("types", "order.paid,order.expired,payment.late,refund.due"))
		checkRaceStock(s.desk, racers, len(windows))
		auditClean(t, db)
	})
}

// race places orders, sends the notice of each around its pay_by, and looks how they ended. Half of the notices come within a
// few milliseconds of the deadline, the others up to 300 ms after it.
func race(d *desk, draw *rand.Rand, round, n int, earlier time.Duration) []*racer {
	d.t.Helper()
	racers := make([]*racer, n)
	for i := range racers {
		offset := time.Duration(draw.IntN(310)-10) * time.Millisecond
		if i%2 == 0 {
			offset = time.Duration(draw.IntN(15)-10) * time.Millisecond
		}
		racers[i] = &racer{sent: offset - earlier, tellings: 1 + draw.IntN(2)}
	}
	var next atomic.Int64
	var notices sync.WaitGroup
	atOnce(48, func(int) {
		for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
			r := racers[i]
			a, _, err := d.placeAgain(fmt.Sprintf("r-%d-%d", round, i), fmt.Sprintf("u-%d", i), line(fmt.Sprintf("w-%d", i%4), 1+i%3))
			if err != nil || a.status != http.StatusCreated {
				d.t.Errorf("place: got %v, %v, want 201", a, err)
				return
			}
			read(d.t, a.body, &r.placed)
			for range r.tellings {
				notices.Go(func() { r.pay(d) })
			}
		}
	})
	notices.Wait()
	if d.t.Failed() {
		d.t.FailNow()
	}
	for _, r := range racers {
		testenv.Until(d.t, 20*time.Second, "the order to end", func() bool {
			r.now = d.look(r.placed.OrderNo)
			return r.now.Status != api.OrderPending
		})
	}
	return racers
}

func (r *racer) pay(d *desk) {
	pass(time.Until(r.placed.PayBy.Add(r.sent))) // until around its deadline
	if a, err := d.notify(moneyFor(r.placed, "tx-"+r.placed.OrderNo)); err != nil || a.status != http.StatusOK {
		d.t.Errorf("notice: got %v, %v, want 200", a, err)
	}
}

func checkRacers(t *testing.T, racers []*racer, events []api.Event) {
	t.Helper()
	stories := map[string]map[string]int{}
	for _, e := range events {
		if stories[e.Subject] == nil {
			stories[e.Subject] = map[string]int{}
		}
		stories[e.Subject][e.Type]++
	}
	ties := 0
	for _, r := range racers {
		var want map[string]int
		switch o := r.now; {
		case o.Status == api.OrderPaid && o.PaidAt != nil:
			want = map[string]int{"order.paid": 1}
			if late := o.PaidAt.After(o.PayBy); late != o.PaidLate && !o.PaidAt.Equal(o.PayBy) {
				t.Errorf("%s: paid at %v, to be paid by %v, paid_late %v", o.OrderNo, o.PaidAt, o.PayBy, o.PaidLate)
			}
			if o.PaidLate {
				ties++
			}
		case o.Status == api.OrderExpired && o.ClosedAt != nil:
			want = map[string]int{"order.expired": 1, "payment.late": 1, "refund.due": 1}
			if o.ClosedAt.Before(o.PayBy) {
				t.Errorf("%s expired early: at %v, to be paid by %v", o.OrderNo, o.ClosedAt, o.PayBy)
			}
		default:
			t.Errorf("%s ended %+v, want it paid or expired", o.OrderNo, o)
			continue
		}
		if got := stories[r.now.OrderNo]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %s: got the events %v, want %v", r.now.OrderNo, r.now.Status, got, want)
		}
	}
	t.Logf("%d of %d were paid after pay_by and before they expired", ties, len(racers))
}

func checkRaceStock(d *desk, racers []*racer, products int) {
	d.t.Helper()
	sold := map[string]int64{}
	for _, r := range racers {
		if r.now.Status == api.OrderPaid {
			sold[r.now.Lines[0].ProductID] += r.now.Lines[0].Quantity
		}
	}
	for i := range products {
		id := fmt.Sprintf("w-%d", i)
		got := d.stock(id)
		want := api.Stock{ProductID: id, Received: 2 * raceOrders, Available: 2*raceOrders - sold[id], Sold: sold[id], Version: got.Version}
		if got != want {
			d.t.Errorf("stock: got %+v, want %+v", got, want)
		}
	}
}
