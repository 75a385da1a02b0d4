package redisfront

import (
	"context"
	"errors"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Limits of the gate.
const (
	admitMax  = 50 * time.Millisecond  // for one round trip
	asksMax   = 500                    // orders of one product in one script
	nearFor   = 100 * time.Millisecond // a refusal of Redis is repeated without asking it again
	nearMax   = 100_000                // products refused just now; beyond it all are forgotten
	slack     = 512                    // units in flight beyond what is available: a batch of the ledger
	saleSlack = 2 * time.Second        // around a sale's opening and end, which the record's clock decides
)

// Gate refuses what cannot succeed, by what all processes know together. Without Redis it is the gate of this process, which
// hears of the same commits all the time and so can take over at any moment.
type Gate struct {
	front    *Front
	fallback checkout.Gate
	clock    func() time.Time

	asks *batcher[*ask]
	used *usedKeys
	news *writer

	near    sync.Map // product.ID → *nearRefusal
	nears   atomic.Int64
	arrived arrivals
	flights flights

	asked, refused, probes, fellBack atomic.Int64
}

// NewGate makes the gate of a front, with the one that takes over when Redis is away. Run works for it.
func NewGate(f *Front, fallback checkout.Gate, clock func() time.Time) *Gate {
	g := &Gate{
		front: f, fallback: fallback, clock: clock,
		asks: newBatcher[*ask](), used: newUsedKeys(f),
		flights: flights{units: map[product.ID]int64{}},
	}
	g.news = newWriter(g)
	return g
}

// GateCounts is what a gate has done.
type GateCounts struct {
	Asked    int64 // lines that Redis was asked about
	Refused  int64 // lines refused by what it said, or had just said
	Probes   int64 // times the record was asked because a refusal was old
	FellBack int64 // orders that this process' own gate looked at
	Lost     int64 // products whose news did not get through
}

// Counts tells what the gate has done.
func (g *Gate) Counts() GateCounts {
	return GateCounts{g.asked.Load(), g.refused.Load(), g.probes.Load(), g.fellBack.Load(), g.news.lost.Load()}
}

// Run carries questions and news to Redis until ctx ends.
func (g *Gate) Run(ctx context.Context) {
	var all sync.WaitGroup
	all.Go(func() { g.asks.run(ctx, g.sendAsks) })
	all.Go(func() { g.used.looks.run(ctx, g.used.send) })
	all.Go(func() { g.used.follow(ctx) })
	all.Go(func() { g.news.run(ctx) })
	all.Wait()
}

// verdict is what the script says of an order.
type verdict int64

const (
	admitted   verdict = 0
	outOfStock verdict = 1
	notOnSale  verdict = 2
	overLimit  verdict = 3
	askRecord  verdict = 5
	unsaid     verdict = -2 // Redis did not answer
)

// ask is one line of an order, on its way to Redis and back; with a hint it only says that the record refused a user.
type ask struct {
	by       user.ID
	line     *ledger.PlaceLine
	untold   *told // what Redis had perhaps not heard when it was asked
	sent     time.Time
	arrived  int64 // of arrivals, before it was sent
	hint     *hint
	verdict  verdict
	quantity int64
	limit    int64
	over     atomic.Bool // answered, or its caller has left: whoever comes first
	answered chan struct{}
}

// hint is that the record refused a user a quantity.
type hint struct {
	product  product.ID
	by       user.ID
	quantity int64
}

// Admit gives the reason to refuse an order now, or nil. An order of several products asks for each.
func (g *Gate) Admit(ctx context.Context, by user.ID, lines []ledger.PlaceLine) error {
	t := g.front.open()
	if t == nil {
		return g.fall(ctx, by, lines)
	}
	for i := range lines {
		if refusal := g.nearRefusal(&lines[i]); refusal != nil {
			g.refused.Add(1)
			return refusal
		}
	}
	asks := make([]*ask, len(lines))
	for i := range lines {
		asks[i] = &ask{by: by, line: &lines[i], verdict: unsaid, answered: make(chan struct{})}
	}
	if !g.asks.add(asks...) {
		return g.fall(ctx, by, lines)
	}
	if err := await(ctx, asks); err != nil {
		for _, a := range asks {
			g.letGo(a)
		}
		return err
	}
	var refusal error
	silent := false
	for _, a := range asks {
		switch {
		case a.verdict == unsaid:
			silent = true
		case refusal == nil:
			refusal = g.judge(ctx, a)
		}
	}
	for _, a := range asks {
		switch lets := refusal == nil && !silent; {
		case lets && a.verdict != admitted: // the record let it
			g.flights.add(a.line.ProductID, a.line.Quantity)
		case !lets && a.verdict == admitted: // another line did not
			g.land(a.line)
		}
	}
	if refusal == nil && silent {
		return g.fall(ctx, by, lines)
	}
	return refusal
}

// await waits until all are answered, or ctx ends.
func await(ctx context.Context, asks []*ask) error {
	for _, a := range asks {
		if !ledger.Told(ctx, a.answered) {
			return ctx.Err()
		}
	}
	return nil
}

// letGo sees to it that an order whose caller has left does not count as in flight, whether it was admitted yet or not.
func (g *Gate) letGo(a *ask) {
	if a.over.CompareAndSwap(false, true) {
		return // take will find it so
	}
	<-a.answered // at once: take has been there
	if a.verdict == admitted {
		g.land(a.line)
	}
}

// land takes a line out of what is in flight. That nothing is left is told to Redis after a while.
func (g *Gate) land(l *ledger.PlaceLine) {
	if g.flights.add(l.ProductID, -l.Quantity) == 0 {
		g.news.landed(l.ProductID)
	}
}

// fall leaves it to this process' own gate.
func (g *Gate) fall(ctx context.Context, by user.ID, lines []ledger.PlaceLine) error {
	g.fellBack.Add(1)
	refusal := g.fallback.Admit(ctx, by, lines)
	if refusal == nil {
		for i := range lines {
			g.flights.add(lines[i].ProductID, lines[i].Quantity)
		}
	}
	return refusal
}

func (g *Gate) judge(ctx context.Context, a *ask) error {
	var refusal error
	switch a.verdict {
	case outOfStock, notOnSale:
		refusal = g.sayNo(a)
	case overLimit:
		refusal = fault.ErrPurchaseLimit.With("product_id", string(a.line.ProductID)).With("max_per_user", a.limit)
	case askRecord:
		refusal = g.probe(ctx, a.line)
	case admitted, unsaid:
	}
	if refusal != nil {
		g.refused.Add(1)
	}
	return refusal
}

// sayNo gives what Redis refused an order for; or what this desk says of the product, if it had news that Redis may not have heard: whoever was
// told that stock came in is not told that there is none.
func (g *Gate) sayNo(a *ask) error {
	id, n := a.line.ProductID, &nearRefusal{}
	switch {
	case a.untold != nil:
		n.upTo = a.untold.stock.Available()
		n.refusal = refuses(a.untold.product, a.untold.stock, a.line, g.clock())
		if n.refusal == nil && g.flights.of(id)+a.line.Quantity > n.upTo+slack {
			n.refusal = soldOut(id, n.upTo)
		}
	case a.verdict == notOnSale:
		n.refusal = fault.ErrNotOnSale.With("product_id", string(id))
	default:
		n.upTo, n.refusal = a.quantity, soldOut(id, a.quantity)
	}
	if n.refusal != nil && n.upTo < a.line.Quantity { // else it is only that many are in flight
		g.keepNear(a, n)
	}
	return n.refusal
}

func soldOut(id product.ID, available int64) error {
	return fault.ErrOutOfStock.With("product_id", string(id)).With("available", available)
}

// probe asks the record whether a refusal still holds, for all who wait for it: so it goes on when its own caller leaves.
func (g *Gate) probe(ctx context.Context, l *ledger.PlaceLine) error {
	failpoint.Hit("front.probed")
	g.probes.Add(1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordMax)
	defer cancel()
	shelf, err := g.front.record.Shelf(ctx, l.ProductID)
	if err != nil {
		return nil // not knowing admits; the ledger will say what is wrong with the record
	}
	g.news.tell(shelf.Product, shelf.Stock)
	return refuses(shelf.Product, shelf.Stock, l, g.clock())
}

// refuses is the rule of the script, for what the record said.
func refuses(p *product.Product, s *stock.Stock, l *ledger.PlaceLine, now time.Time) error {
	switch {
	case p.Quarantined():
		return ledger.SaleStopped(l.ProductID)
	case !p.OnSale(now) && !p.OnSale(now.Add(saleSlack)) && !p.OnSale(now.Add(-saleSlack)):
		return fault.ErrNotOnSale.With("product_id", string(l.ProductID))
	case s.Available() < l.Quantity:
		return soldOut(l.ProductID, s.Available())
	}
	return nil
}

// Answered takes an order out of what is in flight, and tells a refusal by limit to all.
func (g *Gate) Answered(by user.ID, lines []ledger.PlaceLine, err error) {
	for i := range lines {
		g.land(&lines[i])
	}
	if l := beyondLimit(lines, err); l != nil && g.front.open() != nil {
		g.asks.add(&ask{hint: &hint{l.ProductID, by, l.Quantity}})
	}
	g.fallback.Answered(by, lines, err)
}

// beyondLimit is the line of an order that was refused because of what its user has of it already, or nil.
func beyondLimit(lines []ledger.PlaceLine, err error) *ledger.PlaceLine {
	var refused *fault.Error
	if !errors.Is(err, fault.ErrPurchaseLimit) || !errors.As(err, &refused) {
		return nil
	}
	for i := range lines {
		if slices.Contains(refused.Members, fault.Member{Name: "product_id", Value: string(lines[i].ProductID)}) {
			return &lines[i]
		}
	}
	return nil
}

// Applied learns from a commit and carries it to Redis, in the background: what is lost is found by version later, or by a probe.
func (g *Gate) Applied(a *ledger.Applied) {
	for i, p := range a.Products {
		if p == nil || a.Stock[i] == nil {
			continue
		}
		g.news.tell(p, a.Stock[i]) // first, so that who is asked about from now on is asked with it
		if a.Stock[i].Available() > 0 {
			g.arrived.add(p.ID)
		}
	}
}

// sendAsks carries what was asked to Redis, a script for each product, all in one round trip.
func (g *Gate) sendAsks(batch []*ask) {
	defer func() {
		for _, a := range batch {
			if a.answered != nil {
				close(a.answered)
			}
		}
	}()
	t := g.front.open()
	if t == nil {
		return
	}
	runs, of := g.runsOf(t.epoch, batch)
	ctx, cancel := context.WithTimeout(context.Background(), admitMax+g.front.opt.Grace)
	defer cancel()
	for i, r := range runAll(ctx, t.client, runs) {
		answers, err := r.AsIntSlice()
		if len(of[i]) == 0 {
			_, err = r.AsInt64()
		}
		if err != nil {
			g.front.failed(t)
			return
		}
		g.take(of[i], answers)
	}
}

// runsOf makes the scripts of a batch, and says whom each will answer. What is believed of limits comes first.
func (g *Gate) runsOf(epoch string, batch []*ask) (runs []run, of [][]*ask) {
	at := map[product.ID]int{}
	for _, a := range batch {
		if h := a.hint; h != nil {
			runs = append(runs, limitRun(h.product, h.by, h.quantity))
			of = append(of, nil)
		}
	}
	now := strconv.FormatInt(g.clock().UnixMilli(), 10)
	for _, a := range batch {
		if a.hint != nil {
			continue
		}
		id := a.line.ProductID
		i, ok := at[id]
		if !ok || len(of[i]) == asksMax {
			i = len(runs)
			at[id] = i
			runs = append(runs, run{
				&admitScript,
				[]string{inventoryKey(id), limitsKey(id)},
				[]string{epoch, g.front.self, strconv.FormatInt(g.flights.of(id), 10), strconv.Itoa(slack), now},
			})
			of = append(of, nil)
			a.sent, a.arrived = time.Now(), g.arrived.of(id) // before it is looked for what is untold
			a.untold = g.news.untold(id)
		} else {
			first := of[i][0]
			a.sent, a.arrived, a.untold = first.sent, first.arrived, first.untold
		}
		runs[i].args = append(runs[i].args, strconv.FormatInt(a.line.Quantity, 10), string(a.by))
		of[i] = append(of[i], a)
	}
	return runs, of
}

// limitRun says that the record refused a user a quantity, or, with 0, that an order of his ends and it may not any more.
func limitRun(id product.ID, by user.ID, quantity int64) run {
	return run{&limitScript, []string{limitsKey(id), lessKey(id, by)}, []string{string(by), strconv.FormatInt(quantity, 10)}}
}

// tellLess runs what lessRuns made where no epoch is announced: should it fail, a buyer is refused for a second.
func (f *Front) tellLess(runs []run) {
	t := f.open()
	if t == nil || len(runs) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), admitMax+f.opt.Grace)
	defer cancel()
	if err := firstError(runAll(ctx, t.client, runs)); err != nil {
		f.failed(t)
	}
}

// take gives each order its verdict.
func (g *Gate) take(asks []*ask, answers []int64) {
	g.asked.Add(int64(len(asks)))
	var units int64
	gone := false
	for i, a := range asks {
		a.verdict = admitted
		if len(answers) == len(asks)+2 {
			a.quantity, a.limit, a.verdict = answers[0], answers[1], verdict(answers[2+i])
		}
		switch waits := a.over.CompareAndSwap(false, true); {
		case a.verdict != admitted:
		case waits:
			units += a.line.Quantity
		default:
			gone = true
		}
	}
	if units == 0 && !gone {
		return
	}
	if id := asks[0].line.ProductID; g.flights.add(id, units) == 0 {
		g.news.landed(id) // Redis counts those who have left
	}
}

// nearRefusal is what Redis refused just now.
type nearRefusal struct {
	refusal error
	upTo    int64 // how many it is not for
	until   time.Time
	arrived int64 // of arrivals: it is for as long as nothing arrived since Redis was asked
}

func (g *Gate) nearRefusal(l *ledger.PlaceLine) error {
	found, ok := g.near.Load(l.ProductID)
	if !ok {
		return nil
	}
	n, _ := found.(*nearRefusal)
	if l.Quantity <= n.upTo || time.Now().After(n.until) || n.arrived != g.arrived.of(l.ProductID) {
		return nil
	}
	return n.refusal
}

// keepNear keeps a refusal for who comes after.
func (g *Gate) keepNear(a *ask, n *nearRefusal) {
	n.until, n.arrived = a.sent.Add(nearFor), a.arrived
	if _, there := g.near.Swap(a.line.ProductID, n); !there && g.nears.Add(1) > nearMax {
		g.near.Clear()
		g.nears.Store(0)
	}
}

// arrivals counts commits after which some of a product is there: those of many products together, for which it takes little room.
type arrivals [256]atomic.Int64

func (c *arrivals) of(id product.ID) int64 { return c.at(id).Load() }
func (c *arrivals) add(id product.ID)      { c.at(id).Add(1) }

func (c *arrivals) at(id product.ID) *atomic.Int64 {
	return &c[maphash.String(arrivalSeed, string(id))%uint64(len(c))]
}

var arrivalSeed = maphash.MakeSeed()

// flights counts the units that this process has admitted and the ledger has not answered.
type flights struct {
	mu    sync.Mutex
	units map[product.ID]int64
}

func (f *flights) add(id product.ID, units int64) (left int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left = max(f.units[id]+units, 0)
	if left == 0 {
		delete(f.units, id)
	} else {
		f.units[id] = left
	}
	return left
}

func (f *flights) of(id product.ID) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.units[id]
}
