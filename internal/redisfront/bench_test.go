package redisfront_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/testenv"
)

// What the gate costs an order, with 256 buyers at a time: while there is stock, when it is sold out, and the look at a key that every
// refusal has.
func BenchmarkGate(b *testing.B) {
	r := newRecord()
	r.put("hot", 1e12, nil)
	r.put("gone", 0, nil)
	s := testenv.StartRedis(b, testenv.Options{})
	front, err := redisfront.New(r, redisfront.Options{Address: s.URL(), Settle: 10 * time.Millisecond, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	gate := redisfront.NewGate(front, &ownGate{refusal: fault.ErrUnavailable}, time.Now)
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { front.Run(ctx) })
	all.Go(func() { gate.Run(ctx) })
	defer all.Wait()
	defer cancel()
	for !front.State().Working {
		pause(time.Millisecond)
	}
	b.Run("admitted", func(b *testing.B) {
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			line := want("hot", 1)
			for pb.Next() {
				if err := gate.Admit(ctx, "u-1", line); err != nil {
					b.Error(err)
				}
				gate.Answered("u-1", line, nil)
			}
		})
	})
	b.Run("refused", func(b *testing.B) {
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			line := want("gone", 1)
			for pb.Next() {
				if err := gate.Admit(ctx, "u-1", line); err == nil {
					b.Error("admitted")
				}
			}
		})
	})
	b.Run("key", func(b *testing.B) {
		b.SetParallelism(128)
		b.RunParallel(func(pb *testing.PB) {
			k := ledger.Key{1, 2, 3}
			for pb.Next() {
				k[0]++
				if gate.MayHaveUsed(ctx, k) {
					b.Error("used")
				}
			}
		})
	})
	b.Run("marking 512 keys", func(b *testing.B) {
		cache, batch := redisfront.NewCache(front, newBooks()), usedBy(keys(0, 512))
		for b.Loop() {
			cache.Changing(batch)
		}
	})
}
