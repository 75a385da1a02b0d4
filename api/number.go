package api

// NumberDay is what became of the order numbers of one day.
type NumberDay struct {
	Day     string  `json:"day" example:"2026-11-25" doc:"In the desk's time zone."`
	Granted int64   `json:"granted" doc:"Granted to processes, in blocks."`
	Used    int64   `json:"used" doc:"Given to orders. The others are still to be given, or were lost with a process that stopped."`
	Last    *string `json:"last" example:"202611250001234" doc:"The highest that was given to an order; null: none was."`
}
