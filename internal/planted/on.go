//go:build planted

package planted

import "sync/atomic"

// Possible tells whether this build can be wrong on purpose.
const Possible = true

var chosen atomic.Value // Mistake

// Bug reports whether a mistake is to be made.
func Bug(m Mistake) bool { return chosen.Load() == m }

// Plant chooses the mistake to be made from now on; "" is none.
func Plant(m Mistake) { chosen.Store(m) }
