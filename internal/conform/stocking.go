package conform

import (
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

var stocking = []story{
	{name: "ADeliveryIsForSale", tell: deliver},
	{name: "AvailableUnitsCanBeWrittenOffButNoMore", tell: writeOff},
	{name: "ARefCountsOnce", tell: refOnce},
	{name: "ARefCountsOncePerProduct", tell: refPerProduct},
	{name: "StockIsToldOncePerBatchAndDepletedWhenItIs", tell: stockTold},
	{name: "AProductIsMadeChangedAndLeftAlone", tell: putProduct},
	{name: "AProductIsMadeAndUsedInOneBatch", tell: putAndUse},
	{name: "AUserIsMadeChangedAndLeftAlone", tell: putUser},
}

func deliver(d *desk) {
	d.sell("a", 0)
	refused(d, d.wish("u", line("a", 1)), fault.ErrOutOfStock)
	got := must(d, ledger.AdjustStock{ProductID: "a", Delta: 5, Reason: "delivery", Ref: "PO-1"})
	if got.Available() != 5 || got.Received != 5 || got.Version != 1 || got.Repeated {
		d.Errorf("delivered 5: got %+v", got)
	}
	d.place("u", line("a", 5))
	refused(d, ledger.AdjustStock{ProductID: "x", Delta: 1}, fault.ErrNotFound)
	refused(d, ledger.AdjustStock{ProductID: "a", Delta: limits.StockReceived}, fault.ErrInvalid)
}

func writeOff(d *desk) {
	d.sell("a", 10)
	d.place("u", line("a", 4))
	refused(d, ledger.AdjustStock{ProductID: "a", Delta: -7}, fault.ErrInsufficientStock)
	got := must(d, ledger.AdjustStock{ProductID: "a", Delta: -6, Reason: "broken"})
	if got.Available() != 0 || got.Received != 4 || got.Held != 4 {
		d.Errorf("wrote off 6 of 10 with 4 held: got %+v", got)
	}
	refused(d, ledger.AdjustStock{ProductID: "a", Delta: -1}, fault.ErrInsufficientStock)
}

func refOnce(d *desk) {
	d.sell("a", 0)
	c := ledger.AdjustStock{ProductID: "a", Delta: 5, Ref: "PO-1"}
	for i, got := range d.batch(asks(c), asks(c)) {
		if s, _ := got.value.(ledger.StockAdjusted); got.err != nil || s.Repeated != (i == 1) || s.Received != 5 {
			d.Errorf("delivery %d of one batch: got %+v %v", i, got.value, got.err)
		}
	}
	other := c
	other.Delta = -100
	for _, again := range []ledger.AdjustStock{c, other} {
		if got := must(d, again); !got.Repeated || got.Received != 5 || got.Version != 1 {
			d.Errorf("the ref again: got %+v", got)
		}
	}
	d.wantStock("a", 5, 0, 0)
}

func refPerProduct(d *desk) {
	d.sell("a", 0)
	d.sell("b", 0)
	for _, id := range []product.ID{"a", "b"} {
		for range 2 { // without a ref, each counts
			must(d, ledger.AdjustStock{ProductID: id, Delta: 1})
		}
		must(d, ledger.AdjustStock{ProductID: id, Delta: 1, Ref: "PO-1"})
		must(d, ledger.AdjustStock{ProductID: id, Delta: 1, Ref: "po-1"})
		d.wantStock(id, 4, 0, 0)
	}
}

func stockTold(d *desk) {
	about := event.Subject{Kind: event.Product, ID: "a"}
	d.sell("a", 3)
	d.batch(asks(d.wish("u", line("a", 1))), asks(d.wish("u", line("a", 1))))
	d.place("u", line("a", 1))
	must(d, ledger.AdjustStock{ProductID: "a", Delta: 2})
	want := []event.Type{event.StockChanged, event.StockChanged, event.StockChanged, event.StockDepleted, event.StockChanged}
	if diff := cmp.Diff(want, d.watched.told(about)); diff != "" {
		d.Errorf("events of the product: want (-), got (+):\n%s", diff)
	}
}

func putProduct(d *desk) {
	refused(d, ledger.PutProduct{ID: "a", Title: set("A")}, fault.ErrInvalid)
	refused(d, ledger.PutProduct{ID: "a", Price: set(cny(1))}, fault.ErrInvalid)
	whole := ledger.PutProduct{
		ID: "a", Title: set("A"), Price: set(cny(1)), MaxPerUser: set(int64(2)), PayWindow: set(time.Minute),
		OnSaleFrom: set(opening.Add(time.Millisecond)), OnSaleUntil: set(opening.Add(time.Hour)), Active: set(false),
	}
	put := must(d, whole)
	want := product.Product{
		ID: "a", Title: "A", Price: cny(1), MaxPerUser: 2, PayWindow: time.Minute, OnSaleFrom: opening.Add(time.Millisecond),
		OnSaleUntil: opening.Add(time.Hour), Counting: product.CountedAll, Version: 1, CreatedAt: opening, UpdatedAt: opening,
	}
	if diff := cmp.Diff(ledger.ProductPut{Product: want, Created: true}, put); diff != "" {
		d.Errorf("made: want (-), got (+):\n%s", diff)
	}
	d.clock.Step(time.Second)
	if again := must(d, whole); again.Created || again.Version != 1 || !again.UpdatedAt.Equal(opening) {
		d.Errorf("put again as it is: got %+v", again)
	}
	changed := must(d, ledger.PutProduct{ID: "a", Title: set("B"), MaxPerUser: set(int64(0))})
	want.Title, want.MaxPerUser, want.Version, want.UpdatedAt = "B", 0, 2, d.clock.Now()
	if diff := cmp.Diff(ledger.ProductPut{Product: want}, changed); diff != "" {
		d.Errorf("changed: want (-), got (+):\n%s", diff)
	}
	refused(d, ledger.PutProduct{ID: "a", OnSaleUntil: set(opening)}, fault.ErrInvalid)
	refused(d, ledger.PutProduct{ID: "a", Title: set("")}, fault.ErrInvalid)
}

func putAndUse(d *desk) {
	answers := d.batch(
		asks(ledger.PutProduct{ID: "a", Title: set("A"), Price: set(cny(1)), MaxPerUser: set(int64(2))}),
		asks(ledger.AdjustStock{ProductID: "a", Delta: 5}),
		asks(d.wish("u", line("a", 2))),
		asks(d.wish("u", line("a", 1))), // beyond the limit
		asks(ledger.PutProduct{ID: "a", MaxPerUser: set(int64(3))}),
		asks(d.wish("u", line("a", 1))),
		asks(d.wish("v", line("a", 3))), // beyond the stock
	)
	for i, ok := range []bool{true, true, true, false, true, true, false} {
		if ok != (answers[i].err == nil) {
			d.Errorf("command %d: got %v, want accepted %v", i, answers[i].err, ok)
		}
	}
	d.wantStock("a", 2, 3, 0)
	d.wantUnits("a", "u", 3)
}

func putUser(d *desk) {
	put := must(d, ledger.PutUser{ID: "u", Name: set("Ada"), Metadata: set([]byte(`{"vip":true}`))})
	want := user.User{ID: "u", Name: "Ada", Metadata: []byte(`{"vip":true}`), Version: 1, CreatedAt: opening, UpdatedAt: opening}
	if diff := cmp.Diff(ledger.UserPut{User: want, Created: true}, put); diff != "" {
		d.Errorf("made: want (-), got (+):\n%s", diff)
	}
	d.clock.Step(time.Second)
	if again := must(d, ledger.PutUser{ID: "u", Name: set("Ada")}); again.Created || again.Version != 1 {
		d.Errorf("put again as he is: got %+v", again)
	}
	answers := d.batch(asks(ledger.PutUser{ID: "u", Phone: set("1")}), asks(ledger.PutUser{ID: "u", Email: set("a@example.com")}),
		asks(ledger.PutUser{ID: "v", Name: set("Bo")}), asks(ledger.PutUser{ID: "v", Address: set("Street 1")}))
	for i, got := range answers {
		if u, _ := got.value.(ledger.UserPut); got.err != nil || u.Created != (i == 2) {
			d.Errorf("command %d: got %+v %v", i, got.value, got.err)
		}
	}
	want.Phone, want.Email, want.Version, want.UpdatedAt = "1", "a@example.com", 3, d.clock.Now()
	if diff := cmp.Diff(&want, d.look(ledger.Want{Users: []user.ID{"u"}}).Users["u"]); diff != "" {
		d.Errorf("changed twice: want (-), got (+):\n%s", diff)
	}
}
