package sqlstore_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/holdfast-oms/holdfast/internal/audit"
	"github.com/holdfast-oms/holdfast/internal/conform"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/sqlstore"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// settles is how long a window waits on a server until nothing can come in any more below what was written.
const settles = 10 * time.Second

// walk looks until there is no more to look at, and gives what was found on the way, by check.
func walk(t *testing.T, w *sqlstore.Window, again ...string) (found map[string][]string, last audit.Look) {
	t.Helper()
	found = map[string][]string{}
	for range 1000 {
		var err error
		if last, err = w.Look(t.Context(), again); err != nil {
			t.Fatal(err)
		}
		for _, c := range last.Checks {
			if c.Violations > 0 {
				found[c.ID] = append(found[c.ID], c.Samples...)
			}
		}
		if !last.More {
			return found, last
		}
	}
	t.Fatal("after a thousand looks there is still more")
	return nil, last
}

func (p *process) pays(no order.Number, transaction string) {
	p.t.Helper()
	if _, err := p.Notice(p.t.Context(), payment.Notice{
		Provider: "sandbox", OrderNumber: no, TransactionID: transaction, Amount: money.Money{Amount: 100, Currency: "CNY"}, Succeeded: true,
	}); err != nil {
		p.t.Fatal(err)
	}
}

// Whatever happens to orders, and whenever one looks, nothing is found that is not wrong; and everything is looked at.
func TestAuditOfAWindowFindsNothingInAnHonestLife(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 1)
			p, w := all[0], store.Window()
			clean := func(orders int) {
				t.Helper()
				clock.Step(settles)
				found, last := walk(t, w)
				if len(found) > 0 || !last.Compared || last.Behind != 0 {
					t.Fatalf("found %v, compared %t, behind %s", found, last.Compared, last.Behind)
				}
				if last.Orders != orders {
					t.Errorf("looked at %d orders, want %d", last.Orders, orders)
				}
			}
			p.offer("a", 50)
			p.offer("b", 50)
			for _, id := range []product.ID{"a", "b"} {
				p.put(ledger.PutProduct{ID: id, PayWindow: is(time.Minute)})
			}
			clean(0)
			paid, late, cancelled, expired := p.bought("1", "a").Number, p.bought("2", "a").Number, p.bought("3", "b").Number, p.bought("4", "b").Number
			clean(4)
			clean(0)
			p.pays(paid, "t-1")
			p.pays(paid, "t-2") // once too often
			p.cancel(cancelled)
			if _, err := ledger.Submit(t.Context(), p.Ledger, ledger.CreatePayment{Number: late, Provider: "sandbox", PaymentID: "pay-1"}); err != nil {
				t.Fatal(err)
			}
			clean(2) // an attempt to pay is not told of
			clock.Step(time.Minute)
			p.expires()
			clean(2)
			p.pays(late, "t-3")
			if _, err := ledger.Submit(t.Context(), p.Ledger, ledger.Fulfil{Number: paid}); err != nil {
				t.Fatal(err)
			}
			clean(2)
			if o, err := p.Order(t.Context(), expired); err != nil || o.Status != order.Expired {
				t.Fatal(o, err)
			}
			clean(0)
			wantClean(t, store)
		})
	}
}

// What is planted is found by the next look, and of a product it is said in what it differs.
func TestAuditOfAWindowFindsWhatIsPlanted(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range []struct {
				name, plant string
				want        map[string][]string
				reason      string
			}{
				{
					"a unit held by nobody", `UPDATE stock SET held = held + 1 WHERE product_id = 'a'`,
					map[string][]string{"V10": {"a"}, "V2": {"a"}},
					"V10: beyond the stock ledger: held +1",
				},
				{
					"a unit that was never delivered", `UPDATE stock SET received = received + 1 WHERE product_id = 'b'`,
					map[string][]string{"V10": {"b"}, "V1": {"b"}},
					"V10: beyond the stock ledger: received +1",
				},
				{
					"units of a product that nobody moves", `UPDATE stock SET sold = 2, received = 2 WHERE product_id = 'quiet'`,
					map[string][]string{"V10": {"quiet"}, "V1": {"quiet"}},
					"V10: beyond the stock ledger: received +2, sold +2",
				},
				{
					"an entry without a move",
					`INSERT INTO stock_ledger (product_id, version, kind, available, held, sold, order_no, at) VALUES ('a', 99, 'held', -1, 1, 0, 1, 0)`,
					map[string][]string{"V10": {"a"}, "V2": {}},
					"V10: entries of the stock ledger are missing, out of order or below zero",
				},
				{
					"an order that nobody holds units for", `UPDATE order_lines SET quantity = 2 WHERE product_id = 'a'`,
					map[string][]string{"V2": {"a"}, "V9": {"*"}},
					"V2: beyond pending orders: held -1",
				},
				{"an order that lives on", `UPDATE orders SET pay_by = created_at + 1`, map[string][]string{"V7": {"*"}}, ""},
				{
					"a step that was not told of", `DELETE FROM order_transitions WHERE seq = 2`,
					map[string][]string{"V4": {"*"}, "V8": {"*"}},
					"",
				},
				{"a total that is not the sum", `UPDATE orders SET total_amount = 99 WHERE status = 'paid'`, map[string][]string{"V5": {"*"}, "V9": {"*"}}, ""},
				{"money that nobody owes", `UPDATE payments SET amount = 99`, map[string][]string{"V5": {"*"}}, ""},
			} {
				t.Run(c.name, func(t *testing.T) {
					all, store, clock := several(t, on, 1)
					p, w := all[0], store.Window()
					p.offer("a", 50)
					p.offer("b", 50)
					p.offer("quiet", 0)
					p.bought("1", "a")
					if found, _ := walk(t, w); len(found) > 0 {
						t.Fatalf("found %v before anything was planted", found)
					}
					p.pays(p.bought("2", "b").Number, "t")
					clock.Step(2 * time.Minute)
					if c.want["V7"] == nil {
						p.expires()
						p.bought("3", "a")
						clock.Step(settles)
					}
					if err := store.Plant(t.Context(), c.plant); err != nil {
						t.Fatal(err)
					}
					found, last := walk(t, w)
					for id, ids := range c.want {
						if len(ids) > 0 && len(found[id]) == 0 {
							t.Errorf("%s has no violation", id)
						}
						if len(ids) > 0 && ids[0] != "*" && cmp.Diff(ids, found[id]) != "" {
							t.Errorf("%s: got %v, want %v", id, found[id], ids)
						}
					}
					for id := range found {
						if c.want[id] == nil {
							t.Errorf("%s: %v too", id, found[id])
						}
					}
					var reasons []string
					for _, wrong := range last.Wrong {
						reasons = append(reasons, wrong.Reason)
					}
					if got := strings.Join(reasons, "; "); got != c.reason {
						t.Errorf("reasons: got %q, want %q", got, c.reason)
					}
				})
			}
		})
	}
}

// auditing is a desk whose auditor looks.
type auditing struct {
	*process
	store   *sqlstore.Store
	clock   *conform.Clock
	auditor *worker.Auditor
}

func newAuditing(t *testing.T, on database) *auditing {
	t.Helper()
	all, store, clock := several(t, on, 1)
	a := &auditing{all[0], store, clock, worker.NewAuditor(all[0].Ledger, store.Window(), worker.AuditorOptions{Log: slog.New(slog.DiscardHandler)})}
	a.offer("a", 50)
	a.offer("b", 50)
	a.looks(2)
	return a
}

// looks takes some looks, a second apart.
func (a *auditing) looks(n int) {
	a.t.Helper()
	for range n {
		if _, err := a.auditor.RunOnce(a.t.Context()); err != nil {
			a.t.Fatal(err)
		}
		a.clock.Step(time.Second)
	}
}

func (a *auditing) plant(query string) {
	a.t.Helper()
	if err := a.store.Plant(a.t.Context(), query); err != nil {
		a.t.Fatal(err)
	}
}

func (a *auditing) sold(key string, want error) {
	a.t.Helper()
	if _, err := a.buy(key, "a"); !errors.Is(err, want) {
		a.t.Errorf("%s: got %v, want %v", key, err, want)
	}
}

func TestTheSaleOfAProductThatStaysUnexplainedIsStoppedUntilSomebodyHasLooked(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			a := newAuditing(t, on)
			a.plant(`UPDATE stock SET held = held + 1 WHERE product_id = 'a'`)
			a.looks(5)
			a.sold("while it is looked into", nil)
			a.looks(1)
			a.sold("after five seconds", fault.ErrNotOnSale)
			if _, err := a.buy("another", "b"); err != nil {
				t.Errorf("another product: %v", err)
			}
			a.looks(3)
			if n := a.auditor.Last().Quarantined; n != 1 {
				t.Errorf("%d products are under quarantine, want 1", n)
			}
			shelf, err := a.store.Shelf(t.Context(), "a")
			if err != nil || shelf.Quarantine != "V10: beyond the stock ledger: held +1" {
				t.Errorf("the reason: got %q, %v", shelf.Quarantine, err)
			}

			if _, err := ledger.Submit(t.Context(), a.Ledger, ledger.Release{ProductID: "a"}); err != nil {
				t.Fatal(err)
			}
			a.looks(20)
			a.sold("let pass", nil)
			again := worker.NewAuditor(a.Ledger, a.store.Window(), worker.AuditorOptions{}) // another process, or this one after a restart
			a.auditor = again
			a.looks(20)
			a.sold("let pass elsewhere, too", nil)
			a.plant(`UPDATE stock SET held = held + 1 WHERE product_id = 'a'`)
			a.looks(7)
			a.sold("differs by more", fault.ErrNotOnSale)
		})
	}
}

func TestWhatExplainsItselfWithinFiveSecondsStopsNothing(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			a := newAuditing(t, on)
			for range 5 {
				a.plant(`UPDATE stock SET held = held + 1 WHERE product_id = 'a'`)
				a.looks(4)
				a.plant(`UPDATE stock SET held = held - 1 WHERE product_id = 'a'`)
				a.looks(1)
			}
			a.sold("k", nil)
		})
	}
}

// asleep is a window whose process sleeps between a look and what follows from it.
type asleep struct {
	worker.Window
	after func()
}

func (s asleep) Look(ctx context.Context, again []string) (audit.Look, error) {
	look, err := s.Window.Look(ctx, again)
	s.after()
	return look, err
}

func TestAnAuditorThatWasPausedStopsNothingByOldNews(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			a := newAuditing(t, on)
			n := 0
			a.auditor = worker.NewAuditor(a.Ledger, asleep{a.store.Window(), func() {
				if n++; n == 7 { // it has seen it for the second time, and is about to act
					a.plant(`UPDATE stock SET held = held - 1 WHERE product_id = 'a'`)
					a.clock.Step(30 * time.Second)
				}
			}}, worker.AuditorOptions{})
			a.looks(1)
			a.plant(`UPDATE stock SET held = held + 1 WHERE product_id = 'a'`)
			a.looks(12)
			if n < 7 {
				t.Fatal("it never slept: the test proves nothing")
			}
			a.sold("k", nil)
			a.plant(`UPDATE stock SET held = held + 1 WHERE product_id = 'a'`)
			a.looks(7)
			a.sold("and again", fault.ErrNotOnSale)
		})
	}
}

// What was written by a clock that was ahead does not keep the window waiting until that time comes.
func TestAWindowGoesOnWhenTheClockWasSetBack(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			all, store, clock := several(t, on, 1)
			p, w := all[0], store.Window()
			p.offer("a", 50)
			walk(t, w)
			clock.Step(time.Hour)
			p.bought("1", "a")
			clock.Step(-time.Hour)
			if _, last := walk(t, w); last.Entries != 1 || last.Orders != 1 {
				t.Errorf("%d entries and %d orders, want one of each", last.Entries, last.Orders)
			}
			if _, last := walk(t, w); last.Entries+last.Orders != 0 || last.Behind != 0 {
				t.Errorf("again %d entries and %d orders, behind %s", last.Entries, last.Orders, last.Behind)
			}
		})
	}
}

// A sale with more in flight than one look can take: the window falls behind, catches up, and nothing is missed or doubled.
func TestAWindowThatIsBehindCatchesUp(t *testing.T) {
	for _, on := range databases {
		t.Run(on.name, func(t *testing.T) {
			t.Parallel()
			s, clock, l := openDesk(t, on)
			w := s.Window()
			if found, _ := walk(t, w); len(found) > 0 {
				t.Fatal(found)
			}
			const orders = 6000
			placeSome(t, l, 0, orders/2)
			placeSome(t, l, orders/2, orders/2)
			judged, entries, compared := 0, 0, 0
			follow := func() {
				t.Helper()
				for range 100 {
					look, err := w.Look(t.Context(), nil)
					if err != nil {
						t.Fatal(err)
					}
					if len(look.Wrong) > 0 {
						t.Fatalf("found %v", look.Wrong)
					}
					judged, entries = judged+look.Orders, entries+look.Entries
					if look.Compared {
						compared++
					}
					if !look.More {
						break
					}
				}
			}
			follow()
			if entries != orders || compared == 0 {
				t.Errorf("%d entries replayed, compared %d times; want %d, at once", entries, compared, orders)
			}
			clock.Step(settles)
			follow()
			if judged != orders || entries != orders {
				t.Errorf("%d orders judged and %d entries replayed; want %d of each", judged, entries, orders)
			}
			if _, err := w.Look(t.Context(), []string{"plain", "plain", "no such product"}); err != nil {
				t.Error(err)
			}
		})
	}
}
