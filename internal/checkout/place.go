package checkout

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Scope separates the idempotency keys of callers. All API keys share one, so that a rotated key still replays.
type Scope string

// Merchant is the scope of API keys.
const Merchant Scope = "merchant"

// ScopeOf is the scope of a user's sessions: a buyer cannot meet the keys of others.
func ScopeOf(id user.ID) Scope { return Scope("user:" + string(id)) }

// Order is what a buyer asks for, as it was read from the request.
type Order struct {
	Scope          Scope
	IdempotencyKey string
	UserID         user.ID
	Lines          []Line
	Metadata       []byte // a canonical JSON object, or nil
}

// Line is one line of an order as it was sent: the same product may stand on several.
type Line struct {
	ProductID product.ID
	Quantity  int64
}

// TurnsAway reports whether an order would be refused now for want of room, before any work is done for it.
func (d *Desk) TurnsAway() bool {
	if !d.Ledger.Full(ledger.Open) {
		return false
	}
	d.observe(TheLedger, false, fault.ErrOverloaded)
	return true
}

// Place places an order, or gives the answer that its key got before. A buyer who got the last unit and lost the answer finds
// it: before the gate's refusal is told, his key is looked at, and when it may have been used the ledger decides.
func (d *Desk) Place(ctx context.Context, want Order) (ledger.Placed, error) {
	lines, err := merge(want.Lines)
	if err != nil {
		return ledger.Placed{}, err
	}
	c := ledger.Place{Key: keyOf(want.Scope, want.IdempotencyKey), UserID: want.UserID, Lines: lines, Metadata: want.Metadata}
	refusal := d.refusal(ctx, &c)
	if refusal != nil && (planted.Bug(planted.KeyForgottenAtGate) || !d.Gate.MayHaveUsed(ctx, c.Key)) {
		failpoint.Hit("gate.refused")
		d.observe(TheGate, false, refusal)
		return ledger.Placed{}, refusal
	}
	if planted.Bug(planted.LimitLookedUpBefore) {
		if err := d.withinLimits(ctx, c); err != nil {
			return ledger.Placed{}, err
		}
	}
	c.Fingerprint = fingerprint(want.UserID, lines, want.Metadata)
	placed, err := ledger.Submit(ctx, d.Ledger, c)
	if refusal == nil {
		d.Gate.Answered(want.UserID, lines, err)
	}
	d.observe(TheLedger, placed.Replayed, err)
	if err != nil && d.Buyers != nil {
		d.Buyers.Refused(c.UserID, err)
	}
	return placed, err
}

// refusal is why an order cannot succeed now, as far as those in front know.
func (d *Desk) refusal(ctx context.Context, c *ledger.Place) error {
	if d.Buyers != nil {
		if err := d.Buyers.Refusal(c.UserID); err != nil {
			return err
		}
	}
	return d.Gate.Admit(ctx, c.UserID, c.Lines)
}

// merge makes one line of all lines of a product: checked apart, they could pass a limit that their sum does not.
func merge(sent []Line) ([]ledger.PlaceLine, error) {
	lines := make([]ledger.PlaceLine, 0, len(sent))
	for i, l := range sent {
		at := indexOf(lines, l.ProductID)
		if at < 0 || planted.Bug(planted.LinesUnmerged) {
			lines = append(lines, ledger.PlaceLine{ProductID: l.ProductID, Quantity: l.Quantity, Field: "lines[" + strconv.Itoa(i) + "]"})
			continue
		}
		lines[at].Quantity += l.Quantity
		if lines[at].Quantity > limits.QuantityPerLine {
			return nil, fault.ErrInvalid.Field(lines[at].Field+".quantity",
				"all lines of a product together must be at most %d", limits.QuantityPerLine)
		}
	}
	return lines, nil
}

func indexOf(lines []ledger.PlaceLine, id product.ID) int {
	for i := range lines {
		if lines[i].ProductID == id {
			return i
		}
	}
	return -1
}

func keyOf(scope Scope, key string) ledger.Key {
	sum := sha256.Sum256([]byte(string(scope) + "\x00" + key))
	return ledger.Key(sum[:16])
}

// fingerprint tells requests apart by what they ask for, not by how they were spelled.
func fingerprint(u user.ID, lines []ledger.PlaceLine, metadata []byte) ledger.Fingerprint {
	b := make([]byte, 0, 256)
	field := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	field(string(u))
	for _, l := range lines {
		field(string(l.ProductID))
		b = binary.AppendVarint(b, l.Quantity)
	}
	field("")
	field(string(metadata))
	sum := sha256.Sum256(b)
	return ledger.Fingerprint(sum[:16])
}
