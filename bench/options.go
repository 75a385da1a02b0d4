package bench

import (
	"cmp"
	"errors"
	"fmt"
	"time"
)

// The forms of a report.
const (
	OutputTable = "table"
	OutputJSON  = "json"
)

// What an option is when it is left at its zero value.
const (
	DefaultConnections = 256
	DefaultDuration    = 10 * time.Second
	DefaultSuiteRun    = 4 * time.Second // the duration of each run of the suite
	DefaultOverload    = time.Minute     // the duration of the scenario overload
	DefaultRounds      = 3               // of history
	DefaultSuiteRounds = 7               // a machine that others use is faster or slower for seconds: many short rounds tell more than a few long ones
	DefaultPending     = 100_000
	DefaultDue         = 10_000
	DefaultDueWithin   = 10 * time.Second
	DefaultCrowd       = 8192
	DefaultStreams     = 2000
	DefaultOrders      = 5_000_000

	plenty         = 100_000_000 // units that no run sells out
	warmUpMax      = 2 * time.Second
	connectionsMax = 20_000
	dueWithinMax   = 10 * time.Minute
	longPayWindow  = 30 * time.Minute // longer than any run: nothing of it expires
	catalogueSize  = 1000
	productsMax    = 10_000
	sampleSize     = 200
	tuningRun      = 4 * time.Second
)

// Options says what to run and against what. The zero value of each field is its default.
type Options struct {
	Scenario string // one of Scenarios
	Suite    bool   // instead of a scenario: all comparisons, interleaved

	URL           string // a running server; empty: one is started for each run, on a new database
	APIKey        string // of the running server
	SandboxSecret string // of the running server; overload sends no notices without it

	Executable  string   // the holdfast binary to start; empty: this one
	DatabaseURL string   // on a server where each run makes a database of its own and drops it; empty: a new SQLite file in Dir
	ServeFlags  []string // more flags for it
	Dir         string   // where databases are made; empty: the system's temporary directory
	Keep        bool     // leave databases and logs there

	Connections int           // of the load
	Crowd       int           // connections of overload: about as many as the server lets wait, or more
	Duration    time.Duration // measured, after a warm-up of a fifth of it, 2 s at most
	Rate        float64       // flash-sale, catalogue, streams (1 000): open loop, so many a second; 0 is as many as can be
	Rounds      int           // of the suite and of history
	Units       int64         // flash-sale: units for sale; 0 is more than a run can sell. mixed, storm: 1 000
	Buyers      int64         // flash-sale: so many orders, however long they take; 0 goes by Duration. mixed, storm: 30 000 and 50 000 for each second of it
	Pool        int           // row-lock, unit-rows: connections to the database; 0 tries 1, 4, 16 and 64
	Streams     int           // streams: open at a time
	Pending     int           // expiry-lag: orders that stay pending
	Due         int           // expiry-lag: orders that come due; then as many, 10 000 at most, in one second
	Orders      int           // history: orders that there are already
	DueWithin   time.Duration // expiry-lag: in which the first lot does: 10 s
	Countdowns  []string      // expiry-lag: what counts down; of several each has a run of its own. None: as the server has it
	Asynq       string        // expiry-lag: the program of bench/asynq, to be compared with the countdowns; empty: it is not
	RedisURL    string        // a Redis in front of the servers that are started, which is empty: each run empties it again
	Output      string        // table or json
}

// ErrOptions is returned for options that make no sense.
var ErrOptions = errors.New("options of bench")

// Validate says what is wrong with the options.
func (o Options) Validate() error {
	switch {
	case o.Suite == (o.Scenario != ""):
		return fmt.Errorf("%w: want a scenario or the suite", ErrOptions)
	case o.URL != "" && (o.Suite || o.Scenario == "echo" || o.Scenario == historyScenario || keepers[o.Scenario].make != nil):
		return fmt.Errorf("%w: the suite, echo, row-lock, unit-rows and history start their own servers", ErrOptions)
	case o.URL != "" && o.APIKey == "":
		return fmt.Errorf("%w: a running server needs an API key", ErrOptions)
	case o.Connections < 0 || o.Connections > connectionsMax || o.Crowd < 0 || o.Crowd > connectionsMax:
		return fmt.Errorf("%w: connections are 1 to %d", ErrOptions, connectionsMax)
	case o.Duration < 0 || o.Rate < 0 || o.Rounds < 0 || o.Units < 0 || o.Buyers < 0 || o.Pool < 0 || o.Streams < 0 || o.Pending < 0 || o.Due < 0 || o.Orders < 0:
		return fmt.Errorf("%w: nothing may be below zero", ErrOptions)
	case o.Orders > ordersMax:
		return fmt.Errorf("%w: history loads at most %d orders", ErrOptions, ordersMax)
	case len(o.Countdowns) > 0 && (o.URL != "" || o.Scenario != "expiry-lag"):
		return fmt.Errorf("%w: countdowns are compared by expiry-lag, on servers of its own", ErrOptions)
	case o.Asynq != "" && (len(o.Countdowns) == 0 || o.RedisURL == ""):
		return fmt.Errorf("%w: asynq is compared with countdowns, on a Redis", ErrOptions)
	case o.RedisURL != "" && o.URL != "":
		return fmt.Errorf("%w: a running server has its own Redis or none", ErrOptions)
	case o.RedisURL != "" && o.Suite && o.DatabaseURL == "":
		return fmt.Errorf("%w: the suite with Redis wants a database server: one process alone hardly uses it", ErrOptions)
	case !redisUsable(o.RedisURL):
		return fmt.Errorf("%w: the Redis of a run is one server without TLS: redis://[user:password@]host[:port][/db]", ErrOptions)
	case o.DueWithin < 0 || o.DueWithin > dueWithinMax:
		return fmt.Errorf("%w: due within is up to %v", ErrOptions, dueWithinMax)
	case o.Rate > 0 && o.Buyers > 0:
		return fmt.Errorf("%w: a rate goes by time, buyers by number: want one of them", ErrOptions)
	case o.Output != "" && o.Output != OutputTable && o.Output != OutputJSON:
		return fmt.Errorf("%w: output is table or json", ErrOptions)
	}
	d, err := dialectOf(o.DatabaseURL)
	switch {
	case err != nil:
		return err
	case o.DatabaseURL != "" && d == onSQLite:
		return fmt.Errorf("%w: a SQLite file is made for each run, in a folder that may be named", ErrOptions)
	case o.Scenario == unitRowsScenario && !d.skips:
		return fmt.Errorf("%w: %s has no SKIP LOCKED: unit-rows wants PostgreSQL, MySQL or MariaDB", ErrOptions, d.title)
	}
	return nil
}

func (o Options) withDefaults() Options {
	o.Connections = cmp.Or(o.Connections, DefaultConnections)
	o.Crowd = cmp.Or(o.Crowd, DefaultCrowd)
	o.Units = cmp.Or(o.Units, defaultUnits(o.Scenario))
	o.Streams = cmp.Or(o.Streams, DefaultStreams)
	o.Pending = cmp.Or(o.Pending, DefaultPending)
	o.Due = cmp.Or(o.Due, DefaultDue)
	o.Orders = cmp.Or(o.Orders, DefaultOrders)
	o.DueWithin = cmp.Or(o.DueWithin, DefaultDueWithin)
	o.Output = cmp.Or(o.Output, OutputTable)
	switch {
	case o.Suite:
		o.Duration, o.Rounds = cmp.Or(o.Duration, DefaultSuiteRun), cmp.Or(o.Rounds, DefaultSuiteRounds)
	case o.Scenario == "overload":
		o.Duration = cmp.Or(o.Duration, DefaultOverload)
	}
	o.Duration, o.Rounds = cmp.Or(o.Duration, DefaultDuration), cmp.Or(o.Rounds, DefaultRounds)
	return o
}

func (o Options) warmUp() time.Duration { return min(o.Duration/5, warmUpMax) }
