//go:build !race

package sim

const seedsUsual = 1000
