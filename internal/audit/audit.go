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

// Check is one invariant (V1 to V11) and what was found against it.
type Check struct {
	ID         string
	Name       string
	Violations int64
	Samples    []string // ids of offenders, at most SamplesMax
}
