package redisfront_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

var (
	faultsN = flag.Int("faults.n", 2, "how often each fault of Redis happens in its sale")

	// Where nothing else runs a second is asked for, and 15 s. Beside other tests it depends on them.
	orderPauseMax = flag.Duration("faults.pause", 3*time.Second, "how long nobody may get an order, whatever becomes of Redis")
	fullSpeedMax  = flag.Duration("faults.back", time.Minute, "how long a Redis that is back may be left unused")
)

// mishaps is a Redis that has accidents.
type mishaps struct {
	t      *testing.T
	server *testenv.Server
	proxy  *testenv.Proxy
	sale   *sale
}

const away = 700 * time.Millisecond // for which Redis is gone

func pause(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the sale goes on meanwhile

func (m *mishaps) killed() {
	m.server.Kill()
	pause(away)
	m.server.Start()
}

func (m *mishaps) flushed() { do(m.t, direct(m.t, m.server.URL()), "FLUSHALL") }

// broughtBackOld restarts it with what it held a while ago.
func (m *mishaps) broughtBackOld() {
	c := direct(m.t, m.server.URL())
	do(m.t, c, "SAVE")
	folder, err := do(m.t, c, "CONFIG", "GET", "dir").AsStrMap()
	if err != nil {
		m.t.Fatal(err)
	}
	file := filepath.Join(folder["dir"], "dump.rdb")
	old, err := os.ReadFile(file)
	if err != nil {
		m.t.Fatal(err)
	}
	pause(away)
	m.server.Kill()
	if err := os.WriteFile(file, old, 0o644); err != nil {
		m.t.Fatal(err)
	}
	m.server.Start()
}

func (m *mishaps) slow() {
	m.proxy.Delay(2 * time.Second)
	pause(2 * away)
	m.proxy.Delay(0)
}

func (m *mishaps) swallowed() {
	m.proxy.Blackhole(true)
	pause(2 * away)
	m.proxy.Blackhole(false)
}

func (m *mishaps) repliesLost() {
	for _, command := range []string{"EVALSHA", "BITFIELD"} {
		select {
		case <-m.proxy.SwallowReply(testenv.Saying(command)):
		case <-time.After(2 * time.Second): // nobody asked: it is not believed just now
		}
	}
}

func (m *mishaps) replyHangs() {
	select {
	case <-m.proxy.BlackholeReply(testenv.Saying("EVALSHA")):
	case <-time.After(2 * time.Second):
	}
	pause(away)
	m.proxy.Blackhole(false)
}

// A server that answers and cannot do what it is asked to is as good as away.
func TestARedisThatIsFullBusyOrReadOnlyIsNoReasonToRefuse(t *testing.T) {
	set := func(name, value string) func(*testing.T, rueidis.Client) {
		return func(t *testing.T, c rueidis.Client) { t.Helper(); do(t, c, "CONFIG", "SET", name, value) }
	}
	for _, c := range []struct {
		is           string
		begins, ends func(*testing.T, rueidis.Client)
	}{
		{"full", set("maxmemory", "1"), set("maxmemory", "0")},
		{
			"read-only",
			func(t *testing.T, c rueidis.Client) { t.Helper(); do(t, c, "REPLICAOF", "127.0.0.1", "1") },
			func(t *testing.T, c rueidis.Client) { t.Helper(); do(t, c, "REPLICAOF", "NO", "ONE") },
		},
		{
			"busy",
			func(t *testing.T, c rueidis.Client) {
				t.Helper()
				do(t, c, "CONFIG", "SET", "busy-reply-threshold", "100")
				go func() {
					_ = c.Do(context.Background(), c.B().Eval().Script("while true do end").Numkeys(0).Build()).Error()
				}()
			},
			func(t *testing.T, c rueidis.Client) { t.Helper(); do(t, c, "SCRIPT", "KILL") },
		},
	} {
		t.Run(c.is, func(t *testing.T) {
			t.Parallel()
			r := newRecord()
			r.put("sku-1", 100, nil)
			s := testenv.StartRedis(t, testenv.Options{})
			p := working(t, r, strict(s.URL()))
			asked := func() int {
				p.own.mu.Lock()
				defer p.own.mu.Unlock()
				return p.own.asked
			}
			if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil || asked() > 0 {
				t.Fatalf("got %v, and this process' own gate was asked: the test proves nothing", err)
			}
			breaks, mends := direct(t, s.URL()), direct(t, s.URL())
			c.begins(t, breaks)
			testenv.Until(t, patience, "this process' own gate is asked", func() bool {
				began := time.Now()
				err := p.Admit(t.Context(), "u-1", want("sku-1", 1))
				if took := time.Since(began); err != nil || took > time.Second {
					t.Errorf("a buyer got %v after %v, want admitted at once", err, took)
				}
				return asked() > 0
			})
			began := time.Now()
			p.using(keys(1, 1))
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("a batch waited %v for marks, want a second or so", took)
			}
			c.ends(t, mends)
			p.works(t)
			testenv.Until(t, patience, "Redis is asked again", func() bool {
				before := asked()
				return p.Admit(t.Context(), "u-1", want("sku-1", 1)) == nil && asked() == before
			})
		})
	}
}

// Two of the three processes reach Redis by the proxy; the third sees it always, unless the server itself is gone.
func TestASaleGoesOnThroughFaultsOfRedis(t *testing.T) {
	noFile := map[string]string{"appendonly": "no"}
	for _, c := range []struct {
		fault    string
		settings map[string]string
		happens  func(*mishaps)
	}{
		{"killed, append-only file on", nil, (*mishaps).killed},
		{"killed, append-only file off", noFile, (*mishaps).killed},
		{"flushed", nil, (*mishaps).flushed},
		{"brought back as it was", noFile, (*mishaps).broughtBackOld},
		{"two seconds late", nil, (*mishaps).slow},
		{"a black hole", nil, (*mishaps).swallowed},
		{"replies lost", nil, (*mishaps).repliesLost},
		{"a reply that never comes", nil, (*mishaps).replyHangs},
	} {
		t.Run(c.fault, func(t *testing.T) {
			t.Parallel() // most of the time is waiting for Redis
			m := &mishaps{t: t, server: testenv.StartRedis(t, testenv.Options{Settings: c.settings})}
			var address string
			m.proxy, address = overProxy(t, m.server)
			m.sale = openSale(t, int64(800**faultsN), 0, func(process int) string {
				if process == 0 {
					return m.server.URL()
				}
				return address
			}, func(g checkout.Gate) checkout.Gate { return g })
			m.sale.works()
			m.sale.run(func() {
				for range *faultsN {
					pause(away / 2)
					c.happens(m)
					m.sale.works()
				}
			})
			m.sale.goesOn()
			c := direct(t, m.server.URL())
			for _, id := range m.sale.products {
				shelf, err := m.sale.processes[0].store.Shelf(t.Context(), id)
				if err != nil {
					t.Fatal(err)
				}
				testenv.Until(t, patience, "Redis says what the record says of "+string(id), func() bool {
					return hash(t, c, "inventory:{"+string(id)+"}")["version"] == strconv.FormatInt(shelf.Stock.Version, 10)
				})
			}
		})
	}
}
