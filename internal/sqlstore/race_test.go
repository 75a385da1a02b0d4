//go:build race

package sqlstore_test

// modelSequences is fewer under the race detector, which makes a step four times as long: it looks for races, which are in every
// sequence. `make test` runs all of them without it, too.
const modelSequences = 100
