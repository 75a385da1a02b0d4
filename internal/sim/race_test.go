//go:build race

package sim

// seedsUsual is fewer under the race detector, which makes a step five times as long: it looks for races, which are in every
// seed, and a seed that goes wrong goes wrong without it.
const seedsUsual = 100
