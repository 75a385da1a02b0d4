package api

// Health says that the process answers. Degraded names what a ready desk does without, such as Redis: it is slower, not wrong.
type Health struct {
	Status   string   `json:"status" enum:"ok,ready"`
	Version  string   `json:"version"`
	Degraded []string `json:"degraded,omitempty" doc:"What a ready desk does without for now, and why."`
}
