package redisfront

import (
	"cmp"
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Limits of the cache.
const (
	cachedMin     = 2 * time.Minute  // longer than any batch lasts
	cachedMax     = 24 * time.Hour   // for a deadline far away
	settledFor    = 10 * time.Minute // for what has been paid or is over, for users and for products
	changedMax    = 8192             // values that wait to be told
	changedAtOnce = 256
	warmMax       = time.Second // for one word with Redis in a warm-up
	warmRest      = time.Second // after one that failed
)

// Docket is an order with the payments for it, oldest first.
type Docket struct {
	Order    *order.Order
	Payments []*payment.Payment
}

// CacheRecord is what the cache is filled from.
type CacheRecord interface {
	checkout.Reads
	Shelves(ctx context.Context, after product.ID, limit int) ([]checkout.Shelf, error)
}

// Cache remembers orders with their payments, users and products for all processes. No reader goes back in time, whichever process he
// asks: a value is marked before the commit that changes it, and is read in the record until what it has become is there. So what
// is kept in this process spares reading and decoding a value, never asking whether it is still the one.
type Cache struct {
	front    *Front
	record   CacheRecord
	dockets  *cached[order.Number, Docket]
	users    *cached[user.ID, user.User]
	shelves  *cached[product.ID, checkout.Shelf]
	ordersOf *cached[string, order.Number] // of payments

	batches atomic.Int64           // announced by this process
	under   atomic.Pointer[string] // the epoch that was believed when the last one was announced
	lost    atomic.Int64
	warmed  atomic.Int64
	kick    chan struct{}
	mu      sync.Mutex
	waiting []changed
}

// changed is what a value has become.
type changed struct {
	key     func(epoch string) string
	version int64
	value   any
	lasts   time.Duration
	batch   int64
	epoch   string
}

// NewCache makes the cache of a front. Run works for it.
func NewCache(f *Front, record CacheRecord) *Cache {
	c := &Cache{front: f, record: record, kick: make(chan struct{}, 1)}
	c.dockets = newCached(f, kind[order.Number, Docket]{
		name: "order", key: orderKey, load: c.loadDocket, version: docketVersion, lasts: docketLasts,
	})
	c.users = newCached(f, kind[user.ID, user.User]{
		name: "user", key: userKey, load: record.User, version: func(u *user.User) int64 { return u.Version }, misses: true,
	})
	c.shelves = newCached(f, kind[product.ID, checkout.Shelf]{
		name: "product", key: productKey, load: c.loadShelf, version: shelfVersion, misses: true,
	})
	c.ordersOf = newCached(f, kind[string, order.Number]{
		name: "payment", key: paymentKey, load: c.loadOrderOf, version: func(*order.Number) int64 { return 1 }, forever: true,
	})
	return c
}

// loadDocket reads an order with its payments. What changes between the two looks was marked, so this is then kept by nobody.
func (c *Cache) loadDocket(ctx context.Context, no order.Number) (*Docket, error) {
	o, err := c.record.Order(ctx, no)
	if err != nil {
		return nil, err
	}
	payments, err := c.record.PaymentsOf(ctx, no)
	if err != nil {
		return nil, err
	}
	return &Docket{o, payments}, nil
}

func (c *Cache) loadShelf(ctx context.Context, id product.ID) (*checkout.Shelf, error) {
	s, err := c.record.Shelf(ctx, id)
	if err != nil {
		return nil, err
	}
	return &s, nil
}

func (c *Cache) loadOrderOf(ctx context.Context, paymentID string) (*order.Number, error) {
	p, err := c.record.Payment(ctx, paymentID)
	if err != nil {
		return nil, err
	}
	return &p.OrderNumber, nil
}

// docketVersion grows with each event of the order and each step of a payment: none of them is ever taken back.
func docketVersion(d *Docket) int64 {
	version := d.Order.Events
	for _, p := range d.Payments {
		switch p.Status {
		case payment.Pending:
			version++
		case payment.Failed, payment.Closed:
			version += 2
		case payment.Succeeded: // what had failed may yet succeed
			version += 3
		}
	}
	return version
}

// docketLasts is how long an order is kept: while it can be paid, and for a while after.
func docketLasts(d *Docket) time.Duration {
	if d.Order.Status != order.Pending {
		return settledFor
	}
	return min(max(time.Until(d.Order.PayBy)+cachedMin, cachedMin), cachedMax)
}

func shelfVersion(s *checkout.Shelf) int64 { return s.Product.Version + s.Stock.Version }

// Order gives an order as it is.
func (c *Cache) Order(ctx context.Context, no order.Number) (*order.Order, error) {
	d, err := c.dockets.Read(ctx, no)
	if err != nil {
		return nil, err
	}
	return d.Order, nil
}

// PaymentsOf gives the payments of an order as they are, oldest first.
func (c *Cache) PaymentsOf(ctx context.Context, no order.Number) ([]*payment.Payment, error) {
	d, err := c.dockets.Read(ctx, no)
	if err != nil {
		return nil, err
	}
	return d.Payments, nil
}

// Payment gives a payment as it is. Which order it is for never changes; the rest is read with the order.
func (c *Cache) Payment(ctx context.Context, id string) (*payment.Payment, error) {
	no, err := c.ordersOf.Read(ctx, id)
	if err != nil {
		return nil, err
	}
	payments, err := c.PaymentsOf(ctx, *no)
	if err != nil {
		return nil, err
	}
	if i := slices.IndexFunc(payments, func(p *payment.Payment) bool { return p.ID == id }); i >= 0 {
		return payments[i], nil
	}
	return c.record.Payment(ctx, id)
}

// Shelf gives a product with its stock as it is.
func (c *Cache) Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error) {
	s, err := c.shelves.Read(ctx, id)
	if err != nil {
		return checkout.Shelf{}, err
	}
	return *s, nil
}

// User gives a user as he is.
func (c *Cache) User(ctx context.Context, id user.ID) (*user.User, error) {
	return c.users.Read(ctx, id)
}

// Changing tells all processes what a batch is about to change, and which keys it uses, in one round trip. As with used keys, a Redis
// that cannot be told is believed by nobody any more before the batch is committed.
func (c *Cache) Changing(ch *ledger.Changes) {
	batch := strconv.FormatInt(c.batches.Add(1), 10)
	c.under.Store(nil)
	if t := c.front.open(); t != nil {
		c.under.Store(&t.epoch)
	}
	used := slices.Collect(maps.Keys(ch.Keys))
	var keys []func(epoch string) string
	for no := range ch.ChangedOrders() {
		keys = append(keys, c.dockets.keyOf(no))
	}
	for id := range ch.ChangedProducts() {
		keys = append(keys, c.shelves.keyOf(id))
	}
	for _, users := range [][]*user.User{ch.NewUsers, ch.Users} {
		for _, u := range users {
			keys = append(keys, c.users.keyOf(u.ID))
		}
	}
	less := lessRuns(ch)
	if c.front.opt.Alone {
		c.front.tellLess(less)
		return
	}
	if len(keys)+len(used) == 0 {
		return
	}
	c.front.announce(func(ctx context.Context, client rueidis.Client, epoch string) (time.Time, error) {
		runs := slices.Clone(less)
		for _, key := range keys {
			runs = append(runs, run{&cachedChangingScript, []string{key(epoch)}, []string{c.front.self, batch}})
		}
		return c.front.use(ctx, client, epoch, used, runs)
	})
}

// lessRuns say of whom a batch ends an order that counted for a purchase limit: he may buy again as soon as it is committed.
func lessRuns(ch *ledger.Changes) (runs []run) {
	for _, o := range ch.Orders {
		if o.Status.CountsForLimit() {
			continue
		}
		for i := range o.Lines {
			id := o.Lines[i].ProductID
			if _, counted := ch.Units[ledger.Buyer{ProductID: id, UserID: o.UserID}]; counted {
				runs = append(runs, limitRun(id, o.UserID, 0))
			}
		}
	}
	return runs
}

// Applied learns from the batch announced last and carries it to Redis, in the background. What is lost stays marked, and is read in
// the record. Only into an epoch that was believed before the commit: then whatever changed since was marked in it, too.
func (c *Cache) Applied(a *ledger.Applied) {
	under := c.under.Load()
	if under == nil || c.front.opt.Alone {
		return
	}
	batch, epoch := c.batches.Load(), *under
	c.mu.Lock()
	for i, p := range a.Products { // first: all buyers look at them
		if p != nil && a.Changed[p.ID] {
			c.waiting = append(c.waiting, c.shelves.changed(p.ID, &checkout.Shelf{Product: p, Stock: a.Stock[i]}, batch, epoch))
		}
	}
	for _, orders := range [][]*order.Order{a.Orders, a.Paying} {
		for _, o := range orders {
			payments, changed := a.Payments[o.Number]
			if !changed {
				continue // it is new: whoever reads it first fills it in, and of most orders nobody does before they change
			}
			payments = slices.SortedFunc(slices.Values(payments), oldestFirst)
			c.waiting = append(c.waiting, c.dockets.changed(o.Number, &Docket{o, payments}, batch, epoch))
		}
	}
	for _, u := range a.Users {
		c.waiting = append(c.waiting, c.users.changed(u.ID, u, batch, epoch))
	}
	if beyond := len(c.waiting) - changedMax; beyond > 0 {
		c.waiting = c.waiting[beyond:]
		c.lost.Add(int64(beyond))
	}
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func oldestFirst(a, b *payment.Payment) int {
	return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
}

// Run carries what has changed to Redis, and warms it whenever it begins anew, until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	var warm sync.WaitGroup
	defer warm.Wait()
	warm.Go(func() { c.keepWarm(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.kick:
		}
		for ctx.Err() == nil && c.tellPage(ctx) {
		}
	}
}

// tellPage tells some of what has changed, and reports whether there was any.
func (c *Cache) tellPage(ctx context.Context) bool {
	c.mu.Lock()
	page := c.waiting[:min(len(c.waiting), changedAtOnce)]
	if c.waiting = c.waiting[len(page):]; len(c.waiting) == 0 {
		c.waiting = nil
	}
	c.mu.Unlock()
	if len(page) == 0 {
		return false
	}
	t := c.front.open()
	runs := make([]run, 0, len(page))
	for _, v := range page {
		text, err := json.Marshal(v.value)
		if err != nil || t == nil || t.epoch != v.epoch {
			c.lost.Add(1)
			continue
		}
		runs = append(runs, run{&cachedChangedScript, []string{v.key(v.epoch)}, []string{
			c.front.self, strconv.FormatInt(v.batch, 10), strconv.FormatInt(v.version, 10), string(text), millisOf(v.lasts),
		}})
	}
	if len(runs) == 0 {
		return true
	}
	within, cancel := context.WithTimeout(ctx, newsWait+c.front.opt.Grace)
	defer cancel()
	for _, r := range runAll(within, t.client, runs) {
		if r.Error() != nil {
			c.lost.Add(1)
		}
	}
	return true
}

// keepWarm warms each epoch as soon as it is believed: at the start, and after Redis has lost what it held.
func (c *Cache) keepWarm(ctx context.Context) {
	warmed := ""
	for rest := lookEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(rest):
		}
		rest = lookEvery
		t := c.front.open()
		if t == nil || t.epoch == warmed || c.front.opt.Alone {
			continue
		}
		w, err := c.Warm(ctx)
		switch {
		case err == nil:
			warmed = t.epoch
			c.front.log.Info("redis: products are warm", "count", w.Products)
		case ctx.Err() == nil:
			rest = warmRest
			c.front.log.Debug("redis: products are not warm yet", "err", withoutSecrets(err, &c.front.option))
		}
	}
}

// Warm loads the products, by id and up to as many as a process keeps ready, before anybody asks for them.
func (c *Cache) Warm(ctx context.Context) (checkout.Warmed, error) {
	var w checkout.Warmed
	after := product.ID("")
	for seen := 0; seen < nearValues; {
		t := c.front.open()
		if t == nil || c.front.opt.Alone {
			return w, errNotUsed
		}
		page, err := c.record.Shelves(ctx, after, shelvesPage)
		if err != nil {
			return w, err
		}
		ids := make([]product.ID, len(page))
		for i := range page {
			ids[i] = page[i].ID
		}
		here, loaded, err := c.shelves.warm(ctx, t, ids, func() (map[product.ID]*checkout.Shelf, error) {
			anew, err := c.record.Shelves(ctx, after, shelvesPage)
			values := make(map[product.ID]*checkout.Shelf, len(anew))
			for i := range anew {
				values[anew[i].ID] = &anew[i]
			}
			return values, err
		})
		w.Products, w.Loaded = w.Products+here, w.Loaded+loaded
		c.warmed.Add(int64(loaded))
		if err != nil {
			return w, err
		}
		if len(page) < shelvesPage {
			break
		}
		seen, after = seen+len(page), ids[len(ids)-1]
	}
	return w, nil
}

var errNotUsed = fault.ErrUnavailable.Detailf("Redis is away, or is being filled anew.")

// CacheCounts is what a cache has done.
type CacheCounts struct {
	Orders   ReadCounts // with their payments
	Users    ReadCounts
	Products ReadCounts
	Payments ReadCounts // of which order a payment is
	Warmed   int64      // values loaded before anybody asked
	Lost     int64      // changes that did not get through: such a value is read in the record until it is filled in
}

// Counts tells what the cache has done.
func (c *Cache) Counts() CacheCounts {
	return CacheCounts{
		c.dockets.counts(), c.users.counts(), c.shelves.counts(), c.ordersOf.counts(), c.warmed.Load(), c.lost.Load(),
	}
}
