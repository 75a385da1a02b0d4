package redisfront

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// Limits of the writer.
const (
	newsMax    = 8192                   // products that wait to be told
	newsPage   = 512                    // products told in one round trip
	newsWait   = 250 * time.Millisecond // for one round trip
	landedEach = 100 * time.Millisecond // between two times it is told that nothing is in flight any more
)

// writer carries news of products to Redis: of each only the latest, so that it never falls behind for longer than a round trip. It
// never blocks who tells it.
type writer struct {
	gate *Gate
	kick chan struct{}
	lost atomic.Int64

	mu    sync.Mutex
	news  map[product.ID]told
	page  map[product.ID]told // news on its way
	still map[product.ID]bool // nothing of these is in flight any more
}

// told is what the record said of a product.
type told struct {
	product *product.Product
	stock   *stock.Stock
}

// newer is what is newer of each.
func (n told) newer(than told) told {
	if than.product != nil && than.product.Version > n.product.Version {
		n.product = than.product
	}
	if than.stock != nil && than.stock.Version > n.stock.Version {
		n.stock = than.stock
	}
	return n
}

func newWriter(g *Gate) *writer {
	return &writer{gate: g, kick: make(chan struct{}, 1), news: map[product.ID]told{}, page: map[product.ID]told{}, still: map[product.ID]bool{}}
}

// tell hands the state of a product in. The older of two is dropped.
func (w *writer) tell(p *product.Product, s *stock.Stock) {
	w.mu.Lock()
	w.keep(told{p, s})
	w.mu.Unlock()
	select {
	case w.kick <- struct{}{}:
	default:
	}
}

// keep has news wait, while it holds w.mu.
func (w *writer) keep(n told) {
	had, known := w.news[n.product.ID]
	if !known && len(w.news) >= newsMax {
		w.lost.Add(1)
		return
	}
	w.news[n.product.ID] = n.newer(had)
}

// untold gives what this desk knows of a product while Redis may not have heard of it, or nil.
func (w *writer) untold(id product.ID) *told {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, waits := w.news[id]
	onItsWay, goes := w.page[id]
	switch {
	case waits:
		n = n.newer(onItsWay)
	case goes:
		n = onItsWay
	default:
		return nil
	}
	return &n
}

// landed takes note that nothing of a product is in flight any more. It is told after a while, should it still be so.
func (w *writer) landed(id product.ID) {
	w.mu.Lock()
	if len(w.still) < newsMax {
		w.still[id] = true
	}
	w.mu.Unlock()
}

func (w *writer) run(ctx context.Context) {
	tick := time.NewTicker(landedEach)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.kick:
		case <-tick.C:
			w.tellLanded(ctx)
		}
		for ctx.Err() == nil && w.tellPage(ctx) {
		}
	}
}

// tellPage tells a page of news, and reports whether there was any and it got through. What did not get through waits for the next time.
func (w *writer) tellPage(ctx context.Context) bool {
	c, epoch := w.gate.front.reachable()
	if c == nil {
		return false
	}
	page := w.turn()
	if len(page) == 0 {
		return false
	}
	runs := make([]run, len(page))
	for i, n := range page {
		runs[i] = learnRun(epoch, w.gate.front.self, n.product, n.stock, w.gate.flights.of(n.product.ID))
	}
	ctx, cancel := context.WithTimeout(ctx, newsWait+w.gate.front.opt.Grace)
	defer cancel()
	var again []told
	failed := false
	for i, r := range runAll(ctx, c, runs) {
		switch _, refused := rueidis.IsRedisErr(r.Error()); {
		case r.Error() == nil:
			continue
		case refused: // it would be, again and again
			w.lost.Add(1)
		default:
			again = append(again, page[i])
		}
		failed = true
	}
	if failed {
		w.gate.front.failed(w.gate.front.trusted.Load())
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, n := range again {
		w.keep(n)
	}
	clear(w.page)
	return !failed
}

// turn takes the next page of news, which is on its way from then on.
func (w *writer) turn() []told {
	w.mu.Lock()
	defer w.mu.Unlock()
	page := make([]told, 0, min(len(w.news), newsPage))
	for id, n := range w.news {
		if len(page) == newsPage {
			break
		}
		page = append(page, n)
		w.page[id] = n
		delete(w.news, id)
	}
	return page
}

// tellLanded takes this process out of the products of which it has nothing in flight.
func (w *writer) tellLanded(ctx context.Context) {
	w.mu.Lock()
	still := w.still
	w.still = map[product.ID]bool{}
	w.mu.Unlock()
	c, _ := w.gate.front.reachable()
	if c == nil || len(still) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, newsWait+w.gate.front.opt.Grace)
	defer cancel()
	for id := range still {
		if w.gate.flights.of(id) == 0 {
			_ = c.Do(ctx, c.B().Hdel().Key(inventoryKey(id)).Field("f:"+w.gate.front.self).Build()).Error() // it lapses
		}
	}
}

// learnRun tells a product's state, with what this process has of it in flight.
func learnRun(epoch, self string, p *product.Product, s *stock.Stock, inFlight int64) run {
	active := "0"
	if p.Active && !p.Quarantined() {
		active = "1"
	}
	return run{&learnScript, []string{inventoryKey(p.ID)}, []string{
		epoch, self, strconv.FormatInt(inFlight, 10), string(p.ID),
		strconv.FormatInt(s.Available(), 10), strconv.FormatInt(s.Version, 10),
		strconv.FormatInt(p.Version, 10), active, millis(p.OnSaleFrom), millis(p.OnSaleUntil), strconv.FormatInt(p.MaxPerUser, 10),
	}}
}

func millis(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.UnixMilli(), 10)
}
