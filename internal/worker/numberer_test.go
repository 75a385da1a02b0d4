package worker_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// list is where blocks wait.
type list struct {
	mu      sync.Mutex
	blocks  map[order.Day][]ledger.Block
	grants  map[order.Day]int
	removed map[order.Day]int64
	lock    func() bool // nil: it is had at once
}

func (l *list) Grant(_ context.Context, day order.Day, grant func() ([]ledger.Block, error)) error {
	blocks, err := grant()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blocks[day] = append(l.blocks[day], blocks...)
	l.grants[day]++
	return err
}

func (l *list) Take(_ context.Context, day order.Day, above, want int64) (taken []ledger.Block) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ; len(l.blocks[day]) > 0 && want > 0; l.blocks[day] = l.blocks[day][1:] {
		if b := l.blocks[day][0]; b.First >= above {
			taken = append(taken, b)
			want -= b.Count
		}
	}
	return taken
}

func (l *list) Blocks(_ context.Context, day order.Day) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.blocks[day])), nil
}

func (l *list) Left(_ context.Context, day order.Day) (left int64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, b := range l.blocks[day] {
		left += b.Count
	}
	return left, nil
}

func (l *list) Remove(ctx context.Context, day order.Day) (int64, error) {
	removed, _ := l.Left(ctx, day)
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.blocks, day)
	l.removed[day] += removed
	return removed, nil
}

func (l *list) Hold(_ context.Context, _ order.Day, own int64, _ time.Time) (int64, error) {
	return own, nil
}

func (l *list) Lock(context.Context, string) (func(), bool) {
	return func() {}, l.lock == nil || l.lock()
}

// office is several processes over one record and one place where blocks wait, in a time zone.
type office struct {
	t     *testing.T
	store *sqlstore.Store
	zone  *time.Location
	list  *list
	all   []*worker.Numberer

	mu  sync.Mutex
	now time.Time
}

func openOffice(t *testing.T, zone string) *office {
	t.Helper()
	o := &office{t: t, list: &list{blocks: map[order.Day][]ledger.Block{}, grants: map[order.Day]int{}, removed: map[order.Day]int64{}}}
	var err error
	if o.zone, err = time.LoadLocation(zone); err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.now.UTC()
	}
	if o.store, err = sqlstore.Open(t.Context(), "sqlite::memory:", sqlstore.Options{Clock: clock}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = o.store.Close() })
	if _, err := o.store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	o.begin(3)
	return o
}

// begin has so many processes more.
func (o *office) begin(processes int) {
	for range processes {
		o.all = append(o.all, worker.NewNumberer(o.store, worker.NumbererOptions{
			Waiting: o.list, Held: func() (order.Day, int64) { return 0, 0 }, Holder: fmt.Sprint(len(o.all)), BlockSize: 10, Ready: 100,
			TimeZone: o.zone,
		}))
	}
}

func (o *office) set(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.now = now
}

// turn has every process work at a time.
func (o *office) turn(at string) {
	o.t.Helper()
	now, err := time.ParseInLocation("2006-01-02 15:04", at, o.zone)
	if err != nil {
		o.t.Fatal(err)
	}
	o.turnAt(now)
}

func (o *office) turnAt(now time.Time) {
	o.t.Helper()
	o.set(now)
	for _, n := range o.all {
		if err := n.RunOnce(o.t.Context()); err != nil {
			o.t.Fatal(err)
		}
	}
}

func TestDailyNumbersAreMadeAndRemovedOnceInTheDesksTimeZone(t *testing.T) {
	o := openOffice(t, "Asia/Shanghai")
	l := o.list
	l.blocks[20261119] = []ledger.Block{{First: 5, Count: 6}}
	o.turn("2026-11-20 02:59")
	if len(l.removed) > 0 || l.grants[20261120] != 1 || l.grants[20261121] != 0 {
		t.Errorf("at 02:59: granted %v, removed %v; want today's only", l.grants, l.removed)
	}
	o.turn("2026-11-20 03:00")
	if l.removed[20261119] != 6 {
		t.Errorf("at 03:00: removed %v, want the 6 of yesterday", l.removed)
	}
	o.turn("2026-11-20 03:59")
	if l.grants[20261121] != 0 {
		t.Error("at 03:59 tomorrow's are made already")
	}
	for _, at := range []string{"2026-11-20 04:00", "2026-11-20 05:00", "2026-11-20 06:00"} {
		o.turn(at)
	}
	if diff := cmp.Diff(map[order.Day]int{20261120: 1, 20261121: 1}, l.grants); diff != "" {
		t.Errorf("at 06:00: grants by day, wanted - and got +:\n%s", diff)
	}
	l.blocks[20261120] = l.blocks[20261120][:4]
	o.turn("2026-11-20 06:01")
	if got := len(l.blocks[20261120]); got != 10 {
		t.Errorf("%d blocks wait after few were left, want 10", got)
	}
	if first := l.blocks[20261120][4].First; first != 101 {
		t.Errorf("the next block begins at %d, want 101, above all that were granted", first)
	}
}

func TestNumbersOfTomorrowThatRedisLostAreMadeAgain(t *testing.T) {
	o := openOffice(t, "UTC")
	for _, at := range []string{"2026-11-20 04:00", "2026-11-20 04:01"} { // then every process knows that the job is done
		o.turn(at)
	}
	clear(o.list.blocks)
	o.turn("2026-11-20 04:02")
	for day, first := range map[order.Day]int64{20261120: 101, 20261121: 101} {
		if got := o.list.blocks[day]; len(got) != 10 || got[0].First != first {
			t.Errorf("of %d there wait %v, want 10 blocks from %d on", day, got, first)
		}
	}
}

func TestAProcessThatWasDownAtTheHourDoesWhatWasNotDone(t *testing.T) {
	o := openOffice(t, "UTC")
	o.list.blocks[20261117] = []ledger.Block{{First: 1, Count: 3}} // down for days
	o.list.blocks[20261119] = []ledger.Block{{First: 5, Count: 6}}
	o.turn("2026-11-20 15:20")
	o.begin(1)
	o.turn("2026-11-20 15:21")
	if o.list.removed[20261117] != 3 || o.list.removed[20261119] != 6 {
		t.Errorf("removed %v, want the 3 and 6 of the days before", o.list.removed)
	}
	if diff := cmp.Diff(map[order.Day]int{20261120: 1, 20261121: 1}, o.list.grants); diff != "" {
		t.Errorf("grants by day, wanted - and got +:\n%s", diff)
	}
}

// In Helsinki the clocks go from 03:00 to 04:00 in spring and back in autumn; in Cairo from midnight to 01:00.
func TestDaysOnWhichTheClocksChangeHaveTheirNumbersOnce(t *testing.T) {
	for _, c := range []struct {
		zone, from string
		days       []order.Day
	}{
		{"Europe/Helsinki", "2026-03-28 22:00", []order.Day{20260328, 20260329, 20260330, 20260331}},
		{"Europe/Helsinki", "2026-10-24 22:00", []order.Day{20261024, 20261025, 20261026, 20261027}},
		{"Africa/Cairo", "2026-04-23 00:10", []order.Day{20260423, 20260424, 20260425}},
	} {
		t.Run(c.zone+" "+c.from, func(t *testing.T) {
			o := openOffice(t, c.zone)
			now, err := time.ParseInLocation("2006-01-02 15:04", c.from, o.zone)
			if err != nil {
				t.Fatal(err)
			}
			o.set(now)
			if _, err := o.all[0].Fill(t.Context()); err != nil {
				t.Fatal(err)
			}
			if len(o.list.blocks[c.days[0]]) != 10 || len(o.list.blocks[c.days[1]]) != 10 {
				t.Errorf("filled at %s: %v, want %d and %d", c.from, o.list.blocks, c.days[0], c.days[1])
			}
			for end := now.Add(50 * time.Hour); now.Before(end); now = now.Add(20 * time.Minute) {
				o.turnAt(now)
			}
			want := map[order.Day]int{}
			for _, day := range c.days {
				want[day] = 1
			}
			if diff := cmp.Diff(want, o.list.grants); diff != "" {
				t.Errorf("grants by day, wanted - and got +:\n%s", diff)
			}
			for _, day := range c.days[:len(c.days)-2] {
				if o.list.removed[day] != 100 {
					t.Errorf("of %d %d were removed, want all 100", day, o.list.removed[day])
				}
			}
		})
	}
}

func TestNumbersOfADayThatIsOverAreLost(t *testing.T) {
	o := openOffice(t, "Asia/Shanghai")
	n := worker.NewNumberer(o.store, worker.NumbererOptions{
		Waiting: o.list, Held: func() (order.Day, int64) { return 20261120, 7 }, Holder: "h", TimeZone: o.zone,
	})
	o.list.blocks[20261120] = []ledger.Block{{First: 5, Count: 6}}
	for _, c := range []struct {
		now  time.Time
		want int64
	}{
		{time.Date(2026, 11, 20, 23, 59, 59, 999e6, o.zone), 13},
		{time.Date(2026, 11, 21, 0, 0, 0, 0, o.zone), 0},
	} {
		o.set(c.now)
		if got, err := n.Unused(t.Context(), 20261120); got != c.want || err != nil {
			t.Errorf("at %s: %d are left, %v; want %d", c.now, got, err, c.want)
		}
	}
}

func TestWhoFindsNoNumbersHasThemMadeReadyForAll(t *testing.T) {
	o := openOffice(t, "UTC")
	o.set(time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC))
	for _, c := range []struct {
		what        string
		above, want int64
		first       int64
	}{
		{"none wait", 0, 10, 1},
		{"some wait", 11, 10, 11},
		{"what waits is too low", 1000, 10, 0}, // of 100 that were granted
	} {
		if c.first == 0 { // as after a block that the record gave this process
			_, err := o.store.GrantAhead(t.Context(), 20261120, 900)
			if err != nil {
				t.Fatal(err)
			}
			c.first = 1001
		}
		got := o.all[0].Take(t.Context(), 20261120, c.above, c.want)
		if len(got) != 1 || got[0] != (ledger.Block{First: c.first, Count: 10}) {
			t.Errorf("%s: took %v, want 10 numbers from %d on", c.what, got, c.first)
		}
	}
	if got := len(o.list.blocks[20261120]); got != 9 {
		t.Errorf("%d blocks wait for others, want 9", got)
	}
}

// busy is a record whose grants take as long as a test wants.
type busy struct {
	*sqlstore.Store
	asked   chan struct{}
	granted chan struct{}
}

func (b busy) GrantAhead(ctx context.Context, day order.Day, n int64) (int64, error) {
	b.asked <- struct{}{}
	select {
	case <-b.granted:
		return b.Store.GrantAhead(ctx, day, n)
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func openBusy(t *testing.T) (*office, busy, *worker.Numberer) {
	t.Helper()
	o := openOffice(t, "UTC")
	o.set(time.Date(2026, 11, 20, 1, 0, 0, 0, time.UTC))
	b := busy{o.store, make(chan struct{}, 100), make(chan struct{})}
	return o, b, worker.NewNumberer(b, worker.NumbererOptions{
		Waiting: o.list, Held: func() (order.Day, int64) { return 0, 0 }, BlockSize: 10, Ready: 100,
	})
}

func TestAGrantThatTakesLongIsNotBrokenOffByWhoTakes(t *testing.T) {
	o, b, n := openBusy(t)
	for range 3 {
		if got := n.Take(t.Context(), 20261120, 0, 10); got != nil {
			t.Errorf("took %v, and none are granted yet", got)
		}
	}
	close(b.granted)
	for began := time.Now(); ; {
		if got := n.Take(t.Context(), 20261120, 0, 10); len(got) == 1 && got[0].First == 1 {
			break
		} else if got != nil || time.Since(began) > 10*time.Second {
			t.Fatalf("took %v, want 10 numbers from 1 on", got)
		}
	}
	if len(b.asked) != 1 || o.list.grants[20261120] != 1 {
		t.Errorf("numbers were granted %d times, want once", len(b.asked))
	}
}

func TestAGrantIsWaitedForWhenTheDeskStops(t *testing.T) {
	o, b, n := openBusy(t)
	ctx, stop := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() { n.Run(ctx); close(over) }()
	<-b.asked
	stop()
	select {
	case <-over:
		t.Error("it stopped in the middle of a grant")
	case <-time.After(20 * time.Millisecond):
	}
	close(b.granted)
	<-over
	if got := len(o.list.blocks[20261120]); got != 10 {
		t.Errorf("%d blocks wait, want the 10 that were granted", got)
	}
	clear(o.list.blocks)
	if got := n.Take(t.Context(), 20261120, 0, 10); got != nil || len(b.asked) > 0 {
		t.Errorf("took %v of a numberer that has stopped", got)
	}
}

func TestWhoFindsAnotherProcessHaveNumbersGrantedWaitsForThem(t *testing.T) {
	o := openOffice(t, "UTC")
	looks := 0
	o.list.lock = func() bool {
		if looks++; looks == 5 {
			_ = o.list.Grant(t.Context(), 20261120, func() ([]ledger.Block, error) { return []ledger.Block{{First: 7, Count: 10}}, nil })
		}
		return false
	}
	if got := o.all[0].Take(t.Context(), 20261120, 0, 10); len(got) != 1 || got[0].First != 7 {
		t.Errorf("took %v, want the block of the other", got)
	}
}

// counted is a record whose day has so many pieces of numbers to count.
type counted struct {
	worker.Grants
	pieces, asked int
}

func (*counted) Now(context.Context) (time.Time, error) { return time.Unix(1e9, 0), nil }

func (c *counted) CountAhead(context.Context, order.Day) (more bool, err error) {
	c.asked++
	c.pieces--
	return c.pieces >= 0, nil
}

func TestNumbersAreCountedAheadWithoutRedisToo(t *testing.T) {
	c := &counted{pieces: 20}
	n := worker.NewNumberer(c, worker.NumbererOptions{})
	for _, want := range []int{8, 16, 21, 22} { // a few at a time; at the end it is asked whether there are more
		if err := n.RunOnce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if c.asked != want {
			t.Errorf("it was asked %d times, want %d", c.asked, want)
		}
	}
}
