package api

// NumberDay is what became of the order numbers of one day.
type NumberDay struct {
	Day     string  `json:"day" example:"2026-11-25" doc:"In the desk's time zone."`
	Granted int64   `json:"granted" doc:"Granted to processes, in blocks."`
	Used    int64   `json:"used" doc:"Given to orders."`
	Left    int64   `json:"left" doc:"Still to be given: they wait for a process to take them, or one holds them. What another process holds is known only with Redis."`
	Lost    int64   `json:"lost" doc:"Neither: lost with a process that stopped, or with what Redis has lost. granted = used + lost + left."`
	Last    *string `json:"last" example:"202611250001234" doc:"The highest that was given to an order; null: none was."`
}

// NumbersFilled says what was made ready.
type NumbersFilled struct {
	Added int64 `json:"added" doc:"Numbers that wait now and did not before."`
}

// NumbersPurged says what was removed.
type NumbersPurged struct {
	Removed int64 `json:"removed" doc:"Numbers of days before today, lost."`
}
