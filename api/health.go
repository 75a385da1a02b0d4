package api

// Health says that the process answers. A desk that is degraded is ready all the same, and names what it does without.
type Health struct {
	Status  string `json:"status" enum:"ok,ready,degraded"`
	Version string `json:"version"`

	// Of /readyz: what a desk that is degraded does without for now, and why.
	Degraded []string `json:"degraded,omitempty" doc:"What a ready desk does without for now, and why."`
	// Of /readyz: how many products have their sale stopped because their numbers do not add up; left out when there is none.
	Quarantined int64 `json:"quarantined,omitempty" minimum:"1"`
}
