package bench

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/testenv"
)

var (
	benchOn       = flag.String("bench.on", "", "the database of the benchmarks: postgres or mariadb")
	benchRedis    = flag.Bool("bench.redis", false, "BenchmarkHoldfast: with Redis in front")
	benchRedisURL = flag.String("bench.redis-url", "", "an empty Redis, instead of a private one")
	benchBinary   = flag.String("bench.binary", "", "the holdfast binary that is measured")
	benchAsynq    = flag.String("bench.asynq", "", "BenchmarkCountdowns: the program of bench/asynq")
	benchScenario = flag.String("bench.scenario", "", "what BenchmarkHoldfast runs instead of the suite")
	benchDuration = flag.Duration("bench.duration", 0, "how long each run is measured; 0: as long as by default")
	benchRounds   = flag.Int("bench.rounds", 0, "rounds of the suite and of history; 0: as many as by default")
	benchOrders   = flag.Int("bench.orders", DefaultOrders, "orders that history loads")
	benchPending  = flag.Int("bench.pending", DefaultPending, "orders that stay pending while others come due")
	benchDue      = flag.Int("bench.due", DefaultDue, "orders that come due")
	benchWithin   = flag.Duration("bench.within", DefaultDueWithin, "in which they do")
)

// BenchmarkHoldfast runs `holdfast bench` on private servers that end with it, as durable as Holdfast asks for and with the
// memory that a shop would give them. It is how `make bench DB=postgres` and `make bench DB=mariadb` run.
//
//	go test ./bench -run '^$' -bench Holdfast -benchtime 1x -bench.on postgres -bench.redis -bench.binary $PWD/bin/holdfast
func BenchmarkHoldfast(b *testing.B) {
	o := benchOptions(b)
	o.Suite, o.Scenario = *benchScenario == "", *benchScenario
	if *benchRedis {
		o.RedisURL = redisForBench(b)
	}
	runBench(b, o)
}

// BenchmarkCountdowns compares what counts down, and asynq. It is how `make bench-countdown` runs.
//
//	go test ./bench -run '^$' -bench Countdowns -benchtime 1x -bench.on postgres -bench.binary $PWD/bin/holdfast
func BenchmarkCountdowns(b *testing.B) {
	o := benchOptions(b)
	o.Scenario, o.Countdowns, o.Asynq = "expiry-lag", []string{"redis", "keyspace", "sql"}, *benchAsynq
	o.RedisURL = redisForBench(b)
	runBench(b, o)
}

func benchOptions(b *testing.B) Options {
	b.Helper()
	if *benchBinary == "" {
		b.Skip("it is asked for with -bench.on and -bench.binary")
	}
	o := Options{
		Executable: *benchBinary, Duration: *benchDuration, Rounds: *benchRounds, Orders: *benchOrders, Pending: *benchPending, Due: *benchDue,
		DueWithin: *benchWithin, Dir: b.TempDir(),
	}
	switch strings.ToLower(*benchOn) {
	case "postgres":
		o.DatabaseURL = testenv.StartPostgres(b, testenv.Options{Settings: map[string]string{
			"shared_buffers": "512MB", "max_wal_size": "4GB", "min_wal_size": "4GB", "maintenance_work_mem": "256MB",
		}}).AdminURL()
	case "mariadb":
		o.DatabaseURL = testenv.StartMariaDB(b, testenv.Options{Settings: map[string]string{
			"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "1G",
		}}).AdminURL()
	default:
		b.Fatalf("-bench.on %q: want postgres or mariadb", *benchOn)
	}
	return o
}

// redisForBench is one without persistence, which Holdfast does not need.
func redisForBench(b *testing.B) string {
	b.Helper()
	if *benchRedisURL != "" {
		return *benchRedisURL
	}
	return testenv.StartRedis(b, testenv.Options{Settings: map[string]string{"appendonly": "no"}}).URL()
}

func runBench(b *testing.B, o Options) {
	b.Helper()
	started := time.Now()
	for b.Loop() {
		if err := Run(b.Context(), o, os.Stdout, os.Stderr); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%v in all", time.Since(started).Round(time.Second))
}
