package sqlstore

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/order"
)

// Of a day that is not over only what may have changed is counted again: not the pieces whose numbers orders have all.
func TestNumbersThatAllHaveOrdersAreCountedOnce(t *testing.T) {
	const day = order.Day(20261120)
	s := openPlanned(t, 2*numbersPiece+5)
	s.mustExec(t, `INSERT INTO number_days (day, next) VALUES (20261120, 30001)`)
	first, second, third := order.NumberOf(day, 7), order.NumberOf(day, numbersPiece+7), order.NumberOf(day, 2*numbersPiece+3)
	without := func(no order.Number) {
		s.mustExec(t, `UPDATE orders SET order_no = order_no - 1000000000000 WHERE order_no = ?`, int64(no))
	}
	again := func(no order.Number) {
		s.mustExec(t, `UPDATE orders SET order_no = order_no + 1000000000000 WHERE order_no = ? - 1000000000000`, int64(no))
	}
	wants := func(about string, want int64) {
		t.Helper()
		days, err := s.NumberDays(t.Context(), day+1, 10)
		if err != nil || len(days) != 1 {
			t.Fatalf("got %v, %v, want one day", days, err)
		}
		if days[0].Used != want || days[0].Last != order.NumberOf(day, 2*numbersPiece+5) {
			t.Errorf("%s: got %+v, want %d used", about, days[0], want)
		}
	}
	without(second)
	wants("with a number that has no order", 2*numbersPiece+4)
	wants("and asked once more", 2*numbersPiece+4)
	again(second)
	wants("when it has", 2*numbersPiece+5)
	without(first)
	wants("of the first, which all had orders", 2*numbersPiece+5)
	without(third)
	wants("of the last, which had not", 2*numbersPiece+4)
}

func TestWhoAsksForADaysNumbersFindsLittleLeftToCount(t *testing.T) {
	const day = order.Day(20261120)
	s := openPlanned(t, 4*numbersPiece+5)
	s.mustExec(t, `INSERT INTO number_days (day, next) VALUES (20261120, 50001)`)
	lacking := order.NumberOf(day, numbersPiece+7)
	s.mustExec(t, `UPDATE orders SET order_no = order_no - 1000000000000 WHERE order_no = ?`, int64(lacking))
	var counted []order.Number
	s.watched = func(_ context.Context, _ explainer, query string, args []any) {
		if strings.HasPrefix(query, `SELECT COUNT(*)`) {
			first, _ := args[0].(int64)
			counted = append(counted, order.Number(first))
		}
	}
	piece := func(i int64) order.Number { return order.NumberOf(day, i*numbersPiece+1) }
	for _, want := range [][]order.Number{{piece(0), piece(1), piece(2)}, nil} { // and once only, the one that lacks an order too
		counted = nil
		for more := true; more; {
			var err error
			if more, err = s.CountAhead(t.Context(), day); err != nil {
				t.Fatal(err)
			}
		}
		if !slices.Equal(counted, want) {
			t.Errorf("counted ahead were the pieces from %v, want from %v", counted, want)
		}
	}
	days, err := s.NumberDays(t.Context(), day+1, 10)
	if err != nil || len(days) != 1 || days[0].Used != 4*numbersPiece+4 {
		t.Errorf("got %+v, %v, want one day with %d used", days, err, 4*numbersPiece+4)
	}
	if want := []order.Number{piece(1), piece(3), piece(4)}; !slices.Equal(counted, want) {
		t.Errorf("counted when asked were the pieces from %v, want from %v", counted, want)
	}
	counted = nil
	if more, err := s.CountAhead(t.Context(), day+1); more || err != nil || counted != nil {
		t.Errorf("of a day without orders got %v, %v, and counted from %v", more, err, counted)
	}
}
