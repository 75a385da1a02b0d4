package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// shopper is one request of a client while the desk is stopped: an order, then perhaps its money.
type shopper struct {
	key, user string
	answer
	err   error
	order api.Order
	paid  bool // the notice was answered 200
}

// shop lets clients place and pay, each over its own connection, until stop says so or no connection can be made any more.
func shop(s *server, clients int, stop func() bool) []*shopper {
	var mu sync.Mutex
	var all []*shopper
	atOnce(clients, func(i int) {
		for n := 0; !stop(); n++ {
			who := &shopper{key: fmt.Sprintf("key-%d-%d", i, n), user: fmt.Sprintf("u-%d-%d", i, n)}
			who.answer, who.err = s.place(who.key, who.user, line("sku", 1))
			if who.status == http.StatusCreated {
				read(s.desk.t, who.body, &who.order)
			}
			if who.status == http.StatusCreated && n%3 == 0 {
				a, err := s.notify(moneyFor(who.order, "tx-"+who.key))
				who.paid = err == nil && a.status == http.StatusOK
			}
			mu.Lock()
			all = append(all, who)
			mu.Unlock()
			if errors.Is(who.err, syscall.ECONNREFUSED) {
				return
			}
		}
	})
	return all
}

// wantKept starts the desk again and looks that everything acknowledged is there, and nothing that was not answered: what had
// been accepted was answered before the connection ended.
func wantKept(t *testing.T, db string, all []*shopper) {
	t.Helper()
	s := serve(t, db)
	accepted, cut := 0, 0
	each(all, func(who *shopper) {
		var found api.Page[api.Order]
		if who.err != nil {
			if fetch(s.desk, "/v1/orders?user_id="+who.user, &found) && len(found.Data) != 0 {
				t.Errorf("%s has an order and was answered %v", who.key, who.err)
			}
			return
		}
		if who.status != http.StatusCreated {
			return
		}
		replayed(t, s.desk, who.body, who.key, who.user, line("sku", 1))
		var now api.Order
		if fetch(s.desk, "/v1/orders/"+who.order.OrderNo, &now) && who.paid && now.Status != api.OrderPaid {
			t.Errorf("%s was paid and is %s", who.key, now.Status)
		}
	})
	answers := map[string]int{}
	for _, who := range all {
		switch {
		case who.err == nil && who.status == http.StatusCreated:
			accepted++
		case errors.Is(who.err, syscall.ECONNREFUSED):
		case who.err != nil:
			cut++
			t.Logf("cut off: %v", who.err)
		default:
			answers[fmt.Sprint(who.status, " ", who.problem().Code)]++
		}
	}
	t.Logf("%d accepted, %d cut off before they were read, others %v", accepted, cut, answers)
	if accepted == 0 {
		t.Error("nothing was accepted: the test has tested nothing")
	}
	s.stop()
	auditClean(t, db)
}

// With a drain delay a load balancer sees readiness go down and sends its requests elsewhere; meanwhile the desk goes on.
// Then nobody is refused a connection, and every request gets its whole answer.
func TestADrainedDeskAnswersEveryRequest(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db, "--drain-delay", "1s")
	s.product("sku", 1_000_000, nil)
	var draining atomic.Bool
	served := make(chan []*shopper, 1)
	go func() { served <- shop(s, 32, draining.Load) }()
	pass(300 * time.Millisecond) // of load

	s.signal(syscall.SIGTERM)
	testenv.Until(t, startMax, "readiness to go down", func() bool {
		return s.ask("GET", "/readyz", nil).status == http.StatusServiceUnavailable
	})
	if a := s.ask("GET", "/healthz", nil); a.status != http.StatusOK {
		t.Errorf("health while draining: got %v, want 200", a)
	}
	if a, err := s.place("while-draining", "u-late", line("sku", 1)); err != nil || a.status != http.StatusCreated {
		t.Errorf("an order while draining: got %v, %v, want 201", a, err)
	}
	draining.Store(true)
	all := <-served
	for _, who := range all {
		if who.err != nil || who.status != http.StatusCreated {
			t.Errorf("%s: got %v, %v, want 201", who.key, who.answer, who.err)
		}
	}
	if code := s.wait(stopMax); code != 0 {
		t.Errorf("exit code: got %d, want 0", code)
	}
	if _, err := s.send("GET", "/healthz", nil); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("afterwards: got %v, want the connection refused", err)
	}
	wantKept(t, db, all)
}

// Without a drain delay clients run into the closing door. They may find it closed, but what was let in is answered, and what
// was answered is kept.
func TestADeskStoppedUnderLoadLosesNothing(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	s.product("sku", 1_000_000, nil)
	served := make(chan []*shopper, 1)
	go func() { served <- shop(s, 64, func() bool { return false }) }()
	pass(300 * time.Millisecond) // of load
	s.stop()
	wantKept(t, db, <-served)
}

func TestASecondSignalStopsNow(t *testing.T) {
	db := database(t)
	s := serve(t, db, "--drain-delay", "5m")
	s.product("sku", 100, nil)
	o := s.order("a", "u-a", line("sku", 1))
	s.signal(syscall.SIGTERM)
	testenv.Until(t, startMax, "readiness to go down", func() bool {
		return s.ask("GET", "/readyz", nil).status == http.StatusServiceUnavailable
	})
	s.signal(syscall.SIGTERM)
	if code := s.wait(5 * time.Second); code == 0 {
		t.Error("exit code: got 0, which is for a graceful stop")
	}
	s = serve(t, db)
	if got := s.look(o.OrderNo); got.Status != api.OrderPending {
		t.Errorf("the order: got %+v, want it as it was", got)
	}
	auditClean(t, db)
}

// Orders that are due while the desk is away expire when it is back, not before and not much later.
func TestOrdersDueWhileTheDeskWasAwayExpireWhenItIsBack(t *testing.T) {
	t.Parallel()
	db := database(t)
	s := serve(t, db)
	s.product("quick", 100, payWithin(time.Second))
	var due []api.Order
	for i := range 20 {
		due = append(due, s.order(fmt.Sprint("k", i), "u", line("quick", 1)))
	}
	s.kill()
	pass(time.Until(due[len(due)-1].PayBy)) // the desk is away until all are due
	s = serve(t, db)
	for _, o := range due {
		testenv.Until(t, startMax, "it to expire", func() bool { return s.look(o.OrderNo).Status == api.OrderExpired })
	}
	wantHeld(s.desk, "quick", 100, 0)
	auditClean(t, db)
}
