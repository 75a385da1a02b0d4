package redisfront_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

func keys(from, n int) []ledger.Key {
	all := make([]ledger.Key, n)
	for i := range all {
		all[i] = key(from + i)
	}
	return all
}

func TestAKeyUsedOnOneProcessIsKnownToAll(t *testing.T) {
	r := newRecord()
	r.use(keys(0, 10_000)...) // before any of them began
	s := testenv.StartRedis(t, testenv.Options{})
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	for from := 10_000; from < 12_000; from += 500 {
		a.using(keys(from, 500))
	}
	for i, k := range keys(8_000, 4_000) {
		if !b.MayHaveUsed(t.Context(), k) {
			t.Fatalf("key %d is unused for certain", i)
		}
	}
	lies := 0
	for _, k := range keys(20_000, 4_000) {
		if b.MayHaveUsed(t.Context(), k) {
			lies++
		}
	}
	if lies > 4 || b.own.keys > 0 {
		t.Errorf("%d of 4 000 unused keys are taken for used ones, want at most one in a thousand; the record was asked %d times", lies, b.own.keys)
	}
}

// calls is how often Redis was given a command, by scripts too.
func calls(t *testing.T, c rueidis.Client, command string) int {
	t.Helper()
	text, err := do(t, c, "INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(text, "cmdstat_"+command+":calls=")
	n, _, _ := strings.Cut(rest, ",")
	count, _ := strconv.Atoi(n)
	return count
}

func TestTheOnlyDeskDoesNotAskForUsedKeys(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	a := working(t, r, quick(s.URL()))
	looks := func() (asked int) {
		before := calls(t, c, "hget")
		a.using(keys(0, 100)) // asks once, by which name the desk is known
		for i := range 100 {
			if !a.MayHaveUsed(t.Context(), key(i)) || a.MayHaveUsed(t.Context(), key(10_000+i)) {
				t.Fatalf("key %d, or one that was not used, is not known for what it is", i)
			}
		}
		return calls(t, c, "hget") - before - 1
	}
	testenv.Until(t, patience, "it does not ask", func() bool { return looks() == 0 })
	b := working(t, r, quick(s.URL()))
	testenv.Until(t, patience, "it asks when it is not alone", func() bool { return looks() >= 200 })
	b.stop()
	testenv.Until(t, patience, "it is alone again", func() bool { return looks() == 0 })
}

// A desk that comes in, or was forgotten, uses keys at once. The one that believed to be alone must not say that they were never used.
func TestNobodyIsAloneWhenAnotherDeskCommits(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	a := working(t, r, quick(s.URL()))
	isAlone := func() bool {
		before := calls(t, c, "hget")
		a.MayHaveUsed(t.Context(), key(100_000))
		return calls(t, c, "hget") == before
	}
	used := 0
	uses := func(b *process) {
		t.Helper()
		b.using(keys(used, 1))
		if !a.MayHaveUsed(t.Context(), key(used)) {
			t.Fatal("a used key is unused for certain")
		}
		used++
	}
	forgetAll := func() {
		for field := range hash(t, c, "used:{"+r.epoch()+":batches}") {
			if field != "count" {
				do(t, c, "HDEL", "used:{"+r.epoch()+":batches}", field)
			}
		}
	}
	for range 3 {
		testenv.Until(t, patience, "the first is alone", isAlone)
		b := begin(t, r, quick(s.URL()))
		testenv.Until(t, patience, "the other reaches Redis", func() bool { return b.front.State().Connected })
		uses(b)
		for range 3 {
			forgetAll()
			testenv.Until(t, patience, "the first is alone", isAlone)
			uses(b)
		}
		b.stop()
	}
}

// Else its first batch would wait, holding rows that others want.
func TestADeskComesInToAnEpochThatIsInUseBeforeItsFirstBatch(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	a := working(t, r, quick(s.URL()))
	a.using(keys(0, 10))
	working(t, r, quick(s.URL()))
	testenv.Until(t, patience, "both are known", func() bool { return len(hash(t, c, "used:{"+r.epoch()+":batches}")) == 3 })
	lists, looks := calls(t, c, "lrange"), calls(t, c, "evalsha")
	testenv.Until(t, patience, "both have looked some times", func() bool { return calls(t, c, "evalsha") > looks+10 })
	if got := calls(t, c, "lrange"); got != lists {
		t.Errorf("what was marked was listed %d times, though nothing was", got-lists)
	}
}

// A desk that is slow, on a connection that does not last, would never come to an end if it began anew every time.
func TestMarksThatWereTakenOverAreKeptWhenTheConnectionIsLost(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	c := direct(t, s.URL())
	a := working(t, r, quick(s.URL()))
	a.using(keys(0, 100))
	epoch, whole := r.epoch(), calls(t, c, "get")
	if whole < 64 {
		t.Fatalf("%d shards of marks were taken over, want 64", whole)
	}
	proxy, address := overProxy(t, s)
	loseAnEighth := func() <-chan struct{} {
		asked := 0
		return proxy.SwallowReply(func(request []byte) bool {
			if testenv.Saying("\r\nGET\r\n")(request) {
				asked++
			}
			return asked == 8
		})
	}
	lost := loseAnEighth()
	b := begin(t, r, quick(address))
	losses, used := 0, 100
	testenv.Until(t, patience, "all are taken over", func() bool {
		select {
		case <-lost:
			losses++
			a.using(keys(used, 100)) // of which the other hears while it takes the rest over
			used += 100
			lost = loseAnEighth()
		default:
		}
		return b.KnowsKeys()
	})
	if losses < 3 {
		t.Fatalf("the connection was lost %d times: the test proves nothing", losses)
	}
	testenv.Until(t, patience, "an unused key is known for one", func() bool { return !b.MayHaveUsed(t.Context(), key(100_000)) })
	for _, k := range keys(0, used) {
		if !b.MayHaveUsed(t.Context(), k) {
			t.Fatal("a used key is unused for certain")
		}
	}
	if got := calls(t, c, "get") - whole; got > 64+3*losses && r.epoch() == epoch {
		t.Errorf("with %d losses %d shards were taken over, want 64 and those that were asked for again", losses, got)
	}
}

func TestMarksTakeTheRoomThatOperatorsCountOn(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, newRecord(), quick(s.URL()))
	for from := 0; from < 20_000; from += 500 {
		p.using(keys(from, 500))
	}
	c := direct(t, s.URL())
	shards, err := do(t, c, "KEYS", "used:*").AsStrSlice()
	if err != nil || len(shards) == 0 {
		t.Fatalf("got %d shards, %v", len(shards), err)
	}
	var room int64
	for _, shard := range shards {
		bytes, err := do(t, c, "MEMORY", "USAGE", shard).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		room += bytes
	}
	if room > 34<<20 {
		t.Errorf("the marks take %d MB, want 32", room>>20)
	}
}

// While a process is away others use more keys than Redis lists. It cannot know which, and must not say that they were never used.
func TestAProcessThatMissedMarksTakesThemOverAnew(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	proxy, address := overProxy(t, s)
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(address))
	const batches = 1100
	proxy.Blackhole(true)
	for i := range batches {
		a.using(keys(10*i, 10))
	}
	list, err := do(t, direct(t, s.URL()), "LLEN", "used:{"+r.epoch()+":batches}:keys").AsInt64()
	if err != nil || list == 0 || list > 1024 {
		t.Errorf("the keys of %d batches are listed, %v, want those of 1024 at most", list, err)
	}
	proxy.Blackhole(false)
	unused := func() bool { return !b.MayHaveUsed(t.Context(), key(100_000)) }
	testenv.Until(t, patience, "an unused key is known for one", func() bool {
		for _, i := range []int{0, batches / 2, 10*batches - 1} {
			if !b.MayHaveUsed(t.Context(), key(i)) {
				t.Fatalf("key %d is unused for certain", i)
			}
		}
		return unused()
	})
}

// Somebody, or an eviction policy that was warned of, takes away what a desk goes by.
func TestWhenWhatWasMarkedLastIsLostNoKeyIsUnusedForCertain(t *testing.T) {
	for _, lost := range []string{":batches}", ":batches}:keys"} {
		t.Run(lost, func(t *testing.T) {
			r := newRecord()
			s := testenv.StartRedis(t, testenv.Options{})
			a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
			a.using(keys(0, 10))
			testenv.Until(t, patience, "an unused key is known for one", func() bool { return !b.MayHaveUsed(t.Context(), key(100_000)) })
			c := direct(t, s.URL())
			for from := 10; from < 210; from += 20 {
				a.using(keys(from, 10)) // which the other may not have heard of before they are lost
				do(t, c, "DEL", "used:{"+r.epoch()+lost)
				a.using(keys(from+10, 10))
				for _, k := range keys(from, 20) {
					if !b.MayHaveUsed(t.Context(), k) {
						t.Fatal("a used key is unused for certain")
					}
				}
			}
		})
	}
}

func TestAfterAFlushNoKeyIsUnusedForCertain(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	p := working(t, r, quick(s.URL()))
	p.using(keys(0, 100))
	c := direct(t, s.URL())
	r.use(keys(0, 100)...)
	do(t, c, "FLUSHALL")
	for i, k := range keys(0, 100) {
		if !p.MayHaveUsed(t.Context(), k) {
			t.Fatalf("key %d is unused for certain, right after the flush", i)
		}
	}
}

// One process is cut off from Redis and goes on; the others must not say for certain that its buyers' keys were never used.
func TestWhatCannotBeMarkedIsCommittedOnlyWhenNobodyBelievesTheMarks(t *testing.T) {
	r := newRecord()
	s := testenv.StartRedis(t, testenv.Options{})
	proxy, address := overProxy(t, s)
	off, on := working(t, r, strict(address)), working(t, r, strict(s.URL()))
	if on.MayHaveUsed(t.Context(), key(1)) {
		t.Fatal("an unused key may have been used: the test proves nothing")
	}
	proxy.Blackhole(true)
	began := time.Now()
	off.using(keys(1, 1)) // from here on it may be committed
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a batch waited %v, want a second or so", took)
	}
	if !on.MayHaveUsed(t.Context(), key(1)) {
		t.Error("the key is unused for certain at a process that reaches Redis")
	}
	r.use(keys(1, 1)...)
	for n := 2; n < 30; n++ { // others try to rebuild meanwhile
		began = time.Now()
		off.using(keys(n, 1))
		if took := time.Since(began); took > 300*time.Millisecond {
			t.Errorf("batch %d waited %v though Redis was given up before", n, took)
		}
		if !on.MayHaveUsed(t.Context(), key(n)) {
			t.Fatalf("key %d is unused for certain at a process that reaches Redis", n)
		}
		time.Sleep(50 * time.Millisecond) //nolint:forbidigo // the others' time to rebuild
	}
	r.use(keys(1, 40)...)
	proxy.Blackhole(false)
	off.works(t)
	on.works(t)
	for _, k := range keys(1, 40) {
		if !on.MayHaveUsed(t.Context(), k) || !off.MayHaveUsed(t.Context(), k) {
			t.Fatal("a used key is unused for certain after the return")
		}
	}
	if on.MayHaveUsed(t.Context(), key(100)) {
		t.Error("an unused key may have been used, though the front works")
	}
}

// A veto costs everybody seconds without Redis, and orders a pause: one that is late is waited for, for as long as orders may pause at all.
func TestARedisThatIsLateIsNotGivenUp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		is           string
		begins, ends func(*testenv.Proxy, *process)
	}{
		{"every answer", func(p *testenv.Proxy, _ *process) { p.Delay(75 * time.Millisecond) }, func(p *testenv.Proxy, _ *process) { p.Delay(0) }},
		{"one look", func(p *testenv.Proxy, by *process) {
			p.Blackhole(true)
			testenv.Until(t, patience, "it is missed", func() bool { return !by.front.State().Connected })
			p.Blackhole(false)
		}, func(*testenv.Proxy, *process) {}},
	} {
		t.Run(c.is, func(t *testing.T) {
			r := newRecord()
			proxy, address := overProxy(t, testenv.StartRedis(t, testenv.Options{}))
			p := working(t, r, strict(address))
			for try := 0; ; try++ { // a busy machine may be later still, but not always
				before := r.epoch()
				c.begins(proxy, p)
				p.using(keys(try, 1))
				c.ends(proxy, p)
				if r.epoch() == before {
					break
				}
				if try == 10 {
					t.Fatal("each time it was given up")
				}
				p.works(t)
			}
		})
	}
}

// Each further veto would cost its process a pause in which it holds the rows of its batch, and the other processes another.
func TestOneVetoIsEnoughForAllProcesses(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	r := newRecord()
	a, b := working(t, r, quick(s.URL())), working(t, r, quick(s.URL()))
	proxied, address := overProxy(t, s)
	c := working(t, r, strict(address))
	before := r.epoch()
	do(t, direct(t, s.URL()), "CONFIG", "SET", "maxmemory", "1") // it answers, and cannot be told anything
	a.using(keys(0, 1))
	veto := r.epoch()
	if veto == before {
		t.Fatal("the epoch is the same: the test proves nothing")
	}
	proxied.Blackhole(true)
	testenv.Until(t, patience, "a process does not reach it", func() bool { return !c.front.State().Connected })
	for n, p := range []*process{b, c, a, b, c} {
		p.using(keys(1+n, 1))
	}
	pause(500 * time.Millisecond) // in which a look that is in vain would veto
	if got := r.epoch(); got != veto {
		t.Errorf("the epoch is %s, want the veto %s", got, veto)
	}
}

// Nobody has prepared marks in a veto, so those made in it would never go.
func TestNoMarksAreMadeInAVeto(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	r := newRecord()
	p := working(t, r, quick(s.URL()))
	c := direct(t, s.URL())
	do(t, c, "CONFIG", "SET", "maxmemory", "1")
	p.using(keys(0, 1))
	veto := r.epoch()
	do(t, c, "CONFIG", "SET", "maxmemory", "0")
	testenv.Until(t, patience, "another epoch has begun", func() bool { return r.epoch() != veto })
	n := 1
	testenv.Until(t, patience, "the front works", func() bool {
		p.using(keys(n, 1))
		n++
		if shards, err := do(t, c, "KEYS", "used:{"+veto+"*").AsStrSlice(); err != nil || len(shards) > 0 {
			t.Fatalf("marks were made in the veto: %q, %v", shards, err)
		}
		return p.front.State().Working
	})
	if n < 3 {
		t.Errorf("%d batches were announced meanwhile: that proves nothing", n-1)
	}
}
