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
	benchOn       = flag.String("bench.on", "", "the database of BenchmarkHoldfast: postgres or mariadb")
	benchBinary   = flag.String("bench.binary", "", "the holdfast binary that BenchmarkHoldfast measures")
	benchScenario = flag.String("bench.scenario", "", "what BenchmarkHoldfast runs instead of the suite")
	benchDuration = flag.Duration("bench.duration", DefaultDuration, "how long each of its runs is measured")
	benchOrders   = flag.Int("bench.orders", DefaultOrders, "orders that history loads")
)

// BenchmarkHoldfast runs `holdfast bench` on a private server that ends with it, as durable as Holdfast asks for and with the
// memory that a shop would give it. It is how `make bench DB=postgres` and `make bench DB=mariadb` run.
//
//	go test ./bench -run '^$' -bench Holdfast -benchtime 1x -bench.on postgres -bench.binary $PWD/bin/holdfast
func BenchmarkHoldfast(b *testing.B) {
	if *benchBinary == "" {
		b.Skip("it is asked for with -bench.on and -bench.binary")
	}
	o := Options{
		Suite: *benchScenario == "", Scenario: *benchScenario, Executable: *benchBinary, Duration: *benchDuration, Orders: *benchOrders,
		Dir: b.TempDir(),
	}
	switch strings.ToLower(*benchOn) {
	case "postgres":
		o.DatabaseURL = testenv.StartPostgres(b, testenv.Options{Settings: map[string]string{
			"shared_buffers": "512MB", "max_wal_size": "4GB", "maintenance_work_mem": "256MB",
		}}).AdminURL()
	case "mariadb":
		o.DatabaseURL = testenv.StartMariaDB(b, testenv.Options{Settings: map[string]string{
			"innodb-buffer-pool-size": "512M", "innodb-log-file-size": "1G",
		}}).AdminURL()
	default:
		b.Fatalf("-bench.on %q: want postgres or mariadb", *benchOn)
	}
	started := time.Now()
	for b.Loop() {
		if err := Run(b.Context(), o, os.Stdout, os.Stderr); err != nil {
			b.Fatal(err)
		}
	}
	b.Logf("%v in all", time.Since(started).Round(time.Second))
}
