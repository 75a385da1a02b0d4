package redisfront

import (
	"context"
	"encoding/binary"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

const (
	shardMax = time.Second // for taking one shard over

	countFrom = 1e12 // batches of an epoch are counted from its time in milliseconds: a count that was lost is below it
)

// marksCopy is what the marks of an epoch were after so many batches, and what this desk has marked since. Only who takes shards over, and once
// all are taken who works on the looks, counts.
type marksCopy struct {
	epoch   string
	batches int64
	taken   int // shards
	shards  [markShards][]atomic.Uint64
}

// beginCopy makes a copy of which no shard is taken over. How many batches the marks are of is asked first, and a batch is counted only once all its
// marks are made.
func (f *Front) beginCopy(ctx context.Context, t *trust) (*marksCopy, error) {
	ctx, cancel := context.WithTimeout(ctx, shardMax)
	defer cancel()
	batches, err := batchesOf(ctx, t.client, t.epoch)
	switch {
	case t.dials != f.dials.Load():
		return nil, errOtherServer
	case err != nil:
		return nil, err
	}
	c := &marksCopy{epoch: t.epoch, batches: batches}
	for shard := range c.shards {
		c.shards[shard] = make([]atomic.Uint64, markBits/64)
	}
	return c, nil
}

func (c *marksCopy) whole() bool { return c.taken == markShards }

// copyShard takes the next shard over, and what was marked since the one before. One at a time, so that what else is asked of Redis does not
// wait for long, and that a desk that is slow or disturbed comes to an end nevertheless.
func (f *Front) copyShard(ctx context.Context, t *trust, c *marksCopy) error {
	ctx, cancel := context.WithTimeout(ctx, shardMax)
	defer cancel()
	told := runAll(ctx, t.client, []run{f.since(t.epoch, c.batches, false)}, t.client.B().Get().Key(marksKey(t.epoch, c.taken)).Build())
	if t.dials != f.dials.Load() {
		return errOtherServer
	}
	text, err := told[0].ToString()
	if rueidis.IsRedisNil(err) {
		return errMarksLost
	}
	if err != nil {
		return err
	}
	since, err := told[1].ToArray()
	if err != nil {
		return err
	}
	if !c.take(c.taken, text) {
		return errMarksLost
	}
	if _, err := c.catchUp(since); err != nil {
		return err
	}
	c.taken++
	return nil
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
