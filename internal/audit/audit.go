// Package audit is the shape of an answer to the question whether everything adds up.
package audit

import "time"

// SamplesMax bounds the offending ids that one check names.
const SamplesMax = 20

// Report is the outcome of all checks over one snapshot of the record.
type Report struct {
	Clean     bool
	CheckedAt time.Time
	Checks    []Check
}

// Look is what was found in one step of an audit that goes along with the desk.
type Look struct {
	At          time.Time     // by the record's clock
	Took        time.Duration // of the step
	Entries     int           // of the stock ledger that were replayed for the first time
	Orders      int           // that were looked at because something had happened to them
	Products    int           // whose numbers were compared
	Checks      []Check       // with the violations of this look; those that it cannot see have none
	Wrong       []Wrong       // all products that do not add up, of those that were compared
	Compared    bool          // whether any product was: not while the walk through the stock ledger is behind
	Behind      time.Duration // how old the oldest event is that was not looked at
	More        bool          // there is more to look at already
	Quarantined int64         // products whose sale is stopped
}

// Wrong is a product whose numbers do not add up. Reason says in what they differ, and stays the same while they differ by the same.
type Wrong struct {
	ProductID string
	Reason    string
}

// Check is one invariant (V1 to V11) and what was found against it.
type Check struct {
	ID         string
	Name       string
	Violations int64
	Samples    []string // ids of offenders, at most SamplesMax
}
