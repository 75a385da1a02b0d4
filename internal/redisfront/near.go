package redisfront

import "github.com/maypok86/otter/v2"

// near keeps values of one kind as this process has met them last, by their keys in Redis. It knows no type of them: of a generic
// cache the compiler makes one for each, and thousands of functions every time.
type near struct{ cache *otter.Cache[string, *met] }

// met is a value and its version. A nil value does not exist.
type met struct {
	version string
	value   any // *T of the kind
}

func newNear() near {
	return near{otter.Must(&otter.Options[string, *met]{MaximumSize: nearValues})}
}

func (n near) get(key string) (*met, bool) { return n.cache.GetIfPresent(key) }

func (n near) set(key string, m *met) { n.cache.Set(key, m) }
