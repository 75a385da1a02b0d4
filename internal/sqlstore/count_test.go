package sqlstore

import (
	"context"
	"strings"
	"testing"

	"github.com/holdfast-oms/holdfast/internal/order"
)

// A statement has little time, and a day may have many orders.
func TestADaysOrdersAreCountedByStatementsThatCountSoManyAtMost(t *testing.T) {
	s := openPlanned(t, 0)
	const day = order.Day(20261120)
	s.mustExec(t, `DELETE FROM orders`)
	s.mustExec(t, `INSERT INTO number_days (day, next) VALUES (20261120, 30001) ON CONFLICT (day) DO UPDATE SET next = 30001`)
	for _, no := range []int64{1, numbersPiece, numbersPiece + 1, 3*numbersPiece - 1, 3 * numbersPiece} {
		s.mustExec(t, `INSERT INTO orders (order_no, user_id, status, currency, total_amount, created_at, pay_by, close_reason, paid_late, reminded,
			version, events, metadata) VALUES (?, 'u', 'pending', 'CNY', 1, 1, 2, '', 0, 0, 1, 1, '{}')`, int64(order.NumberOf(day, no)))
	}
	counts := 0
	s.watched = func(_ context.Context, _ explainer, query string, args []any) {
		if !strings.HasPrefix(query, `SELECT COUNT(*)`) {
			return
		}
		counts++
		from, _ := args[0].(int64)
		to, _ := args[1].(int64)
		if to-from > numbersPiece {
			t.Errorf("numbers from %d to before %d are counted by one statement", from, to)
		}
	}
	for range 2 { // as they are, and as they were counted when the day was over
		days, err := s.NumberDays(t.Context(), day+1, 1)
		if err != nil || len(days) != 1 || days[0].Used != 5 {
			t.Errorf("got %v %v, want 5 orders of one day", days, err)
		}
		if _, err := s.CountDay(t.Context(), day+1); err != nil {
			t.Error(err)
		}
	}
	if counts != 2*3 {
		t.Errorf("%d statements counted them twice, want 3 each time", counts)
	}
}
