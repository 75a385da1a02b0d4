package api

// Health says that the process answers.
type Health struct {
	Status  string `json:"status" enum:"ok,ready,degraded"`
	Version string `json:"version"`
}
