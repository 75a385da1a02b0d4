// Package ledger is the one road by which anything changes: commands wait, a batch of them shares a transaction, pure
// rules decide each on the loaded rows, and everyone is answered after the commit.
package ledger

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Lane is where a command waits. Each has its own bound, so that a rush of orders delays no notice and no expiry.
type Lane uint8

// The lanes.
const (
	Open   Lane = iota // place, and whatever else opens or prepares something
	Settle             // pay, cancel, expire, refund: taken first, up to half of a batch
)

// Command is a wish to change something. It is a plain value; the ledger may decide it more than once, each time on freshly
// loaded rows, before anything is committed.
type Command[R any] interface {
	lane() Lane
	// wants names the rows that decide will look at.
	wants(w *Want)
	// decide is the rule: it looks first and writes after, so that a refusal has changed nothing.
	decide(b *Books) (R, error)
}

// Options of a Ledger. The zero value of each is its default.
type Options struct {
	BatchMax  int           // commands in one transaction: 512
	OpenMax   int           // commands waiting in the open lane: 8192
	OpenWait  time.Duration // the open lane is full, too, while the command taken last had waited longer than this: 1 s
	SettleMax int           // commands waiting in the settle lane: 8192
	WaitMax   time.Duration // a command of the open lane that waited longer is refused: 2 s
	RerunMax  int           // times a batch is run again when the database asks for it: 5
	BlockSize int64         // order numbers granted at once: 1000
	PayWindow time.Duration // of products that set none: 30 min
	Guards    Guards        // none is on
	TimeZone  *time.Location

	// Granted takes blocks of a day, up to want numbers or the next block beyond, out of those that were granted before for any
	// process to take. None begins below above. It is called beside the batches, but a batch that has too few numbers waits for it
	// before it begins: it must not take long; none is fine. Nil: the record grants all.
	Granted func(ctx context.Context, day order.Day, above, want int64) []Block

	Log        *slog.Logger
	Using      func([]Key)    // told of the keys of a batch before it is committed: from now on they may have been used
	Changing   func(*Changes) // told of the changes of a batch before it is committed: from now on they may be so
	Applied    func(*Applied) // told of each commit before anyone is answered; must not block
	Doubted    func(*Applied) // told of a batch that may or may not be in the record: what it names is not to be trusted
	Observe    func(BatchStats)
	Followed   func(context.Context) bool // whether somebody follows what becomes of a request; nil: nobody does
	Randomness func([]byte)               // of batch ids and of the waits between runs: crypto/rand
}

func (o *Options) defaults() {
	setDefault(&o.BatchMax, 512)
	setDefault(&o.OpenMax, 8192)
	setDefault(&o.OpenWait, time.Second)
	setDefault(&o.SettleMax, 8192)
	setDefault(&o.WaitMax, 2*time.Second)
	setDefault(&o.RerunMax, 5)
	setDefault(&o.BlockSize, 1000)
	setDefault(&o.PayWindow, 30*time.Minute)
	if o.TimeZone == nil {
		o.TimeZone = time.UTC
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Changing == nil {
		o.Changing = func(*Changes) {}
	}
	if o.Applied == nil {
		o.Applied = func(*Applied) {}
	}
	if o.Doubted == nil {
		o.Doubted = func(*Applied) {}
	}
	if o.Using == nil {
		o.Using = func([]Key) {}
	}
	if o.Observe == nil {
		o.Observe = func(BatchStats) {}
	}
	if o.Followed == nil {
		o.Followed = func(context.Context) bool { return false }
	}
	if o.Randomness == nil {
		o.Randomness = func(b []byte) { _, _ = rand.Read(b) }
	}
}

func setDefault[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Applied is what a committed batch made true, for those who keep copies: absolute values with their versions, never
// changed again.
type Applied struct {
	Now      time.Time
	Products []*product.Product // every product the batch looked at, changed or not, with its stock below
	Stock    []*stock.Stock
	Changed  map[product.ID]bool                 // of those, whose row or stock was changed
	Orders   []*order.Order                      // as they are now
	Paying   []*order.Order                      // of which only the payments were changed
	Payments map[order.Number][]*payment.Payment // all of the orders above, and of those that were changed
	Users    []*user.User
	Keys     []Key // used, now or before
	Events   int   // written to the outbox
}

// BatchStats describes what became of a batch.
type BatchStats struct {
	Commands, Settling                int
	Abandoned                         int           // commands beside those: their caller had left or waited too long
	Began, Ended                      time.Time     // with all its runs
	Waited                            time.Duration // the longest that one of its commands had waited
	Begin, Load, Decide, Save, Commit time.Duration // summed over its runs
	Reruns                            int           // runs beyond the first
	InDoubt                           bool          // a commit whose answer was lost
	Events                            int           // written to the outbox
	Holds                             Holds         // that ended
	Followed                          []Caller      // of its commands, up to followedMax
	Err                               error
}

// Stages gives the times of Begin, Load, Decide, Save and Commit.
func (s *BatchStats) Stages() [5]time.Duration {
	return [...]time.Duration{s.Begin, s.Load, s.Decide, s.Save, s.Commit}
}

// followedMax bounds the callers of a batch that are told of.
const followedMax = 32

// Caller is who waits for a command, and since when.
type Caller struct {
	Context context.Context //nolint:containedctx // names the request; nobody waits on it
	Since   time.Time
}

// Ledger runs batches, one at a time, until it is closed.
type Ledger struct {
	store Store
	opt   Options
	log   *slog.Logger

	open    chan job
	settle  chan job
	closing chan struct{} // closed when no more commands are taken
	done    chan struct{} // closed when the last batch has been answered
	mu      sync.RWMutex  // held for reading while a command is being put into a lane
	closed  bool

	openWaited atomic.Int64 // nanoseconds that the oldest command of the open lane had waited when the last batch took it

	// Of the batch loop only:
	answerNow func() // answers the last batch, should it not be yet
	numbers   lease
	wanted    int64 // of numbers, by the last batch
	asked     bool  // blocks are being taken; they come by taken
	collided  bool  // the numbers were taken away, and the record is to grant others
	taken     chan taken

	numbersDay, numbersLeft atomic.Int64 // of numbers, for others to see
}

// New starts a ledger over the store.
func New(store Store, opt Options) *Ledger {
	opt.defaults()
	l := &Ledger{
		store:   store,
		opt:     opt,
		log:     opt.Log,
		open:    make(chan job, opt.OpenMax),
		settle:  make(chan job, opt.SettleMax),
		closing: make(chan struct{}),
		done:    make(chan struct{}),
		taken:   make(chan taken, 1),

		answerNow: func() {},
	}
	go l.run()
	return l
}

// Close takes no more commands, decides those that wait, and returns when the last is answered or ctx ends.
func (l *Ledger) Close(ctx context.Context) error {
	l.mu.Lock()
	if !l.closed {
		l.closed = true
		close(l.closing)
	}
	l.mu.Unlock()
	select {
	case <-l.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Full reports whether a command for this lane would be refused now. A request can be turned away on it before any work is
// done for it.
//
// The open lane is bounded by time as well as by number: how many commands are a second's wait depends on the record,
// and an order that waits for longer is worth as little as one refused. A lane that fits into one batch is never full by time.
func (l *Ledger) Full(lane Lane) bool {
	if lane == Settle {
		return len(l.settle) == cap(l.settle)
	}
	waiting := len(l.open)
	return waiting == cap(l.open) || waiting > l.opt.BatchMax && time.Duration(l.openWaited.Load()) > l.opt.OpenWait
}

// Waiting is the number of commands in a lane.
func (l *Ledger) Waiting(lane Lane) int {
	if lane == Settle {
		return len(l.settle)
	}
	return len(l.open)
}

// WaitingMax is the number of commands that may wait in a lane.
func (l *Ledger) WaitingMax(lane Lane) int {
	if lane == Settle {
		return cap(l.settle)
	}
	return cap(l.open)
}

// Submit hands a command in and waits for its answer. A full lane is ErrOverloaded at once. When ctx ends first, the outcome
// is unknown: the command may still be decided. An answer that is there is given even so.
func Submit[R any](ctx context.Context, l *Ledger, c Command[R]) (R, error) {
	t := &task[R]{command: c, ctx: ctx, since: time.Now(), answered: make(chan struct{})}
	var none R
	if err := l.enqueue(t, c.lane()); err != nil {
		return none, err
	}
	if !Told(ctx, t.answered) {
		return none, ctx.Err()
	}
	return t.result, t.err
}

// Told waits for an answer until ctx ends, and reports whether there is one. One that is there by then counts.
func Told(ctx context.Context, answered <-chan struct{}) bool {
	select {
	case <-answered:
		return true
	case <-ctx.Done():
	}
	select {
	case <-answered:
		return true
	default:
		return false
	}
}

func (l *Ledger) enqueue(j job, lane Lane) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.put(j, lane)
}

// put is called with the lock held for reading.
func (l *Ledger) put(j job, lane Lane) error {
	if l.closed {
		return fault.ErrUnavailable.Detailf("The desk is closing.")
	}
	if l.Full(lane) {
		failpoint.Hit("ledger.lane_full")
		return fault.ErrOverloaded
	}
	to := l.open
	if lane == Settle {
		to = l.settle
	}
	select {
	case to <- j:
		return nil
	default:
		failpoint.Hit("ledger.lane_full")
		return fault.ErrOverloaded
	}
}

// job is a task of any result type, as the batch loop sees it.
type job interface {
	wants(w *Want)
	decide(b *Books)
	answer(err error) // err overrules what was decided
	first() bool      // goes before the others of its lane in a batch
	abandoned(now time.Time, waitMax time.Duration) error
	waited(now time.Time) time.Duration
	caller() Caller
}

type task[R any] struct {
	command  Command[R]
	ctx      context.Context //nolint:containedctx // a waiting request, dropped when its caller has left
	since    time.Time
	result   R
	err      error
	answered chan struct{}
}

func (t *task[R]) wants(w *Want)   { t.command.wants(w) }
func (t *task[R]) decide(b *Books) { t.result, t.err = t.command.decide(b) }

func (t *task[R]) answer(err error) {
	if planted.Bug(planted.AnsweredBeforeCommit) {
		select {
		case <-t.answered:
			return // it was told already
		default:
		}
	}
	if err != nil {
		t.err = err
	}
	close(t.answered)
}

// first puts money before the expiry of the order it is for: the buyer wins a tie.
func (t *task[R]) first() bool {
	_, pays := any(t.command).(Pay)
	return pays
}

func (t *task[R]) caller() Caller { return Caller{t.ctx, t.since} }

// abandoned tells why an order need not be placed any more: its caller has left or waited too long. Whatever settles
// something is carried out even so.
func (t *task[R]) abandoned(now time.Time, waitMax time.Duration) error {
	switch {
	case t.command.lane() == Settle:
		return nil
	case t.ctx.Err() != nil:
		return t.ctx.Err()
	case t.waited(now) > waitMax:
		return fault.ErrOverloaded
	}
	return nil
}

func (t *task[R]) waited(now time.Time) time.Duration { return now.Sub(t.since) }

// SubmitAll hands in many commands at once, so that they share batches, and tells the answer of each in turn. It returns when
// all are answered or ctx ends; then it tells the answers that are there.
func SubmitAll[R any](ctx context.Context, l *Ledger, commands []Command[R], answered func(i int, result R, err error)) {
	tasks := make([]*task[R], len(commands))
	l.mu.RLock() // the batch that takes the first waits for the last
	for i, c := range commands {
		tasks[i] = &task[R]{command: c, ctx: ctx, since: time.Now(), answered: make(chan struct{})}
		if err := l.put(tasks[i], c.lane()); err != nil {
			tasks[i].answer(err)
		}
	}
	l.mu.RUnlock()
	for i, t := range tasks {
		if Told(ctx, t.answered) {
			answered(i, t.result, t.err)
		}
	}
}
