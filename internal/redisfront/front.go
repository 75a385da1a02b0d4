// Package redisfront is everything that stands in Redis: it makes many processes fast together. It may be late, wrong or gone at
// any time, and no rule asks it: losing it costs speed only.
package redisfront

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
)

// Limits of the front.
const (
	lookEvery  = 150 * time.Millisecond // between two looks at the servers
	epochEvery = 100 * time.Millisecond // between two looks at the epoch
	lookMax    = 400 * time.Millisecond // for one look at the servers
	recordMax  = 2 * time.Second        // for one word with the record
	leaseLasts = 300 * time.Millisecond // how long an epoch is believed after it was read in the record
	settleFor  = 2 * time.Second        // for batches that were under way when an epoch was made
	reconnect  = 500 * time.Millisecond // between two tries to connect
)

// Record is what the front is built from.
type Record interface {
	// SharedSecret gives what the desk keeps under a name, keeping value there if there is nothing.
	SharedSecret(ctx context.Context, name, value string) (kept string, err error)
	// ReplaceShared puts value in the place of what was there under a name, and gives what is kept: another's, if he came first.
	ReplaceShared(ctx context.Context, name, was, value string) (kept string, err error)
	Shelf(ctx context.Context, id product.ID) (checkout.Shelf, error)
	Shelves(ctx context.Context, after product.ID, limit int) ([]checkout.Shelf, error)
	UsedKeys(ctx context.Context, from order.Number, each func(ledger.Key)) error
}

// Options of a Front. The zero value of each but Address is its default.
type Options struct {
	Address string
	Log     *slog.Logger
	Alone   bool          // no other process writes the record: what was used is known here
	Lease   time.Duration // how long an epoch is believed after it was read: 300 ms. The same for all processes
	Settle  time.Duration // for batches under way when an epoch is made: 2 s
	Grace   time.Duration // added to how long Redis may take, where the machine is known to be busy with something else

	LockLasts time.Duration // when it is not renewed: 5 s
	QuotaMax  time.Duration // for one round trip for the quotas of a request: 25 ms
}

// Front is the connection to Redis and what is known of it: whether it answers, and whether what it holds is this record's.
type Front struct {
	opt    Options
	option rueidis.ClientOption
	record Record
	log    *slog.Logger
	self   string // names this process in Redis

	client  atomic.Pointer[rueidis.Client] // nil: never connected yet
	dials   atomic.Int64                   // connections made
	peers   atomic.Pointer[peers]          // nil: none yet
	trusted atomic.Pointer[trust]          // nil: nothing in Redis is believed
	known   atomic.Pointer[known]          // the epoch of the record
	marks   atomic.Pointer[marksCopy]      // nil: none yet
	desks   desks
	veto    veto
	locks   locks
	wake    chan struct{}

	rebuilding atomic.Bool
	rest       time.Duration // after a rebuild that failed; its goroutine's only
	dead       []string      // epochs whose rebuild failed, and whose marks are still there; its goroutine's only
	rebuilds   atomic.Int64
	failures   atomic.Int64
	loops      sync.WaitGroup

	mu     sync.Mutex
	state  State
	notice string // what is wrong with how the servers are set up; "" is nothing
}

// peers are the servers that answered the last look, over the connections of then.
type peers struct {
	servers string // their run ids
	nodes   string // their addresses
	dials   int64
}

// are reports whether a client still has these.
func (p *peers) are(c rueidis.Client, dials int64) bool {
	return p != nil && p.dials == dials && p.nodes == nodesOf(c)
}

// nodesOf names what a client is connected to. Behind sentinels that changes a while after the new connection was made.
func nodesOf(c rueidis.Client) string {
	return strings.Join(slices.Sorted(maps.Keys(c.Nodes())), " ")
}

// trust is what was found in order. It holds until a new connection is made, for behind it may be another server, or the same
// with older data.
type trust struct {
	epoch  string
	client rueidis.Client
	dials  int64
	since  time.Time
}

// known is the epoch that the record had at a time.
type known struct {
	epoch     string
	until     time.Time // it is believed
	before    []known   // epochs that others, who have not read of this one yet, may believe until then
	madeAfter time.Time // the record had another then; zero: nobody knows
	watched   time.Time // since then no epoch was opened that was not read of here
}

// State is how the front is doing.
type State struct {
	Connected bool   // Redis answers
	Working   bool   // and what it holds is believed
	Reason    string // why not; "" when it works
}

const notYet = "not connected yet"

// New makes a front; Run connects it. It fails on an address that cannot be used.
func New(record Record, opt Options) (*Front, error) {
	option, err := parse(opt.Address)
	if err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	if opt.Lease == 0 {
		opt.Lease = leaseLasts
	}
	if opt.Settle == 0 {
		opt.Settle = settleFor
	}
	if opt.LockLasts == 0 {
		opt.LockLasts = lockLasts
	}
	if opt.QuotaMax == 0 {
		opt.QuotaMax = quotaMax
	}
	f := &Front{
		opt: opt, option: option, record: record, log: opt.Log, self: randomName(8), wake: make(chan struct{}, 1),
		state: State{Reason: notYet}, locks: locks{address: opt.Address, lasts: opt.LockLasts, try: lockTry + opt.Grace},
	}
	f.option.PipelineMultiplex = -1 // one connection to a server: commands of this process stay in their order
	dialer := option.DialCtxFn
	f.option.DialCtxFn = func(ctx context.Context, to string, d *net.Dialer, t *tls.Config) (conn net.Conn, err error) {
		if dialer != nil {
			conn, err = dialer(ctx, to, d, t)
		} else {
			conn, err = d.DialContext(ctx, "tcp", to)
		}
		if err == nil { // whoever is met there has to be looked at before he is asked
			f.dials.Add(1)
			f.doubt()
		}
		return conn, err
	}
	return f, nil
}

// randomName makes a name of n random bytes that no other process makes.
func randomName(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return hex.EncodeToString(b)
}

// Run connects, watches and rebuilds until ctx ends.
func (f *Front) Run(ctx context.Context) {
	defer f.close()
	f.loops.Go(func() { f.followEpoch(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tried time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-f.wake:
		}
		if f.client.Load() == nil && time.Since(tried) > reconnect {
			f.connect()
			tried = time.Now()
		}
		f.look(ctx)
		timer.Reset(lookEvery)
	}
}

// State tells how the front is doing.
func (f *Front) State() State {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state
}

// Notice is what an operator should change about the servers, or "".
func (f *Front) Notice() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.notice
}

// Counts is how often the front was rebuilt by this process, and how often Redis failed it.
type Counts struct{ Rebuilds, Failures int64 }

// Counts tells what has happened.
func (f *Front) Counts() Counts { return Counts{f.rebuilds.Load(), f.failures.Load()} }

// open gives what can be believed now, or nil.
func (f *Front) open() *trust {
	t := f.trusted.Load()
	if t == nil || t.dials != f.dials.Load() {
		return nil
	}
	if k := f.believed(); k == nil || k.epoch != t.epoch {
		return nil
	}
	return t
}

// reachable gives the client and the epoch that is to be written to, whether it can be believed yet or not.
func (f *Front) reachable() (rueidis.Client, string) {
	c, k := f.connected(), f.believed()
	if c == nil || k == nil {
		return nil, ""
	}
	return c, k.epoch
}

// believed is the epoch of the record while it is believed to have it, or nil.
func (f *Front) believed() *known {
	if k := f.known.Load(); k != nil && !time.Now().After(k.until) {
		return k
	}
	return nil
}

// connected gives the client while Redis answers, whatever it holds.
func (f *Front) connected() rueidis.Client {
	c := f.client.Load()
	if c == nil || !f.State().Connected {
		return nil
	}
	return *c
}

// doubt has the servers looked at, now.
func (f *Front) doubt() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// failed takes note that Redis did not do what it was asked: nothing is believed until it was looked at again.
func (f *Front) failed(t *trust) {
	f.trusted.CompareAndSwap(t, nil)
	f.unanswered()
}

// unanswered takes note that Redis did not answer in time who asks no epoch: that says nothing of what it holds, which is believed
// until a look finds otherwise.
func (f *Front) unanswered() {
	f.failures.Add(1)
	f.doubt()
}

func (f *Front) connect() {
	c, err := rueidis.NewClient(f.option)
	if err != nil {
		f.say(State{Reason: "cannot connect: " + withoutSecrets(err, &f.option)})
		return
	}
	f.client.Store(&c)
}

func (f *Front) close() {
	f.trusted.Store(nil)
	f.loops.Wait()
	f.locks.close()
	if c := f.client.Load(); c != nil {
		(*c).Close()
	}
}

// say keeps the state and logs a change of it, once.
func (f *Front) say(s State) {
	f.mu.Lock()
	was := f.state
	f.state = s
	f.mu.Unlock()
	switch {
	case s.Working && !was.Working:
		f.log.Info("redis works")
	case !s.Working && was.Working, !s.Connected && was.Reason == notYet:
		f.log.Warn("redis is not used: this process does with its own memory", "err", s.Reason)
	}
}

// sayNotice keeps what is wrong with the servers and logs a change of it, once.
func (f *Front) sayNotice(text string) {
	f.mu.Lock()
	was := f.notice
	f.notice = text
	f.mu.Unlock()
	if text != "" && text != was {
		f.log.Error("redis is not set up as it should be", "err", text)
	}
}

var (
	errNoServer = errors.New("no server answers")
	errNoEpoch  = errors.New("the record does not answer")
)
