// Command asynq measures how late asynq's delayed tasks are: many that wait, and a lot that comes due meanwhile. It prints the
// outcome as JSON for `holdfast bench expiry-lag --asynq`, and is a module of its own so that the desk does not depend on it.
package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

const (
	task      = "expire"
	ahead     = 5 * time.Second // from the last one put in to the first one due
	enqueuers = 32
	patience  = 2 * time.Minute // after the last one is due
	farAway   = 24 * time.Hour
)

type options struct {
	redis    string
	pending  int
	due      int
	within   time.Duration
	interval time.Duration
	workers  int
}

func main() {
	var o options
	flag.StringVar(&o.redis, "redis-url", "redis://127.0.0.1:6379/0", "a Redis that is not in use: it is filled")
	flag.IntVar(&o.pending, "pending", 100_000, "tasks that stay pending")
	flag.IntVar(&o.due, "due", 10_000, "tasks that come due")
	flag.DurationVar(&o.within, "due-within", 10*time.Second, "in which they do")
	flag.DurationVar(&o.interval, "interval", 0, "between two looks of its forwarder; 0: its default, 5 s")
	flag.IntVar(&o.workers, "workers", 32, "tasks handled at once")
	flag.Parse()
	if err := run(context.Background(), &o); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, o *options) error {
	opt, err := asynq.ParseRedisURI(o.redis)
	if err != nil {
		return errors.New("the address of Redis cannot be used")
	}
	client := asynq.NewClient(opt)
	defer client.Close() //nolint:errcheck // nothing is left to be sent
	empty, err := memory(ctx, opt)
	if err != nil {
		return err
	}
	far := time.Now().Add(farAway)
	if err := enqueue(ctx, client, o.pending, func(int) time.Time { return far }); err != nil {
		return err
	}
	filled, err := memory(ctx, opt)
	if err != nil {
		return err
	}
	// Putting one in takes up to a millisecond here, shared by the enqueuers.
	first := time.Now().Add(ahead + time.Duration(o.due/enqueuers)*time.Millisecond)
	if err := enqueue(ctx, client, o.due, func(i int) time.Time {
		return first.Add(time.Duration(i) * o.within / time.Duration(o.due))
	}); err != nil {
		return err
	}
	late := time.Since(first)
	lags, err := handle(ctx, opt, o, first.Add(o.within+patience))
	if err != nil {
		return err
	}
	if late > 0 {
		fmt.Fprintf(os.Stderr, "the first was due %v before the last was put in: its lag is not asynq's\n", late)
	}
	return report(lags, float64(filled-empty)/float64(max(o.pending, 1)))
}

func enqueue(ctx context.Context, client *asynq.Client, n int, at func(i int) time.Time) error {
	var all sync.WaitGroup
	failed := make(chan error, enqueuers)
	for e := range enqueuers {
		all.Go(func() {
			for i := e; i < n; i += enqueuers {
				due := at(i)
				payload := binary.LittleEndian.AppendUint64(nil, uint64(due.UnixMilli())) //nolint:gosec // after 1970
				if _, err := client.EnqueueContext(ctx, asynq.NewTask(task, payload), asynq.ProcessAt(due)); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	all.Wait()
	close(failed)
	return <-failed
}

// handle runs asynq's server until all that come due were handled, or the patience is over.
func handle(ctx context.Context, opt asynq.RedisConnOpt, o *options, ends time.Time) ([]time.Duration, error) {
	var mu sync.Mutex
	var lags []time.Duration
	done := make(chan struct{})
	server := asynq.NewServer(opt, asynq.Config{
		Concurrency: o.workers, DelayedTaskCheckInterval: o.interval, LogLevel: asynq.ErrorLevel,
	})
	mux := asynq.NewServeMux()
	mux.HandleFunc(task, func(_ context.Context, t *asynq.Task) error {
		lag := time.Since(time.UnixMilli(int64(binary.LittleEndian.Uint64(t.Payload())))) //nolint:gosec // put in above
		mu.Lock()
		defer mu.Unlock()
		if lags = append(lags, lag); len(lags) == o.due {
			close(done)
		}
		return nil
	})
	if err := server.Start(mux); err != nil {
		return nil, err
	}
	defer server.Shutdown()
	select {
	case <-done:
	case <-ctx.Done():
	case <-time.After(time.Until(ends)):
	}
	mu.Lock()
	defer mu.Unlock()
	return slices.Clone(lags), nil
}

// outcome is what it prints, as JSON.
type outcome struct {
	Handled int           `json:"handled"`    // of those that came due
	Early   int           `json:"early"`      // of these, before their time
	Bytes   float64       `json:"bytes_each"` // of Redis, for each pending one
	P50     time.Duration `json:"p50_ns"`     // how late
	P99     time.Duration `json:"p99_ns"`
	Max     time.Duration `json:"max_ns"`
}

func report(lags []time.Duration, bytes float64) error {
	if len(lags) == 0 {
		return errors.New("none was handled")
	}
	slices.Sort(lags)
	at := func(q float64) time.Duration { return lags[int(q*float64(len(lags)-1))] }
	early, _ := slices.BinarySearch(lags, 0)
	return json.NewEncoder(os.Stdout).Encode(outcome{len(lags), early, bytes, at(0.5), at(0.99), at(1)})
}

// memory is how many bytes Redis holds.
func memory(ctx context.Context, opt asynq.RedisConnOpt) (int64, error) {
	c, ok := opt.MakeRedisClient().(redis.UniversalClient)
	if !ok {
		return 0, errors.New("no client of Redis")
	}
	defer c.Close() //nolint:errcheck // it was only asked
	text, err := c.Info(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		if value, ok := strings.CutPrefix(line, "used_memory:"); ok {
			return strconv.ParseInt(value, 10, 64)
		}
	}
	return 0, errors.New("redis did not tell its memory")
}
