package redisfront

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/errgroup"
)

// look finds out whether Redis answers and whether what it holds is this record's, whole, and not older than what was told. The
// servers are known by their run ids, which change with every start; what they hold, by the epoch in it.
func (f *Front) look(ctx context.Context) {
	c := f.client.Load()
	if c == nil {
		f.trusted.Store(nil)
		f.unreachable(ctx, errNoServer)
		return
	}
	dials, nodes := f.dials.Load(), nodesOf(*c)
	within, cancel := context.WithTimeout(ctx, lookMax+f.opt.Grace)
	defer cancel()
	var servers servers
	var opened opening
	asked, within := errgroup.WithContext(within) // all at once: a look is one round trip, however many servers there are
	asked.Go(func() (err error) { servers, err = f.servers(within, *c); return err })
	asked.Go(func() (err error) { opened, err = readOpening(within, *c); return err })
	if err := asked.Wait(); err != nil {
		f.trusted.Store(nil)
		if ctx.Err() == nil {
			f.say(State{Reason: "it does not answer: " + withoutSecrets(err, &f.option)})
			f.unreachable(ctx, err)
		}
		return
	}
	f.peers.Store(&peers{servers.ids, nodes, dials})
	f.veto.reached()
	f.sayNotice(servers.notice)
	k := f.known.Load()
	switch {
	case k == nil:
		f.trusted.Store(nil)
		f.say(State{Connected: true, Reason: errNoEpoch.Error()})
	case opened.epoch != k.epoch || opened.servers != servers.ids || opened.old():
		f.trusted.Store(nil)
		f.say(State{Connected: true, Reason: "what it holds is being rebuilt"})
		f.startRebuild(ctx, *c, k.epoch, opened)
	default:
		if t := f.trusted.Load(); t == nil || t.dials != dials || t.epoch != k.epoch {
			f.trusted.Store(&trust{epoch: k.epoch, client: *c, dials: dials, since: time.Now()})
		}
		f.say(State{Connected: true, Working: true})
	}
}

// servers is who holds the data.
type servers struct {
	ids    string // run ids of all masters, sorted
	notice string
}

// servers asks every server who it is. On a cluster a master that does not answer is an error: its share of the keys is away.
func (f *Front) servers(ctx context.Context, c rueidis.Client) (servers, error) {
	var ids []string
	var s servers
	for _, answer := range askAll(ctx, c.Nodes()) {
		text, err := answer.ToString()
		if err != nil {
			if c.Mode() == rueidis.ClientModeCluster {
				continue // a replica may be away; a master that is will be missed when its keys are asked for
			}
			return s, err
		}
		info := parseInfo(text)
		if info["role"] != "master" {
			continue
		}
		ids = append(ids, info["run_id"])
		if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
			s.notice = fmt.Sprintf("maxmemory-policy is %s: what the front knows can vanish at any time; set it to noeviction", policy)
		}
	}
	if len(ids) == 0 {
		return s, errNoServer
	}
	slices.Sort(ids)
	s.ids = strings.Join(ids, " ")
	return s, nil
}

// askAll asks all nodes who they are, at the same time.
func askAll(ctx context.Context, nodes map[string]rueidis.Client) []rueidis.RedisResult {
	answers := make([]rueidis.RedisResult, 0, len(nodes))
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, node := range nodes {
		all.Go(func() {
			answer := node.Do(ctx, node.B().Info().Build())
			mu.Lock()
			defer mu.Unlock()
			answers = append(answers, answer)
		})
	}
	all.Wait()
	return answers
}

func parseInfo(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.SplitSeq(text, "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = value
		}
	}
	return fields
}

// epochName is where the desk keeps the epoch: a random value, new with each rebuild and never a counter, so that no other Redis
// and no older state of this one has it by chance.
const epochName = "front_epoch"

// newEpoch makes an epoch that lives on servers, and says on which.
func newEpoch(servers string) string {
	return randomName(16) + "-" + homeOf(servers)
}

func homeOf(servers string) string {
	sum := sha256.Sum256([]byte(servers))
	return hex.EncodeToString(sum[:8])
}

// livesOn reports whether whoever believes an epoch asks these servers. One that does not say, as those of before, may live anywhere.
func livesOn(epoch, servers string) bool {
	_, home, says := strings.Cut(epoch, "-")
	return !says || home == homeOf(servers)
}

// followEpoch reads the epoch again and again until ctx ends.
func (f *Front) followEpoch(ctx context.Context) {
	for ctx.Err() == nil {
		f.readEpoch(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(epochEvery):
		}
	}
}

// readEpoch reads the epoch in the record. It is believed for a lease from when it was asked for: whoever replaces it waits as
// long, and may be certain then that nobody believes the old one.
func (f *Front) readEpoch(ctx context.Context) {
	asked := time.Now()
	within, cancel := context.WithTimeout(ctx, recordMax)
	defer cancel()
	epoch, err := f.record.SharedSecret(within, epochName, randomName(16))
	if err != nil {
		return // it lapses, and nothing in Redis is believed
	}
	f.learn(epoch, asked)
}

// learn keeps what was read of the record at a time, unless something later is known.
func (f *Front) learn(epoch string, asked time.Time) {
	if isVeto(epoch) {
		f.veto.inForce(asked, f.opt.Lease, f.opt.Settle)
	}
	for {
		k := f.known.Load()
		fresh := &known{epoch: epoch, until: asked.Add(f.opt.Lease), before: k.othersThan(epoch, time.Now().Add(f.opt.Lease))}
		fresh.watched = time.Now()
		switch {
		case k == nil:
		case k.epoch == epoch:
			fresh.madeAfter, fresh.watched = k.madeAfter, k.watched
		default:
			fresh.madeAfter = k.until.Add(-f.opt.Lease) // it was asked then
			if asked.Before(fresh.madeAfter.Add(f.opt.Lease + f.opt.Settle)) {
				fresh.watched = k.watched
			}
		}
		if k != nil && k.until.After(fresh.until) || f.known.CompareAndSwap(k, fresh) {
			return
		}
	}
}

// othersThan gives the epochs that others may still believe when an epoch is read in the record, if the last of them until a time.
// A veto is none: nobody has prepared marks in it, so that those made in it would stay for ever.
func (k *known) othersThan(epoch string, until time.Time) (before []known) {
	if k == nil {
		return nil
	}
	for _, b := range k.before {
		if time.Now().Before(b.until) {
			before = append(before, b)
		}
	}
	if k.epoch != epoch && !isVeto(k.epoch) {
		before = append(before, known{epoch: k.epoch, until: until})
	}
	return before
}
