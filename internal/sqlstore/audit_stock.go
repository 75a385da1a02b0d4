package sqlstore

import (
	"context"
	"slices"

	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// shelf is what the audit knows of one product: its rows, and what everything else says they should be.
type shelf struct {
	id        product.ID
	catalogue bool // it has a row in products, which says how units are counted:
	counting  product.Counting
	stocked   bool // it has a row in stock, this one:
	row       stock.Stock
	available int64 // as it is written down, not as it follows

	replayed  stock.Stock // by the stock ledger so far
	received  int64       // by its entries of that kind
	misfit    bool        // an entry moved units otherwise than its kind says
	misplayed bool        // a version was missing, repeated or out of order, or a sum went below zero

	held, sold int64 // by the lines of orders

	lastAt  int64 // when its last entry was written
	recent  int64 // batches that wrote entries when no event of theirs can be forgotten: at least so many events are kept
	kept    int64 // events that the record has
	told    int64 // the last event's sequence
	mistold bool  // an event was missing, repeated or out of order
	ordered bool  // an order has it in a line
}

func (a *auditor) shelf(id product.ID) *shelf {
	s := a.shelves[id]
	if s == nil {
		s = &shelf{id: id}
		a.shelves[id] = s
	}
	return s
}

func (a *auditor) readShelves(ctx context.Context) error {
	err := a.each(ctx, `SELECT product_id, counts_users FROM products`, func(r *stream) {
		s := a.shelf(product.ID(r.text(0)))
		s.catalogue, s.counting = true, product.Counting(r.int(1))
	})
	if err != nil {
		return err
	}
	return a.each(ctx, `SELECT product_id, received, available, held, sold, version, events FROM stock`, func(r *stream) {
		s := a.shelf(product.ID(r.text(0)))
		s.stocked = true
		s.row = stock.Stock{
			ProductID: s.id, Received: r.int(1), Held: r.int(3), Sold: r.int(4), Version: r.int(5), Events: r.int(6),
		}
		s.available = r.int(2)
	})
}

// replayStock plays the stock ledger again. It is append-only, and a product's entries are written under its lock, so the order
// of their ids is the order of their versions.
func (a *auditor) replayStock(ctx context.Context) error {
	return a.each(ctx, `SELECT product_id, version, kind, available, held, sold, at FROM stock_ledger ORDER BY id`, func(r *stream) {
		s := a.shelf(product.ID(r.text(0)))
		s.replay(&stock.Entry{
			Version: r.int(1), Kind: stock.Kind(r.text(2)), Available: r.int(3), Held: r.int(4), Sold: r.int(5),
		})
		if at := r.int(6); at != s.lastAt {
			s.lastAt = at
			if !a.head.forgettable(at) {
				s.recent++
			}
		}
	})
}

func (s *shelf) replay(e *stock.Entry) {
	now := &s.replayed
	s.misplayed = s.misplayed || e.Version != now.Version+1
	now.Version = e.Version
	now.Received += e.Available + e.Held + e.Sold
	now.Held += e.Held
	now.Sold += e.Sold
	s.misplayed = s.misplayed || now.Available() < 0 || now.Held < 0 || now.Sold < 0
	s.misfit = s.misfit || !fits(e)
	if e.Kind == stock.Received {
		s.received += e.Available + e.Held + e.Sold
	}
}

// fits reports whether an entry moves units as its kind says: from outside, or from one place to another.
func fits(e *stock.Entry) bool {
	switch e.Kind {
	case stock.Received:
		return e.Held == 0 && e.Sold == 0
	case stock.Held:
		return e.Held > 0 && e.Available == -e.Held && e.Sold == 0
	case stock.Sold:
		return e.Sold > 0 && e.Held == -e.Sold && e.Available == 0
	case stock.Released:
		return e.Available > 0 && e.Held == -e.Available && e.Sold == 0
	}
	return false
}

// compareShelves is V1, V2 and V10, and V8 for products, once everything has been read.
func (a *auditor) compareShelves() {
	ids := make([]product.ID, 0, len(a.shelves))
	for id := range a.shelves {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		s := a.shelves[id]
		for _, c := range []struct {
			check check
			holds bool
		}{{v1, s.conserved()}, {v2, s.agrees()}, {v8, a.toldOf(s)}, {v10, s.replays()}} {
			if !c.holds {
				a.violates(c.check, string(id))
			}
		}
	}
}

// conserved is V1: nothing came from nowhere and nothing went there.
func (s *shelf) conserved() bool {
	if !s.stocked {
		return !s.catalogue
	}
	r := &s.row
	return s.catalogue && !s.misfit &&
		s.available >= 0 && r.Held >= 0 && r.Sold >= 0 &&
		r.Received == s.available+r.Held+r.Sold && r.Received == s.received
}

// agrees is V2: the stock keeps for orders what the orders say.
func (s *shelf) agrees() bool {
	return s.row.Held == s.held && s.row.Sold == s.sold && (s.stocked || !s.ordered)
}

// toldOf is V8 for a product: its events are numbered without gaps up to as many as it counts. Those at the beginning may be
// forgotten, but not those of what its stock did since the log's beginning was last moved.
func (a *auditor) toldOf(s *shelf) bool {
	lacks := s.row.Events - s.kept
	if s.mistold || s.kept > 0 && s.told != s.row.Events || lacks < 0 {
		return false
	}
	if lacks > 0 && (a.head.pruned == 0 || s.kept < s.recent) {
		return false
	}
	a.missed += lacks
	return true
}

// replays is V10.
func (s *shelf) replays() bool {
	end := s.replayed
	return !s.misplayed && end.Version == s.row.Version && end.Held == s.row.Held && end.Sold == s.row.Sold &&
		end.Available() == s.row.Available()
}
