//go:build !failpoint

package failpoint

// Counting tells whether this build counts.
const Counting = false

// Hit marks a point where a test may stop the process.
func Hit(string) {}

// HitAs marks a point that is reached in several ways.
func HitAs(string, string) {}

// Fails reports whether a test wants the step at this point to fail.
func Fails(string) bool { return false }

// Hits is how often each point was reached.
func Hits() map[string]int64 { return nil }
