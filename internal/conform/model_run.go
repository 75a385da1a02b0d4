package conform

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/user"
)

const (
	sequencesPerRecord = 5   // then a new one: the audit after each looks at all of them
	groupMax           = 8   // commands in flight at once
	checks             = 100 // sequences that rapid runs at least
)

// RunModel lets random commands, alone and several at once, run against the model: sequences of steps, each on names of its own,
// with an audit at the end of each. It fails when fewer were run than asked for, or when an outcome hardly ever came about.
func RunModel(t *testing.T, open Open, sequences, steps int) {
	t.Helper()
	tally := &tally{outcomes: map[string]int{}}
	t.Run("sequences", func(t *testing.T) {
		lanes := min(2, (sequences+checks-1)/checks)
		for i := range lanes {
			t.Run(fmt.Sprint("lane ", i), func(t *testing.T) {
				t.Parallel()
				b := &runner{t: t, open: open, tally: tally}
				for want := (sequences + lanes - 1) / lanes; b.done < want; {
					rapid.Check(t, func(r *rapid.T) { b.sequence(r, steps) })
				}
			})
		}
	})
	tally.report(t, sequences, steps)
}

// tally counts what was run.
type tally struct {
	mu               sync.Mutex
	sequences, steps int
	together         int // steps that shared a batch with others
	outcomes         map[string]int
}

func (c *tally) add(steps, together int, outcomes map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sequences++
	c.steps += steps
	c.together += together
	for o, n := range outcomes {
		c.outcomes[o] += n
	}
}

// needed are the outcomes that must come about: a model that never meets them says nothing about them.
var needed = []string{
	"place: placed", "place: replayed", "place: idempotency_key_reused", "place: invalid_request", "place: not_on_sale",
	"place: purchase_limit", "place: out_of_stock",
	"pay: paid", "pay: paid after pay_by", "pay: again", "pay: duplicate", "pay: late", "pay: payment_mismatch", "pay: not_found",
	"create payment: created", "create payment: given again", "create payment: order_not_payable",
	"fail payment: failed", "fail payment: known", "fail payment: payment_mismatch",
	"cancel: cancelled", "cancel: order_not_cancellable", "expire: expired", "expire: early", "expire: nothing expired",
	"remind: reminded", "remind: not reminded", "fulfil: fulfilled", "fulfil: order_not_fulfillable",
	"adjust: adjusted", "adjust: counted before", "adjust: insufficient_stock",
	"put product: changed", "put product: left alone", "put product: made", "put product: invalid_request", "put user: changed",
	"mishap: commit lost", "mishap: commit failed", "mishap: asked to run again", "mishap: duplicate", "mishap: restart",
}

// sequencesForAll are as many as show every outcome often enough: with fewer, chance decides about the rare ones.
const sequencesForAll = 1000

func (c *tally) report(t *testing.T, sequences, steps int) {
	t.Helper()
	t.Logf("%d sequences, %d steps, %d of them together with others", c.sequences, c.steps, c.together)
	for _, o := range slices.Sorted(maps.Keys(c.outcomes)) {
		t.Logf("%7d %s", c.outcomes[o], o)
	}
	if c.sequences < sequences || c.steps < sequences*steps {
		t.Errorf("ran %d sequences with %d steps, want %d with %d each", c.sequences, c.steps, sequences, steps)
	}
	for _, o := range needed {
		if sequences >= sequencesForAll && c.outcomes[o] < sequences/10 {
			t.Errorf("%q came about %d times in %d sequences: the commands have become too tame", o, c.outcomes[o], sequences)
		}
	}
}

// runner runs sequences one after another over a record that it changes now and then.
type runner struct {
	t     *testing.T
	open  Open
	tally *tally
	lab   *lab
	runs  int
	done  int
}

// lab is a desk that says everything it did.
type lab struct {
	record  Record
	clock   *Clock
	watched *watched
	ledger  *ledger.Ledger
	last    order.Number
	used    int
	dirty   bool // a sequence ended in the middle

	mu      sync.Mutex
	said    ledger.Applied
	mishaps []string
}

func (l *lab) start() {
	l.ledger = ledger.New(l.watched, ledger.Options{BlockSize: 7, Applied: func(a *ledger.Applied) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.said.Products = append(l.said.Products, a.Products...)
		l.said.Stock = append(l.said.Stock, a.Stock...)
		l.said.Orders = append(l.said.Orders, a.Orders...)
		l.said.Users = append(l.said.Users, a.Users...)
	}})
}

func (l *lab) stop(failed func(format string, args ...any)) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := l.ledger.Close(ctx); err != nil {
		failed("close the ledger: %v", err)
	}
}

func (b *runner) nextLab() *lab {
	if b.lab != nil && !b.lab.dirty && b.lab.used < sequencesPerRecord {
		return b.lab
	}
	if b.lab != nil {
		b.lab.stop(b.t.Errorf)
		if err := b.lab.record.Close(); err != nil { // or the memory of all would be held until the end
			b.t.Errorf("close the record: %v", err)
		}
	}
	l := &lab{clock: NewClock(opening)}
	l.record = b.open(b.t, l.clock.Now)
	l.watched = &watched{Store: l.record, events: map[event.Subject][]event.Event{}}
	l.start()
	b.t.Cleanup(func() { l.stop(b.t.Errorf) })
	b.lab = l
	return l
}

// run is one sequence under way.
type run struct {
	*rapid.T
	*lab
	*model
	name     string
	orders   []order.Number // in the order they were placed
	places   []ledger.Place
	pays     []ledger.Pay
	serial   int
	group    []action
	together int
	outcomes map[string]int
}

func (b *runner) sequence(r *rapid.T, steps int) {
	b.runs++
	l := b.nextLab()
	l.dirty = true
	l.used++
	s := &run{T: r, lab: l, model: newModel(), name: fmt.Sprintf("%d-%d", l.used, b.runs), outcomes: map[string]int{}}
	s.model.last = l.last
	l.watched.breakAt(breaks{})
	s.begin()
	for i := range steps {
		s.take(drawStep.Draw(r, fmt.Sprint("step ", i+1)))
	}
	s.end()
	if r.Failed() {
		return
	}
	for _, what := range l.mishaps {
		s.outcomes["mishap: "+what]++
	}
	l.last, l.mishaps, l.dirty = s.model.last, nil, false
	b.done++
	b.tally.add(steps, s.together, s.outcomes)
}

// begin puts three products on sale.
func (s *run) begin() {
	for i := range 3 {
		s.do(s.putProduct(i, ledger.PutProduct{Title: set("T"), Price: set(cny(100 * int64(i+1))), MaxPerUser: set(int64(i * 3))}))
		s.do(s.adjust(ledger.AdjustStock{ProductID: s.product(i), Delta: int64(10 + 5*i)}))
	}
}

// end lets what is pending expire, compares the whole record with the model, and audits it.
func (s *run) end() {
	s.flush()
	s.clock.Step(31 * 24 * time.Hour)
	for _, no := range s.orders {
		if s.model.orders[no].status == order.Pending {
			s.group = append(s.group, s.expire(ledger.Expire{Number: no}))
		}
	}
	s.flush()
	s.compareRecord()
	report, err := s.record.Audit(context.Background())
	if err != nil {
		s.Fatalf("audit: %v", err)
	}
	for _, c := range violated(report) {
		s.Errorf("%s %s: %d violations, such as %q", c.ID, c.Name, c.Violations, c.Samples)
	}
}

// step is one random step: what to do, and numbers that say to what and how. Shrunk, it becomes a wait of no time.
type step struct {
	Kind       int
	A, B, C, D int
	Rare       bool
	Together   bool // with the step after it
}

var drawStep = rapid.Custom(func(t *rapid.T) step {
	n := rapid.IntRange(0, 99)
	return step{
		Kind: rapid.IntRange(0, 1<<30).Draw(t, "kind"), A: n.Draw(t, "a"), B: n.Draw(t, "b"), C: n.Draw(t, "c"), D: n.Draw(t, "d"),
		Rare: n.Draw(t, "rare")%5 == 4, Together: n.Draw(t, "together")%4 != 0,
	}
})

func (s *run) take(st step) {
	kinds := []func(step) action{
		s.drawPlace, s.drawPlace, s.drawPlace, s.drawPlace, s.drawPlace, s.drawPay, s.drawPay, s.drawPay, s.drawPay,
		s.drawCreatePayment, s.drawCreatePayment, s.drawFailPayment, s.drawFailPayment, s.drawCancel, s.drawExpire, s.drawExpire,
		s.drawRemind, s.drawFulfil, s.drawAdjust, s.drawAdjust, s.drawPutProduct, s.drawPutProduct, s.drawPutUser,
	}
	k := st.Kind % (len(kinds) + 2)
	switch k {
	case 0:
		s.flush()
		s.wait(st)
	case len(kinds) + 1:
		s.flush()
		s.mishap(st)
	default:
		s.group = append(s.group, kinds[k-1](st))
		if !st.Together || len(s.group) == groupMax {
			s.flush()
		}
	}
}

// mishap lets something go wrong that nobody must notice: once, at the next batch that has something to write.
func (s *run) mishap(st step) {
	var happened atomic.Bool
	first := func(what string) bool {
		if happened.Swap(true) {
			return false
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.mishaps = append(s.mishaps, what)
		return true
	}
	switch st.A % 5 {
	case 0:
		s.watched.breakAt(breaks{commit: func(_ ledger.Tx, commit func() error) error {
			if err := commit(); err != nil || !first("commit lost") {
				return err
			}
			return errLost
		}})
	case 1:
		s.watched.breakAt(breaks{commit: func(tx ledger.Tx, commit func() error) error {
			if !first("commit failed") {
				return commit()
			}
			tx.Rollback()
			return errLost
		}})
	case 2, 3:
		why, what := ledger.ErrRetry, "asked to run again"
		if st.A%5 == 3 {
			why, what = ledger.ErrDuplicate, "duplicate"
		}
		s.watched.breakAt(breaks{save: func(*ledger.Changes) error {
			if first(what) {
				return why
			}
			return nil
		}})
	case 4:
		first("restart")
		s.stop(s.Fatalf)
		s.start()
		s.model.last = 0 // numbers rise within a process
	}
}

// wait moves the clock: a little, a lot, back, or to the very moment when an order is due.
func (s *run) wait(st step) {
	if st.Rare && len(s.orders) > 0 {
		s.clock.Set(s.model.orders[s.orders[st.A%len(s.orders)]].payBy)
	} else {
		s.clock.Step([]time.Duration{
			0, time.Millisecond, time.Second, time.Minute, 5 * time.Minute, 29 * time.Minute, 6 * time.Hour, -time.Second, -30 * time.Minute,
		}[st.B%9])
	}
	s.outcomes["wait"]++
}

func (s *run) product(i int) product.ID { return product.ID(fmt.Sprintf("p%d-%s", i, s.name)) }

func (s *run) user(i int) user.ID { return user.ID(fmt.Sprintf("u%d-%s", i%3, s.name)) }

func (s *run) id(prefix string) string {
	s.serial++
	return fmt.Sprintf("%s%d-%s", prefix, s.serial, s.name)
}

// anyOrder is one that was placed, mostly a late one, or now and then one that was not.
func (s *run) anyOrder(st step) order.Number {
	if len(s.orders) == 0 || st.A == 99 {
		return s.model.last + 1_000_000
	}
	return s.orders[len(s.orders)-1-st.A%len(s.orders)]
}

func (s *run) total(no order.Number) money.Money {
	if o := s.model.orders[no]; o != nil {
		return o.total
	}
	return cny(1)
}

func (s *run) drawPlace(st step) action {
	if st.Rare && len(s.places) > 0 {
		c := s.places[st.A%len(s.places)]
		if st.B%2 == 1 {
			c.Fingerprint[0]++
		}
		return s.place(c)
	}
	s.serial++
	c := ledger.Place{UserID: s.user(st.A), Metadata: []byte(`{}`)}
	copy(c.Key[:], fmt.Sprintf("%s/", s.name))
	binary.BigEndian.PutUint32(c.Key[12:], uint32(s.serial))
	for i := range 1 + st.B%3 {
		c.Lines = append(c.Lines, line(s.product((st.C+i)%3), int64(1+(st.D>>(2*i))%3)))
	}
	if st.D == 99 {
		c.Lines = append(c.Lines, line(s.product(3), 1)) // which may not exist
	}
	s.places = append(s.places, c)
	return s.place(c)
}

func (s *run) drawPay(st step) action {
	if st.Rare && len(s.pays) > 0 {
		c := s.pays[st.B%len(s.pays)]
		if st.C%2 == 1 {
			c.OrderNumber = s.anyOrder(st)
			c.Amount = s.total(c.OrderNumber)
		}
		return s.pay(c)
	}
	return s.pay(s.newPay(st))
}

// newPay is a transaction not seen before. Others may come back to it.
func (s *run) newPay(st step) ledger.Pay {
	no := s.anyOrder(st)
	c := ledger.Pay{PaymentID: s.id("pay"), Notice: payment.Notice{
		Provider: s.provider(st), OrderNumber: no, TransactionID: s.id("t"), Amount: s.total(no), Succeeded: true,
	}}
	spoil(&c.Amount, st)
	s.pays = append(s.pays, c)
	return c
}

func (s *run) provider(st step) string { return []string{"one", "two"}[st.C%2] }

// spoil makes a sum of money wrong now and then.
func spoil(m *money.Money, st step) {
	switch st.D % 12 {
	case 10:
		m.Amount += int64(st.B%3) - 1
	case 11:
		m.Currency = "USD"
	}
}

func (s *run) drawCreatePayment(st step) action {
	return s.createPayment(ledger.CreatePayment{Number: s.anyOrder(st), Provider: s.provider(st), PaymentID: s.id("pay")})
}

func (s *run) drawFailPayment(st step) action {
	if st.Rare && len(s.pays) > 0 {
		return s.failPayment(ledger.FailPayment{Notice: s.pays[st.B%len(s.pays)].Notice, PaymentID: s.id("pay")})
	}
	return s.failPayment(ledger.FailPayment(s.newPay(st)))
}

func (s *run) drawCancel(st step) action { return s.cancel(ledger.Cancel{Number: s.anyOrder(st)}) }

func (s *run) drawExpire(st step) action { return s.expire(ledger.Expire{Number: s.anyOrder(st)}) }

func (s *run) drawFulfil(st step) action { return s.fulfil(ledger.Fulfil{Number: s.anyOrder(st)}) }

func (s *run) drawRemind(st step) action {
	return s.remind(ledger.Remind{Number: s.anyOrder(st), Lead: time.Duration(st.B%2*9+1) * time.Minute})
}

func (s *run) drawAdjust(st step) action {
	c := ledger.AdjustStock{ProductID: s.product(st.A % 3), Delta: int64(st.B%9) - 4}
	if c.Delta >= 0 {
		c.Delta++
	}
	if st.D == 99 {
		c.ProductID = s.product(3)
	}
	if st.C%2 == 1 {
		c.Ref = fmt.Sprint("ref ", st.D%2)
	}
	return s.adjust(c)
}

func (s *run) drawPutProduct(st step) action {
	c := ledger.PutProduct{}
	i := st.A % 3
	if st.Rare {
		i = 3
	}
	switch st.B % 8 {
	case 0:
		c.MaxPerUser = set(int64(st.C % 6))
	case 1:
		c.Price = set(cny(int64(100 * (1 + st.C%3))))
	case 2:
		c.PayWindow = set([]time.Duration{0, time.Second, 5 * time.Minute, time.Hour}[st.C%4])
	case 3:
		c.Active = set(st.C%4 != 3)
	case 4:
		c.OnSaleFrom = set(s.moment(st.C))
	case 5:
		c.OnSaleUntil = set(s.moment(st.C))
	case 6:
		c.Title, c.Price = set("T"), set(cny(int64(100*(1+st.C%3))))
	case 7:
		c.OnSaleUntil = set(s.moment(st.D))
		c.Title, c.Price = set("T"), set(money.Money{Amount: 100, Currency: []string{"CNY", "CNY", "CNY", "EUR"}[st.C%4]})
		c.MaxPerUser = set(int64(st.D % 6))
	}
	return s.putProduct(i, c)
}

// moment is a time near now, this very one, or none.
func (s *run) moment(n int) time.Time {
	if n%3 == 0 {
		return time.Time{}
	}
	return s.clock.Now().Add(time.Duration(n%5-2) * 5 * time.Minute)
}

func (s *run) drawPutUser(st step) action {
	return s.putUser(ledger.PutUser{ID: s.user(st.A), Name: set([]string{"Ada", "Bo"}[st.B%2])})
}

// action is a command with what the model says of it.
type action struct {
	kind    string
	command any
	settle  bool
	pays    bool
	submit  asked
	judge   func(answer) (want, got string)
}

// do runs one action at once.
func (s *run) do(a action) {
	s.flush()
	s.group = append(s.group, a)
	s.flush()
}

// flush runs the group: the first has a batch of its own, the others share the next. There, what settles comes first, and of
// that, money.
func (s *run) flush() {
	group := s.group
	s.group = nil
	if len(group) == 0 {
		return
	}
	var commands []asked
	for _, a := range group {
		commands = append(commands, a.submit)
	}
	var answers []answer
	if len(group) == 1 {
		value, err := commands[0](s.ledger)
		answers = []answer{{value, err}}
	} else {
		answers = rush(s.watched, s.ledger, commands)
		s.together += len(group)
	}
	s.model.now = time.UnixMilli(s.clock.Now().UnixMilli()).UTC()
	s.judge(group, answers, func(i int, a action) bool { return i == 0 })
	s.judge(group, answers, func(i int, a action) bool { return i > 0 && a.settle && a.pays })
	s.judge(group, answers, func(i int, a action) bool { return i > 0 && a.settle && !a.pays })
	s.judge(group, answers, func(i int, a action) bool { return i > 0 && !a.settle })
	s.compareSaid()
}

func (s *run) judge(group []action, answers []answer, which func(int, action) bool) {
	for i, a := range group {
		if !which(i, a) {
			continue
		}
		want, got := a.judge(answers[i])
		s.Logf("%v  %s %+v: %s", s.model.now, a.kind, a.command, got)
		if want != got {
			s.Fatalf("%s %+v: got %q (%v), the model says %q", a.kind, a.command, got, answers[i].err, want)
		}
	}
}

// act ties a command to the model's rule for it, and to the words for its answer.
func act[R any, C ledger.Command[R]](s *run, kind string, c C, rule func(C, R) string, words func(R) string) action {
	a := action{kind: kind, command: c, submit: asks(ledger.Command[R](c))}
	a.judge = func(ans answer) (want, got string) {
		r, _ := ans.value.(R)
		want = rule(c, r)
		if ans.err != nil {
			got = fault.Of(ans.err).Code
		} else {
			got = words(r)
		}
		s.outcomes[kind+": "+got]++
		return want, got
	}
	return a
}

func settles(a action) action {
	a.settle = true
	return a
}

func either(b bool, yes, no string) string {
	if b {
		return yes
	}
	return no
}

func (s *run) place(c ledger.Place) action {
	return act(s, "place", c, func(c ledger.Place, got ledger.Placed) string {
		want := s.model.place(c, got)
		if want == "placed" {
			s.orders = append(s.orders, got.Number)
		}
		return want
	}, func(p ledger.Placed) string { return either(p.Replayed, "replayed", "placed") })
}

func (s *run) pay(c ledger.Pay) action {
	a := settles(act(s, "pay", c, func(c ledger.Pay, got ledger.PayOutcome) string {
		want := s.model.pay(c, got)
		if want == string(ledger.PaidNow) && s.model.orders[c.OrderNumber].late {
			s.outcomes["pay: paid after pay_by"]++
		}
		return want
	}, func(o ledger.PayOutcome) string { return string(o) }))
	a.pays = true
	return a
}

func (s *run) createPayment(c ledger.CreatePayment) action {
	return act(s, "create payment", c, s.model.createPayment, func(p ledger.PaymentCreated) string {
		return either(p.Created, "created", "given again")
	})
}

func (s *run) failPayment(c ledger.FailPayment) action {
	return settles(act(s, "fail payment", c, s.model.failPayment, func(f ledger.Failed) string {
		return either(bool(f), "failed", "known")
	}))
}

func (s *run) cancel(c ledger.Cancel) action {
	return settles(act(s, "cancel", c, s.model.cancel, func(o order.Order) string { return string(o.Status) }))
}

func (s *run) expire(c ledger.Expire) action {
	return settles(act(s, "expire", c, s.model.expire, func(e ledger.Expired) string {
		return either(e.Done, "expired", either(e.Early.IsZero(), "nothing expired", "early"))
	}))
}

func (s *run) remind(c ledger.Remind) action {
	return act(s, "remind", c, s.model.remind, func(r ledger.Reminded) string {
		return either(bool(r), "reminded", "not reminded")
	})
}

func (s *run) fulfil(c ledger.Fulfil) action {
	return act(s, "fulfil", c, s.model.fulfil, func(o order.Order) string { return string(o.Status) })
}

func (s *run) adjust(c ledger.AdjustStock) action {
	return act(s, "adjust", c, s.model.adjust, func(a ledger.StockAdjusted) string {
		return either(a.Repeated, "counted before", "adjusted")
	})
}

func (s *run) putProduct(i int, c ledger.PutProduct) action {
	c.ID = s.product(i)
	before := int64(-1)
	return act(s, "put product", c, func(c ledger.PutProduct, got ledger.ProductPut) string {
		before = 0
		if p := s.model.products[c.ID]; p != nil {
			before = p.product.Version
		}
		return s.model.putProduct(c, got)
	}, func(p ledger.ProductPut) string {
		return either(p.Created, "made", either(p.Version == before, "left alone", "changed"))
	})
}

func (s *run) putUser(c ledger.PutUser) action {
	before := int64(0)
	return act(s, "put user", c, func(c ledger.PutUser, got ledger.UserPut) string {
		if u := s.model.users[c.ID]; u != nil {
			before = u.version
		}
		return s.model.putUser(c, got)
	}, func(u ledger.UserPut) string {
		return either(u.Created, "made", either(u.Version == before, "left alone", "changed"))
	})
}

// shown is an order in the words of both sides.
type shown struct {
	Status          order.Status
	Total           money.Money
	PayBy           time.Time
	Late, Reminded  bool
	Version, Events int64
}

func showOrder(o *order.Order) shown {
	return shown{o.Status, o.Total, o.PayBy, o.PaidLate, o.Reminded, o.Version, o.Events}
}

func (o *modelOrder) show() shown {
	return shown{o.status, o.total, o.payBy, o.late, o.reminded, o.version, o.events}
}

// compareSaid compares what the ledger said of its last batches, the latest of each thing, with the model.
func (s *run) compareSaid() {
	s.mu.Lock()
	said := s.said
	s.said = ledger.Applied{}
	s.mu.Unlock()
	orders := map[order.Number]*order.Order{}
	for _, o := range said.Orders {
		orders[o.Number] = o
	}
	for no, o := range orders {
		s.compareOrder(no, o)
	}
	latest := map[product.ID]int{}
	for i, p := range said.Products {
		latest[p.ID] = i
	}
	for id, i := range latest {
		s.compareProduct(id, said.Products[i], said.Stock[i].Received, said.Stock[i].Held, said.Stock[i].Sold)
	}
	for _, u := range said.Users {
		if m := s.model.users[u.ID]; m == nil || u.Version > m.version {
			s.Fatalf("user %s: the desk says %+v, the model %+v", u.ID, u, m)
		}
	}
}

func (s *run) compareOrder(no order.Number, o *order.Order) {
	m := s.model.orders[no]
	if m == nil || o == nil || showOrder(o) != m.show() {
		s.Fatalf("order %s: the desk says %+v, the model %+v", no, o, m)
	}
}

func (s *run) compareProduct(id product.ID, p *product.Product, received, held, sold int64) {
	m := s.model.products[id]
	if m == nil || p == nil || received != m.received || held != s.held(id) || sold != s.sold(id) || p.Version != m.product.Version ||
		p.Price != m.product.Price || p.MaxPerUser != m.product.MaxPerUser {
		s.Fatalf("product %s: the desk says %+v with %d received, %d held, %d sold; the model %+v with %d held, %d sold",
			id, p, received, held, sold, m, s.held(id), s.sold(id))
	}
}

// compareRecord compares what is in the record with the model: every order, product, payment and counter.
func (s *run) compareRecord() {
	var w ledger.Want
	w.Orders = s.orders
	for id := range s.products {
		w.Products = append(w.Products, id)
		for i := range 3 {
			w.Buyers = append(w.Buyers, ledger.Buyer{ProductID: id, UserID: s.user(i)})
		}
	}
	ctx := context.Background()
	tx, err := s.record.Begin(ctx)
	if err != nil {
		s.Fatalf("look: %v", err)
	}
	defer tx.Rollback()
	rows, err := tx.Load(ctx, &w)
	if err != nil {
		s.Fatalf("look: %v", err)
	}
	for no, m := range s.model.orders {
		s.compareOrder(no, rows.Orders[no])
		if got, want := paymentsShown(rows.Payments[no]), m.showPayments(); !slices.Equal(got, want) {
			s.Fatalf("payments of %s: the record has %q, the model %q", no, got, want)
		}
	}
	for id := range s.products {
		st := rows.Stock[id]
		s.compareProduct(id, rows.Products[id], st.Received, st.Held, st.Sold)
	}
	for b, units := range rows.Units {
		if want := s.bought(b.ProductID, b.UserID); units != want {
			s.Fatalf("%s has %d units of %s in the record, %d in the model", b.UserID, units, b.ProductID, want)
		}
	}
}

func paymentsShown(list []*payment.Payment) (shown []string) {
	for _, p := range list {
		shown = append(shown, fmt.Sprint(p.Provider, p.Status, p.TransactionID, p.Amount))
	}
	slices.Sort(shown)
	return shown
}

func (o *modelOrder) showPayments() (shown []string) {
	for _, p := range o.payments {
		shown = append(shown, fmt.Sprint(p.provider, p.status, p.transaction, p.amount))
	}
	slices.Sort(shown)
	return shown
}
