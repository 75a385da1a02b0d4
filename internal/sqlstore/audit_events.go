package sqlstore

import (
	"context"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// readStockEvents looks whether each product's events are numbered 1, 2, 3, …: the index on subjects holds all that is needed.
func (a *auditor) readStockEvents(ctx context.Context) error {
	return a.each(ctx, `SELECT subject, sequence FROM outbox WHERE subject_kind = 'product' ORDER BY subject, sequence`,
		func(r *stream) {
			s := a.shelf(product.ID(r.text(0)))
			s.mistold = s.mistold || r.int(1) != s.told+1
			s.told = r.int(1)
		})
}

// readLog is the part of V8 that reaches the readers: every event waits for the log or stands in it, once, and the log has no
// holes. Ids are compared by number, sum and mixed sum, which costs a tenth of looking each of them up; only when these differ
// is it worked out which.
func (a *auditor) readLog(ctx context.Context) error {
	const sums = `SELECT COUNT(*), COALESCE(SUM(id), 0), COALESCE(SUM(id % 1009 * (id % 1013)), 0) FROM `
	var events, told [3]int64
	add := func(to *[3]int64) func(*stream) {
		return func(r *stream) {
			for i := range to {
				to[i] += r.int(i)
			}
		}
	}
	if err := a.each(ctx, sums+`outbox`, add(&events)); err != nil {
		return err
	}
	for _, where := range []string{`event_log`, `outbox_waiting`} {
		if err := a.each(ctx, sums+`(SELECT event_id AS id FROM `+where+`) AS told`, add(&told)); err != nil {
			return err
		}
	}
	if events != told {
		if err := a.nameUntold(ctx); err != nil {
			return err
		}
	}
	return a.each(ctx, `SELECT COUNT(*), COALESCE(MIN(position), 1), COALESCE(MAX(position), 0), (SELECT position FROM log_head)
		FROM event_log`, func(r *stream) {
		if r.int(1) != 1 || r.int(0) != r.int(2) || r.int(2) != r.int(3) {
			a.violates(v8, fmt.Sprintf("log: %d events from %d to %d, head %d", r.int(0), r.int(1), r.int(2), r.int(3)))
		}
	})
}

// nameUntold names the events that do not stand exactly once among those that wait and those in the log.
func (a *auditor) nameUntold(ctx context.Context) error {
	const told = `(SELECT event_id FROM event_log UNION ALL SELECT event_id FROM outbox_waiting)`
	err := a.each(ctx, `SELECT o.subject_kind, o.subject, o.sequence FROM outbox o
		LEFT JOIN (SELECT event_id, COUNT(*) AS times FROM `+told+` AS each_time GROUP BY event_id) AS told ON told.event_id = o.id
		WHERE COALESCE(told.times, 0) <> 1 ORDER BY o.id`, func(r *stream) {
		e := event.Event{Subject: event.Subject{Kind: event.Kind(r.text(0)), ID: r.text(1)}, Sequence: r.int(2)}
		a.violates(v8, e.ID())
	})
	if err != nil {
		return err
	}
	return a.each(ctx, `SELECT DISTINCT told.event_id FROM `+told+` AS told LEFT JOIN outbox o ON o.id = told.event_id
		WHERE o.id IS NULL ORDER BY told.event_id`, func(r *stream) {
		a.violates(v8, fmt.Sprintf("event %d", r.int(0)))
	})
}
