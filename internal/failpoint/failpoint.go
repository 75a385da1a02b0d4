// Package failpoint makes a process die, wait or fail at a named point, for tests of recovery, and counts how often each point
// was reached, for tests that must not miss one. Built without the tag `failpoint` it does nothing and costs nothing.
//
// HOLDFAST_FAILPOINTS lists points as name=action@n, separated by semicolons: at the n-th time (every time without @n) the
// point is reached, `exit` ends the process as kill -9 would, `stop` holds it as SIGSTOP does until somebody sends SIGCONT, `error`
// makes Fails report true, `sleep:1s` waits.
package failpoint
