package redisfront_test

import (
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// documentedUser are the lines of docs/operate.md that make the desk's user: what it always needs, and what deadlines and numbers need
// besides.
func documentedUser(t *testing.T) (always, more []string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	lines := regexp.MustCompile(`(?m)^ACL SETUSER desk .*(\n {4}.*)*`).FindAllString(string(text), -1)
	if len(lines) != 2 {
		t.Fatalf("docs/operate.md has %d lines for the desk's user, want 2: %q", len(lines), lines)
	}
	return strings.Fields(lines[0]), strings.Fields(lines[1])
}

// documentedSentinelUser is the line for a user of that name on sentinels.
func documentedSentinelUser(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/operate.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "With sentinels, ")
	line := regexp.MustCompile("ACL SETUSER [^`]*").FindString(rest)
	if !found || line == "" {
		t.Fatal("docs/operate.md has no line for the user on sentinels")
	}
	return strings.Fields(line)
}

// asDesk makes a user on servers, and gives an address as that of the user.
func asDesk(t *testing.T, address string, servers []*testenv.Server, lines ...[]string) string {
	t.Helper()
	for _, s := range servers {
		for _, line := range lines {
			do(t, direct(t, s.URL()), line...)
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("desk", "password")
	return u.String()
}

// notRefused looks whether a server has refused anything.
func notRefused(t *testing.T, s *testenv.Server) {
	t.Helper()
	refused, err := do(t, direct(t, s.URL()), "ACL", "LOG").ToArray()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range refused {
		m, _ := entry.AsStrMap()
		t.Errorf("refused: %s %s", m["reason"], m["object"])
	}
}

func TestTheDeskDoesWithFewPermissions(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	always, _ := documentedUser(t)
	address := asDesk(t, s.URL(), []*testenv.Server{s}, always)
	r, log := newRecord(), &eventLog{}
	r.use(keys(0, 100)...)
	r.put("sku-1", 1, func(p *product.Product) { p.MaxPerUser = 1 })
	p := working(t, r, quick(address))
	d, grown := feeding(t, p, log)
	heard := hear(t, c)
	p.using(keys(100, 10))
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil {
		t.Error(err)
	}
	p.Answered("u-1", want("sku-1", 1), nil)
	p.Gate.Applied(r.put("sku-1", 0, nil))
	if !p.MayHaveUsed(t.Context(), key(105)) || p.MayHaveUsed(t.Context(), key(500)) {
		t.Error("the marks do not tell used keys from others")
	}
	testenv.Until(t, patience, "somebody listens", func() bool {
		n, _ := do(t, c, "PUBSUB", "NUMSUB", "holdfast:events").AsIntMap()
		return n["holdfast:events"] == 1
	})
	testenv.Until(t, patience, "an event is heard", func() bool {
		log.grow(1)
		d.Wake()
		return len(heard()) > 0 && grown.Load() > 0
	})
	remembers(t, p, p)
	pause(300 * time.Millisecond) // what runs in the background has had its turn
	notRefused(t, s)
	desk := direct(t, address)
	for _, command := range []string{"FLUSHALL", "KEYS *", "CONFIG GET *", "SCRIPT FLUSH", "FUNCTION LIST", "GET elsewhere", "PUBLISH elsewhere x"} {
		err := desk.Do(t.Context(), desk.B().Arbitrary(strings.Fields(command)...).Build()).Error()
		if err == nil || !strings.HasPrefix(err.Error(), "NOPERM") {
			t.Errorf("%s: got %v, want NOPERM", command, err)
		}
	}
}

func TestAClusterServes(t *testing.T) {
	cluster := testenv.StartRedisCluster(t, testenv.Options{})
	r := newRecord()
	for i := range 200 {
		r.put(product.ID(fmt.Sprintf("sku-%d", i)), int64(i%2), nil)
	}
	r.use(keys(0, 1000)...)
	a, b := working(t, r, quick(cluster.URL())), working(t, r, quick(cluster.URL()))
	for i := range 200 {
		for _, p := range []*process{a, b} {
			var err error
			for fell := int64(-1); fell != p.Counts().FellBack; { // a machine too busy for Redis to answer in time is no verdict of it
				fell = p.Counts().FellBack
				p.works(t)
				err = p.Admit(t.Context(), "u-1", want(product.ID(fmt.Sprintf("sku-%d", i)), 1))
			}
			if (err == nil) != (i%2 == 1) {
				t.Fatalf("sku-%d, of which there are %d: got %v", i, i%2, err)
			}
		}
	}
	a.using(keys(1000, 500))
	for i, k := range keys(0, 1500) {
		if !b.MayHaveUsed(t.Context(), k) {
			t.Fatalf("key %d is unused for certain", i)
		}
	}
	if b.MayHaveUsed(t.Context(), key(5000)) || b.own.keys > 0 {
		t.Error("an unused key may have been used")
	}
	log := &eventLog{}
	d, _ := feeding(t, a, log)
	_, grown := feeding(t, b, log)
	testenv.Until(t, patience, "the other process hears that the log has grown", func() bool {
		log.grow(1)
		d.Wake()
		return grown.Load() > 0
	})
	remembers(t, a, b)
}

// On several servers some marks may be made and others not. Whoever takes the marks over believes that he knows of what is listed.
func TestABatchIsListedOnlyOnceItsMarksAreMade(t *testing.T) {
	cluster := testenv.StartRedisCluster(t, testenv.Options{})
	r := newRecord()
	p := working(t, r, strict(cluster.URL()))
	p.using(keys(0, 100))
	c, list := direct(t, cluster.URL()), "used:{"+r.epoch()+":batches}:keys"
	listed := func() int64 {
		n, err := do(t, c, "LLEN", list).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, full := listed(), 0
	for _, node := range c.Nodes() {
		if err := node.Do(t.Context(), node.B().Llen().Key(list).Build()).Error(); err == nil {
			continue // here the list is
		}
		do(t, node, "CONFIG", "SET", "maxmemory", "1")
		full++
	}
	if before == 0 || full == 0 {
		t.Fatalf("%d batches are listed, %d nodes take no marks: the test proves nothing", before, full)
	}
	p.using(keys(100, 1000)) // in all shards
	if after := listed(); after != before {
		t.Errorf("%d batches are listed, %d before: want none more", after, before)
	}
}

// remembers has one process read what can be remembered and change it, the other see it, and both take from a quota.
func remembers(t *testing.T, a, b *process) {
	t.Helper()
	book := newBooks()
	ca, cb := cachedBy(t, a, book), cachedBy(t, b, book)
	for _, k := range everythingRemembered() {
		testenv.Until(t, patience, k.kind+" is remembered", func() bool {
			k.up(t, book, ca)
			before := book.lookedAt(k.look)
			k.up(t, book, cb)
			return book.lookedAt(k.look) == before
		})
		k.change(book, ca, true)
		if got := k.up(t, book, cb); got != 2 && k.kind != "a payment" {
			t.Errorf("got version %d of %s, want 2", got, k.kind)
		}
	}
	q := ratelimit.Quota{Count: 1, Per: time.Hour, Burst: 1}
	for i, p := range []*process{a, b} {
		own := &ownQuotas{}
		if d := take(t, redisfront.NewLimiter(p.front, own), "k", q); d.Allowed != (i == 0) || own.asked.Load() > 0 {
			t.Errorf("process %d took from a quota: %+v, and asked its own %d times", i, d, own.asked.Load())
		}
	}
}

func TestASaleOnAClusterLosesAMasterAndGoesOn(t *testing.T) {
	cluster := testenv.StartRedisCluster(t, testenv.Options{})
	sale := openSale(t, 2000, 0, func(int) string { return cluster.URL() }, func(g checkout.Gate) checkout.Gate { return g })
	sale.works()
	c := direct(t, cluster.URL())
	holder := masterOf(t, cluster, c, "inventory:{hot}")
	sale.run(func() {
		pause(away)
		holder.Kill()
		testenv.Until(t, patience, "nobody believes it any more", func() bool { return !sale.processes[0].front.State().Working })
		sale.works()
		pause(away)
		holder.Start()
		sale.works()
	})
	sale.goesOn()
}

// masterOf gives the node that serves a key.
func masterOf(t *testing.T, cluster *testenv.RedisCluster, c rueidis.Client, key string) *testenv.Server {
	t.Helper()
	for addr, node := range c.Nodes() {
		text, err := node.Do(t.Context(), node.B().Info().Section("replication").Build()).ToString()
		if err != nil || !strings.Contains(text, "role:master") {
			continue
		}
		if err := node.Do(t.Context(), node.B().Exists().Key(key).Build()).Error(); err != nil {
			continue // it is moved
		}
		for _, s := range cluster.Nodes {
			if s.Addr() == addr {
				return s
			}
		}
	}
	t.Fatalf("no master serves %s", key)
	return nil
}
