//go:build !race

package sqlstore_test

const modelSequences = 1000
