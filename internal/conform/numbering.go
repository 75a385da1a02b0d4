package conform

import (
	"context"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

var numbering = []story{
	{name: "NumbersRiseAndOnlyAcceptedOrdersGetOne", tell: numbersRise},
	{name: "NumbersRiseAcrossBlocks", tell: numbersRise, options: ledger.Options{BlockSize: 2}},
	{name: "ARestartTakesANewBlock", tell: numbersRestart, options: ledger.Options{BlockSize: 10}},
	{name: "NumbersBeginAnewEachDayAndNeverGoBack", tell: numbersDays},
	{name: "TheDayIsTheDesksOwn", tell: numbersZone, options: ledger.Options{TimeZone: time.FixedZone("east", 8*3600)}},
	{name: "MoreThanSevenDigitsADay", tell: numbersLong, options: ledger.Options{BlockSize: 4}},
	{name: "ANumberThatIsTakenIsReplaced", tell: numbersTaken, options: ledger.Options{BlockSize: 4}},
}

// numbers places n orders of one unit and wants their numbers to rise from the one before.
func (d *desk) numbers(n int, after order.Number) (placed []order.Number) {
	d.Helper()
	for range n {
		no := d.place("u", line("a", 1))
		if no <= after {
			d.Errorf("number %s after %s", no, after)
		}
		if parsed, err := order.ParseNumber(no.String()); err != nil || parsed != no {
			d.Errorf("%s is read as %s: %v", no, parsed, err)
		}
		after = no
		placed = append(placed, no)
	}
	return placed
}

func (d *desk) wantNumbers(got []order.Number, want ...string) {
	d.Helper()
	var shown []string
	for _, no := range got {
		shown = append(shown, no.String())
	}
	if !slices.Equal(shown, want) {
		d.Errorf("numbers: got %v, want %v", shown, want)
	}
}

func numbersRise(d *desk) {
	d.sell("a", 5)
	placed := d.numbers(3, 0)
	refused(d, d.wish("u", line("a", 3)), fault.ErrOutOfStock)
	placed = append(placed, d.numbers(2, placed[2])...)
	if d.options.BlockSize == 0 {
		d.wantNumbers(placed, "202611200000001", "202611200000002", "202611200000003", "202611200000004", "202611200000005")
	}
}

func numbersRestart(d *desk) {
	d.sell("a", 100)
	first := d.numbers(2, 0)
	d.restart()
	second := d.numbers(2, first[1])
	d.wantNumbers(append(first, second...), "202611200000001", "202611200000002", "202611200000011", "202611200000012")
}

func numbersDays(d *desk) {
	d.sell("a", 100)
	d.clock.Set(time.Date(2026, 11, 20, 23, 59, 59, 999e6, time.UTC))
	first := d.numbers(1, 0)
	d.clock.Step(time.Millisecond)
	second := d.numbers(1, first[0])
	d.clock.Step(-time.Hour)
	third := d.numbers(1, second[0])
	d.wantNumbers(slices.Concat(first, second, third), "202611200000001", "202611210000001", "202611210000002")

	// Nor do they when a collision has cost the block.
	d.watched.breakAt(breaks{save: times[*ledger.Changes](1, ledger.ErrDuplicate)})
	d.numbers(1, third[0])
}

func numbersZone(d *desk) {
	d.sell("a", 100)
	d.clock.Set(time.Date(2026, 11, 20, 15, 59, 59, 0, time.UTC))
	first := d.numbers(1, 0)
	d.clock.Step(time.Second)
	d.wantNumbers(append(first, d.numbers(1, first[0])...), "202611200000001", "202611210000001")
}

// grant takes n numbers of today away, as another process would.
func (d *desk) grant(n int64) {
	d.Helper()
	ctx := context.Background()
	tx, err := d.record.Begin(ctx)
	if err != nil {
		d.Fatal(err)
	}
	defer tx.Rollback()
	if _, err = tx.GrantNumbers(ctx, order.DayOf(d.clock.Now()), n); err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		d.Fatal(err)
	}
}

func numbersLong(d *desk) {
	d.sell("a", 100)
	d.grant(9_999_997)
	d.restart()
	placed := d.numbers(4, 0)
	d.wantNumbers(placed, "202611209999998", "202611209999999", "2026112010000000", "2026112010000001")
	d.grant(990_000_000)
	placed = append(placed, d.numbers(2, placed[3])...)
	d.wantNumbers(placed[4:], "202611201000000002", "202611201000000003")
	replay := d.wish("u", line("a", 1))
	was := must(d, replay)
	if again := must(d, replay); string(again.Body) != string(was.Body) {
		d.Errorf("a long number is answered again as\n%s\nwant\n%s", again.Body, was.Body)
	}
	d.pay(placed[3], "t1", ledger.PaidNow)
	d.clock.Step(24 * time.Hour)
	d.numbers(1, placed[5])
	for _, no := range placed[:3] {
		must(d, ledger.Expire{Number: no})
		d.wantStatus(no, order.Expired)
	}
	for _, no := range append(placed[4:6:6], was.Number) {
		d.pay(no, "t-"+no.String(), ledger.PaidNow)
	}
}

func numbersTaken(d *desk) {
	d.sell("a", 100)
	placed := d.numbers(1, 0)
	// The record says that the number is taken, as it would after a grant was lost with a damaged backup.
	d.watched.breakAt(breaks{save: func(c *ledger.Changes) error {
		if len(c.NewOrders) == 1 && c.NewOrders[0].Number == placed[0]+1 {
			return ledger.ErrDuplicate
		}
		return nil
	}})
	d.wantNumbers(d.numbers(1, placed[0]), "202611200000005")
}
