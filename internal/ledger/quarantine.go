package ledger

import (
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// findingLasts is how long what the auditor has seen counts. A process that was paused between its look and this command wakes up
// with news of a time that is over.
const findingLasts = 10 * time.Second

// Quarantine stops the sale of a product whose numbers do not add up. Reason says in what they differ, and stays the same while
// they differ by the same. SeenAt is when that was last seen, by the record's clock.
type Quarantine struct {
	ProductID product.ID
	Reason    string
	SeenAt    time.Time
}

// Quarantined is the answer to Quarantine: whether the sale was stopped by it.
type Quarantined bool

func (c Quarantine) lane() Lane { return Settle }

func (c Quarantine) wants(w *Want) { w.Products = append(w.Products, c.ProductID) }

func (c Quarantine) decide(b *Books) (Quarantined, error) {
	p := b.Products[c.ProductID]
	switch {
	case p == nil, p.Quarantined() && p.Quarantine == c.Reason, p.Released == c.Reason, contains(b.changes.NewProducts, p):
		return false, nil
	case b.Now.Sub(c.SeenAt) > findingLasts:
		failpoint.Hit("quarantine.stale")
		return false, nil
	}
	failpoint.Hit("quarantine.stopped")
	stops := !p.Quarantined()
	if stops {
		p.QuarantinedAt = b.Now
	}
	p.Quarantine = c.Reason
	b.touchProduct(p)
	return Quarantined(stops), nil
}

// Release lets a product be sold again: somebody has looked. What was found stays known, so that the same numbers do not stop it
// once more; others do.
type Release struct{ ProductID product.ID }

func (c Release) lane() Lane { return Settle }

func (c Release) wants(w *Want) { w.Products = append(w.Products, c.ProductID) }

func (c Release) decide(b *Books) (ProductPut, error) {
	p := b.Products[c.ProductID]
	if p == nil {
		return ProductPut{}, fault.ErrNotFound.Detailf("There is no such product.")
	}
	if p.Quarantined() {
		p.Released, p.Quarantine, p.QuarantinedAt = p.Quarantine, "", time.Time{}
		b.touchProduct(p)
	}
	return ProductPut{Product: *p, Available: b.Stock[c.ProductID].Available()}, nil
}
