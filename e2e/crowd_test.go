package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
)

const (
	crowdSize      = 24 // clients at the same time
	checkersAtOnce = 16
	crowdStock     = 100_000_000 // units of each product but the scarce one: more than any crowd buys
	crowdRestock   = 3           // units in one more delivery
	oldPurchases   = 40          // looked at again after each crash, beside the new ones
	oldInTheEnd    = 2000
	turnedAway     = 20 * time.Millisecond // before a client asks for something else
	longer         = 5                     // are the rests where a crowd goes on for seconds
)

// crowd is many clients of one shop who go on through its crashes: they place, pay, cancel, change their minds late, and
// remember what they were told. What they were not told they ask again, as a good client does, and then know.
type crowd struct {
	t        *testing.T
	where    where
	database string
	rests    time.Duration // between two moves of one of them
	draw     *rand.Rand    // under mu

	mu         sync.Mutex
	purchases  []*purchase
	fresh      []*purchase // touched since the last look
	waiting    []*purchase // placed, and nothing done about them yet
	numbers    map[string]*purchase
	deliveries []*delivery
	unknown    int           // answers that did not come
	newest     time.Time     // when the newest order was placed
	last       time.Time     // when the last order was answered, or this rush began
	pause      time.Duration // the longest of this rush, with nobody getting an order
	stalled    time.Duration // the longest of this rush, with the machine busy with something else
}

// purchase is one client's order, from his side.
type purchase struct {
	key, user string
	lines     []api.PlaceLine

	answer    []byte // of the 201; nil: none came so far
	placed    api.Order
	refused   bool // told that it cannot be
	pay       wish
	cancel    wish
	cancelled bool // told that it is
	notice    notice
	now       api.Order // when it was last looked at
}

// wish is something that a client asked for, and whether he was answered.
type wish uint8

const (
	never wish = iota
	asked      // no answer came
	answered
)

// shopProducts are what the crowd buys, with how long it may take to pay. Of the scarce one there is never enough.
func shopProducts() map[string]time.Duration {
	return map[string]time.Duration{"scarce": 2 * time.Second, "quick": time.Second, "slow": time.Hour, "other": time.Hour}
}

func newCrowd(t *testing.T, w where) *crowd {
	t.Helper()
	t.Logf("-chaos.seed=%d", *chaosSeed)
	c := &crowd{
		t: t, where: w, database: w.database(t), rests: *rests, draw: rand.New(rand.NewPCG(*chaosSeed, 1)),
		numbers: map[string]*purchase{},
	}
	s := w.alone().serve(t, shipped, c.database)
	for id, window := range shopProducts() {
		p := api.PutProduct{Title: api.Set(id), Price: api.Set(api.Money{Amount: 990, Currency: "CNY"}), PayWindow: api.Set(window.String())}
		s.want(http.StatusCreated, nil, "PUT", "/v1/products/"+id, p)
	}
	for id := range shopProducts() {
		units := int64(crowdStock)
		if id == "scarce" {
			units = crowdRestock
		}
		c.deliver(s.desk, c.newDelivery(id, units))
	}
	if w.front.start != nil {
		pass(healing) // what is said too early may be lost with the process: it is believed for so long
	}
	s.kill()
	return c
}

// number draws from 0 to below n.
func (c *crowd) number(n int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.draw.IntN(n)
}

// rush lets the crowd loose on a desk until it is told to stop or the desk's only process is gone.
func (c *crowd) rush(d *desk, stop <-chan struct{}) {
	var clients sync.WaitGroup
	var gone atomic.Bool
	c.mu.Lock()
	c.last, c.pause, c.stalled = time.Now(), 0, 0
	c.mu.Unlock()
	over := make(chan struct{})
	defer close(over)
	go c.watchMachine(over)
	for range crowdSize {
		clients.Go(func() {
			for !gone.Load() {
				select {
				case <-stop:
					return
				default:
				}
				if lost := c.lostSoFar(); !c.move(d) && c.where.processes == 1 {
					gone.Store(true)
				} else if c.lostSoFar() != lost {
					pass(turnedAway)
				}
				pass(c.rests)
			}
		})
	}
	clients.Wait()
	c.mu.Lock()
	c.pause = max(c.pause, time.Since(c.last))
	c.mu.Unlock()
}

// move is one thing that one client does; it reports false when no answer came.
func (c *crowd) move(d *desk) bool {
	switch dice := c.number(100); {
	case dice < 70:
		return c.buy(d)
	case dice < 95:
		if p := c.undecided(); p != nil {
			return c.decide(d, p)
		}
		return true
	default:
		return c.deliver(d, c.newDelivery("scarce", crowdRestock))
	}
}

// buy places an order, and may pay or cancel it at once.
func (c *crowd) buy(d *desk) bool {
	p := c.newPurchase()
	if !c.place(d, p) {
		return false
	}
	if p.answer == nil {
		return true
	}
	if c.number(2) == 0 {
		return c.decide(d, p)
	}
	c.mu.Lock()
	c.waiting = append(c.waiting, p)
	c.mu.Unlock()
	return true
}

func (c *crowd) newPurchase() *purchase {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := len(c.purchases)
	p := &purchase{key: fmt.Sprintf("key-%d", n), user: fmt.Sprintf("u-%d", n)}
	switch c.draw.IntN(4) {
	case 0:
		p.lines = []api.PlaceLine{line("scarce", 2)}
	case 1:
		p.lines = []api.PlaceLine{line("quick", 1)}
	case 2:
		p.lines = []api.PlaceLine{line("slow", 1), line("other", 2)}
	default:
		p.lines = []api.PlaceLine{line("other", 1), line("scarce", 1), line("other", 1)}
	}
	c.purchases = append(c.purchases, p)
	c.fresh = append(c.fresh, p)
	return p
}

// undecided takes out an earlier order that was left alone so far. It may have expired meanwhile.
func (c *crowd) undecided() *purchase {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.waiting) == 0 {
		return nil
	}
	i, end := c.draw.IntN(len(c.waiting)), len(c.waiting)-1
	p := c.waiting[i]
	c.waiting[i], c.waiting = c.waiting[end], c.waiting[:end]
	c.fresh = append(c.fresh, p)
	return p
}

// decide pays or cancels, or does both, one right after the other.
func (c *crowd) decide(d *desk, p *purchase) bool {
	switch c.number(10) {
	case 0, 1, 2:
		return c.cancel(d, p)
	case 3:
		return c.cancel(d, p) && c.payFor(d, p)
	case 4:
		return c.payFor(d, p) && c.cancel(d, p)
	default:
		return c.payFor(d, p)
	}
}

// place asks for the order, for the first time or again.
func (c *crowd) place(d *desk, p *purchase) bool {
	a, err := d.place(p.key, p.user, p.lines...)
	switch {
	case err != nil || a.status == http.StatusServiceUnavailable:
		c.lost()
		return err == nil
	case a.status == http.StatusCreated && p.answer == nil:
		c.accepted(p, a.body)
	case a.status == http.StatusCreated:
		if !bytes.Equal(a.body, p.answer) {
			c.t.Errorf("%s: got %s, want the bytes of the first answer: %s", p.key, a.body, p.answer)
		}
	case a.status == http.StatusConflict && a.problem().Code == api.CodeOutOfStock && p.answer == nil:
		p.refused = true
		if id := string(a.problem().Members["product_id"]); id != `"scarce"` {
			c.t.Errorf("%s: told that %s is sold out, of which there is plenty", p.key, id)
		}
	default:
		c.t.Errorf("%s: got %v; the first answer was %q", p.key, a, p.answer)
	}
	return true
}

func (c *crowd) accepted(p *purchase, body []byte) {
	p.answer = body
	if err := json.Unmarshal(body, &p.placed); err != nil {
		c.t.Errorf("%s: %v", p.key, err)
	}
	p.notice = moneyFor(p.placed, "tx-"+p.key)
	c.mu.Lock()
	defer c.mu.Unlock()
	if other := c.numbers[p.placed.OrderNo]; other != nil {
		c.t.Errorf("number %s was given to %s and to %s", p.placed.OrderNo, other.key, p.key)
	}
	c.numbers[p.placed.OrderNo] = p
	now := time.Now()
	c.pause, c.last = max(c.pause, now.Sub(c.last)), now
	if p.placed.CreatedAt.After(c.newest) {
		c.newest = p.placed.CreatedAt
	}
}

func (c *crowd) payFor(d *desk, p *purchase) bool {
	a, err := d.notify(p.notice)
	switch {
	case err != nil || a.status == http.StatusServiceUnavailable:
		p.pay = max(p.pay, asked)
		c.lost()
	case a.status == http.StatusOK:
		p.pay = answered
	default:
		c.t.Errorf("notice for %s: got %v, want 200", p.key, a)
	}
	return err == nil
}

func (c *crowd) cancel(d *desk, p *purchase) bool {
	a, err := d.send("POST", "/v1/orders/"+p.placed.OrderNo+"/cancel", nil)
	switch {
	case err != nil || a.status == http.StatusServiceUnavailable:
		p.cancel = max(p.cancel, asked)
		c.lost()
	case a.status == http.StatusOK:
		p.cancel, p.cancelled = answered, true
	case a.problem().Code == api.CodeOrderNotCancellable:
		p.cancel = answered
	default:
		c.t.Errorf("cancel %s: got %v, want 200 or 409", p.key, a)
	}
	return err == nil
}

func (c *crowd) lost() {
	c.mu.Lock()
	c.unknown++
	c.mu.Unlock()
}

func (c *crowd) lostSoFar() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unknown
}

// boughtSince is whether anybody was answered an order that was placed after a moment.
func (c *crowd) boughtSince(moment time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.newest.After(moment)
}

// watchMachine keeps for how long it let nobody run.
func (c *crowd) watchMachine(over <-chan struct{}) {
	const every = 10 * time.Millisecond
	for {
		slept := time.Now()
		select {
		case <-over:
			return
		case <-time.After(every):
			c.mu.Lock()
			c.stalled = max(c.stalled, time.Since(slept)-every)
			c.mu.Unlock()
		}
	}
}

// paused is how long nobody got an order in the last rush, and how much of it the machine may have been busy with something else.
func (c *crowd) paused() (pause, stalled time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pause, c.stalled
}

// delivery is stock that comes in under a ref, which counts once.
type delivery struct {
	product, ref string
	units        int64
	arrived      bool
}

func (c *crowd) newDelivery(product string, units int64) *delivery {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := &delivery{product: product, ref: fmt.Sprintf("delivery-%d", len(c.deliveries)), units: units}
	c.deliveries = append(c.deliveries, n)
	return n
}

// deliver takes a delivery in, for the first time or again.
func (c *crowd) deliver(d *desk, n *delivery) bool {
	a, err := d.send("POST", "/v1/products/"+n.product+"/stock", api.AdjustStock{Delta: n.units, Ref: n.ref})
	switch {
	case err != nil || a.status == http.StatusServiceUnavailable:
		c.lost()
	case a.status == http.StatusCreated || a.status == http.StatusOK:
		n.arrived = true
	default:
		c.t.Errorf("%s: got %v, want 201 or 200", n.ref, a)
	}
	return err == nil
}
