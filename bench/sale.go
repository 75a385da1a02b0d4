package bench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
)

// sale is products on offer and every order that was acknowledged for them, one unit each.
type sale struct {
	stand        *stand
	products     []string
	people       uint64 // who buy; 0: as many as there may be
	acknowledged []uint64
	unanswered   int64 // orders that may exist or not
	odd          int64
	strange      string
}

// newSale offers so many products with so many units each. The i-th product is to be paid within payWindow(i).
func (r *runner) newSale(ctx context.Context, s *stand, products int, units int64, payWindow func(i int) time.Duration) (*sale, error) {
	sale := &sale{stand: s}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(callsAtOnce)
	for i := range products {
		r.products++
		product := fmt.Sprintf("bench-%s-%05d", r.id, r.products)
		sale.products = append(sale.products, product)
		group.Go(func() error { return s.shop.offer(ctx, product, units, payWindow(i)) })
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("offer products: %w", err)
	}
	return sale, nil
}

// unhurried is the pay window of products of which nothing expires during a run.
func unhurried(int) time.Duration { return longPayWindow }

// place runs a load of buyers, and keeps what was acknowledged to them.
func (s *sale) place(ctx context.Context, l *load, choose func() int) (*measured, error) {
	crowd := make([]*buyer, l.connections)
	for i := range crowd {
		crowd[i] = newBuyer(s.stand.shop, s.products)
		crowd[i].choose, crowd[i].people = choose, cmp.Or(s.people, buyers)
	}
	l.addr = s.stand.shop.base.Host
	l.visit = func(i int) visitor { return crowd[i] }
	m, err := l.run(ctx)
	if err != nil {
		return nil, err
	}
	for _, b := range crowd {
		s.acknowledged = append(s.acknowledged, b.acknowledged...)
	}
	s.unanswered += m.unanswered
	s.odd += m.odd
	s.strange = m.strange.String()
	return m, nil
}

// check proves that every acknowledged order is there, once.
func (s *sale) check(ctx context.Context) ([]Check, error) {
	checks := []Check{s.checkAnswers("answers"), s.checkNumbers()}
	units, err := s.checkUnits(ctx)
	if err != nil {
		return nil, err
	}
	return append(checks, units), nil
}

// checkHoldfast is check with what only Holdfast can be asked.
func (s *sale) checkHoldfast(ctx context.Context) ([]Check, error) {
	checks, err := s.check(ctx)
	if err != nil {
		return nil, err
	}
	sample, err := s.checkSample(ctx)
	if err != nil {
		return nil, err
	}
	audit, err := checkAudit(ctx, s.stand.shop)
	return append(checks, sample, audit), err
}

func (s *sale) checkAnswers(name string) Check {
	return checkAnswers(name, s.odd, s.unanswered, s.strange)
}

func checkAnswers(name string, odd, unanswered int64, strange string) Check {
	c := Check{Name: name, OK: odd+unanswered == 0, Detail: "each one is among those the scenario allows"}
	if !c.OK {
		c.Detail = fmt.Sprintf("%d unexpected and %d without an answer; the first: %s", odd, unanswered, strange)
	}
	return c
}

func (s *sale) checkNumbers() Check {
	slices.Sort(s.acknowledged)
	unique := len(slices.Compact(slices.Clone(s.acknowledged)))
	return Check{
		Name: "numbers", OK: unique == len(s.acknowledged),
		Detail: fmt.Sprintf("%d different numbers on %d acknowledged orders", unique, len(s.acknowledged)),
	}
}

// checkUnits compares with the stock, because paging through some hundred thousand orders would take longer than the run.
func (s *sale) checkUnits(ctx context.Context) (Check, error) {
	levels := make([]stockLevel, len(s.products))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(callsAtOnce)
	for i, product := range s.products {
		group.Go(func() (err error) {
			levels[i], err = s.stand.shop.stock(ctx, product)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Check{}, err
	}
	var found int64
	adds := true
	for _, level := range levels {
		found += level.Held + level.Sold
		adds = adds && level.Received == level.Available+level.Held+level.Sold && level.Available >= 0
	}
	acknowledged := int64(len(s.acknowledged))
	c := Check{
		Name: "acknowledged = found", OK: adds && found >= acknowledged && found <= acknowledged+s.unanswered,
		Detail: fmt.Sprintf("%d units acknowledged, %d held or sold in the stock", acknowledged, found),
	}
	if s.unanswered > 0 {
		c.Detail += fmt.Sprintf("; %d more got no answer and may be among them", s.unanswered)
	}
	return c, nil
}

// checkSample reads some of the acknowledged orders one by one.
func (s *sale) checkSample(ctx context.Context) (Check, error) {
	size := min(sampleSize, len(s.acknowledged))
	c := Check{Name: "sample", OK: true, Detail: fmt.Sprintf("%d acknowledged orders drawn at random are there, as they were placed", size)}
	for _, i := range rand.Perm(len(s.acknowledged))[:size] {
		number := strconv.FormatUint(s.acknowledged[i], 10)
		order, err := s.stand.shop.order(ctx, number)
		if err != nil {
			return c, err
		}
		if order.OrderNo != number || order.Total.Amount != price || len(order.Lines) != 1 ||
			!slices.Contains(s.products, order.Lines[0].ProductID) || order.Lines[0].Quantity != 1 {
			c.OK, c.Detail = false, fmt.Sprintf("order %s is not what was placed: %+v", number, order)
			return c, nil
		}
	}
	return c, nil
}

func checkAudit(ctx context.Context, shop *shop) (Check, error) {
	report, err := shop.audit(ctx)
	if err != nil {
		return Check{}, err
	}
	c := Check{Name: "audit", OK: report.Clean, Detail: fmt.Sprintf("clean, %d invariants", len(report.Checks))}
	if !report.Clean {
		c.Detail = "not clean:"
		for _, check := range report.Checks {
			if check.Violations > 0 {
				c.Detail += fmt.Sprintf(" %s (%s) %d times, as %v;", check.ID, check.Name, check.Violations, check.Samples)
			}
		}
	}
	return c, nil
}
