package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Plan is how the database would find what a look asks for, in its own words.
type Plan struct{ Look, Steps string }

// Plans asks the database how it would find what lists ask for, on what the record holds now. They are asked for somebody and
// some time that there may not be.
func (s *Store) Plans(ctx context.Context) ([]Plan, error) {
	type look struct {
		name, text string
		args       []any
	}
	list := func(name string, f checkout.OrderFilter) look {
		f.Limit = 50
		text, args := s.dialect.ordersBy(f)
		return look{name, text, args}
	}
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	since := now.Add(-24 * time.Hour)
	with, events := s.dialect.eventsOfUser()
	var plans []Plan
	for _, l := range []look{
		list("newest orders", checkout.OrderFilter{}),
		list("orders since a day", checkout.OrderFilter{CreatedAfter: since}),
		list("pending orders", checkout.OrderFilter{Status: order.Pending}),
		list("paid orders", checkout.OrderFilter{Status: order.Paid}),
		list("refunded orders", checkout.OrderFilter{Status: order.Refunded}),
		list("cancelled orders since a day", checkout.OrderFilter{Status: order.Cancelled, CreatedAfter: since}),
		list("orders of a user", checkout.OrderFilter{UserID: "u-1"}),
		list("fulfilled orders of a user", checkout.OrderFilter{UserID: "u-1", Status: order.Fulfilled}),
		{
			"events of a user", with + `SELECT ` + eventColumns + ` FROM ` + events + ` WHERE l.position > ? ORDER BY l.position LIMIT ?`,
			[]any{int64(math.MaxInt64), int64(0), "u-1", 0, 50},
		},
		{"pending orders that are due", dueText(``), []any{int64(0), ms(since), int64(0), int64(0), 50}},
		{"payments of an order", `SELECT ` + paymentColumns + ` FROM payments WHERE order_no = ? ORDER BY created_at, payment_id`, []any{1}},
	} {
		steps, err := s.explain(ctx, l.text, l.args...)
		if err != nil {
			return nil, fmt.Errorf("plan of %s: %w", l.name, err)
		}
		plans = append(plans, Plan{l.name, steps})
	}
	return plans, nil
}

// explain gives a line for each step.
func (s *Store) explain(ctx context.Context, text string, args ...any) (string, error) {
	word := `EXPLAIN `
	if s.dialect.name == "sqlite" {
		word = `EXPLAIN QUERY PLAN `
	}
	rows, err := s.read.QueryContext(ctx, word+s.spelt(text), args...)
	if err != nil {
		return "", classify(err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	cells, dest := make([]sql.NullString, len(columns)), make([]any, len(columns))
	for i := range cells {
		dest[i] = &cells[i]
	}
	var steps []string
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return "", err
		}
		var step []string
		for i, cell := range cells {
			if cell.Valid && (s.dialect.name != "sqlite" || columns[i] == "detail") {
				step = append(step, cell.String)
			}
		}
		steps = append(steps, strings.Join(step, " "))
	}
	return strings.Join(steps, "\n"), classify(rows.Err())
}
