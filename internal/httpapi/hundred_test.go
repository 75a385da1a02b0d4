package httpapi

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/limits"
)

// atOnce is what a hundred requests at once, all the same, come to.
type atOnce struct {
	first, others int  // the statuses of the one that did it, and of all others
	each          bool // each of them is a wish of its own, and granted
	most          int  // rows that are kept of such wishes; 0: all
	either        bool // the first ends what the others come with, and some may have come in before: they are answered as either
	sameBytes     bool // all are answered alike, to the byte
}

// writing says for every route that writes what the same request means when it comes again.
var writing = map[string]atOnce{
	"putProduct":         {first: 201, others: 200},
	"adjustStock":        {first: 201, others: 200}, // of one ref; without one each counts, see below
	"releaseProduct":     {first: 200, others: 200, sameBytes: true},
	"putUser":            {first: 201, others: 200},
	"placeOrder":         {first: 201, others: 201, sameBytes: true},
	"cancelOrder":        {first: 200, others: 409},
	"fulfilOrder":        {first: 200, others: 409},
	"createPayment":      {first: 201, others: 200, sameBytes: true},
	"createStreamTicket": {first: 201, others: 201, each: true},
	"receiveNotice":      {first: 200, others: 200},
	"createKey":          {first: 201, others: 201, each: true},
	"fillNumbers":        {first: 200, others: 200},
	"purgeNumbers":       {first: 200, others: 200},
	"warmCache":          {first: 200, others: 200},
	"revokeKey":          {first: 200, others: 200, sameBytes: true},
	"createSession":      {first: 201, others: 201, each: true, most: limits.SessionsOfUser},
	"endSession":         {first: 200, others: 401, either: true},
	"endSessions":        {first: 200, others: 200},
}

const hundred = 100

// TestAHundredAtOnceAreAsOne sends each writing route the same request a hundred times at once, and compares the record with
// one that was asked once: as many rows in every table, unless each request is a wish of its own.
func TestAHundredAtOnceAreAsOne(t *testing.T) {
	for _, r := range routes() {
		if r.method == http.MethodGet {
			continue
		}
		t.Run(r.id, func(t *testing.T) {
			t.Parallel()
			want, ok := writing[r.id]
			if !ok {
				t.Fatalf("%s has no entry in writing (hundred_test.go): say there what the same request means when it comes again", r.id)
			}
			sent := func(n int) (map[string]int, []answer) {
				d, samples := newShop(t)
				s, record := samples[r.id], d.watch()
				if r.id == "createPayment" {
					s.target = "/v1/orders/" + d.another().OrderNo + "/payments"
				}
				before := record.look().count()
				answers := make([]answer, n)
				var all sync.WaitGroup
				start := make(chan struct{})
				requests := make([]*http.Request, n)
				for i := range requests {
					headers := s.headers(s.body, "")
					scope := apikey.Admin
					if slices.Contains(headers, "Authorization") {
						scope = ""
					}
					requests[i] = d.request(r.method, s.target, s.body, scope, headers...)
				}
				for i := range answers {
					all.Go(func() {
						<-start
						answers[i] = d.do(requests[i])
					})
				}
				close(start)
				all.Wait()
				more := record.look().count()
				for table := range more {
					more[table] -= before[table]
				}
				return more, answers
			}
			once, _ := sent(1)
			many, answers := sent(hundred)
			times := 1
			if want.each {
				times = hundred
			}
			if want.most > 0 {
				times = want.most
			}
			for table := range many {
				if many[table] != once[table]*times {
					t.Errorf("%s has %d rows more after %d requests, and %d after one", table, many[table], hundred, once[table])
				}
			}
			checkAtOnce(t, want, answers)
		})
	}
	for id := range writing {
		if _, there := doors[id]; !there {
			t.Errorf("writing has an entry for %s, which is no route", id)
		}
	}
}

func checkAtOnce(t *testing.T, want atOnce, answers []answer) {
	t.Helper()
	statuses := map[int]int{}
	for _, a := range answers {
		statuses[a.status]++
		if want.sameBytes && !bytes.Equal(a.body, answers[0].body) {
			t.Errorf("answered %s and %s, want the same to all", a.body, answers[0].body)
			break
		}
	}
	if want.either {
		if n := statuses[want.first]; n < 1 || n+statuses[want.others] != len(answers) {
			t.Errorf("statuses are %v, want %d at least once and %d otherwise", statuses, want.first, want.others)
		}
		return
	}
	expected := map[int]int{want.first: 1}
	expected[want.others] += len(answers) - 1
	for status, n := range expected {
		if statuses[status] != n {
			t.Errorf("statuses are %v, want %v", statuses, expected)
		}
	}
}

// Without a ref every delivery is one more.
func TestEachDeliveryWithoutARefCounts(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 0)
	var all sync.WaitGroup
	for range hundred {
		all.Go(func() { d.send("POST", "/v1/products/sku-1/stock", `{"delta":3}`, "admin") })
	}
	all.Wait()
	if got := d.get("/v1/products/sku-1/stock", "admin"); !strings.Contains(string(got.body), `"received":300,`) {
		t.Errorf("got %s, want 300 received", got.body)
	}
}

// One buyer presses the button on sixty-four devices, each with a key of its own: his limit holds.
func TestLimitOfAUserHoldsAtOnce(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1000)
	d.wantsStatus(d.putProduct("sku-1", `{"max_per_user":1}`), 200)
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			a := d.place(strings.Repeat("k", i+1), oneTicket)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	all.Wait()
	if statuses[201] != 1 || statuses[409] != 63 {
		t.Errorf("statuses are %v, want one 201 and 63 times 409", statuses)
	}
}

// A key that is used with other orders at the same time: one of them is placed, the others are told.
func TestOneKeyForManyOrdersAtOnce(t *testing.T) {
	d := newDesk(t)
	d.offer("sku-1", 1000)
	var mu sync.Mutex
	statuses := map[int]int{}
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			a := d.place("one", strings.Replace(oneTicket, "u-1", "u-"+strings.Repeat("1", i+1), 1))
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
		})
	}
	all.Wait()
	if statuses[201] != 1 || statuses[422]+statuses[409] != 31 {
		t.Errorf("statuses are %v, want one 201 and 31 times 422 or 409", statuses)
	}
	d.clock.advance(time.Second)
	if got := d.watch().look().count()["orders"]; got != 1 {
		t.Errorf("%d orders were placed, want 1", got)
	}
}
