package inproc_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// shop is a record of one product and a clock, as the gate sees them.
type shop struct {
	mu      sync.Mutex
	now     time.Time
	product product.Product
	stock   stock.Stock
	looks   int
	broken  bool
}

func newShop(units int64) *shop {
	return &shop{
		now:     time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC),
		product: product.Product{ID: "sku-1", Active: true, Version: 1},
		stock:   stock.Stock{ProductID: "sku-1", Received: units, Version: 1},
	}
}

func (s *shop) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *shop) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

func (s *shop) look(context.Context, product.ID) (checkout.Shelf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.looks++
	if s.broken {
		return checkout.Shelf{}, errors.New("the record is away")
	}
	p, st := s.product, s.stock
	return checkout.Shelf{Product: &p, Stock: &st}, nil
}

// commit tells the gate the shop's state, as a batch would.
func (s *shop) commit(g *inproc.Gate, keys ...ledger.Key) {
	p, st := s.product, s.stock
	g.Applied(&ledger.Applied{Now: s.clock(), Products: []*product.Product{&p}, Stock: []*stock.Stock{&st}, Keys: keys})
}

func want(quantity int64) []ledger.PlaceLine {
	return []ledger.PlaceLine{{ProductID: "sku-1", Quantity: quantity, Field: "lines[0]"}}
}

func newGate(s *shop) *inproc.Gate {
	marks := inproc.NewKeyMarks(s.clock)
	marks.Ready()
	return inproc.NewGate(s.look, marks, s.clock)
}

func TestUnknownProductIsAdmitted(t *testing.T) {
	s := newShop(0)
	if err := newGate(s).Admit(t.Context(), "u-1", want(1)); err != nil {
		t.Fatalf("got %v, want admitted: not knowing admits", err)
	}
	if s.looks != 0 {
		t.Errorf("the record was asked %d times, want 0", s.looks)
	}
}

func TestRefusalIsBelievedForASecondThenOneAsks(t *testing.T) {
	s := newShop(0)
	g := newGate(s)
	s.commit(g)
	for range 1000 {
		if err := g.Admit(t.Context(), "u-1", want(1)); !errors.Is(err, fault.ErrOutOfStock) {
			t.Fatalf("got %v, want out_of_stock", err)
		}
	}
	if s.looks != 0 {
		t.Fatalf("within the second the record was asked %d times, want 0", s.looks)
	}
	s.pass(1001 * time.Millisecond)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { _ = g.Admit(t.Context(), "u-1", want(1)) })
	}
	wg.Wait()
	if s.looks != 1 {
		t.Errorf("after the second the record was asked %d times by 100 requests, want 1", s.looks)
	}
}

func TestLostUpdateDoesNotKeepAProductSoldOut(t *testing.T) {
	s := newShop(0)
	g := newGate(s)
	s.commit(g)
	s.stock.Received, s.stock.Version = 5, 2 // a delivery that nobody told the gate of
	if err := g.Admit(t.Context(), "u-1", want(1)); err == nil {
		t.Fatal("admitted before the second was over: the test proves nothing")
	}
	s.pass(1001 * time.Millisecond)
	if err := g.Admit(t.Context(), "u-1", want(1)); err != nil {
		t.Fatalf("got %v, want admitted after the probe", err)
	}
}

// Units have come back that this process has not heard of. While one asks the record, nobody is refused by what is no longer believed;
// nor does anybody wait for ever, should the one who asks break down.
func TestWhoComesWhileTheRecordIsAskedIsToldWhatItAnswers(t *testing.T) {
	for _, breaks := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			s := newShop(1)
			answer := make(chan struct{})
			g := inproc.NewGate(func(ctx context.Context, id product.ID) (checkout.Shelf, error) {
				<-answer
				if breaks {
					panic("the look breaks down")
				}
				return s.look(ctx, id)
			}, inproc.NewKeyMarks(s.clock), s.clock)
			s.stock.Held = 1
			s.commit(g)
			s.pass(time.Second)
			s.stock.Held, s.stock.Version = 0, 2

			go func() {
				defer func() { _ = recover() }()
				_ = g.Admit(t.Context(), "u-1", want(1))
			}()
			synctest.Wait()
			told := make(chan error, 1)
			go func() { told <- g.Admit(t.Context(), "u-2", want(1)) }()
			synctest.Wait()
			select {
			case err := <-told:
				t.Fatalf("told %v before the record had answered", err)
			default:
			}
			close(answer)
			synctest.Wait()
			select {
			case err := <-told:
				if err != nil {
					t.Errorf("the look breaks down: %v: got %v, want nil", breaks, err)
				}
			default:
				t.Fatalf("the look breaks down: %v: nobody was told anything", breaks)
			}
		})
	}
}

func TestLateNewsDoesNotReplaceNewer(t *testing.T) {
	s := newShop(5)
	g := newGate(s)
	s.stock.Held, s.stock.Version = 5, 7
	s.commit(g)
	s.stock.Held, s.stock.Version = 0, 3
	s.commit(g) // an older commit, told late
	if err := g.Admit(t.Context(), "u-1", want(1)); !errors.Is(err, fault.ErrOutOfStock) {
		t.Errorf("got %v, want out_of_stock: version 7 stands", err)
	}
}

func TestBrokenRecordAdmits(t *testing.T) {
	s := newShop(0)
	g := newGate(s)
	s.commit(g)
	s.broken = true
	s.pass(1001 * time.Millisecond)
	if err := g.Admit(t.Context(), "u-1", want(1)); err != nil {
		t.Errorf("got %v, want admitted: the ledger says what is wrong with the record", err)
	}
}

func TestNotOpenYetIsLeftToTheRecordInTheLastTwoSeconds(t *testing.T) {
	s := newShop(5)
	s.product.OnSaleFrom = s.now.Add(10 * time.Second)
	g := newGate(s)
	s.commit(g)
	if err := g.Admit(t.Context(), "u-1", want(1)); !errors.Is(err, fault.ErrNotOnSale) {
		t.Errorf("10 s before the opening: got %v, want not_on_sale", err)
	}
	s.pass(8500 * time.Millisecond)
	if err := g.Admit(t.Context(), "u-1", want(1)); err != nil {
		t.Errorf("1.5 s before the opening: got %v, want admitted", err)
	}
}

func TestUsedKeysAreMarkedBeforeStockIsTold(t *testing.T) {
	s := newShop(0)
	g := newGate(s)
	key := ledger.Key{1, 2, 3}
	if g.MayHaveUsed(t.Context(), key) {
		t.Fatal("an unused key is marked")
	}
	s.commit(g, key)
	if !g.MayHaveUsed(t.Context(), key) {
		t.Error("a used key is not marked: its buyer would be told that his unit is gone")
	}
}
