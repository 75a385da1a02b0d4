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
	copyAtOnce = 2               // shards, of 512 kB each: what else is asked meanwhile waits behind them

	countFrom = 1e12 // batches of an epoch are counted from its time in milliseconds: a count that was lost is below it
)

// marksCopy is what the marks of an epoch were after so many batches, and what this desk has marked since. Only who works on the
// looks counts.
type marksCopy struct {
	epoch   string
	batches int64
	shards  [markShards][]atomic.Uint64
}

// copyMarks copies the marks of an epoch, if they are whole. What is marked meanwhile is added as it goes along.
func (f *Front) copyMarks(ctx context.Context, t *trust) (*marksCopy, error) {
	c := &marksCopy{epoch: t.epoch}
	for shard := range c.shards {
		c.shards[shard] = make([]atomic.Uint64, markBits/64)
	}
	var err error
	if c.batches, err = batchesOf(ctx, t.client, t.epoch); err != nil {
		return nil, err
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
		if _, err := f.catchUp(ctx, t, c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// catchUp adds to a copy what was marked since, and gives how many other desks there are. errMarksLost: not all of that is to be had.
func (f *Front) catchUp(ctx context.Context, t *trust, c *marksCopy) (others int64, err error) {
	told, err := runAll(ctx, t.client, []run{f.since(t.epoch, c.batches, false)})[0].ToArray()
	if err != nil {
		return 0, err
	}
	return c.catchUp(told)
}

// batchesOf is how many batches have marked keys in an epoch. errMarksLost: that was lost.
func batchesOf(ctx context.Context, c rueidis.Client, epoch string) (int64, error) {
	n, err := c.Do(ctx, c.B().Hget().Key(batchesKey(epoch)).Field("count").Build()).AsInt64()
	if rueidis.IsRedisNil(err) || err == nil && n < countFrom {
		return 0, errMarksLost // and begun anew, perhaps
	}
	return n, err
}

// take takes a shard over, and reports whether it knows every key there is.
func (c *marksCopy) take(shard int, text string) (whole bool) {
	if len(text) != markBits/8 {
		return false
	}
	var word [8]byte
	words := c.shards[shard]
	for i := range words {
		if next := text[8*i : 8*i+8]; next != unmarked {
			copy(word[:], next)
			words[i].Or(binary.BigEndian.Uint64(word[:])) // Redis counts bits from the highest of a byte
		}
	}
	return words[0].Load()&bitOf(wholeBit) != 0
}

const unmarked = "\x00\x00\x00\x00\x00\x00\x00\x00"

func bitOf(bit int64) uint64 { return 1 << (63 - bit%64) }

// catchUp takes what Redis has told, and gives how many other desks there are. errMarksLost: not all was told.
func (c *marksCopy) catchUp(told []rueidis.RedisMessage) (others int64, err error) {
	if len(told) < 3 {
		return 0, errMarksLost
	}
	if others, err = told[1].AsInt64(); err != nil {
		return 0, err
	}
	batches, err := told[2].AsInt64()
	if err != nil {
		return 0, err
	}
	keys := told[3:]
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
