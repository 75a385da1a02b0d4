package api

// Health says that the process answers. A desk that is degraded is ready all the same, and names what it does without.
type Health struct {
	Status   string   `json:"status" enum:"ok,ready,degraded"`
	Version  string   `json:"version"`
	Degraded []string `json:"degraded,omitempty" doc:"What a desk that is ready does without, and why."`
}
