package server_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/holdfast-oms/holdfast/client"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// Streams tell what is in the log; Redis only wakes whoever reads it.
func TestAStreamTellsTheEventsOfAllProcessesWithAndWithoutRedis(t *testing.T) {
	redis, record := testenv.StartRedis(t, testenv.Options{}), testenv.PostgresURL(t)
	var desks []*desk
	for range 2 {
		desks = append(desks, open(t, func(cfg *config.Config) { cfg.RedisURL, cfg.DatabaseURL = redis.URL(), record }))
	}
	a, b := desks[0], desks[1]
	a.sell(t)
	testenv.Until(t, untilMax, "redis works", func() bool {
		return strings.Contains(a.metrics(t), "holdfast_redis_working 1\n") && strings.Contains(b.metrics(t), "holdfast_redis_working 1\n")
	})
	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	heard := make(chan string, 100)
	all.Go(func() {
		for m, err := range b.StreamEvents(ctx, []string{"order.placed"}, sdk.StreamOptions{}) {
			if err != nil {
				if ctx.Err() == nil {
					t.Error(err)
				}
				return
			}
			heard <- m.Data.Subject
		}
	})
	hears := func(no string, within time.Duration) bool {
		late := time.After(within)
		for {
			select {
			case got := <-heard:
				if got == no {
					return true
				}
			case <-late:
				return false
			}
		}
	}
	n := 0
	testenv.Until(t, untilMax, "the stream has begun", func() bool {
		n++
		return hears(a.place(t, fmt.Sprint("first-", n)), 200*time.Millisecond)
	})
	for _, how := range []string{"with redis", "without redis"} {
		if how == "without redis" {
			redis.Kill()
			testenv.Until(t, untilMax, "redis is away", func() bool { return strings.Contains(a.metrics(t), "holdfast_redis_working 0\n") })
		}
		no := a.place(t, strings.ReplaceAll(how, " ", "-"))
		began := time.Now()
		if !hears(no, untilMax) {
			t.Errorf("%s: the stream of one process does not tell the order that another placed", how)
		}
		t.Logf("%s: told after %v", how, time.Since(began))
	}
}
