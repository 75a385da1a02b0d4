package sqlstore

import (
	"context"
	"fmt"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// logHead is how far the log reaches. Events up to position pruned were forgotten, all of them written before a time: what a
// subject lacks at its beginning may be among these, and what it lacks elsewhere, or since then, is missing.
type logHead struct{ position, pruned, prunedBefore int64 }

func (a *auditor) readHead(ctx context.Context) error {
	return a.each(ctx, `SELECT position, pruned, pruned_before FROM log_head WHERE id = 1`, func(r *stream) {
		a.head = logHead{r.int(0), r.int(1), r.int(2)}
	})
}

// forgettable reports whether something that was told at a time may be among what the log has forgotten.
func (h *logHead) forgettable(at int64) bool { return h.pruned > 0 && at < h.prunedBefore }

// compareForgotten is V8 for what is no longer there: subjects lack as many events as the log has forgotten. Those that were
// named already are not counted.
func (a *auditor) compareForgotten() {
	if a.found[v8].Violations == 0 && a.missed != a.head.pruned {
		a.violates(v8, fmt.Sprintf("log: %d events forgotten, orders and products lack %d", a.head.pruned, a.missed))
	}
}

// readStockEvents looks whether each product's events are numbered without gaps: the index on subjects holds all that is needed.
func (a *auditor) readStockEvents(ctx context.Context) error {
	return a.each(ctx, `SELECT subject, sequence FROM outbox WHERE subject_kind = 'product' ORDER BY subject, sequence`,
		func(r *stream) {
			s := a.shelf(product.ID(r.text(0)))
			if s.kept == 0 {
				s.told = r.int(1) - 1
			}
			s.mistold = s.mistold || r.int(1) != s.told+1
			s.told = r.int(1)
			s.kept++
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
	return a.each(ctx, `SELECT COUNT(*), COALESCE(MIN(position), 0), COALESCE(MAX(position), 0) FROM event_log`, func(r *stream) {
		n, first, last := r.int(0), r.int(1), r.int(2)
		if n == 0 {
			first, last = a.head.pruned+1, a.head.pruned
		}
		if first == a.head.pruned+1 && last == a.head.position && n == last-a.head.pruned {
			return
		}
		forgotten := ""
		if a.head.pruned > 0 {
			forgotten = fmt.Sprintf(", forgotten up to %d", a.head.pruned)
		}
		a.violates(v8, fmt.Sprintf("log: %d events from %d to %d, head %d%s", n, r.int(1), r.int(2), a.head.position, forgotten))
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
