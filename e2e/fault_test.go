package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite" // to get in the way of the desk

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// wantTurnedAway checks that a request was sent away in a way that a client can act on.
func wantTurnedAway(t *testing.T, a answer, codes ...string) {
	t.Helper()
	after, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != http.StatusServiceUnavailable || err != nil || after < 1 {
		t.Errorf("got %v with Retry-After %q, want 503 and a whole number of seconds", a, a.header.Get("Retry-After"))
		return
	}
	code := a.problem().Code
	for _, want := range codes {
		if code == want {
			return
		}
	}
	t.Errorf("got %v, want one of %v", a, codes)
}

// wantOrdersAgain waits until an order is accepted, without a restart.
func wantOrdersAgain(t *testing.T, d *desk, key, user string, lines ...api.PlaceLine) (o api.Order) {
	t.Helper()
	testenv.Until(t, 15*time.Second, "orders to go on", func() bool {
		a, err := d.place(key, user, lines...)
		if err != nil || a.status != http.StatusCreated {
			return false
		}
		read(t, a.body, &o)
		return true
	})
	return o
}

// Commits are slow and only a few orders may wait: the rest is sent away at once and harms nobody. Money and deadlines have a
// lane of their own and pass.
func TestAFullQueueSendsOrdersAwayAndLetsMoneyPass(t *testing.T) {
	t.Parallel()
	const buyers, waiting, paying = 200, 4, 40
	db := database(t)
	s := serve(t, db)
	s.product("sku", 10_000, nil)
	s.product("quick", 10_000, payWithin(2*time.Second))
	var unpaid []api.Order
	for i := range paying {
		unpaid = append(unpaid, s.order(fmt.Sprintf("unpaid-%d", i), "u", line("sku", 1)))
	}
	due := s.order("due", "u", line("quick", 1))
	s.stop()

	s = failing("batch.before_commit=sleep:50ms").serve(t, db, "--open-queue", strconv.Itoa(waiting), "--batch-max", "8")
	var over atomic.Bool
	var crowd, money sync.WaitGroup
	var away, accepted atomic.Int64
	for i := range buyers {
		crowd.Go(func() {
			for n := 0; !over.Load(); n++ {
				a, err := s.place(fmt.Sprintf("k-%d-%d", i, n), "u", line("sku", 1))
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.status == http.StatusCreated:
					accepted.Add(1)
				default:
					wantTurnedAway(t, a, api.CodeOverloaded)
					away.Add(1)
				}
			}
		})
	}
	testenv.Until(t, startMax, "the queue to be full", func() bool { return away.Load() > buyers })
	for i, o := range unpaid {
		money.Go(func() {
			if a, err := s.notify(moneyFor(o, fmt.Sprintf("tx-%d", i))); err != nil || a.status != http.StatusOK {
				t.Errorf("money during the rush: got %v, %v, want 200", a, err)
			}
		})
	}
	money.Wait()
	testenv.Until(t, 10*time.Second, "a deadline during the rush", func() bool { return s.look(due.OrderNo).Status == api.OrderExpired })
	if n := s.metric(`holdfast_ledger_waiting{lane="open"}`); n > waiting {
		t.Errorf("%v orders wait, want at most %d", n, waiting)
	}
	if n := away.Load(); n <= buyers {
		t.Errorf("only %d were sent away: the money has met no rush", n)
	}
	over.Store(true)
	crowd.Wait()
	t.Logf("%d accepted, %d sent away", accepted.Load(), away.Load())

	wantOrdersAgain(t, s.desk, "afterwards", "u", line("sku", 1))
	wantSold(s.desk, "sku", 10_000, accepted.Load()+1, paying)
	auditClean(t, db)
}

func wantSold(d *desk, product string, received, held, sold int64) {
	d.t.Helper()
	got := d.stock(product)
	want := api.Stock{ProductID: product, Received: received, Available: received - held - sold, Held: held, Sold: sold, Version: got.Version}
	if got != want {
		d.t.Errorf("stock: got %+v, want %+v", got, want)
	}
}

// Ten times as many connections as the desk has room for: it sends away what it cannot hold, what it holds stays bounded, and
// when the rush is over nothing of it is left.
func TestOverloadIsBoundedAndForgotten(t *testing.T) {
	t.Parallel()
	const buyers, waiting, memory = 400, 40, 300 << 20
	db := database(t)
	s := failing("batch.before_commit=sleep:100ms").serve(t, db, "--open-queue", strconv.Itoa(waiting), "--batch-max", strconv.Itoa(waiting))
	s.product("sku", 1_000_000, nil)
	var over atomic.Bool
	var crowd sync.WaitGroup
	var away, accepted atomic.Int64
	for i := range buyers {
		crowd.Go(func() {
			for n := 0; !over.Load(); n++ {
				a, err := s.place(fmt.Sprintf("k-%d-%d", i, n), "u", line("sku", 1))
				switch {
				case err != nil:
					t.Error(err)
					return
				case a.status == http.StatusCreated:
					accepted.Add(1)
				default:
					wantTurnedAway(t, a, api.CodeOverloaded)
					away.Add(1)
					pass(20 * time.Millisecond) // an impatient client
				}
			}
		})
	}
	testenv.Until(t, startMax, "the rush to go on for a while", func() bool {
		if n := s.metric(`holdfast_ledger_waiting{lane="open"}`); n > waiting {
			t.Errorf("%v orders wait, want at most %d", n, waiting)
		}
		if n := s.metric("process_resident_memory_bytes"); n > memory {
			t.Errorf("%v bytes in memory, want at most %d", n, memory)
		}
		return away.Load() > 10*buyers && accepted.Load() > 10*waiting
	})
	over.Store(true)
	crowd.Wait()
	t.Logf("%d accepted, %d sent away", accepted.Load(), away.Load())
	wantOrdersAgain(t, s.desk, "afterwards", "u", line("sku", 1))
	if found := s.stock("sku").Held; found != accepted.Load()+1 {
		t.Errorf("%d units are held, want %d", found, accepted.Load()+1)
	}
	testenv.Until(t, startMax, "nobody to wait", func() bool { return s.metric(`holdfast_ledger_waiting{lane="open"}`) == 0 })
	auditClean(t, db)
}

// The disk fills up under the database, and is cleared again. Nothing that was answered is lost, nothing half-done stays, and
// nobody has to restart anything.
func TestAFullDiskIsToldAndSurvived(t *testing.T) {
	t.Parallel()
	disk := smallDisk(t, "size=24m")
	db := sqlite(filepath.Join(disk, "holdfast.db"))
	s := serve(t, db)
	s.product("sku", 1_000_000, nil)
	s.product("quick", 1000, payWithin(2*time.Second))
	before := s.order("before", "u-0", line("sku", 1))
	unpaid := s.order("unpaid", "u-1", line("sku", 1))
	ballast := fill(t, disk)

	accepted := map[string][]byte{}
	var refused answer
	testenv.Until(t, startMax, "the disk to be full", func() bool {
		key := fmt.Sprintf("full-%d", len(accepted))
		a, err := s.place(key, "u-"+key, line("sku", 1))
		if err != nil {
			t.Fatal(err)
		}
		if a.status != http.StatusCreated {
			refused = a
			return true
		}
		accepted[key] = a.body
		return false
	})
	// A full disk has certainly changed nothing: whoever is told that it is not known has to keep asking.
	wantNothingChanged := func(a answer) {
		t.Helper()
		wantTurnedAway(t, a, api.CodeUnavailable, api.CodeOverloaded)
		if p := a.problem(); p.Code == api.CodeUnavailable && p.Detail != fault.ErrUnavailable.Detail {
			t.Errorf("got %q, want %q", p.Detail, fault.ErrUnavailable.Detail)
		}
	}
	wantTurnedAway(t, refused, api.CodeUnavailable)
	wantNothingChanged(refused)
	atOnce(32, func(i int) {
		a, err := s.place(fmt.Sprintf("refused-%d", i), fmt.Sprintf("u-r%d", i), line("sku", 1), line("quick", 1))
		if err != nil {
			t.Error(err)
			return
		}
		wantNothingChanged(a)
	})
	a, err := s.notify(moneyFor(unpaid, "tx-1"))
	if err != nil {
		t.Fatal(err)
	}
	wantNothingChanged(a)
	if got := s.look(before.OrderNo); got.Status != api.OrderPending { // reading goes on
		t.Errorf("the order from before: got %+v", got)
	}
	if got := s.stock("sku"); got.Held != int64(2+len(accepted)) {
		t.Errorf("stock while the disk is full: got %+v, want %d held", got, 2+len(accepted))
	}

	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	var again []api.Order
	for i := range 32 {
		again = append(again, wantOrdersAgain(t, s.desk, fmt.Sprintf("refused-%d", i), fmt.Sprintf("u-r%d", i), line("sku", 1), line("quick", 1)))
	}
	for key, body := range accepted {
		replayed(t, s.desk, body, key, "u-"+key, line("sku", 1))
	}
	if a, err := s.notify(moneyFor(unpaid, "tx-1")); err != nil || a.status != http.StatusOK {
		t.Errorf("the notice, sent again: got %v, %v, want 200", a, err)
	}
	testenv.Until(t, 15*time.Second, "the last of them to expire", func() bool {
		return s.look(again[len(again)-1].OrderNo).Status == api.OrderExpired
	})
	wantSold(s.desk, "sku", 1_000_000, int64(1+len(accepted)), 1)
	s.settled()
	auditClean(t, db)
	s.stop()
	auditClean(t, db)
}

// fill writes until a disk is full.
func fill(t *testing.T, disk string) (ballast string) {
	t.Helper()
	ballast = filepath.Join(disk, "ballast")
	f, err := os.Create(ballast)
	if err != nil {
		t.Fatal(err)
	}
	for size := 1 << 20; size > 0; size /= 2 {
		for err = nil; err == nil; {
			_, err = f.Write(make([]byte, size))
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("fill the disk: %v", err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	return ballast
}

// Somebody opens the database with a tool and holds its write lock. The desk says so within seconds, goes on reading, and
// writes again when the lock is let go.
func TestALockedDatabaseIsToldAndSurvived(t *testing.T) {
	db := database(t)
	s := serve(t, db)
	s.product("sku", 1000, nil)
	s.product("quick", 1000, payWithin(time.Second))
	before := s.order("before", "u", line("sku", 1))
	due := s.order("due", "u", line("quick", 1))
	unlock := lockDatabase(t, fileOf(db))

	const answerMax = 6 * time.Second // one turn of waiting for the lock, 1.5 s, on a busy machine
	atOnce(16, func(i int) {
		begin := time.Now()
		var a answer
		var err error
		if i%4 == 0 {
			a, err = s.notify(moneyFor(before, "tx-1"))
		} else {
			a, err = s.place(fmt.Sprintf("locked-%d", i), "u", line("sku", 1))
		}
		if err != nil {
			t.Error(err)
			return
		}
		wantTurnedAway(t, a, api.CodeUnavailable, api.CodeOverloaded)
		if took := time.Since(begin); took > answerMax {
			t.Errorf("the answer took %v, want less than %v", took, answerMax)
		}
	})
	if got := s.look(before.OrderNo); got.Status != api.OrderPending {
		t.Errorf("the order while the database is locked: got %+v", got)
	}
	wantHeld(s.desk, "sku", 1000, 1) // reading goes on
	unlock()

	for i := range 16 {
		wantOrdersAgain(t, s.desk, fmt.Sprintf("locked-%d", i), "u", line("sku", 1))
	}
	if a, err := s.notify(moneyFor(before, "tx-1")); err != nil || a.status != http.StatusOK {
		t.Errorf("the notice, sent again: got %v, %v, want 200", a, err)
	}
	testenv.Until(t, startMax, "what was due meanwhile to expire", func() bool { return s.look(due.OrderNo).Status == api.OrderExpired })
	wantSold(s.desk, "sku", 1000, 16, 1)
	s.settled()
	auditClean(t, db)
}

// lockDatabase takes the write lock of a database as another program would.
func lockDatabase(t *testing.T, file string) (unlock func()) {
	t.Helper()
	other, err := sql.Open("sqlite", "file:"+file+"?_pragma=busy_timeout(5000)")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := other.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	unlock = sync.OnceFunc(func() {
		_, _ = conn.ExecContext(context.Background(), `ROLLBACK`)
		_ = conn.Close()
		_ = other.Close()
	})
	t.Cleanup(unlock)
	return unlock
}
