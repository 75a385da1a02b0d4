package redisfront

import (
	"context"
	"crypto/sha1" //nolint:gosec // it names scripts, as Redis wants it
	"encoding/hex"

	"github.com/redis/rueidis"
)

// script is a Lua script. Each says whether it may run twice: most may, for what they write is absolute.
type script struct{ text, sha string }

func newScript(text string) script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return script{text, hex.EncodeToString(sum[:])}
}

// run is one execution of a script, to be sent with others.
type run struct {
	script *script
	keys   []string
	args   []string
}

// byName asks for the script by its hash, and whole sends it along.
func (r *run) byName(b rueidis.Builder) rueidis.Completed {
	return b.Evalsha().Sha1(r.script.sha).Numkeys(int64(len(r.keys))).Key(r.keys...).Arg(r.args...).Build()
}

func (r *run) whole(b rueidis.Builder) rueidis.Completed {
	return b.Eval().Script(r.script.text).Numkeys(int64(len(r.keys))).Key(r.keys...).Arg(r.args...).Build()
}

// runAll sends all in one go, in their order, behind other commands if there are any. What a server does not know by name yet it is
// sent whole.
func runAll(ctx context.Context, c rueidis.Client, runs []run, behind ...rueidis.Completed) []rueidis.RedisResult {
	commands := behind
	for i := range runs {
		commands = append(commands, runs[i].byName(c.B()))
	}
	results := c.DoMulti(ctx, commands...)
	for i, r := range runs {
		at := len(behind) + i
		if e, ok := rueidis.IsRedisErr(results[at].Error()); ok && e.IsNoScript() {
			results[at] = c.Do(ctx, r.whole(c.B()))
		}
	}
	return results
}

// firstError is what went wrong first.
func firstError(results []rueidis.RedisResult) error {
	for _, r := range results {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}
