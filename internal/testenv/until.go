package testenv

import (
	"testing"
	"time"
)

// Until waits for what somebody else brings about, and fails the test when that takes longer than a limit. It looks often at first and
// twenty times a second in the end: many wait at a time, and a look may be dear.
func Until(tb testing.TB, limit time.Duration, what string, met func() bool) {
	tb.Helper()
	if is, _ := waitFor(limit, func() (bool, error) { return met(), nil }); !is {
		tb.Fatalf("waited %v in vain: %s", limit, what)
	}
}
