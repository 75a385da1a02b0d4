package bench

// Result is the outcome of one scenario.
type Result struct {
	Scenario    string   `json:"scenario"`
	Note        string   `json:"note,omitempty"` // what was special
	Redis       bool     `json:"redis,omitempty"`
	Loop        string   `json:"loop"` // closed or open
	Connections int      `json:"connections"`
	Seconds     float64  `json:"seconds"`
	Counted     string   `json:"counted"` // what PerSecond and Latency are of
	PerSecond   float64  `json:"per_second"`
	Latency     Latency  `json:"latency"`
	Answers     Answers  `json:"answers"`
	Server      *Use     `json:"server,omitempty"`
	Generator   *Use     `json:"generator,omitempty"`
	ServerCPU   float64  `json:"server_cpu_seconds_total,omitempty"` // of all its life
	Figures     []Figure `json:"figures,omitempty"`
	Checks      []Check  `json:"checks,omitempty"`
	Plans       string   `json:"plans,omitempty"` // of queries, as the database tells them

	once bool // of a suite: not part of the rounds, so shown by itself
}

// Answers counts what came back during the measured time.
type Answers struct {
	Done       int64 `json:"done"`
	OutOfStock int64 `json:"out_of_stock"`
	Overloaded int64 `json:"overloaded"`
	Unexpected int64 `json:"unexpected"`
	Broken     int64 `json:"broken"` // no answer at all
	Offered    int64 `json:"offered,omitempty"`
	Unsent     int64 `json:"unsent,omitempty"` // open loop: every connection was busy when its time had come
}

var outcomeNames = [outcomes]string{"done", "out of stock", "overloaded", "unexpected", "broken"}

// Figure is something else that was measured.
type Figure struct {
	Name  string  `json:"name"`
	Value float64 `json:"value"`
	Unit  string  `json:"unit"`
}

// Check is something that must hold after a run.
type Check struct {
	Name   string `json:"name"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

// metered is a load with the meters of both sides around its measured time.
type metered struct {
	load      *load
	server    *meter
	generator *meter
}

// newLoad is a load as the options want it.
func (r *runner) newLoad(s *stand) *metered {
	m := &metered{server: s.meter(), generator: ownMeter()}
	m.load = &load{
		connections: r.o.Connections, warmUp: r.o.warmUp(), duration: r.o.Duration, progress: r.progress,
		begin: func() {
			if m.server != nil {
				m.server.begin()
			}
			m.generator.begin()
		},
		end: func() {
			if m.server != nil {
				m.server.end()
			}
			m.generator.end()
		},
	}
	return m
}

// result is what a load came to, counting one kind of answers.
func (l *metered) result(scenario string, m *measured, counted outcome, what string) *Result {
	result := &Result{
		Scenario: scenario, Loop: "closed", Connections: l.load.connections, Seconds: m.window.Seconds(),
		Counted: what, PerSecond: m.perSecond(counted), Latency: latencyOf(&m.latency[counted]),
		Answers: Answers{
			Done: m.count(done), OutOfStock: m.count(outOfStock), Overloaded: m.count(overloaded),
			Unexpected: m.count(unexpected), Broken: m.count(broken), Offered: m.offered, Unsent: m.unsent.Load(),
		},
		Server: l.server.use(m.answered()), Generator: l.generator.use(m.answered()),
	}
	if l.load.rate > 0 {
		result.Loop = "open"
	}
	return result
}

func (r *Result) figure(name string, value float64, unit string) {
	r.Figures = append(r.Figures, Figure{name, value, unit})
}
