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
// It is of a fixed size, 32 MB: with 6 000 000 keys one in 500 unused keys is taken for a used one, with 20 000 000 one in 50. Two bits
// of a large filter cost half of what four of a smaller one do: each is a command of its own to Redis, and every order has its marks
// written, every refusal has them read. It is cut into shards, one key of Redis each, so that a cluster shares them.
const (
	markShards  = 64
	markBits    = 1<<22 - 128 // of a shard: with what Redis keeps beside them 512 kB, for which it has room of just this size
	marksPerKey = 2
	marksLast   = 96 * 60 * 60 // seconds: an epoch is older than 72 hours when nobody needs it any more
	markedDays  = 4            // 72 hours, and a day for time zones
	marksAtOnce = 4096         // keys marked in one go
)

// wholeBit of a shard says that it knows every key there is. It is set when an epoch is opened, and gone when the shard is.
const wholeBit = 0

// marking is one key's place in the filter.
type marking struct {
	shard int
	bits  [marksPerKey]int64
}

func markingOf(key ledger.Key) marking {
	h, step := binary.LittleEndian.Uint64(key[:8]), binary.LittleEndian.Uint64(key[8:])|1 // it is a hash already
	m := marking{shard: int(h % markShards)}
	h /= markShards
	for i := range m.bits {
		m.bits[i] = 1 + int64(h%(markBits-1))
		h += step
	}
	return m
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
				args = append(args, "SET", "u1", strconv.FormatInt(bit, 10), "1")
			}
			markings = markings[1:]
		}
		commands = append(commands, b().Arbitrary("BITFIELD").Keys(marksKey(epoch, shard)).Args(args...).Build())
	}
	return commands
}

// looks asks for many keys, put in order by shard: one command for those of a shard, and how many they are.
func looks(b func() rueidis.Builder, epoch string, markings []marking) (commands rueidis.Commands, counts []int) {
	for len(markings) > 0 {
		shard, n := markings[0].shard, 0
		args := []string{"GET", "u1", strconv.Itoa(wholeBit)}
		for len(markings) > 0 && markings[0].shard == shard {
			for _, bit := range markings[0].bits {
				args = append(args, "GET", "u1", strconv.FormatInt(bit, 10))
			}
			markings = markings[1:]
			n++
		}
		commands = append(commands, b().Arbitrary("BITFIELD_RO").Keys(marksKey(epoch, shard)).Args(args...).ReadOnly())
		counts = append(counts, n)
	}
	return commands, counts
}

// hasAll reports whether all bits of the i-th key of an answer are set, or the shard does not know every key.
func hasAll(bits []int64, i int) bool {
	if len(bits) < 1+(i+1)*marksPerKey || bits[0] == 0 {
		return true
	}
	for _, bit := range bits[1+i*marksPerKey : 1+(i+1)*marksPerKey] {
		if bit == 0 {
			return false
		}
	}
	return true
}
