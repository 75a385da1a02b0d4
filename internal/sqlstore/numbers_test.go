package sqlstore

import (
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
