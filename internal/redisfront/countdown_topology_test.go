package redisfront_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

const lockRenewed = 3 * time.Second // a lock that is held for longer has been renewed

// Deadlines, numbers and the locks of long jobs need no more than the documents say.
func TestDeadlinesAndNumbersDoWithFewPermissions(t *testing.T) {
	s := testenv.StartRedis(t, testenv.Options{})
	always, more := documentedUser(t)
	address := asDesk(t, s.URL(), []*testenv.Server{s}, always, more)
	till := openTill(t, newGrants(), address, 10, 1000)
	till.works(t)
	release, ok := till.numbers.Lock(t.Context(), "a job")
	if !ok {
		t.Fatal("somebody else has the lock")
	}
	countDownAndGive(t, address)
	pause(lockRenewed) // so long does the job take
	release()
	notRefused(t, s)
}

func TestDeadlinesAndNumbersAreKeptOnACluster(t *testing.T) {
	countDownAndGive(t, testenv.StartRedisCluster(t, testenv.Options{}).URL())
}

// countDownAndGive has both countdowns name orders, and numbers made ready, taken and removed.
func countDownAndGive(t *testing.T, address string) {
	t.Helper()
	g := newGrants()
	for driver, by := range map[string]newCountdown{"redis": redisfront.NewSortedCountdown, "keyspace": redisfront.NewKeyspaceCountdown} {
		c := counting(t, working(t, g.record, strict(address)), by, driver)
		all := numbers(100)
		var got []order.Number
		testenv.Until(t, patience, "all are named by "+driver, func() bool { // an event that nobody listened to yet is lost
			c.Applied(pending(time.Now().Add(20*time.Millisecond), all...))
			pause(50 * time.Millisecond)
			due, _ := c.Due(time.Now(), 1000)
			got = append(got, due...)
			slices.Sort(got)
			got = slices.Compact(got)
			return len(got) == len(all)
		})
		c.Over(all)
	}
	till := openTill(t, g, address, 10, 1000)
	till.works(t)
	day := order.DayOf(g.now())
	testenv.Until(t, patience, "numbers are ready", func() bool { return g.granted(day) >= 1000 })
	testenv.Until(t, patience, "it takes them", func() bool {
		return len(till.numbers.Take(t.Context(), day, 0, 25)) == 3
	})
	if removed, err := till.numbers.Remove(t.Context(), day); err != nil || removed == 0 {
		t.Errorf("removed %d, %v; want what was left", removed, err)
	}
	if strings.Contains(till.log.String(), "ERROR") {
		t.Errorf("it said: %s", till.log)
	}
}
