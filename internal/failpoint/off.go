//go:build !failpoint

package failpoint

// Hit marks a point where a test may stop the process.
func Hit(string) {}

// Fails reports whether a test wants the step at this point to fail.
func Fails(string) bool { return false }
