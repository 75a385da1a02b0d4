package redisfront

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of keyspace events.
const (
	expiredMax   = 1 << 17                // events that wait to be looked at
	expiredTurn  = 500 * time.Millisecond // before it is listened again after a connection broke
	expiredNodes = 5 * time.Second        // between two looks at which servers there are
)

// keyspace keeps deadlines as keys that expire, and hears Redis tell of it: late, or not at all when nobody listens, and to every
// process that does. So an event is a hint, which one process claims.
type keyspace struct {
	place *place
	woken func()

	mu      sync.Mutex
	expired []order.Number
	warned  bool
}

func newKeyspace(f *Front, woken func()) *keyspace {
	return &keyspace{place: &place{front: f}, woken: woken}
}

func (*keyspace) driver() string { return "keyspace" }

// tell sets keys to expire after the time that is left by this process' clock: the server's may be wrong.
func (k *keyspace) tell(ctx context.Context, c rueidis.Client, changes []deadline) error {
	name, err := k.place.name(ctx)
	if err != nil {
		return err
	}
	commands := make(rueidis.Commands, 0, len(changes))
	for i := range changes {
		d := &changes[i]
		key := countdownKey(name, d.no.String())
		left := max(time.Until(d.payBy).Milliseconds(), 1)
		switch d.what {
		case waits:
			commands = append(commands, c.B().Set().Key(key).Value("").Nx().PxMilliseconds(left).Build())
		case postpone: // and whoever hears of it then may claim it
			commands = append(commands, c.B().Unlink().Key(claimKey(name, d.no.String())).Build(),
				c.B().Set().Key(key).Value("").PxMilliseconds(left).Build())
		default:
			commands = append(commands, c.B().Unlink().Key(key).Build())
		}
	}
	for _, r := range c.DoMulti(ctx, commands...) {
		if e := r.Error(); !rueidis.IsRedisNil(e) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// due claims what has expired.
func (k *keyspace) due(ctx context.Context, c rueidis.Client, _ time.Time, limit int) ([]order.Number, error) {
	name, err := k.place.name(ctx)
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	page := k.expired[:min(len(k.expired), limit)]
	k.expired = k.expired[len(page):]
	k.mu.Unlock()
	if len(page) == 0 {
		return nil, nil
	}
	commands := make(rueidis.Commands, len(page))
	for i, no := range page {
		commands[i] = c.B().Set().Key(claimKey(name, no.String())).Value(k.place.front.self).Nx().
			PxMilliseconds(leasedFor.Milliseconds()).Build()
	}
	var claimed []order.Number
	for i, r := range c.DoMulti(ctx, commands...) {
		switch e := r.Error(); {
		case e == nil:
			claimed = append(claimed, page[i])
		case !rueidis.IsRedisNil(e):
			err = e
		}
	}
	if len(claimed) > 0 {
		return claimed, nil // the others are another's, or the look at the record finds them
	}
	return nil, err
}

// next is any time ago while something has expired.
func (k *keyspace) next() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.expired) == 0 {
		return time.Time{}
	}
	return time.Unix(0, 0)
}

// listen hears the events of every server: each tells of its own keys only.
func (k *keyspace) listen(ctx context.Context) {
	f := k.place.front
	var listeners sync.WaitGroup
	defer listeners.Wait()
	var heard sync.Map // addresses
	for ctx.Err() == nil {
		wait := expiredTurn
		name, err := k.place.name(ctx)
		if c := f.connected(); c != nil && err == nil {
			for addr, node := range c.Nodes() {
				if _, already := heard.LoadOrStore(addr, true); !already {
					listeners.Go(func() {
						defer heard.Delete(addr)
						k.hear(ctx, node, name)
					})
				}
			}
			wait = expiredNodes
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// hear listens to one server until the connection ends.
func (k *keyspace) hear(ctx context.Context, c rueidis.Client, name string) {
	k.switchOn(ctx, c)
	channel := "__keyevent@" + strconv.Itoa(k.place.front.option.SelectDB) + "__:expired"
	before, after, _ := strings.Cut(countdownKey(name, "\n"), "\n")
	_ = c.Receive(ctx, c.B().Subscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) { // it is called again
		text, ours := strings.CutPrefix(m.Message, before)
		text, whole := strings.CutSuffix(text, after)
		if no, err := order.ParseNumber(text); ours && whole && err == nil {
			k.mu.Lock()
			if len(k.expired) < expiredMax {
				k.expired = append(k.expired, no)
			}
			k.mu.Unlock()
			k.woken()
		}
	})
	select {
	case <-ctx.Done():
	case <-time.After(expiredTurn):
	}
}

// switchOn has a server tell of keys that expire, if it does not.
func (k *keyspace) switchOn(ctx context.Context, c rueidis.Client) {
	within, cancel := context.WithTimeout(ctx, lookMax)
	defer cancel()
	set, err := c.Do(within, c.B().ConfigGet().Parameter("notify-keyspace-events").Build()).AsStrMap()
	events := set["notify-keyspace-events"]
	if err == nil && strings.Contains(events, "E") && strings.ContainsAny(events, "xA") {
		return
	}
	if err == nil {
		err = c.Do(within, c.B().ConfigSet().ParameterValue().ParameterValue("notify-keyspace-events", events+"Ex").Build()).Error()
	}
	k.mu.Lock()
	first := err != nil && !k.warned && ctx.Err() == nil
	k.warned = k.warned || first
	k.mu.Unlock()
	if first {
		k.place.front.log.Error("redis does not tell of keys that expire; set notify-keyspace-events to Ex, or orders expire only as the record is looked at",
			"err", withoutSecrets(err, &k.place.front.option))
	}
}
