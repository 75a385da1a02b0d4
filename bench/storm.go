package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	stormRate   = 50_000 // orders for each second that the options want it to last
	stormPause  = 20 * time.Millisecond
	letInMax    = time.Second // for orders that were let in before the last unit was sold: the ledger refuses them
	repeats     = 10          // how often the buyer asks again
	countedOver = time.Second // statements are not told of less
)

// storm is a rush on few units. Before it, one buyer places an order and loses the answer; once all is sold, and while the others are
// refused, he asks again with his key. What is left of the storm then tells what refusals ask of the database.
func (r *runner) storm(ctx context.Context) (*Result, error) { return r.onHoldfast(ctx, r.rush) }

func (r *runner) rush(ctx context.Context, s *stand) (*Result, error) {
	r.progress.stage(stormScenario)
	units, orders := r.unitsOfSale(), r.ordersFor(stormRate)
	sale, err := r.newSale(ctx, s, 1, units, unhurried)
	if err != nil {
		return nil, err
	}
	unlucky, err := newUnlucky(ctx, s.shop, sale.products)
	if err != nil {
		return nil, err
	}
	defer unlucky.Close()
	sale.acknowledged = append(sale.acknowledged, unlucky.number)
	idle, err := statementsPerSecond(ctx, s.shop, min(idleLook, r.o.Duration))
	if err != nil {
		return nil, err
	}

	l := r.newLoad(s)
	l.load.requests = orders
	r.progress.counts = outOfStock
	statements := statementsOf(s.shop)
	raging, over := context.WithCancel(ctx)
	defer over()
	var watch errgroup.Group
	begin, end := l.load.begin, l.load.end
	l.load.begin = func() {
		begin()
		watch.Go(func() error {
			err := unlucky.asksAgain(raging, s.shop, sale.products[0])
			if err == nil && sleepFor(raging, letInMax) {
				statements.begin(raging)
			}
			return err
		})
	}
	l.load.end = func() {
		end()
		over()
		unlucky.err = watch.Wait()
		statements.end(ctx)
	}
	m, err := sale.place(ctx, l.load, nil)
	if err != nil {
		return nil, err
	}
	result := l.result(stormScenario, m, outOfStock, "refusals")
	result.Note = fmt.Sprintf("%s orders for %s units", thousands(float64(orders)), thousands(float64(units)))
	if idle != nil && statements.ok && statements.took >= countedOver {
		result.figure(figureStatements, statements.perSecond(), "/s")
		result.figure(figureStatementsIdle, *idle, "/s")
	}
	r.progress.stage("storm: checks")
	if result.Checks, err = sale.checkHoldfast(ctx); err != nil {
		return nil, err
	}
	result.Checks = append(result.Checks, checkSoldAll(sale, units, 1+orders), unlucky.check())
	return result, nil
}

// unlucky is the buyer who lost his answer. Only the bench has kept it, to compare.
type unlucky struct {
	*conn
	request []byte
	answer  []byte
	number  uint64
	same    int // the answers he got in the storm that are this one
	err     error
}

func newUnlucky(ctx context.Context, shop *shop, products []string) (*unlucky, error) {
	dialer := net.Dialer{Timeout: dialTimeout}
	tcp, err := dialer.DialContext(ctx, "tcp", shop.base.Host)
	if err != nil {
		return nil, err
	}
	u := &unlucky{conn: newConn(tcp), request: newBuyer(shop, products).request()}
	status, body, err := u.exchange(u.request)
	var found bool
	if u.number, found = orderNumber(body); err != nil || status != 201 || !found {
		tcp.Close()
		return nil, errors.Join(fmt.Errorf("the first order was answered %d %.300s", status, body), err)
	}
	u.answer = bytes.Clone(body)
	return u, nil
}

var errOverBefore = errors.New("the storm was over before")

// asksAgain waits until all is sold, and asks again and again: once in the storm at least.
func (u *unlucky) asksAgain(ctx context.Context, shop *shop, product string) error {
	for {
		level, err := shop.stock(ctx, product)
		if ctx.Err() != nil {
			return errOverBefore
		}
		if err != nil {
			return err
		}
		if level.Available == 0 {
			break
		}
		if !sleepFor(ctx, stormPause) {
			return errOverBefore
		}
	}
	for range repeats {
		status, body, err := u.exchange(u.request)
		if err != nil {
			return err
		}
		if status != 201 || !bytes.Equal(body, u.answer) {
			return fmt.Errorf("he was answered %d %.300s", status, body)
		}
		u.same++
		if !sleepFor(ctx, stormPause) {
			break
		}
	}
	return nil
}

func (u *unlucky) check() Check {
	c := Check{Name: "lost answer", OK: u.err == nil, Detail: "order " + strconv.FormatUint(u.number, 10)}
	c.Detail += fmt.Sprintf(" was found by its key in the storm %d times, byte for byte", u.same)
	if u.err != nil {
		c.Detail += ": " + u.err.Error()
	}
	return c
}
