package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	healing  = time.Second     // until every process knows better than to refuse
	letGo    = 3 * time.Second // of a row that a process held when it was stopped
	backSoon = 2 * time.Second // after the database is back
	darkness = 6 * time.Second // of a black hole: longer than a connection that fell silent is believed in
	faultsOf = 10              // of -chaos.n, one is made of each kind: of kills, lost commits and stops within a transaction, on each kind of database

	lossesMax = 50 // of commits, until one of the ledger's was among them
)

// faults is how often each fault of a database happens.
func faults() int { return max(*chaosN/faultsOf, 1) }

// ofItsOwn is a record that a test may kill.
type ofItsOwn struct {
	name  string
	start func(testing.TB, testenv.Options) *testenv.Server
}

var records = []ofItsOwn{{"PostgreSQL", testenv.StartPostgres}, {"MariaDB", testenv.StartMariaDB}}

// The database is killed again and again under a crowd. The desk says so, loses nothing, and is back as soon as the database is,
// without a restart.
func TestChaosTheDatabaseIsKilled(t *testing.T) {
	t.Parallel()
	for _, record := range records {
		t.Run(record.name, func(t *testing.T) {
			t.Parallel()
			database := record.start(t, testenv.Options{OnDisk: true})
			w := where{record: record.name, database: func(*testing.T) string { return database.URL() }, processes: 1}
			c := newCrowd(t, w)
			c.rests *= longer
			f := w.serve(t, shipped, c.database)
			for kill := range faults() {
				stop := make(chan struct{})
				went, length := time.Duration(200+c.number(400))*time.Millisecond, time.Duration(c.number(1000))*time.Millisecond
				go func() {
					defer close(stop)
					pass(went)
					database.Kill()
					pass(length)
					database.Start() // returns when it answers
					back := time.Now()
					testenv.Until(t, startMax, "orders to go on", func() bool { return c.buy(f.desk) && c.boughtSince(back) })
					if took := time.Since(back); took > backSoon {
						t.Errorf("kill %d: orders went on %v after the database was back, want at most %v", kill+1, took, backSoon)
					}
				}()
				c.rush(f.desk, stop)
				<-stop
				c.check(f.desk, oldPurchases)
				if t.Failed() {
					t.Fatalf("after kill %d of the database", kill+1)
				}
			}
			c.finish(f.desk)
		})
	}
}

// Connections to the database are lost at the very moment of a commit: after the database has done it and before it could say
// so, before it has even heard of it, or without anybody noticing that they are lost. Everyone gets the one right answer.
func TestChaosCommitsThatAreCutOffAreToldAsTheyAre(t *testing.T) {
	t.Parallel()
	for _, record := range records {
		t.Run(record.name, func(t *testing.T) {
			t.Parallel()
			database := record.start(t, testenv.Options{})
			proxy := testenv.NewProxy(t, database.Addr())
			through := strings.Replace(database.URL(), database.Addr(), proxy.Addr(), 1)
			w := where{record: record.name, database: func(*testing.T) string { return through }, processes: 1}
			c := newCrowd(t, w)
			c.rests *= longer
			f := w.serve(t, shipped, c.database)
			for range faults() {
				for _, loss := range []loss{
					{"the reply swallowed", (*testenv.Proxy).SwallowReply, 0},
					{"cut before", (*testenv.Proxy).CutRequest, 0},
					{"a black hole before", (*testenv.Proxy).BlackholeRequest, darkness},
					{"a black hole after", (*testenv.Proxy).BlackholeReply, darkness},
				} {
					c.loseCommits(f, proxy, loss)
					c.check(f.desk, oldPurchases)
					if t.Failed() {
						t.Fatalf("after %s", loss.name)
					}
				}
			}
			c.finish(f.desk)
		})
	}
}

// loss is a way to lose the connection at a commit.
type loss struct {
	name  string
	next  func(*testenv.Proxy, func(request []byte) bool) (lost <-chan struct{})
	lasts time.Duration // nothing passes on any connection
}

// loseCommits lets the crowd buy while commits are lost, until one of the ledger's was among them: others commit, too.
func (c *crowd) loseCommits(f *fleet, proxy *testenv.Proxy, l loss) {
	c.t.Helper()
	const inDoubt = "holdfast_ledger_in_doubt_total"
	before, stop := f.metric(inDoubt), make(chan struct{})
	go func() {
		defer close(stop)
		for range lossesMax {
			select {
			case <-l.next(proxy, testenv.Saying("commit")):
			case <-time.After(startMax):
				c.t.Error("no commit passed by")
				return
			}
			pass(l.lasts)
			proxy.Blackhole(false)
			back := time.Now()
			testenv.Until(c.t, startMax, "orders to go on", func() bool { return c.boughtSince(back) })
			if took := time.Since(back); took > backSoon {
				c.t.Errorf("%s: orders went on after %v, want at most %v", l.name, took, backSoon)
			}
			if f.metric(inDoubt) > before {
				return
			}
			if l.lasts > 0 {
				return // all connections were in it, whatever they said
			}
		}
		c.t.Errorf("%s: no commit of the ledger was in doubt in %d losses", l.name, lossesMax)
	}()
	c.rush(f.desk, stop)
	<-stop
}

// One of three processes is stopped inside its transaction, with the hot row locked, again and again. The others sell within three
// seconds; when it wakes up it does no harm, and its own buyer has one order at most.
func TestChaosAProcessIsStoppedInItsTransaction(t *testing.T) {
	t.Parallel()
	for _, w := range onServers {
		if w.processes == 1 {
			continue
		}
		t.Run(w.record, func(t *testing.T) {
			t.Parallel()
			db := w.database(t)
			others := where{record: w.record, database: w.database, processes: 2}.serve(t, shipped, db)
			others.product("hot", 1000, nil)
			rounds := faults()
			for round := range rounds {
				stopInTransaction(t, fmt.Sprint(round), db, others)
				if t.Failed() {
					t.Fatalf("when it was stopped for the %d. time", round+1)
				}
			}
			wantHeld(others.desk, "hot", 1000, int64(3*rounds))
			auditClean(t, db)
		})
	}
}

func stopInTransaction(t *testing.T, name, db string, others *fleet) {
	t.Helper()
	sleeper := failing("batch.before_commit=stop@1").serve(t, db)
	told := make(chan answer, 1)
	go func() {
		a, _ := sleeper.place("sleeper-"+name, "u-sleeper", line("hot", 1)) // no answer is an answer here
		told <- a
	}()
	testenv.Until(t, startMax, "the process to be stopped", sleeper.silent)

	begun := time.Now()
	for _, s := range others.servers {
		wantOrdersAgain(t, s.desk, "awake-"+name+s.url, "u-awake", line("hot", 1))
	}
	if took := time.Since(begun); took > letGo {
		t.Errorf("the others sold after %v, want at most %v", took, letGo)
	}
	pass(2 * letGo) // whatever it held, it holds no more

	sleeper.signal(syscall.SIGCONT)
	a := <-told
	o := wantOrdersAgain(t, sleeper.desk, "sleeper-"+name, "u-sleeper", line("hot", 1))
	if first := (api.Order{}); a.status == http.StatusCreated {
		read(t, a.body, &first)
		if first.OrderNo != o.OrderNo {
			t.Errorf("its buyer was told of %s first and then of %s", first.OrderNo, o.OrderNo)
		}
	}
	sleeper.kill()
}

// silent is whether a process does not even say that it is alive.
func (s *server) silent() bool {
	quick := *s.desk
	quick.http = &http.Client{Timeout: 200 * time.Millisecond}
	_, err := quick.send("GET", "/healthz", nil)
	return err != nil
}

// What one process did the others know within a second: units that came back are sold, a price that changed is charged at once.
func TestWhatOneProcessDidTheOthersKnow(t *testing.T) {
	for _, w := range onServers {
		if w.processes == 1 {
			continue
		}
		t.Run(w.record, func(t *testing.T) {
			db := w.database(t)
			f := w.serve(t, shipped, db)
			a, b, c := f.servers[0], f.servers[1], f.servers[2]
			a.product("one", 1, nil)
			o := a.order("first", "u-1", line("one", 1))
			for _, s := range f.servers { // all have seen that it is sold out
				if got, err := s.place("refused-"+s.url, "u-2", line("one", 1)); err != nil || got.problem().Code != api.CodeOutOfStock {
					t.Fatalf("got %v, %v, want 409 out_of_stock", got, err)
				}
			}
			b.want(http.StatusOK, nil, "POST", "/v1/orders/"+o.OrderNo+"/cancel", nil)
			cancelled := time.Now()
			again := wantOrdersAgain(t, a.desk, "second", "u-3", line("one", 1))
			if took := time.Since(cancelled); took > healing+200*time.Millisecond { // a look and an order on a busy machine
				t.Errorf("sold again after %v, want at most %v", took, healing)
			}
			if now := c.look(again.OrderNo); now.Status != api.OrderPending {
				t.Errorf("a third process sees the order %s, want it pending", now.Status)
			}

			a.product("dear", 100, nil)
			b.order("before", "u-4", line("dear", 1))
			price := api.Money{Amount: 2999, Currency: "CNY"}
			a.want(http.StatusOK, nil, "PUT", "/v1/products/dear", map[string]any{"title": "Dearer", "price": price})
			if got := b.order("after", "u-5", line("dear", 1)).Total; got != price {
				t.Errorf("b charged %v right after a changed the price, want %v", got, price)
			}
			auditClean(t, db)
		})
	}
}
