package redisfront

import (
	"context"
	"encoding/binary"
	"slices"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/ledger"
)

// Used keys are marked in a Bloom filter that all processes share: "no" is certain, "yes" means that the record has to be asked.
// It is of a fixed size, 32 MB: with 6 000 000 keys one in 290 unused keys is taken for a used one, with 20 000 000 one in 36. Both bits
// of a key are in one word, so that a look is one number: every refusal has a look, and each number is a command of its own to Redis.
// It is cut into shards, one key of Redis each, so that a cluster shares them.
const (
	markShards  = 64
	markWords   = 1<<16 - 2 // of a shard, 64 bits each: with what Redis keeps beside them 512 kB, for which it has room of just this size
	markBits    = 64 * markWords
	wordBits    = 63           // of a word: Redis has no unsigned number of 64
	marksLast   = 96 * 60 * 60 // seconds: an epoch is older than 72 hours when nobody needs it any more
	markedDays  = 4            // 72 hours, and a day for time zones
	marksAtOnce = 4096         // keys marked in one go
)

// wholeBit of a shard says that it knows every key there is. It is set when an epoch is opened, and gone when the shard is. It is the
// first bit of a word, which no mark uses.
const wholeBit = 0

// marking is one key's place in the filter.
type marking struct {
	shard int
	word  int64    // the offset of its number
	bits  [2]int64 // within it, from the highest
}

func markingOf(key ledger.Key) marking {
	h, in := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:]) // it is a hash already
	one := int64(in % wordBits)
	other := (one + 1 + int64(in/wordBits%(wordBits-1))) % wordBits
	return marking{shard: int(h % markShards), word: 64*int64(h/markShards%markWords) + 1, bits: [2]int64{one, other}}
}

// in reports whether both bits are set in the number of its word.
func (m *marking) in(number int64) bool {
	for _, bit := range m.bits {
		if number>>(wordBits-1-bit)&1 == 0 {
			return false
		}
	}
	return true
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

// marksOf are the commands that mark keys: one for those of a shard.
func marksOf(b func() rueidis.Builder, epoch string, keys []ledger.Key) (commands rueidis.Commands) {
	markings := byShard(keys)
	for len(markings) > 0 {
		shard := markings[0].shard
		var args []string
		for len(markings) > 0 && markings[0].shard == shard {
			for _, bit := range markings[0].bits {
				args = append(args, "SET", "u1", strconv.FormatInt(markings[0].word+bit, 10), "1")
			}
			markings = markings[1:]
		}
		commands = append(commands, b().Arbitrary("BITFIELD").Keys(marksKey(epoch, shard)).Args(args...).Build())
	}
	return commands
}

// looks asks for the words of many keys, put in order by shard: one command for those of a shard, and how many they are.
func looks(b func() rueidis.Builder, epoch string, markings []marking) (commands rueidis.Commands, counts []int) {
	for len(markings) > 0 {
		shard, n := markings[0].shard, 0
		args := []string{"GET", "u1", strconv.Itoa(wholeBit)}
		for n < len(markings) && markings[n].shard == shard {
			args = append(args, "GET", "u63", strconv.FormatInt(markings[n].word, 10))
			n++
		}
		markings = markings[n:]
		commands = append(commands, b().Arbitrary("BITFIELD_RO").Keys(marksKey(epoch, shard)).Args(args...).ReadOnly())
		counts = append(counts, n)
	}
	return commands, counts
}
