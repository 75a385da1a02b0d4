//go:build !linux

package bench

import "errors"

func fileSystem(string) string { return "of unknown kind" }

func writeBack() string { return "an unknown moment" }

// readUsage needs /proc; elsewhere the report goes without these figures.
func readUsage(int) (usage, error) { return usage{}, errors.ErrUnsupported }
