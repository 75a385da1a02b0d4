package e2e

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const (
	awayFor     = time.Second      // of Redis
	snapshotAge = 10 * time.Second // of what a Redis is brought back with
	faultsShare = 30               // of -chaos.n, one is made of each kind of fault of Redis
)

// mishaps is a Redis that has accidents while three processes sell.
type mishaps struct {
	t      *testing.T
	fleet  *fleet
	server *testenv.Server // that is hit
	proxy  *testenv.Proxy  // before it
}

// missed waits until every process says that it does without Redis.
func (m *mishaps) missed() {
	m.t.Helper()
	testenv.Until(m.t, startMax, "every process to say that it does without Redis", func() bool {
		return m.fleet.each(func(s *server) bool { return s.front() == degraded })
	})
}

func (m *mishaps) killed() {
	m.server.Kill()
	m.missed()
	pass(awayFor)
	m.server.Start()
}

// replaced is a master whose replica takes its place.
func (m *mishaps) replaced() {
	m.server.Kill()
	m.missed()
	m.fleet.believes(startMax) // before it is back
	m.server.Start()
}

func (m *mishaps) flushed() {
	redis(m.t, "-u", m.server.URL(), "FLUSHALL")
	m.missed()
}

// broughtBackOld restarts it with what it held a while ago: in the same epoch, but older.
func (m *mishaps) broughtBackOld() {
	m.fleet.believes(startMax)
	redis(m.t, "-u", m.server.URL(), "SAVE")
	file := filepath.Join(m.server.Folder(), "dump.rdb")
	old, err := os.ReadFile(file)
	if err != nil {
		m.t.Error(err)
		return
	}
	pass(snapshotAge)
	m.server.Kill()
	if err := os.WriteFile(file, old, 0o644); err != nil {
		m.t.Error(err)
	}
	m.server.Start()
}

func (m *mishaps) slow() {
	m.proxy.Delay(2 * time.Second)
	m.missed()
	pass(awayFor)
	m.proxy.Delay(0)
}

func (m *mishaps) swallowed() {
	m.proxy.Blackhole(true)
	m.missed()
	pass(awayFor)
	m.proxy.Blackhole(false)
}

// repliesLost are of scripts and of marks: they were done, and nobody knows.
func (m *mishaps) repliesLost() {
	for _, command := range []string{"EVALSHA", "BITFIELD"} {
		m.fleet.believes(startMax)
		select {
		case <-m.proxy.SwallowReply(testenv.Saying(command)):
		case <-time.After(startMax):
			m.t.Errorf("no %s passed by", command)
		}
	}
}

func (m *mishaps) replyHangs() {
	select {
	case <-m.proxy.BlackholeReply(testenv.Saying("EVALSHA")):
	case <-time.After(startMax):
		m.t.Error("no script passed by")
	}
	m.missed()
	m.proxy.Blackhole(false)
}

// mishap is something that happens to Redis.
type mishap struct {
	name    string
	happens func(*mishaps)
}

// Redis fails in every way it can while a crowd buys from three processes, one of which is killed at the same time. Losing it costs speed
// only: orders go on at once, nobody is told sold out of what there is plenty of, nothing is lost or sold twice, and soon after Redis is
// back it is used again.
func TestChaosRedisFails(t *testing.T) {
	t.Parallel()
	killed := mishap{"killed", (*mishaps).killed}
	for _, c := range []struct {
		name  string
		start func(*testing.T, *mishaps) (address string)
		often []mishap
		more  []mishap // by make chaos
	}{
		{
			"append-only file on", overProxy(nil),
			[]mishap{killed},
			[]mishap{{"two seconds late", (*mishaps).slow}, {"a black hole", (*mishaps).swallowed}, {"a reply that never comes", (*mishaps).replyHangs}},
		},
		{
			"append-only file off", overProxy(map[string]string{"appendonly": "no"}),
			[]mishap{{"flushed", (*mishaps).flushed}, {"brought back as it was", (*mishaps).broughtBackOld}},
			[]mishap{killed, {"replies lost", (*mishaps).repliesLost}},
		},
		{"a cluster", aMaster, []mishap{{"a master killed", (*mishaps).replaced}}, nil},
		{"sentinels", theMaster, []mishap{{"the master killed", (*mishaps).replaced}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel() // most of the time is waiting for Redis
			m := &mishaps{t: t}
			w := where{record: "PostgreSQL", database: onPostgres, processes: 3, front: front{c.name, func(t *testing.T) (string, []string) {
				t.Helper()
				return c.start(t, m), nil
			}}}.open(t)
			crowd := newCrowd(t, w)
			crowd.rests *= longer
			m.fleet = w.fleet(t, shipped, crowd.database)
			times := max(*chaosN/faultsShare, 1)
			all := c.often
			if times > 1 {
				all = slices.Concat(c.often, c.more)
			}
			for range times {
				for _, happens := range all {
					crowd.rushWhile(m, happens)
					if t.Failed() {
						t.Fatalf("after Redis was %s", happens.name)
					}
				}
			}
			crowd.finish(m.fleet.desk)
			crowd.buysTheRest(m.fleet.desk)
		})
	}
}

// overProxy starts a Redis that is reached through a proxy.
func overProxy(settings map[string]string) func(*testing.T, *mishaps) string {
	return func(t *testing.T, m *mishaps) string {
		t.Helper()
		m.server = testenv.StartRedis(t, testenv.Options{Settings: settings})
		m.proxy = testenv.NewProxy(t, m.server.Addr())
		return through(m.proxy, m.server.URL())
	}
}

// through is the same address by a proxy.
func through(p *testenv.Proxy, address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	u.Host = p.Addr()
	return u.String()
}

// aMaster starts a cluster, the master of whose scarce product is hit.
func aMaster(t *testing.T, m *mishaps) string {
	t.Helper()
	cluster := testenv.StartRedisCluster(t, testenv.Options{})
	m.server = cluster.Nodes[0]
	return cluster.URL()
}

// theMaster starts a master, which is hit, its replica and sentinels.
func theMaster(t *testing.T, m *mishaps) string {
	t.Helper()
	group := testenv.StartRedisSentinels(t, testenv.Options{})
	m.server = group.Master
	return group.URL()
}

// rushWhile has the crowd buy while something happens to Redis and one process dies of something else.
func (c *crowd) rushWhile(m *mishaps, fault mishap) {
	c.t.Helper()
	m.fleet.up()
	stop := make(chan struct{})
	var took time.Duration
	go func() {
		defer close(stop)
		pass(time.Duration(200+c.number(300)) * time.Millisecond)
		m.fleet.servers[c.number(len(m.fleet.servers))].kill()
		fault.happens(m)
		back := time.Now()
		m.fleet.believes(*backIn)
		took = time.Since(back)
		pass(time.Duration(200+c.number(300)) * time.Millisecond)
	}()
	c.rush(m.fleet.desk, stop)
	<-stop
	pause, stalled := c.paused()
	c.t.Logf("%s: %v without an order at most, the machine stalled for %v, used again after %v", fault.name, pause, stalled, took)
	if pause > *goOn+stalled {
		c.t.Errorf("%s: for %v nobody got an order, want %v at most, and %v of a busy machine", fault.name, pause, *goOn, stalled)
	}
	m.fleet.up()
	c.check(m.fleet.desk, oldPurchases)
}

// buysTheRest buys all there is of the scarce product, and one more.
func (c *crowd) buysTheRest(d *desk) {
	c.t.Helper()
	for n := 0; ; n++ {
		left := d.stock("scarce").Available
		if left == 0 {
			break
		}
		wantOrdersAgain(c.t, d, "the-rest-"+strconv.Itoa(n), "u-rest", line("scarce", min(left, 10_000)))
	}
	if a, err := d.place("one-more", "u-late", line("scarce", 1)); err != nil || a.problem().Code != api.CodeOutOfStock {
		c.t.Errorf("when all was sold: got %v, %v, want 409 out_of_stock", a, err)
	}
}

// A Redis that belonged to another desk, with the same products, is noticed and filled anew: what it says is not believed.
func TestARedisOfAnotherDeskIsFilledAnew(t *testing.T) {
	t.Parallel()
	w := behindRedis.open(t)
	first := w.serve(t, shipped, w.database(t))
	first.product("hot", 3, nil)
	rush(first.desk, crowdOf(10, []api.PlaceLine{line("hot", 1)}), 10, api.CodeOutOfStock)
	first.kill()

	db := w.database(t)
	second := w.serve(t, shipped, db)
	second.product("hot", 5, nil)
	if got := rush(second.desk, crowdOf(10, []api.PlaceLine{line("hot", 1)}), 10, api.CodeOutOfStock); len(got) != 5 {
		t.Errorf("got %d orders, want all 5 units sold and no more", len(got))
	}
	auditClean(t, db)
}

// What somebody has done to Redis by hand is put right by a command, beside the desks.
func TestRebuildPutsRightWhatWasChangedByHand(t *testing.T) {
	t.Parallel()
	w := behindRedis.alone().open(t)
	db := w.database(t)
	d := w.serve(t, shipped, db)
	d.product("hot", 3, nil)
	key := ""
	testenv.Until(t, stackMax, "Redis to know the product", func() bool {
		key = redis(t, "-u", w.address(), "--scan", "--pattern", "inventory:*")
		return key != "" && redis(t, "-u", w.address(), "HGET", key, "quantity") == "3"
	})
	redis(t, "-u", w.address(), "HSET", key, "quantity", "700")

	p := shipped.launch(t, "rebuild", "--database-url", db, "--redis-url", w.address())
	if code := p.wait(*backIn); code != 0 || !strings.Contains(p.stdout.String(), "what the record says of 1 products") {
		t.Fatalf("exit code %d, %q, %q", code, p.stdout, p.stderr)
	}
	if got := redis(t, "-u", w.address(), "HGET", key, "quantity"); got != "3" {
		t.Errorf("Redis has %s units after it was rebuilt, want 3", got)
	}
	testenv.Until(t, *backIn, "the desk to go by it again", func() bool { return d.servers[0].front() == working })
	if got := rush(d.desk, crowdOf(10, []api.PlaceLine{line("hot", 1)}), 10, api.CodeOutOfStock); len(got) != 3 {
		t.Errorf("got %d orders, want all 3 units sold and no more", len(got))
	}
}

// A desk loads its products into Redis when it starts and when it is told to, and counts where what it shows comes from.
func TestProductsAreWarmedByCommandAndHitsAreCounted(t *testing.T) {
	t.Parallel()
	w := behindRedis.alone().open(t)
	d := w.serve(t, shipped, w.database(t))
	d.product("hot", 3, nil)
	reads := func(from string) float64 {
		return d.metric(`holdfast_redis_cache_reads_total{from="` + from + `",kind="product"}`)
	}
	var warmed api.CacheWarmed
	testenv.Until(t, stackMax, "the product to be in Redis", func() bool {
		d.want(http.StatusOK, &warmed, "POST", "/v1/cache/warm", nil)
		return warmed.Products == 1
	})
	redis(t, "-u", w.address(), "DEL", redis(t, "-u", w.address(), "--scan", "--pattern", "product:*"))
	d.want(http.StatusOK, &warmed, "POST", "/v1/cache/warm", nil)
	if want := (api.CacheWarmed{Products: 1, Loaded: 1}); warmed != want {
		t.Errorf("got %+v, want %+v", warmed, want)
	}
	record, near := reads("record"), reads("near")
	for range 10 {
		d.want(http.StatusOK, nil, "GET", "/v1/products/hot", nil)
	}
	if more := reads("record") - record; more != 0 {
		t.Errorf("the record was asked %v times for a product that is warm", more)
	}
	if hits := reads("near") - near; hits < 9 {
		t.Errorf("%v of 10 reads were of what the desk had, want all but the first", hits)
	}
}
