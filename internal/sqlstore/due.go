package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/holdfast-oms/holdfast/internal/order"
)

// Deadlines reads pending orders that come after one and whose pay_by is not after until, by pay_by and number. It runs on the
// index of pending orders: what is over costs nothing.
func (s *Store) Deadlines(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error) {
	return s.deadlines(ctx, ``, after, until, limit)
}

func dueText(only string) string {
	return `SELECT order_no, pay_by FROM orders
		WHERE status = 'pending' AND pay_by >= ? AND pay_by <= ? AND (pay_by > ? OR order_no > ?) ` + only + `
		ORDER BY pay_by, order_no LIMIT ?`
}

func (s *Store) deadlines(ctx context.Context, only string, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error) {
	var found []order.Deadline
	rows, err := s.query(ctx, dueText(only), ms(after.PayBy), ms(until), ms(after.PayBy), int64(after.Number), limit)
	err = scan(rows, err, func(r *sql.Rows) error {
		var d order.Deadline
		var payBy int64
		err := r.Scan(&d.Number, &payBy)
		d.PayBy = at(payBy)
		found = append(found, d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look for deadlines: %w", err)
	}
	return found, nil
}

// Pending is the number of orders that wait to be paid.
func (s *Store) Pending(ctx context.Context) (n int64, err error) {
	err = s.queryRow(ctx, `SELECT COUNT(*) FROM orders`+s.dialect.indexedBy("orders_due")+` WHERE status = 'pending'`).Scan(&n)
	return n, classify(err)
}

// Unreminded is Deadlines without the orders whose reminder was told.
func (s *Store) Unreminded(ctx context.Context, after order.Deadline, until time.Time, limit int) ([]order.Deadline, error) {
	return s.deadlines(ctx, `AND reminded = 0`, after, until, limit)
}
