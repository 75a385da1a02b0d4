package server

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/config"
	"github.com/holdfast-oms/holdfast/internal/httpapi"
	"github.com/holdfast-oms/holdfast/internal/inproc"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/redisfront"
	"github.com/holdfast-oms/holdfast/internal/telemetry"
	"github.com/holdfast-oms/holdfast/internal/worker"
)

// front is Redis before the record, as the process uses it. A nil front is none: every method then leaves things to this
// process' own memory.
type front struct {
	*redisfront.Front
	gate      *redisfront.Gate
	cache     *redisfront.Cache
	feed      *redisfront.Feed
	countdown *redisfront.Countdown // nil: none of Redis'
	numbers   *redisfront.Numbers
	limiter   *redisfront.Limiter
}

// openFront makes the front, if there is to be one. It is connected later: a desk starts without waiting for Redis.
func (s *Server) openFront(fallback *inproc.Gate, clock func() time.Time) error {
	if s.cfg.RedisURL == "" {
		return nil
	}
	f, err := redisfront.New(s.store, redisfront.Options{
		Address: s.cfg.RedisURL, Log: s.log, Alone: alone(s.cfg),
	})
	if err != nil {
		return err
	}
	s.front = &front{Front: f, gate: redisfront.NewGate(f, fallback, clock), cache: redisfront.NewCache(f, s.store)}
	return nil
}

// remembers gives the memory that processes share, or nil.
func (f *front) remembers() checkout.Memory {
	if f == nil {
		return nil
	}
	return f.cache
}

// remembered learns from a commit.
func (f *front) remembered(a *ledger.Applied) {
	if f != nil {
		f.cache.Applied(a)
	}
}

// changing says in Redis what a batch is about to change, and which keys it uses.
func (f *front) changing(c *ledger.Changes) {
	if f != nil {
		f.cache.Changing(c)
	}
}

// alone reports whether a record is written by one process only.
func alone(cfg config.Config) bool { return strings.HasPrefix(cfg.DatabaseURL, "sqlite:") }

// gate gives the one that orders go through. Whichever it is, Redis is told of commits: other processes may have another.
func (s *Server) gate(own *inproc.Gate) checkout.Gate {
	switch {
	case s.cfg.Gate == config.GateOff:
		return checkout.NoGate{}
	case s.cfg.Gate == config.GateInProcess || s.front == nil:
		return own
	}
	return s.front.gate
}

// limits gives the limiter that requests are counted by.
func (f *front) limits(own *inproc.Limiter) httpapi.Limiter {
	if f == nil {
		return own
	}
	f.limiter = redisfront.NewLimiter(f.Front, own)
	return f.limiter
}

// ended is how it is told that sessions were ended; nil where no other process remembers any.
func (s *Server) ended() httpapi.Ended {
	switch {
	case !s.store.Shared():
		return nil
	case s.front == nil:
		return httpapi.Untold{}
	default:
		return redisfront.NewEnded(s.front.Front)
	}
}

func (f *front) applied(a *ledger.Applied) {
	if f != nil {
		f.gate.Applied(a)
	}
}

// countdown names orders that are due and hears of commits.
type countdown interface {
	worker.Countdown
	Applied(a *ledger.Applied)
}

// countdown makes the one that the setting wants. Nil: only the record is looked at.
func (s *Server) countdown(own *inproc.Countdown) countdown {
	switch driver := s.cfg.Countdown; {
	case driver == config.CountdownSQL:
		return nil
	case s.front == nil:
		return own
	case driver == config.CountdownKeyspace:
		s.front.countdown = redisfront.NewKeyspaceCountdown(s.front.Front, own)
	default:
		s.front.countdown = redisfront.NewSortedCountdown(s.front.Front, own)
	}
	return s.front.countdown
}

// granted is where the ledger takes order numbers that were granted before; nil: nowhere.
func (s *Server) granted(n *worker.Numberer) func(ctx context.Context, day order.Day, above, want int64) []ledger.Block {
	if s.front == nil {
		return nil
	}
	return n.Take
}

// numberer makes the one that has order numbers granted before they are needed. It works beside the ledger that is made later.
func (s *Server) numberer(holder string) (n *worker.Numberer) {
	opt := worker.NumbererOptions{
		Held: func() (order.Day, int64) { return s.ledger.Numbers() }, Holder: holder,
		BlockSize: int64(s.cfg.NumberBlock), Ready: int64(s.cfg.NumbersReady), TimeZone: s.cfg.TimeZone, Log: s.log,
	}
	if s.front != nil {
		s.front.numbers = redisfront.NewNumbers(s.front.Front, func(day order.Day, blocks int64) { n.Left(day, blocks) })
		opt.Waiting = s.front.numbers
	}
	return worker.NewNumberer(s.store, opt)
}

// tells has the front publish the log, and say when it has grown at another process.
func (f *front) tells(log redisfront.Log, grown func()) {
	if f != nil {
		f.feed = redisfront.NewFeed(f.Front, log, grown)
	}
}

// logGrew tells the other processes.
func (f *front) logGrew() {
	if f != nil {
		f.feed.Wake()
	}
}

// run works for the front, if there is one, and for what needs it until ctx ends. The connection goes last.
func (f *front) run(ctx context.Context, numberer *worker.Numberer) {
	if f == nil {
		numberer.Run(ctx)
		return
	}
	connected, disconnect := context.WithCancel(context.WithoutCancel(ctx))
	var connection, users sync.WaitGroup
	connection.Go(func() { f.Run(connected) })
	users.Go(func() { f.gate.Run(ctx) })
	users.Go(func() { f.cache.Run(ctx) })
	users.Go(func() { f.feed.Run(ctx) })
	users.Go(func() { numberer.Run(ctx) })
	if f.countdown != nil {
		users.Go(func() { f.countdown.Run(ctx) })
	}
	users.Wait()
	disconnect()
	connection.Wait()
}

// degraded says what the desk does without or may lose, though it answers.
func (s *Server) degraded() (reasons []string) {
	for _, weakness := range s.store.Weaknesses() {
		reasons = append(reasons, "record: "+weakness)
	}
	if s.front == nil {
		return reasons
	}
	if state := s.front.State(); !state.Working {
		reasons = append(reasons, "redis: "+state.Reason)
	}
	if notice := s.front.Notice(); notice != "" {
		reasons = append(reasons, "redis: "+notice)
	}
	return reasons
}

func (f *front) measure(say telemetry.Say) {
	var state redisfront.State
	var counts redisfront.Counts
	var gate redisfront.GateCounts
	var cache redisfront.CacheCounts
	var untold, blocks, fellBack int64
	if f != nil {
		state, counts, gate = f.State(), f.Counts(), f.gate.Counts()
		cache = f.cache.Counts()
		blocks, fellBack = f.numbers.Taken(), f.limiter.FellBack()
		if f.countdown != nil {
			untold = f.countdown.Lost()
		}
	}
	for kind, reads := range map[string]redisfront.ReadCounts{
		"order": cache.Orders, "user": cache.Users, "product": cache.Products, "payment": cache.Payments,
	} {
		say("holdfast_redis_cache_reads_total", float64(reads.Near), kind, "near")
		say("holdfast_redis_cache_reads_total", float64(reads.Far), kind, "far")
		say("holdfast_redis_cache_reads_total", float64(reads.Shared), kind, "shared")
		say("holdfast_redis_cache_reads_total", float64(reads.Record), kind, "record")
	}
	say("holdfast_redis_cache_warmed_total", float64(cache.Warmed))
	say("holdfast_redis_cache_lost_total", float64(cache.Lost))
	say("holdfast_redis_countdown_lost_total", float64(untold))
	say("holdfast_redis_number_blocks_total", float64(blocks))
	say("holdfast_redis_limiter_fell_back_total", float64(fellBack))
	say("holdfast_redis_configured", bit(f != nil))
	say("holdfast_redis_connected", bit(state.Connected))
	say("holdfast_redis_working", bit(state.Working))
	say("holdfast_redis_failures_total", float64(counts.Failures))
	say("holdfast_redis_rebuilds_total", float64(counts.Rebuilds))
	say("holdfast_redis_gate_total", float64(gate.Asked), "asked")
	say("holdfast_redis_gate_total", float64(gate.Refused), "refused")
	say("holdfast_redis_gate_total", float64(gate.Probes), "probed")
	say("holdfast_redis_gate_total", float64(gate.FellBack), "fell_back")
	say("holdfast_redis_news_lost_total", float64(gate.Lost))
}
