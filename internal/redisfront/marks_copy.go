package redisfront

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Limits of taking marks over.
const (
	copyMax    = 5 * time.Second // for all of them
	copyAtOnce = 8               // shards, of 512 kB each

	countFrom = 1e12 // batches of an epoch are counted from its time in milliseconds: a count that was lost is below it
)

// marksCopy is what the marks of an epoch were after so many batches, and what this desk has marked since. Only who works on the
// looks counts.
type marksCopy struct {
	epoch   string
	batches int64
	shards  [markShards][]atomic.Uint64
}

// copyMarks copies the marks of an epoch, if they are whole.
func (f *Front) copyMarks(ctx context.Context, t *trust) (*marksCopy, error) {
	c := &marksCopy{epoch: t.epoch}
	var err error
	if c.batches, err = t.batches(ctx); err != nil {
		return nil, err
	}
	if c.batches < countFrom {
		return nil, errMarksLost // and begun anew
	}
	for from := 0; from < markShards; from += copyAtOnce {
		var commands rueidis.Commands
		for shard := range copyAtOnce {
			commands = append(commands, t.client.B().Get().Key(marksKey(t.epoch, from+shard)).Build())
		}
		for i, r := range t.client.DoMulti(ctx, commands...) {
			text, err := r.ToString()
			if err != nil {
				return nil, err
			}
			if !c.take(from+i, text) {
				return nil, errMarksLost
			}
		}
	}
	return c, nil
}

// batches is how many batches have marked keys in an epoch.
func (t *trust) batches(ctx context.Context) (int64, error) {
	return t.client.Do(ctx, t.client.B().Hget().Key(batchesKey(t.epoch)).Field("count").Build()).AsInt64()
}

// take takes a shard over, and reports whether it knows every key there is.
func (c *marksCopy) take(shard int, text string) (whole bool) {
	if len(text) != markBits/8 {
		return false
	}
	words := make([]atomic.Uint64, markBits/64)
	for i := range words {
		words[i].Store(binary.BigEndian.Uint64([]byte(text[8*i : 8*i+8]))) // Redis counts bits from the highest of a byte
	}
	c.shards[shard] = words
	return words[0].Load()&bitOf(wholeBit) != 0
}

func bitOf(bit int64) uint64 { return 1 << (63 - bit%64) }

// catchUp adds what was marked since, and gives how many other desks there are. errMarksLost: not all of it was told.
func (c *marksCopy) catchUp(told []rueidis.RedisMessage) (others int64, err error) {
	var numbers [3]int64
	for i := range numbers {
		if len(told) < len(numbers) {
			return 0, errMarksLost
		}
		if numbers[i], err = told[i].AsInt64(); err != nil {
			return 0, err
		}
	}
	others, batches, keys := numbers[1], numbers[2], told[len(numbers):]
	if batches-c.batches != int64(len(keys)) {
		return 0, errMarksLost
	}
	for i := range keys {
		text, err := keys[i].ToString()
		if err != nil {
			return 0, err
		}
		for ; len(text) >= len(ledger.Key{}); text = text[len(ledger.Key{}):] {
			c.add(markingOf(ledger.Key([]byte(text[:len(ledger.Key{})]))))
		}
	}
	c.batches = batches
	return others, nil
}

func (c *marksCopy) add(m marking) {
	for _, bit := range m.bits {
		c.shards[m.shard][bit/64].Or(bitOf(bit))
	}
}

func (c *marksCopy) has(m marking) bool {
	for _, bit := range m.bits {
		if c.shards[m.shard][bit/64].Load()&bitOf(bit) == 0 {
			return false
		}
	}
	return true
}
