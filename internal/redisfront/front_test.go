package redisfront_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/testenv"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// record is a record in memory: the products, the keys that were used, and what the processes share.
type record struct {
	mu      sync.Mutex
	shared  map[string]string
	shelves map[product.ID]checkout.Shelf
	used    []ledger.Key
	read    func() // called once when the used keys have been read
	looks   int
	away    bool
}

func newRecord() *record {
	return &record{shared: map[string]string{}, shelves: map[product.ID]checkout.Shelf{}}
}

func (r *record) SharedSecret(_ context.Context, name, value string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return "", fault.ErrUnavailable
	}
	if r.shared[name] == "" {
		r.shared[name] = value
	}
	return r.shared[name], nil
}

func (r *record) ReplaceShared(_ context.Context, name, was, value string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.away {
		return "", fault.ErrUnavailable
	}
	if r.shared[name] == was {
		r.shared[name] = value
	}
	return r.shared[name], nil
}

func (r *record) Shelf(_ context.Context, id product.ID) (checkout.Shelf, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.looks++
	s, ok := r.shelves[id]
	if !ok || r.away {
		return s, fault.ErrNotFound
	}
	return s, nil
}

func (r *record) Shelves(_ context.Context, after product.ID, limit int) ([]checkout.Shelf, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var page []checkout.Shelf
	for id, s := range r.shelves {
		if id > after {
			page = append(page, s)
		}
	}
	slices.SortFunc(page, func(a, b checkout.Shelf) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return page[:min(len(page), limit)], nil
}

func (r *record) UsedKeys(_ context.Context, _ order.Number, each func(ledger.Key)) error {
	r.mu.Lock()
	used, read := slices.Clone(r.used), r.read
	r.read = nil
	r.mu.Unlock()
	for _, k := range used {
		each(k)
	}
	if read != nil {
		read()
	}
	return nil
}

// put changes a product's row, as a commit does, and gives what is told of it.
func (r *record) put(id product.ID, available int64, change func(*product.Product)) *ledger.Applied {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := product.Product{ID: id, Active: true}
	var s stock.Stock
	if had, ok := r.shelves[id]; ok {
		p, s = *had.Product, *had.Stock
	}
	p.Version++
	s.ProductID, s.Received, s.Version = id, available, s.Version+1
	if change != nil {
		change(&p)
	}
	r.shelves[id] = checkout.Shelf{Product: &p, Stock: &s}
	return &ledger.Applied{Products: []*product.Product{&p}, Stock: []*stock.Stock{&s}}
}

// use has keys used by committed orders.
func (r *record) use(keys ...ledger.Key) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.used = append(r.used, keys...)
}

// isAway has it answer, or not.
func (r *record) isAway(away bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.away = away
}

func (r *record) asked() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looks
}

func (r *record) epoch() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shared["front_epoch"]
}

// process is one process with its front and gate.
type process struct {
	*redisfront.Gate
	front *redisfront.Front
	cache *redisfront.Cache
	own   *ownGate
	alone bool
	log   *testenv.Log
	stop  func()
}

// ownGate is the gate of a process without Redis: it says what it is told to and counts.
type ownGate struct {
	mu      sync.Mutex
	asked   int
	keys    int
	refusal error
}

func (g *ownGate) Admit(context.Context, user.ID, []ledger.PlaceLine) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked++
	return g.refusal
}
func (*ownGate) Answered(user.ID, []ledger.PlaceLine, error) {}
func (g *ownGate) MayHaveUsed(context.Context, ledger.Key) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.keys++
	return true
}

// quick are the options of a test: an epoch settles in no time, and Redis may be late, for the machine is busy with other tests.
func quick(address string) redisfront.Options {
	o := strict(address)
	o.Grace = 2 * time.Second
	return o
}

// strict are the options of a test in which Redis is late, or does not answer at all.
func strict(address string) redisfront.Options {
	return redisfront.Options{Address: address, Settle: 10 * time.Millisecond}
}

// begin starts a process, which ends with the test.
func begin(t *testing.T, r *record, o redisfront.Options) *process {
	t.Helper()
	return beginOver(t, r, o)
}

func beginOver(t *testing.T, r redisfront.Record, o redisfront.Options) *process {
	t.Helper()
	p := &process{own: &ownGate{}, alone: o.Alone, log: &testenv.Log{}}
	o.Log = slog.New(slog.NewTextHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if p.front, err = redisfront.New(r, o); err != nil {
		t.Fatal(err)
	}
	p.Gate, p.cache = redisfront.NewGate(p.front, p.own, time.Now), redisfront.NewCache(p.front, newBooks())
	connected, disconnect := context.WithCancel(context.Background())
	ctx, cancel := context.WithCancel(connected)
	var connection, users sync.WaitGroup
	connection.Go(func() { p.front.Run(connected) })
	users.Go(func() { p.Gate.Run(ctx) })
	p.stop = sync.OnceFunc(func() { // as a desk does: the connection goes last
		cancel()
		users.Wait()
		disconnect()
		connection.Wait()
	})
	t.Cleanup(p.stop)
	return p
}

// working begins a process and waits until its front works.
func working(t *testing.T, r *record, o redisfront.Options) *process {
	t.Helper()
	p := begin(t, r, o)
	p.works(t)
	return p
}

func (p *process) works(t *testing.T) {
	t.Helper()
	testenv.Until(t, patience, "the front works", func() bool {
		return p.front.State().Working && (p.alone || p.KnowsKeys())
	})
}

// using announces a batch that uses keys: once it returns, the batch may be committed.
func (p *process) using(keys []ledger.Key) { p.cache.Changing(usedBy(keys)) }

// usedBy is what a batch writes of the keys it uses.
func usedBy(keys []ledger.Key) *ledger.Changes {
	ch := &ledger.Changes{Keys: map[ledger.Key]ledger.Answered{}}
	for _, k := range keys {
		ch.Keys[k] = ledger.Answered{}
	}
	return ch
}

const patience = time.Minute

func want(id product.ID, quantity int64) []ledger.PlaceLine {
	return []ledger.PlaceLine{{ProductID: id, Quantity: quantity, Field: "lines[0]"}}
}

// direct is a client of the test's own.
func direct(t *testing.T, address string) rueidis.Client {
	t.Helper()
	o, err := rueidis.ParseURL(address)
	if err != nil {
		t.Fatal(err)
	}
	o.DisableCache = true
	c, err := rueidis.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func do(t *testing.T, c rueidis.Client, words ...string) rueidis.RedisResult {
	t.Helper()
	r := c.Do(t.Context(), c.B().Arbitrary(words...).Build())
	if err := r.Error(); err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%s: %v", words, err)
	}
	return r
}

func hash(t *testing.T, c rueidis.Client, key string) map[string]string {
	t.Helper()
	m, err := do(t, c, "HGETALL", key).AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAddressesAreReadAndNeverRepeated(t *testing.T) {
	for _, address := range []string{
		"redis://127.0.0.1:6379", "redis://desk:secret@127.0.0.1:6379/2", "rediss://desk:secret@redis.example", "valkey://127.0.0.1",
		"redis://a:6379?addr=b:6379&addr=c:6379", "redis://:secret@s1:26379?addr=s2:26379&master_set=desk&sentinel_auth=same",
	} {
		if _, err := redisfront.New(newRecord(), redisfront.Options{Address: address}); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "http://desk:secret@a", "redis://desk:secret@a:b:c", "redis://desk:secret@a/x", "redis://desk:secret%@a"} {
		_, err := redisfront.New(newRecord(), redisfront.Options{Address: address})
		if err == nil {
			t.Errorf("%q: taken, want it refused", address)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error tells the password: %v", address, err)
		}
	}
}

func TestAFrontWithoutRedisSaysSoAndLeavesEverythingToTheProcess(t *testing.T) {
	p := begin(t, newRecord(), quick("redis://desk:secret@127.0.0.1:1"))
	testenv.Until(t, patience, "it has tried to connect", func() bool { return strings.Contains(p.front.State().Reason, "cannot connect") })
	if s := p.front.State(); s.Connected || s.Working || strings.Contains(s.Reason, "secret") {
		t.Errorf("got %+v, want not connected, and no password told", s)
	}
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil {
		t.Errorf("got %v, want admitted", err)
	}
	if p.own.asked != 1 {
		t.Errorf("the process' own gate was asked %d times, want 1", p.own.asked)
	}
	if !p.MayHaveUsed(t.Context(), ledger.Key{1}) || p.own.keys != 1 {
		t.Error("a key is unused for certain, though nobody could know")
	}
}

func TestNoSecretOfTheAddressIsLogged(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword("default", "canary+of the/address")
	p := begin(t, newRecord(), quick(u.String()))
	testenv.Until(t, patience, "it was refused", func() bool { return strings.Contains(p.front.State().Reason, "cannot connect") })
	p.stop()
	for _, form := range []string{"canary", url.QueryEscape("canary+of the/address")} {
		if strings.Contains(p.log.String()+fmt.Sprint(p.front.State()), form) {
			t.Errorf("the password is told: %s %v", p.log, p.front.State())
		}
	}
	if got := strings.Count(p.log.String(), "redis is not used"); got > 1 {
		t.Errorf("that it is away was logged %d times, want at most once", got)
	}
}

func TestAnEvictingServerIsNoticedLoudly(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{Settings: map[string]string{"maxmemory-policy": "allkeys-lru"}})
	p := working(t, newRecord(), quick(s.URL()))
	if !strings.Contains(p.front.Notice(), "allkeys-lru") || !strings.Contains(p.log.String(), "noeviction") {
		t.Errorf("notice %q, log %s: want the policy named", p.front.Notice(), p.log)
	}
	do(t, direct(t, s.URL()), "CONFIG", "SET", "maxmemory-policy", "noeviction")
	testenv.Until(t, patience, "the notice is over", func() bool { return p.front.Notice() == "" })
}

func TestTheProductsOfTheRecordAreInRedisOnceTheFrontWorks(t *testing.T) {
	r := newRecord()
	for i := range 1200 { // three pages
		r.put(product.ID(fmt.Sprintf("sku-%04d", i)), int64(i), nil)
	}
	r.put("a}{b%", 3, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	working(t, r, quick(s.URL()))
	c := direct(t, s.URL())
	got := hash(t, c, "inventory:{sku-0777}")
	if got["product_id"] != "sku-0777" || got["quantity"] != "777" || got["version"] != "1" {
		t.Errorf("got %v, want product_id, quantity and version as in the record", got)
	}
	if got := hash(t, c, "inventory:{a%7D%7Bb%25}"); got["quantity"] != "3" {
		t.Errorf("a product with braces: got %v", got)
	}
}

// callsOf reads how often a command was called from what INFO says.
func callsOf(t *testing.T, info, command string) (calls int) {
	t.Helper()
	_, after, ok := strings.Cut(info, "cmdstat_"+command+":calls=")
	if !ok {
		return 0
	}
	if _, err := fmt.Sscanf(after, "%d,", &calls); err != nil {
		t.Fatal(err)
	}
	return calls
}
