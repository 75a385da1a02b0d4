package api

// Health says that the process answers.
type Health struct {
	Status  string `json:"status" enum:"ok,ready,degraded"`
	Version string `json:"version"`

	// Of /readyz: how many products have their sale stopped because their numbers do not add up; left out when there is none.
	Quarantined int64 `json:"quarantined,omitempty" minimum:"1"`
}
