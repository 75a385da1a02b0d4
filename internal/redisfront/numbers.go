package redisfront

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
)

// Limits of the numbers.
const (
	takeMax    = 50 * time.Millisecond // for one round trip that takes blocks: a batch may wait for it
	takeBlocks = 2048                  // taken in one go
	numbersMax = 2 * time.Second       // for any other word
	numbersFor = 72 * time.Hour        // after the last block of a day came in
	heldFor    = 5 * time.Second       // what a process says it holds is believed for so long: it says so every second
	heldKept   = 12 * heldFor          // and is kept there: who has not said so since is gone
)

// ErrAway is returned while Redis does not answer or is not believed.
var ErrAway = errors.New("redis is away")

// Numbers are the blocks of order numbers that were granted by the record and wait for a process to take them. Their list belongs
// to an epoch: a Redis that has lost something or came back with what it had long ago has another, and what was in its lists is
// lost, not given again.
type Numbers struct {
	front *Front
	few   func(day order.Day, blocks int64) // told how many blocks are left

	taken atomic.Int64
}

// NewNumbers makes the numbers of a front. It calls left after each time blocks were taken, with how many still wait; that must not
// block.
func NewNumbers(f *Front, left func(day order.Day, blocks int64)) *Numbers {
	return &Numbers{front: f, few: left}
}

// Taken is how many blocks this process took.
func (n *Numbers) Taken() int64 { return n.taken.Load() }

// Take takes blocks of a day, of want numbers or a little more, none of which begins below above. None is given when Redis does not
// answer at once.
func (n *Numbers) Take(ctx context.Context, day order.Day, above, want int64) []ledger.Block {
	t := n.front.open()
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, takeMax+n.front.opt.Grace)
	defer cancel()
	r := runAll(ctx, t.client, []run{{&takeScript, []string{numbersKey(t.epoch, day)}, []string{
		strconv.FormatInt(above, 10), strconv.FormatInt(min(want, takeBlocks), 10),
	}}})[0]
	words, err := r.AsIntSlice()
	if err != nil {
		n.front.failed(t)
		return nil
	}
	if t.dials != n.front.dials.Load() || len(words) == 0 {
		return nil // it may have been another server that answered
	}
	n.few(day, words[0])
	blocks := make([]ledger.Block, 0, len(words)/2)
	for i := 1; i+1 < len(words); i += 2 {
		blocks = append(blocks, ledger.Block{First: words[i], Count: words[i+1]})
	}
	n.taken.Add(int64(len(blocks)))
	return blocks
}

// Grant puts blocks of a day in, behind all others. They are those that grant gives: it is called once it is certain in which list
// they go, so that a list which is dropped meanwhile takes them along.
func (n *Numbers) Grant(ctx context.Context, day order.Day, grant func() ([]ledger.Block, error)) error {
	t := n.front.open()
	if t == nil {
		return ErrAway
	}
	blocks, err := grant()
	if err != nil || len(blocks) == 0 {
		return err
	}
	words := make([]string, len(blocks))
	for i, b := range blocks {
		words[i] = strconv.FormatInt(b.First, 10) + ":" + strconv.FormatInt(b.Count, 10)
	}
	key := numbersKey(t.epoch, day)
	return n.do(ctx, t, func(b rueidis.Builder) rueidis.Commands {
		return rueidis.Commands{
			b.Rpush().Key(key).Element(words...).Build(), b.Expire().Key(key).Seconds(int64(numbersFor.Seconds())).Build(),
		}
	})
}

func (n *Numbers) do(ctx context.Context, t *trust, commands func(rueidis.Builder) rueidis.Commands) error {
	ctx, cancel := context.WithTimeout(ctx, numbersMax)
	defer cancel()
	for _, r := range t.client.DoMulti(ctx, commands(t.client.B())...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// Blocks is how many blocks of a day wait.
func (n *Numbers) Blocks(ctx context.Context, day order.Day) (int64, error) {
	t := n.front.open()
	if t == nil {
		return 0, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, numbersMax)
	defer cancel()
	return t.client.Do(ctx, t.client.B().Llen().Key(numbersKey(t.epoch, day)).Build()).AsInt64()
}

// Left is how many numbers of a day wait in blocks.
func (n *Numbers) Left(ctx context.Context, day order.Day) (left int64, err error) {
	t := n.front.open()
	if t == nil {
		return 0, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, numbersMax)
	defer cancel()
	words, err := t.client.Do(ctx, t.client.B().Lrange().Key(numbersKey(t.epoch, day)).Start(0).Stop(-1).Build()).AsStrSlice()
	for _, word := range words {
		_, text, _ := strings.Cut(word, ":")
		count, _ := strconv.ParseInt(text, 10, 64)
		left += count
	}
	return left, err
}

// Remove drops the blocks of a day, and gives how many numbers were in them. They are lost.
func (n *Numbers) Remove(ctx context.Context, day order.Day) (removed int64, err error) {
	if removed, err = n.Left(ctx, day); err != nil || removed == 0 {
		return 0, err
	}
	t := n.front.open()
	if t == nil {
		return 0, ErrAway
	}
	key := numbersKey(t.epoch, day)
	return removed, n.do(ctx, t, func(b rueidis.Builder) rueidis.Commands { return rueidis.Commands{b.Unlink().Key(key).Build()} })
}

// Hold says how many numbers of a day this process holds, and gives how many all processes hold that said so in the last seconds.
func (n *Numbers) Hold(ctx context.Context, day order.Day, own int64, now time.Time) (all int64, err error) {
	t := n.front.open()
	if t == nil {
		return own, ErrAway
	}
	ctx, cancel := context.WithTimeout(ctx, numbersMax)
	defer cancel()
	key := heldKey(t.epoch, day)
	b := t.client.B
	results := t.client.DoMulti(ctx,
		b().Hset().Key(key).FieldValue().FieldValue(n.front.self, strconv.FormatInt(own, 10)+" "+strconv.FormatInt(now.UnixMilli(), 10)).Build(),
		b().Expire().Key(key).Seconds(int64(numbersFor.Seconds())).Build(),
		b().Hgetall().Key(key).Build())
	said, err := results[2].AsStrMap()
	if err != nil {
		return own, err
	}
	var gone []string
	for process, word := range said {
		text, when, _ := strings.Cut(word, " ")
		held, _ := strconv.ParseInt(text, 10, 64)
		at, _ := strconv.ParseInt(when, 10, 64)
		if process == n.front.self || now.Sub(time.UnixMilli(at)).Abs() < heldFor {
			all += held
		} else if now.Sub(time.UnixMilli(at)) > heldKept {
			gone = append(gone, process)
		}
	}
	if len(gone) > 0 {
		_ = t.client.Do(ctx, b().Hdel().Key(key).Field(gone...).Build()).Error() // else the next one does
	}
	return all, nil
}

// Lock keeps other processes from doing the same work at the same time, until release. Nothing rests on it.
func (n *Numbers) Lock(ctx context.Context, name string) (release func(), ok bool) {
	return n.front.locks.take(ctx, name)
}
