package e2e

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/api"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// buyer is somebody who wants some lines, and what he was told in the end.
type buyer struct {
	user  string
	lines []api.PlaceLine
	answer
	order api.Order // if accepted
}

const connections = 1000 // of a rush: as many buyers ask at the same time

// rush lets all buyers ask as fast as they are answered, over as many connections as there are, and checks that each was
// either given what he wants or told why not. Whoever is told to come back does.
func rush(d *desk, buyers []*buyer, connections int, refusal string) (accepted []*buyer) {
	d.t.Helper()
	var next, sentAway atomic.Int64
	atOnce(connections, func(int) {
		for i := next.Add(1) - 1; i < int64(len(buyers)); i = next.Add(1) - 1 {
			b := buyers[i]
			a, times, err := d.placeAgain(fmt.Sprintf("%s-%d", d.t.Name(), i), b.user, b.lines...)
			if err != nil {
				d.t.Errorf("buyer %d: %v", i, err)
				return
			}
			b.answer = a
			sentAway.Add(times)
		}
	})
	if n := sentAway.Load(); n > 0 {
		d.t.Logf("%d times a buyer was told to come back", n)
	}
	return judge(d.t, buyers, refusal)
}

// judge looks at every answer: accepted with exactly the lines that were asked for, or refused for the one reason.
func judge(t *testing.T, buyers []*buyer, refusal string) (accepted []*buyer) {
	t.Helper()
	numbers := map[string]bool{}
	for i, b := range buyers {
		if b.status != http.StatusCreated {
			if got := b.problem(); b.status != http.StatusConflict || got.Code != refusal {
				t.Errorf("buyer %d: got %v, want 201 or 409 %s", i, b.answer, refusal)
			}
			continue
		}
		read(t, b.body, &b.order)
		if numbers[b.order.OrderNo] {
			t.Errorf("number %s was given twice", b.order.OrderNo)
		}
		numbers[b.order.OrderNo] = true
		if want := merged(b.lines); b.order.UserID != b.user || !slices.Equal(linesOf(b.order), want) {
			t.Errorf("buyer %d: got %s, want %v of %s", i, b.body, want, b.user)
		}
		accepted = append(accepted, b)
	}
	return accepted
}

func merged(lines []api.PlaceLine) (sum []api.PlaceLine) {
	for _, l := range lines {
		at := slices.IndexFunc(sum, func(s api.PlaceLine) bool { return s.ProductID == l.ProductID })
		if at < 0 {
			sum = append(sum, l)
			continue
		}
		sum[at].Quantity += l.Quantity
	}
	return sum
}

func linesOf(o api.Order) (lines []api.PlaceLine) {
	for _, l := range o.Lines {
		lines = append(lines, line(l.ProductID, l.Quantity))
	}
	return lines
}

// crowdOf makes n buyers, each another user, who want the lines in turn.
func crowdOf(n int, wishes ...[]api.PlaceLine) []*buyer {
	buyers := make([]*buyer, n)
	for i := range buyers {
		buyers[i] = &buyer{user: fmt.Sprintf("u-%d", i), lines: wishes[i%len(wishes)]}
	}
	return buyers
}

func unitsOf(accepted []*buyer, product string) (units int64) {
	for _, b := range accepted {
		for _, l := range b.order.Lines {
			if l.ProductID == product {
				units += l.Quantity
			}
		}
	}
	return units
}

// wantHeld checks that the stock is what the accepted orders left of it, all of them pending.
func wantHeld(d *desk, product string, received, held int64) {
	d.t.Helper()
	got := d.stock(product)
	want := api.Stock{ProductID: product, Received: received, Available: received - held, Held: held, Version: got.Version}
	if got != want {
		d.t.Errorf("stock: got %+v, want %+v", got, want)
	}
}

func TestAThousandUnitsGoToAThousandOfFiveThousandBuyers(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		const units, buyers = 1000, 5000
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("hot", units, nil)

		accepted := rush(s.desk, crowdOf(buyers, []api.PlaceLine{line("hot", 1)}), connections, api.CodeOutOfStock)

		if len(accepted) != units {
			t.Errorf("got %d orders, want %d", len(accepted), units)
		}
		wantHeld(s.desk, "hot", units, units)
		if found := s.orders(); len(found) != units {
			t.Errorf("found %d orders, want %d", len(found), units)
		}
		s.auditClean()
		auditClean(t, db)
	}, mariaDBToo)
}

// Some want both products and some one of them. Whoever wanted one unit and was refused proves that there was none left, so in
// the end everything is sold; whoever wanted both got both or none.
func TestOrdersOfTwoProductsGetAllOrNothing(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		const left, right = 300, 170
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("left", left, nil)
		s.product("right", right, nil)

		buyers := crowdOf(1600,
			[]api.PlaceLine{line("left", 1), line("right", 1)},
			[]api.PlaceLine{line("right", 2), line("left", 3)},
			[]api.PlaceLine{line("left", 1)},
			[]api.PlaceLine{line("right", 1)})
		accepted := rush(s.desk, buyers, connections, api.CodeOutOfStock)

		for product, units := range map[string]int64{"left": left, "right": right} {
			if got := unitsOf(accepted, product); got != units {
				t.Errorf("%s: got %d units in accepted orders, want all %d", product, got, units)
			}
			wantHeld(s.desk, product, units, units)
		}
		for _, b := range buyers {
			if b.status != http.StatusConflict {
				continue
			}
			if p := b.problem(); !slices.ContainsFunc(b.lines, func(l api.PlaceLine) bool {
				return string(p.Members["product_id"]) == `"`+l.ProductID+`"`
			}) {
				t.Errorf("refused for a product that was not asked for: %s", b.body)
			}
		}
		s.auditClean()
		auditClean(t, db)
	})
}

// Checked line by line, two lines of one product pass where their sum does not.
func TestTheSameProductOnTwoLinesIsSummed(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		const units, each = 100, 3
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("twice", units, nil)

		accepted := rush(s.desk, crowdOf(200, []api.PlaceLine{line("twice", 1), line("twice", 2)}), 200, api.CodeOutOfStock)

		if want := units / each; len(accepted) != want {
			t.Errorf("got %d orders, want %d", len(accepted), want)
		}
		wantHeld(s.desk, "twice", units, units/each*each)
		s.order("the-rest", "u-last", line("twice", units%each))
		wantHeld(s.desk, "twice", units, units)
		auditClean(t, db)
	})
}

func TestOneUserOnSixtyFourConnectionsGetsNoMoreThanHisLimit(t *testing.T) {
	everywhere(t, func(t *testing.T, w where) {
		const limit = 5
		db := w.database(t)
		s := w.serve(t, w.usual(), db)
		s.product("limited", 1000, func(p *api.PutProduct) { p.MaxPerUser = api.Set[int64](limit) })

		buyers := crowdOf(64, []api.PlaceLine{line("limited", 1)})
		for _, b := range buyers {
			b.user = "greedy"
		}
		accepted := rush(s.desk, buyers, 64, api.CodePurchaseLimit)
		if len(accepted) != limit {
			t.Fatalf("got %d orders, want %d", len(accepted), limit)
		}
		wantHeld(s.desk, "limited", 1000, limit)

		// What he gives back he may buy again, once.
		s.want(http.StatusOK, nil, "POST", "/v1/orders/"+accepted[0].order.OrderNo+"/cancel", nil)
		s.order("again", "greedy", line("limited", 1))
		if a, err := s.place("once-more", "greedy", line("limited", 1)); err != nil || a.problem().Code != api.CodePurchaseLimit {
			t.Errorf("beyond the limit again: got %v, %v, want 409 purchase_limit", a, err)
		}
		s.order("somebody-else", "modest", line("limited", limit))
		auditClean(t, db)
	})
}

// A unit that comes back goes to exactly one of those who wait for it, and nobody is told sold out for long while there is
// stock.
func TestStockThatComesBackIsSoldOnceMore(t *testing.T) {
	t.Parallel()
	const units, rounds = 10, 5
	db := database(t)
	s := serve(t, db)
	s.product("back", units, nil)
	sold := map[string]bool{}
	for round := range rounds {
		attempt := 0
		testenv.Until(t, 10*time.Second, "everything to be sold again", func() bool {
			attempt++
			buyers := crowdOf(64, []api.PlaceLine{line("back", 1)})
			atOnce(len(buyers), func(i int) {
				a, err := s.place(fmt.Sprintf("%d-%d-%d", round, attempt, i), buyers[i].user, line("back", 1))
				if err != nil {
					t.Error(err)
				}
				buyers[i].answer = a
			})
			for _, b := range judge(t, buyers, api.CodeOutOfStock) {
				if sold[b.order.OrderNo] {
					t.Errorf("number %s was given twice", b.order.OrderNo)
				}
				sold[b.order.OrderNo] = true
			}
			return s.stock("back").Available == 0
		})
		pending := s.orders("status", api.OrderPending)
		if len(pending) != units {
			t.Fatalf("round %d: got %d pending orders, want %d", round, len(pending), units)
		}
		atOnce(units, func(i int) {
			if a := s.ask("POST", "/v1/orders/"+pending[i].OrderNo+"/cancel", nil); a.status != http.StatusOK {
				t.Errorf("cancel: got %v, want 200", a)
			}
		})
	}
	if got := len(s.orders("status", api.OrderCancelled)); got != units*rounds {
		t.Errorf("got %d cancelled orders, want %d", got, units*rounds)
	}
	auditClean(t, db)
}
