package redisfront

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Used keys are marked in a Bloom filter that all processes share: "no" is certain, "yes" means that the record has to be asked.
// It is of a fixed size, 32 MB: with 6 000 000 keys one in 500 unused keys is taken for a used one, with 20 000 000 one in 50. It is cut into
// shards, one key of Redis each, so that a cluster shares them, and what the last batches have marked stands in a list beside them.
const (
	markShards  = 64
	markBits    = 1<<22 - 128  // of a shard: with what Redis keeps beside them 512 kB, for which it has room of just this size
	marksLast   = 96 * 60 * 60 // seconds: an epoch is older than 72 hours when nobody needs it any more
	markedDays  = 4            // 72 hours, and a day for time zones
	marksAtOnce = 4096         // keys marked in one go
	batchesKept = 1024         // of which keys are listed: all desks together make fewer between two looks, or while a part of the marks is copied
)

// wholeBit of a shard says that it knows every key there is. It is set when an epoch is opened, and gone when the shard is. No mark
// uses it.
const wholeBit = 0

// marking is one key's place in the filter: two bits of a shard.
type marking struct {
	shard int
	bits  [2]int64
}

func markingOf(key ledger.Key) marking {
	one, other := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:]) // it is a hash already
	return marking{
		shard: int(one % markShards),
		bits:  [2]int64{1 + int64(one/markShards%(markBits-1)), 1 + int64(other%(markBits-1))},
	}
}

// byShard puts keys in order so that those of a shard are one command.
func byShard(keys []ledger.Key) []marking {
	markings := make([]marking, len(keys))
	for i, k := range keys {
		markings[i] = markingOf(k)
	}
	slices.SortStableFunc(markings, func(a, b marking) int { return a.shard - b.shard })
	return markings
}

// mark marks keys in an epoch, whether it is open yet or not. May run twice.
func (f *Front) mark(ctx context.Context, c rueidis.Client, epoch string, keys []ledger.Key) error {
	for part := range slices.Chunk(keys, marksAtOnce) {
		if err := firstError(c.DoMulti(ctx, marksOf(c.B, epoch, part)...)); err != nil {
			return err
		}
	}
	return nil
}

// use marks the keys of a batch, if it uses any, in an epoch, with whatever runs go along, and gives since when this desk is known there. In
// the list of the last batches it stands once all its marks are made: one server carries out what it is sent in its order, of several each
// has its own.
func (f *Front) use(ctx context.Context, c rueidis.Client, epoch string, keys []ledger.Key, runs []run) (since time.Time, err error) {
	marks := marksOf(c.B, epoch, keys)
	if c.Mode() == rueidis.ClientModeCluster {
		if err := firstError(runAll(ctx, c, runs, marks...)); err != nil {
			return time.Time{}, err
		}
		runs, marks = nil, nil
	}
	results := runAll(ctx, c, append(runs, f.listing(epoch, keys)), marks...)
	if err := firstError(results); err != nil {
		return time.Time{}, err
	}
	came, err := results[len(results)-1].ToString()
	if err != nil {
		return time.Time{}, err
	}
	if copied := f.marks.Load(); copied != nil { // after Redis was told: one that is being made finds them there
		for _, key := range keys {
			copied.add(markingOf(key))
		}
	}
	return f.desks.in(epoch, came), nil
}

// listing puts the keys of a batch into the list of the last ones.
func (f *Front) listing(epoch string, keys []ledger.Key) run {
	text := make([]byte, 0, len(keys)*len(ledger.Key{}))
	for i := range keys {
		text = append(text, keys[i][:]...)
	}
	return run{&usedMarkScript, lastKeys(epoch), []string{string(text), strconv.Itoa(batchesKept), strconv.Itoa(marksLast), f.self}}
}

// marksOf are the commands that mark keys: one for those of a shard.
func marksOf(b func() rueidis.Builder, epoch string, keys []ledger.Key) (commands rueidis.Commands) {
	markings := byShard(keys)
	for len(markings) > 0 {
		shard := markings[0].shard
		var args []string
		for len(markings) > 0 && markings[0].shard == shard {
			for _, bit := range markings[0].bits {
				args = append(args, "SET", "u1", strconv.FormatInt(bit, 10), "1")
			}
			markings = markings[1:]
		}
		commands = append(commands, b().Arbitrary("BITFIELD").Keys(marksKey(epoch, shard)).Args(args...).Build())
	}
	return commands
}
