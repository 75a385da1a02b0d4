package redisfront_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// dump is all that Redis holds of the products, without what tells of a moment: when it was fresh, and what was in flight.
func dump(t *testing.T, c rueidis.Client) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	for _, node := range c.Nodes() {
		keys, err := node.Do(t.Context(), node.B().Keys().Pattern("inventory:*").Build()).AsStrSlice()
		if err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			h := hash(t, c, key)
			maps.DeleteFunc(h, func(name, _ string) bool {
				return slices.Contains([]string{"epoch", "fresh", "probed"}, name) || strings.HasPrefix(name, "f:")
			})
			all[key] = h
		}
	}
	return all
}

// overProxy is an address with a proxy before the server.
func overProxy(t *testing.T, s *testenv.Server) (*testenv.Proxy, string) {
	t.Helper()
	p := testenv.NewProxy(t, s.Addr())
	u, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	u.Host = p.Addr()
	return p, u.String()
}

func key(n int) (k ledger.Key) {
	r := rand.New(rand.NewPCG(7, uint64(n))) // a key is a hash: its bits are as good as random
	binary.LittleEndian.PutUint64(k[:8], r.Uint64())
	binary.LittleEndian.PutUint64(k[8:], r.Uint64())
	return k
}

func TestAFlushIsNoticedAndTheFrontIsRebuilt(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 5, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	p := working(t, r, quick(s.URL()))
	before := r.epoch()
	do(t, c, "FLUSHALL")
	testenv.Until(t, patience, "the epoch is another", func() bool { return r.epoch() != before && p.front.State().Working })
	if got := hash(t, c, "inventory:{sku-1}"); got["quantity"] != "5" || got["epoch"] != r.epoch() {
		t.Errorf("got %v, want quantity 5 in epoch %s", got, r.epoch())
	}
}

// A flush while the front is being rebuilt changes no run id: what is missing has to be seen in what is left.
func TestAFlushInTheMiddleOfARebuildIsNoticed(t *testing.T) {
	r := newRecord()
	used := keys(0, 20_000)
	r.use(used...)
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	flushed := false
	r.read = func() { do(t, c, "FLUSHALL"); flushed = true }
	p := working(t, r, quick(s.URL()))
	if !flushed {
		t.Fatal("nothing was flushed: this has shown nothing")
	}
	for i, k := range used {
		if !p.MayHaveUsed(t.Context(), k) {
			t.Fatalf("key %d, which was used, is said never to have been", i)
		}
	}
}

func TestARestartIsNoticedThoughTheDataIsThere(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 5, nil)
	s := testenv.StartRedis(t, testenv.Options{Settings: map[string]string{"appendfsync": "always"}})
	p := working(t, r, quick(s.URL()))
	before := r.epoch()
	s.Kill()
	testenv.Until(t, patience, "the front is away", func() bool { return !p.front.State().Working })
	s.Start()
	p.works(t)
	if r.epoch() == before {
		t.Error("the epoch is the same: the server may have come back with older data")
	}
}

// A snapshot holds the right epoch, whole, and is older than what was told since: only the server's run id gives it away.
func TestAServerThatCameBackWithAnOldSnapshotIsNotBelieved(t *testing.T) {
	r := newRecord()
	told := r.put("sku-1", 5, nil)
	s := testenv.StartRedis(t, testenv.Options{Settings: map[string]string{"appendonly": "no"}})
	c := direct(t, s.URL())
	p := working(t, r, quick(s.URL()))
	before := r.epoch()
	p.Gate.Applied(told)
	do(t, c, "SAVE")
	folder, err := do(t, c, "CONFIG", "GET", "dir").AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(folder["dir"], "dump.rdb")
	old, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	p.using([]ledger.Key{key(1)})
	r.use(key(1))
	p.Gate.Applied(r.put("sku-1", 0, nil))
	testenv.Until(t, patience, "the news is there", func() bool { return hash(t, c, "inventory:{sku-1}")["quantity"] == "0" })
	s.Kill()
	if err := os.WriteFile(file, old, 0o644); err != nil {
		t.Fatal(err)
	}
	s.Start()
	if got := hash(t, direct(t, s.URL()), "holdfast:epoch"); got["epoch"] == "" {
		t.Fatal("the snapshot holds no epoch: the test proves nothing")
	}
	if !p.MayHaveUsed(t.Context(), key(1)) {
		t.Error("a used key is unused for certain, by an old snapshot")
	}
	testenv.Until(t, patience, "the epoch is another", func() bool { return r.epoch() != before })
	p.works(t)
	if !p.MayHaveUsed(t.Context(), key(1)) {
		t.Error("a used key is unused for certain, after the rebuild")
	}
	if got := hash(t, direct(t, s.URL()), "inventory:{sku-1}")["quantity"]; got != "0" {
		t.Errorf("quantity is %s, want 0", got)
	}
}

func TestARedisLeftOverFromAnotherDatabaseIsRebuilt(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	old := newRecord()
	for range 9 {
		old.put("sku-1", 0, nil) // sold out, at a version that the new record is far from
	}
	working(t, old, quick(s.URL())).stop()
	r := newRecord()
	r.put("sku-1", 5, nil)
	p := working(t, r, quick(s.URL()))
	if err := p.Admit(t.Context(), "u-1", want("sku-1", 1)); err != nil {
		t.Errorf("got %v, want admitted: the other database's stock is told", err)
	}
	if got := hash(t, direct(t, s.URL()), "inventory:{sku-1}"); got["quantity"] != "5" || got["version"] != "1" {
		t.Errorf("got %v, want what this record says", got)
	}
}

func TestTwoWhoRebuildDoNoHarm(t *testing.T) {
	r := newRecord()
	for i := range 3000 {
		r.put(product.ID(fmt.Sprintf("sku-%d", i)), int64(i), nil)
	}
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	for round := range 2 {
		before := r.epoch()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				n, err := redisfront.Rebuild(context.Background(), r, quick(s.URL()), func(int) {})
				if err != nil || n != 3000 {
					t.Errorf("rebuilt %d products: %v", n, err)
				}
			})
		}
		all.Wait()
		opened := hash(t, c, "holdfast:epoch")["epoch"]
		if opened != r.epoch() || opened == before {
			t.Fatalf("round %d: epoch %q is open, the record has %q, before it was %q", round, opened, r.epoch(), before)
		}
	}
	working(t, r, quick(s.URL()))
	if got := len(dump(t, c)); got != 3000 {
		t.Errorf("Redis holds %d products, want 3000", got)
	}
}

// dyingRecord ends its reader's rebuild after the first page.
type dyingRecord struct {
	*record
	die func()
}

func (r *dyingRecord) Shelves(ctx context.Context, after product.ID, limit int) (page []checkout.Shelf, err error) {
	if after != "" {
		r.die()
		return nil, ctx.Err()
	}
	return r.record.Shelves(ctx, after, limit)
}

func TestAHalfBuiltEpochIsDead(t *testing.T) {
	r := newRecord()
	for i := range 1000 {
		r.put(product.ID(fmt.Sprintf("sku-%04d", i)), 5, nil)
	}
	s := testenv.StartRedis(t, testenv.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	if _, err := redisfront.Rebuild(ctx, &dyingRecord{r, cancel}, quick(s.URL()), func(int) {}); err == nil {
		t.Fatal("it came to its end: the test proves nothing")
	}
	half := r.epoch()
	c := direct(t, s.URL())
	if got := hash(t, c, "holdfast:epoch")["epoch"]; got == half {
		t.Fatal("a half-built epoch is open")
	}
	working(t, r, quick(s.URL()))
	if got := hash(t, c, "holdfast:epoch")["epoch"]; got == half || got != r.epoch() {
		t.Errorf("epoch %q is open, half-built was %q, the record has %q", got, half, r.epoch())
	}
	if n, err := do(t, c, "EXISTS", "used:{"+half+":0}").AsInt64(); n != 0 || err != nil {
		t.Errorf("the marks of the dead epoch are still there: %d %v", n, err)
	}
}

func TestARebuildSaysWhatTheLiveFrontSaysAtRest(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	random := rand.New(rand.NewPCG(1, 1))
	var late []*ledger.Applied
	for range 2000 {
		id := product.ID(fmt.Sprintf("sku-%d", random.IntN(50)))
		told := r.put(id, random.Int64N(100), func(p *product.Product) {
			p.Active, p.MaxPerUser = random.IntN(5) > 0, random.Int64N(3)
			if random.IntN(2) == 0 {
				p.OnSaleFrom = time.UnixMilli(random.Int64N(1e12))
			}
		})
		switch random.IntN(4) {
		case 0:
			late = append(late, told)
		case 1:
			a.Gate.Applied(told)
		default:
			b.Gate.Applied(told)
		}
	}
	for _, i := range random.Perm(len(late)) { // long after, in any order
		a.Gate.Applied(late[i])
	}
	for id, shelf := range r.shelves {
		testenv.Until(t, patience, "the last news of "+string(id)+" is there", func() bool {
			h := hash(t, c, "inventory:{"+string(id)+"}")
			return h["version"] == fmt.Sprint(shelf.Stock.Version) && h["product_version"] == fmt.Sprint(shelf.Version)
		})
	}
	live := dump(t, c)
	a.stop()
	b.stop()
	do(t, c, "FLUSHALL")
	if _, err := redisfront.Rebuild(t.Context(), r, quick(s.URL()), func(int) {}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(live, dump(t, c)); diff != "" {
		t.Errorf("live and rebuilt differ (-live +rebuilt):\n%s", diff)
	}
}

// vetoedRecord has its epoch replaced by another process, once, while it is being read.
type vetoedRecord struct {
	*record
	once sync.Once
}

func (r *vetoedRecord) Shelves(ctx context.Context, after product.ID, limit int) ([]checkout.Shelf, error) {
	r.once.Do(func() { _, _ = r.ReplaceShared(ctx, "front_epoch", r.epoch(), "another's veto") })
	return r.record.Shelves(ctx, after, limit)
}

// A process that cannot reach Redis vetoes every epoch that another one begins: if each left its marks, Redis would soon be full.
func TestAnEpochThatWasVetoedLeavesNoMarks(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	p := beginOver(t, &vetoedRecord{record: r}, quick(s.URL()))
	p.works(t)
	if !strings.Contains(p.log.String(), "another epoch has begun") {
		t.Fatalf("no epoch was vetoed, the test proves nothing:\n%s", p.log)
	}
	keys, err := do(t, direct(t, s.URL()), "KEYS", "used:*").AsStrSlice()
	if err != nil || len(keys) == 0 {
		t.Fatalf("got %d shards of marks: %v", len(keys), err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "used:{"+r.epoch()+":") {
			t.Fatalf("%s is still there, the epoch is %s", key, r.epoch())
		}
	}
}

// Whoever asks for a rebuild gets one, though a desk has put an end to the first try.
func TestARebuildThatWasVetoedBeginsAgain(t *testing.T) {
	r := newRecord()
	r.put("sku-1", 1, nil)
	s := testenv.StartRedis(t, testenv.Options{})
	n, err := redisfront.Rebuild(t.Context(), &vetoedRecord{record: r}, quick(s.URL()), func(int) {})
	if opened := hash(t, direct(t, s.URL()), "holdfast:epoch")["epoch"]; n != 1 || err != nil || opened != r.epoch() {
		t.Errorf("got %d products, %v, and epoch %q is open, the record has %q", n, err, opened, r.epoch())
	}
}

// lateRecord does not tell its reader of an epoch from some moment on, as one that is slow.
type lateRecord struct {
	*record
	late atomic.Bool
}

func (r *lateRecord) SharedSecret(ctx context.Context, name, value string) (string, error) {
	if r.late.Load() {
		<-ctx.Done()
		return "", ctx.Err()
	}
	return r.record.SharedSecret(ctx, name, value)
}

func TestWhileAnEpochIsReplacedKeysAreMarkedForThoseWhoStillBelieveTheOneBefore(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	o := quick(s.URL())
	working(t, r, o).stop() // it is filled
	o.Lease = time.Minute   // longer than this takes
	a := working(t, r, o)
	late := &lateRecord{record: r}
	b := beginOver(t, late, o)
	b.works(t)
	late.late.Store(true)
	before := r.epoch()
	if _, err := r.ReplaceShared(t.Context(), "front_epoch", before, "another's veto"); err != nil {
		t.Fatal(err)
	}
	testenv.Until(t, patience, "one process knows of it", func() bool { return !a.front.State().Working })
	go redisfront.NewCache(a.front, newBooks()).Changing(usedBy(keys(1, 1))) // it has just begun, and waits for the lease
	testenv.Until(t, patience/2, "the used key is known to a process that still believes the epoch before", func() bool {
		if b.MayHaveUsed(t.Context(), key(2)) {
			t.Fatal("the other process does not believe the epoch before any more, the test proves nothing")
		}
		return b.MayHaveUsed(t.Context(), key(1))
	})
}

// It cannot mark keys in an epoch that it never saw.
func TestADeskThatBeginsCommitsOnlyWhenNobodyBelievesTheEpochBefore(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	o := quick(s.URL())
	working(t, r, o).stop() // it is filled
	o.Lease = 5 * time.Second
	late := &lateRecord{record: r}
	b := beginOver(t, late, o)
	b.works(t)
	late.late.Store(true)
	if _, err := r.ReplaceShared(t.Context(), "front_epoch", r.epoch(), "another"); err != nil {
		t.Fatal(err)
	}
	a := begin(t, r, o)
	testenv.Until(t, patience, "it has replaced what it found", func() bool { return r.epoch() != "another" })
	pause(300 * time.Millisecond) // in which it reads that
	if b.MayHaveUsed(t.Context(), key(1)) {
		t.Fatal("the other process does not believe the epoch before any more, the test proves nothing")
	}
	a.using(keys(1, 1))
	if !b.MayHaveUsed(t.Context(), key(1)) {
		t.Error("a used key is unused for certain, to a process that still believes the epoch before")
	}
}

// A replica takes over, and one desk has seen it and the other not: it still reaches the old master. Neither says of a key that the other
// used that it was never used.
func TestWhereTwoDesksSeeTwoMastersNoUsedKeyIsUnusedForCertain(t *testing.T) {
	r := newRecord()
	old, replica := testenv.StartRedis(t, testenv.Options{}), testenv.StartRedis(t, testenv.Options{})
	c := direct(t, replica.URL())
	master, err := url.Parse(old.URL())
	if err != nil {
		t.Fatal(err)
	}
	do(t, direct(t, old.URL()), "CONFIG", "SET", "repl-diskless-sync-delay", "0")
	secret, _ := master.User.Password()
	do(t, c, "CONFIG", "SET", "masterauth", secret, "requirepass", secret)
	do(t, c, "REPLICAOF", master.Hostname(), master.Port())
	proxy, address := overProxy(t, old)
	a, b := working(t, r, quick(address)), working(t, r, quick(old.URL()))
	testenv.Until(t, patience, "the replica has what the master has", func() bool {
		return hash(t, c, "holdfast:epoch")["epoch"] == r.epoch()
	})
	testenv.Until(t, patience, "an unused key is known for one", func() bool {
		return !a.MayHaveUsed(t.Context(), key(1_000_000)) && !b.MayHaveUsed(t.Context(), key(1_000_000))
	})
	do(t, c, "REPLICAOF", "NO", "ONE")
	proxy.Switch(replica.Addr())
	for end := time.Now().Add(patience); !strings.Contains(a.front.State().Reason, "rebuilt"); time.Sleep(time.Millisecond) { //nolint:forbidigo // before the epoch is replaced
		if time.Now().After(end) {
			t.Fatal("the replica is not seen")
		}
	}
	for n := 0; n < 30; n += 2 {
		for i, p := range []*process{a, b} {
			other := []*process{b, a}[i]
			p.using(keys(n+i, 1))
			if !other.MayHaveUsed(t.Context(), key(n+i)) {
				t.Fatalf("key %d, which a desk has used, is unused for certain at the other", n+i)
			}
			r.use(keys(n+i, 1)...)
		}
		time.Sleep(20 * time.Millisecond) //nolint:forbidigo // in which they rebuild
	}
}
