package api

import (
	"encoding/json"
	"time"
)

// Event is a fact, in the JSON format of CloudEvents 1.0.
type Event struct {
	SpecVersion     string          `json:"specversion" const:"1.0"`
	ID              string          `json:"id" doc:"The same on every delivery."`
	Source          string          `json:"source" const:"holdfast"`
	Type            string          `json:"type" example:"order.placed"`
	Subject         string          `json:"subject" doc:"The order number or product id."`
	Time            time.Time       `json:"time"`
	Sequence        int64           `json:"sequence" doc:"1, 2, 3, … per subject."`
	DataContentType string          `json:"datacontenttype" const:"application/json"`
	Data            json.RawMessage `json:"data" doc:"The whole object as it was then."`
}
