package api

import "time"

// Audit is the outcome of all checks over one snapshot of the record.
type Audit struct {
	Clean     bool      `json:"clean" doc:"No check found a violation."`
	CheckedAt time.Time `json:"checked_at"`
	Checks    []Check   `json:"checks"`
}

// Check is one invariant and what was found against it.
type Check struct {
	ID         string   `json:"id" example:"V1"`
	Name       string   `json:"name"`
	Violations int64    `json:"violations"`
	Samples    []string `json:"samples" doc:"Some of the offending ids."`
}
