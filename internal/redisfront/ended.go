package redisfront

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/apikey"
)

// Limits of what is told of ended sessions.
const (
	endedMax = 50 * time.Millisecond // for one look
	tellMax  = 100 * time.Millisecond
	endedFor = 5 * time.Second // it is told: longer than any process believes what it has read in the record
)

// Ended tells all processes which sessions were ended a moment ago, so that what a process remembers of one opens nothing any more. It
// asks no epoch: a Redis that has lost what it was told is asked for it no longer than processes remember.
type Ended struct{ front *Front }

// NewEnded makes the word about ended sessions of a front.
func NewEnded(f *Front) *Ended { return &Ended{f} }

// Tell says that sessions were ended, and reports whether every process that can be asked knows it.
func (e *Ended) Tell(ctx context.Context, sessions []apikey.Hash) bool {
	return e.ask(ctx, tellMax, len(sessions), func(b rueidis.Builder, i int) rueidis.Completed {
		return b.Set().Key(endedKey(sessions[i])).Value("1").Px(endedFor).Build()
	}, func(r rueidis.RedisResult) error { return r.Error() })
}

// Ended reports whether a session was ended a moment ago. known: Redis has answered.
func (e *Ended) Ended(ctx context.Context, session apikey.Hash) (ended, known bool) {
	known = e.ask(ctx, endedMax, 1, func(b rueidis.Builder, _ int) rueidis.Completed { return b.Get().Key(endedKey(session)).Build() },
		func(r rueidis.RedisResult) error {
			err := r.Error()
			ended = err == nil
			if rueidis.IsRedisNil(err) {
				return nil
			}
			return err
		})
	return ended, known
}

// ask sends commands together, and reports whether all were answered.
func (e *Ended) ask(ctx context.Context, most time.Duration, n int, command func(rueidis.Builder, int) rueidis.Completed, take func(rueidis.RedisResult) error) bool {
	c := e.front.connected()
	if c == nil {
		return false
	}
	commands := make(rueidis.Commands, n)
	for i := range commands {
		commands[i] = command(c.B(), i)
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	for _, r := range c.DoMulti(within, commands...) {
		if take(r) != nil {
			e.front.unanswered()
			return false
		}
	}
	return true
}
