//go:build !planted

package planted

// Possible tells whether this build can be wrong on purpose.
const Possible = false

// Bug reports whether a mistake is to be made.
func Bug(Mistake) bool { return false }

// Plant chooses the mistake to be made from now on.
func Plant(Mistake) { panic("built without the tag planted") }
