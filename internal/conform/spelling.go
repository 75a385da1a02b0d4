package conform

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

var spelling = []story{
	{name: "IdsAreComparedByteByByte", tell: spellIDs},
	{name: "TextsOfFourByteCharactersComeBackAsTheyWere", tell: spellTexts},
	{name: "MoneyAndTimeComeBackExactly", tell: spellMoney},
}

// lookalikes are ids that some databases take for one: by case, width, accents, composition or trailing space.
var lookalikes = []string{"a", "A", "a ", "ａ", "á", "a\u0301", "\U0001D4B6", "\U0001F39F", "\U0001F3A0"}

func spellIDs(d *desk) {
	for i, id := range lookalikes {
		d.sell(product.ID(id), int64(10+i), limited(2))
		must(d, ledger.PutUser{ID: user.ID(id), Name: set(id)})
	}
	for i, id := range lookalikes {
		no := d.place(user.ID(id), line(product.ID(id), 2))
		d.pay(no, id, ledger.PaidNow)
		d.wantStock(product.ID(id), int64(8+i), 0, 2)
		d.wantUnits(product.ID(id), user.ID(id), 2)
		if got := must(d, ledger.AdjustStock{ProductID: "a", Delta: 1, Ref: id}); got.Repeated {
			d.Errorf("the ref %q was taken for another", id)
		}
		for _, other := range lookalikes {
			if other != id {
				d.wantUnits(product.ID(id), user.ID(other), 0)
			}
		}
		if got := d.look(ledger.Want{Users: []user.ID{user.ID(id)}}).Users[user.ID(id)]; got.Name != id {
			d.Errorf("the user %q is called %q", id, got.Name)
		}
		refused(d, d.wish(user.ID(id), line(product.ID(id), 1)), fault.ErrPurchaseLimit)
	}
	d.wantStock("a", int64(8+len(lookalikes)), 0, 2)
}

func spellTexts(d *desk) {
	const text = "票 \U0001F39F\U0001F468\u200d\U0001F469\u200d\U0001F467 \"'\\ %_ ; -- </script> é e\u0301 \U0010FFFD"
	d.sell(text, 10, func(p *ledger.PutProduct) { p.Title = set(text) })
	wish := d.wish(text, line(text, 1))
	wish.Metadata = []byte(`{"` + "\U0001F39F" + `":"\u0000\"","n":1e-7}`)
	placed := must(d, wish)
	o := d.order(placed.Number)
	if o.UserID != text || o.Lines[0].ProductID != text || o.Lines[0].Title != text || string(o.Metadata) != string(wish.Metadata) {
		d.Errorf("order: got %+v", o)
	}
	if again := must(d, wish); string(again.Body) != string(placed.Body) {
		d.Errorf("answered again\n%s\nwant\n%s", again.Body, placed.Body)
	}
	must(d, ledger.AdjustStock{ProductID: text, Delta: 1, Reason: text, Ref: text})
	must(d, ledger.PutUser{ID: text, Name: set(text), Phone: set(text), Email: set(text), Address: set(text)})
	d.pay(placed.Number, text, ledger.PaidNow)
	d.pay(placed.Number, text, ledger.PaidAgain)
	other := d.place(text, line(text, 1))
	if got := must(d, ledger.Cancel{Number: other, Reason: text}); got.CloseReason != text || d.order(other).CloseReason != text {
		d.Errorf("the reason: got %q", got.CloseReason)
	}
}

func spellMoney(d *desk) {
	most := money.Money{Amount: limits.PriceAmount, Currency: "JPY"}
	var lines []ledger.PlaceLine
	for i := range limits.LinesPerOrder {
		id := product.ID(rune('a' + i))
		d.sell(id, limits.QuantityPerLine, func(p *ledger.PutProduct) { p.Price = set(most) })
		lines = append(lines, line(id, limits.QuantityPerLine))
	}
	d.clock.Set(time.Date(2026, 12, 31, 23, 59, 59, 999e6+999_999, time.UTC)) // below milliseconds it is cut
	no := d.place("u", lines...)
	o := d.order(no)
	if want := (money.Money{Amount: limits.LinesPerOrder * limits.QuantityPerLine * limits.PriceAmount, Currency: "JPY"}); o.Total != want {
		d.Errorf("the dearest order costs %v, want %v", o.Total, want)
	}
	if want := time.Date(2026, 12, 31, 23, 59, 59, 999e6, time.UTC); !o.CreatedAt.Equal(want) || !o.PayBy.Equal(want.Add(30*time.Minute)) {
		d.Errorf("placed at %s to be paid by %s", o.CreatedAt, o.PayBy)
	}
	d.pay(no, "t1", ledger.PaidNow)
	if got := d.payments(no)[0].Amount; got != o.Total {
		d.Errorf("paid %v, want %v", got, o.Total)
	}
	d.sell("free", 1, func(p *ledger.PutProduct) { p.Price = set(money.Money{Currency: "JPY"}) })
	free := d.place("u", line("free", 1))
	d.pay(free, "t2", ledger.PaidNow)
	want := []order.Line{{ProductID: "free", Title: "Ticket free", Quantity: 1}}
	if diff := cmp.Diff(want, d.order(free).Lines); diff != "" {
		d.Errorf("a free line: want (-), got (+):\n%s", diff)
	}
}
