package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Plan is how the database would find what a look asks for, in its own words: of one of its queries, if it makes several.
type Plan struct{ Look, Steps string }

// looked is something that is looked for, as whoever asks for it does.
type looked struct {
	name string
	look func(ctx context.Context, s *Store) error
}

// looks are the lists that the API gives, what the loops look for, and a look of the auditor. They are made for somebody and some time
// that there may not be.
func looks(now time.Time) []looked {
	since, day := now.Add(-24*time.Hour), order.DayOf(now.UTC())
	orders := func(name string, f checkout.OrderFilter) looked {
		f.Limit = 50
		return looked{name, func(ctx context.Context, s *Store) error {
			_, err := s.Orders(ctx, f)
			return err
		}}
	}
	events := func(name string, f checkout.EventFilter) looked {
		f.Limit, f.Anew = 50, true
		return looked{name, func(ctx context.Context, s *Store) error {
			var err error
			if f.After, err = s.LogStart(ctx); err == nil {
				_, err = s.Events(ctx, f)
			}
			return err
		}}
	}
	no := order.NumberOf(day, 1)
	return []looked{
		orders("newest orders", checkout.OrderFilter{}),
		orders("orders before one", checkout.OrderFilter{Before: no}),
		orders("orders since a day", checkout.OrderFilter{CreatedAfter: since}),
		orders("pending orders", checkout.OrderFilter{Status: order.Pending}),
		orders("pending orders since a day", checkout.OrderFilter{Status: order.Pending, CreatedAfter: since}),
		orders("expired orders before one", checkout.OrderFilter{Status: order.Expired, Before: no}),
		orders("refunded orders", checkout.OrderFilter{Status: order.Refunded}),
		orders("cancelled orders since a day", checkout.OrderFilter{Status: order.Cancelled, CreatedAfter: since}),
		orders("orders of a user", checkout.OrderFilter{UserID: "u-1"}),
		orders("fulfilled orders of a user", checkout.OrderFilter{UserID: "u-1", Status: order.Fulfilled}),
		orders("orders of a user since a day", checkout.OrderFilter{UserID: "u-1", CreatedAfter: since}),
		events("events", checkout.EventFilter{}),
		events("events of a type", checkout.EventFilter{Types: []event.Type{event.PaymentLate}, Until: 1}),
		events("events of an order", checkout.EventFilter{OrderNo: no}),
		events("events of a user", checkout.EventFilter{UserID: "u-1"}),
		{"payments of an order", func(ctx context.Context, s *Store) error {
			_, err := s.PaymentsOf(ctx, no)
			return err
		}},
		{"products", func(ctx context.Context, s *Store) error {
			_, err := s.Shelves(ctx, "", 50)
			return err
		}},
		{"numbers of days", func(ctx context.Context, s *Store) error {
			_, err := s.NumberDays(ctx, day, 50)
			return err
		}},
		{"keys", func(ctx context.Context, s *Store) error {
			_, err := s.Keys(ctx, "", 50)
			return err
		}},
		{"pending orders that are due", func(ctx context.Context, s *Store) error {
			_, err := s.Deadlines(ctx, order.Deadline{}, since, 50)
			return err
		}},
		{"pending orders to be reminded of", func(ctx context.Context, s *Store) error {
			_, err := s.Unreminded(ctx, order.Deadline{}, since, 50)
			return err
		}},
		{"look of the auditor", lookLately},
	}
}

// lookLately is a look of an auditor who has replayed the whole stock ledger but its end, and judges the newest events.
func lookLately(ctx context.Context, s *Store) error {
	w := s.Window()
	for _, last := range []struct {
		of   *int64
		text string
	}{
		{&w.entry, `SELECT COALESCE(MAX(id) - 10, 0) FROM stock_ledger`},
		{&w.event, `SELECT COALESCE(MAX(id) - 10, 0) FROM outbox`},
	} {
		if err := s.queryRow(ctx, last.text).Scan(last.of); err != nil {
			return classify(err)
		}
	}
	w.settles = 0 // whatever was written a moment ago
	_, err := w.Look(ctx, []string{"a"})
	return err
}

// Plans asks the database how it would find what lists and the auditor ask for, on what the record holds now. Nobody else may use
// the store meanwhile.
func (s *Store) Plans(ctx context.Context) (plans []Plan, err error) {
	now, err := s.Now(ctx)
	if err != nil {
		return nil, err
	}
	for _, l := range looks(now) {
		some, err := s.plansOf(ctx, l)
		if err != nil {
			return nil, fmt.Errorf("plan of %s: %w", l.name, err)
		}
		plans = append(plans, some...)
	}
	return plans, nil
}

// plansOf makes a look, and has each of its queries explained before.
func (s *Store) plansOf(ctx context.Context, l looked) (plans []Plan, err error) {
	seen := map[string]bool{}
	var failed error
	s.watched = func(ctx context.Context, on explainer, query string, args []any) {
		if seen[query] || failed != nil {
			return
		}
		seen[query] = true
		var steps string
		steps, failed = s.explain(ctx, on, query, args...)
		plans = append(plans, Plan{l.name, steps})
	}
	defer func() { s.watched = nil }()
	return plans, errors.Join(failed, l.look(ctx, s))
}

// explainer is where a query is made: its plan depends on the session's settings.
type explainer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// explain gives a line for each step.
func (s *Store) explain(ctx context.Context, on explainer, text string, args ...any) (string, error) {
	word := `EXPLAIN `
	switch s.dialect.name {
	case "sqlite":
		word = `EXPLAIN QUERY PLAN `
	case "mysql":
		word = `EXPLAIN FORMAT=TRADITIONAL ` // MySQL would draw a tree
	}
	rows, err := on.QueryContext(ctx, word+s.spelt(text), args...)
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
