package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/event"
	"github.com/holdfast-oms/holdfast/internal/failpoint"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/planted"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// Limits that the real records are opened with.
const (
	lockWait = 2 * time.Second // for a row or a unique key
	idleMax  = 2 * time.Second // of a transaction that others wait for
)

// errAway is what a connection says that broke.
var errAway = errors.New("connection lost")

// lock names a row or a value of a unique key. An open transaction that has it keeps everybody else waiting.
type lock struct{ table, row string }

type state uint8

const (
	open state = iota
	ended
	unsure // its connection is gone, and the record has not decided yet
)

// tx is one transaction.
type tx struct {
	s       *Store
	p       *process
	state   state
	locks   []lock
	waits   lock // for this one, while waiting
	used    time.Time
	claimed bool
	batch   ledger.BatchID

	granted    map[order.Day]int64
	saved      *ledger.Changes
	firstEvent int64
	relayed    []int64
	shards     []int // that were relayed
	leased     *[event.Shards]lease
}

func (v *view) Begin(ctx context.Context) (ledger.Tx, error) {
	t, err := v.begin(ctx, "begin")
	if err != nil {
		return nil, err
	}
	return t, nil
}

func (v *view) begin(ctx context.Context, what string) (*tx, error) {
	f := v.s.turns.take(v.p, effect{ctx: ctx, what: what, fates: looks})
	defer v.s.turns.done()
	if f != well {
		return nil, errAway
	}
	t := &tx{s: v.s, p: v.p, used: v.s.clock()}
	if v.p != nil {
		v.p.open = append(v.p.open, t)
	}
	if v.s.oneWriter {
		if err := t.lock(ctx, lock{"record", ""}); err != nil {
			t.end()
			return nil, err
		}
	}
	return t, nil
}

// step runs one statement of the transaction. One that fails for want of a connection has rolled it back.
func (t *tx) step(ctx context.Context, what string, do func() error) error {
	f := t.s.turns.take(t.p, effect{ctx: ctx, what: what, fates: changes})
	defer t.s.turns.done()
	t.used = t.s.clock()
	switch {
	case t.state != open:
		return errAway
	case f == away:
		t.end()
		return errAway
	case f == again:
		return ledger.ErrRetry
	}
	return do()
}

// lock takes a row or a unique key, waiting for whoever has it, as long as nobody waits in a circle.
func (t *tx) lock(ctx context.Context, name lock) error {
	for {
		holder := t.s.holders[name]
		if holder == nil || holder == t {
			if holder == nil {
				t.s.holders[name] = t
				t.locks = append(t.locks, name)
			}
			return nil
		}
		if t.closesCircle(holder) { // all take their locks in one order, so nobody ever waits in a circle
			t.s.mistakes = append(t.s.mistakes, fmt.Sprintf("a circle of waits was closed by %s %q", name.table, name.row))
			return ledger.ErrRetry
		}
		failpoint.Hit("record.waited")
		t.waits = name
		t.s.turns.done()
		f := t.s.turns.take(t.p, effect{
			ctx: ctx, what: "wait for " + name.table, limit: lockWait,
			ready: func() bool { h := t.s.holders[name]; return h == nil || h.idle() || t.state != open },
		})
		t.waits, t.used = lock{}, t.s.clock()
		if holder := t.s.holders[name]; holder != nil && holder.idle() {
			failpoint.Hit("record.idle_thrown_out")
			holder.end()
		}
		switch {
		case t.state != open:
			return errAway
		case f == timedOut && t.s.holders[name] != nil:
			failpoint.Hit("record.wait_timed_out")
			return ledger.ErrRetry
		}
	}
}

func (t *tx) closesCircle(holder *tx) bool {
	for holder != nil && holder.waits != (lock{}) {
		if holder = t.s.holders[holder.waits]; holder == t {
			return true
		}
	}
	return false
}

// idle reports whether others need not wait for this one any longer: its process sleeps.
func (t *tx) idle() bool {
	return t.p != nil && t.state == open && t.waits == (lock{}) && t.s.clock().Sub(t.used) > idleMax
}

// end gives back what the transaction holds.
func (t *tx) end() {
	if t.state == ended {
		return
	}
	t.state = ended
	for _, l := range t.locks {
		delete(t.s.holders, l)
	}
	if t.p != nil {
		t.p.open = slices.DeleteFunc(t.p.open, func(other *tx) bool { return other == t })
	}
}

func (t *tx) Claim(ctx context.Context, id ledger.BatchID) error {
	return t.step(ctx, "claim", func() error {
		if err := t.lock(ctx, lock{"batches", string(id[:])}); err != nil {
			return err
		}
		if _, committed := t.s.batches[id]; committed {
			return ledger.ErrCommitted
		}
		t.claimed, t.batch = true, id
		return nil
	})
}

func (t *tx) GrantNumbers(ctx context.Context, day order.Day, n int64) (first int64, err error) {
	err = t.step(ctx, "grant", func() error {
		if err := t.lock(ctx, lock{"days", fmt.Sprint(day)}); err != nil {
			return err
		}
		first = max(t.s.days[day], 1)
		if t.granted == nil {
			t.granted = map[order.Day]int64{}
		}
		t.granted[day] = first + n
		return nil
	})
	return first, err
}

// Commit is where everything can be in doubt.
func (t *tx) Commit(ctx context.Context) error {
	f := t.s.turns.take(t.p, effect{ctx: ctx, what: "commit", fates: commits})
	defer t.s.turns.done()
	switch {
	case t.state != open, f == away:
		failpoint.Hit("record.commit_failed")
		t.end()
		return errAway
	case f == limbo:
		t.drift()
		return errAway
	}
	t.s.apply(t)
	t.end()
	if f == lost {
		failpoint.Hit("record.commit_lost")
		return errAway
	}
	return nil
}

// drift leaves the transaction with the record, which will decide it some time.
func (t *tx) drift() {
	failpoint.Hit("record.commit_in_limbo")
	t.state = unsure
	t.p.open = slices.DeleteFunc(t.p.open, func(other *tx) bool { return other == t })
	t.s.turns.adrift(t)
}

func (t *tx) Rollback() {
	t.s.turns.enter()
	defer t.s.turns.done()
	if t.state == open && (t.p == nil || !t.p.dead.Load()) {
		t.end()
	}
}

// Load locks products, orders and users, each sorted, and reads the rest after that; the clock last.
func (t *tx) Load(ctx context.Context, want *ledger.Want) (*ledger.Rows, error) {
	into := &ledger.Rows{
		Products: map[product.ID]*product.Product{}, Stock: map[product.ID]*stock.Stock{},
		Orders: map[order.Number]*order.Order{}, Payments: map[order.Number][]*payment.Payment{},
		Users: map[user.ID]*user.User{}, Keys: map[ledger.Key]ledger.Answered{}, Refs: map[ledger.Ref]bool{},
		Transactions: map[ledger.Transaction]*payment.Payment{}, Units: map[ledger.Buyer]int64{},
		Histories: map[user.ID]*ledger.History{},
	}
	err := t.step(ctx, "load", func() error {
		orders, ids := once(want.Orders), slices.Clone(want.Products)
		for _, no := range orders {
			o := t.s.orders[no]
			for i := range o.Lines {
				ids = append(ids, o.Lines[i].ProductID)
			}
		}
		ids = once(ids)
		if err := t.lockRows(ctx, ids, orders, once(want.Users), once(want.Histories)); err != nil {
			return err
		}
		t.read(into, want, ids, orders)
		into.Now = t.s.now()
		return nil
	})
	if err != nil {
		return nil, err
	}
	if planted.Bug(planted.WrittenUnconditionally) { // time goes by: nothing is locked
		t.s.turns.take(t.p, effect{ctx: ctx, what: "loaded"})
		t.s.turns.done()
	}
	return into, nil
}

func once[T product.ID | order.Number | user.ID](values []T) []T {
	values = slices.Clone(values)
	slices.Sort(values)
	return slices.Compact(values)
}

func (t *tx) lockRows(ctx context.Context, ids []product.ID, orders []order.Number, users, buyers []user.ID) error {
	var names []lock
	for _, id := range ids {
		if _, there := t.s.products[id]; there {
			names = append(names, lock{"stock", string(id)})
		}
	}
	for _, no := range orders {
		if _, there := t.s.orders[no]; there {
			names = append(names, lock{"orders", no.String()})
		}
	}
	for _, id := range users {
		if _, there := t.s.users[id]; there {
			names = append(names, lock{"users", string(id)})
		}
	}
	for _, id := range buyers {
		if _, there := t.s.buyers[id]; there {
			names = append(names, lock{"buyers", string(id)})
		}
	}
	if planted.Bug(planted.WrittenUnconditionally) {
		return nil
	}
	if planted.Bug(planted.LockedAnyhow) && t.batch[0]%2 == 0 {
		slices.Reverse(names)
	}
	for _, name := range names {
		if err := t.lock(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

func (t *tx) read(into *ledger.Rows, want *ledger.Want, ids []product.ID, orders []order.Number) {
	s := t.s
	for _, id := range ids {
		if p, there := s.products[id]; there {
			st := s.stock[id]
			into.Products[id], into.Stock[id] = &p, &st
		}
	}
	for _, no := range orders {
		o, there := s.orders[no]
		if !there {
			continue
		}
		into.Orders[no] = &o
		for _, id := range s.paymentsOf[no] {
			p := s.payments[id]
			into.Payments[no] = append(into.Payments[no], &p)
		}
	}
	for _, id := range want.Users {
		if u, there := s.users[id]; there {
			into.Users[id] = &u
		}
	}
	for _, k := range want.Keys {
		if used, there := s.keys[k]; there {
			answered := used.Answered
			answered.Body = s.body(used.Number)
			into.Keys[k] = answered
		}
	}
	for _, ref := range want.Refs {
		if s.refs[ref] {
			into.Refs[ref] = true
		}
	}
	for _, m := range want.Transactions {
		if id, there := s.money[m]; there {
			p := s.payments[id]
			into.Transactions[m] = &p
		}
	}
	t.readUnits(into, want, orders)
	if want.Guarded {
		t.readHistories(into, want)
	}
}

func (t *tx) readHistories(into *ledger.Rows, want *ledger.Want) {
	users := slices.Clone(want.Histories)
	for _, o := range into.Orders {
		users = append(users, o.UserID)
	}
	for _, id := range once(users) {
		h := &ledger.History{Version: t.s.buyers[id].version}
		for _, no := range t.s.buyers[id].orders {
			o := t.s.orders[no]
			h.Orders = append(h.Orders, &o)
		}
		into.Histories[id] = h
	}
}

// readUnits counts the units of every buyer that a rule may ask for, from his orders where no counter says.
func (t *tx) readUnits(into *ledger.Rows, want *ledger.Want, orders []order.Number) {
	buyers := slices.Clone(want.Buyers)
	for _, no := range orders {
		if o := into.Orders[no]; o != nil {
			for i := range o.Lines {
				buyers = append(buyers, ledger.Buyer{ProductID: o.Lines[i].ProductID, UserID: o.UserID})
			}
		}
	}
	for _, b := range buyers {
		p := into.Products[b.ProductID]
		if _, known := into.Units[b]; known || p == nil ||
			p.Counting == product.NotCounted && !slices.Contains(want.Limited, b.ProductID) {
			continue
		}
		units, counted := t.s.units[b]
		if !counted && p.Counting != product.CountedAll {
			into.WorkedOut = append(into.WorkedOut, b)
			units = t.s.unitsInOrders(b)
		}
		into.Units[b] = units
	}
}

func (s *Store) unitsInOrders(b ledger.Buyer) (units int64) {
	for _, o := range s.orders {
		if o.UserID != b.UserID || !o.Status.CountsForLimit() {
			continue
		}
		for i := range o.Lines {
			if o.Lines[i].ProductID == b.ProductID {
				units += o.Lines[i].Quantity
			}
		}
	}
	return units
}

// Save takes the unique keys, waiting for whoever is about to take them too, and looks at every row that is written. What it
// writes becomes visible with the commit.
func (t *tx) Save(ctx context.Context, c *ledger.Changes) error {
	return t.step(ctx, "save", func() error {
		for _, insert := range uniques(c) {
			if err := t.lock(ctx, insert.lock); err != nil {
				return err
			}
			if t.s.taken(insert) {
				failpoint.Hit("record.duplicate")
				return fmt.Errorf("%w in %s", ledger.ErrDuplicate, insert.table)
			}
		}
		if err := t.s.unchanged(c); err != nil {
			return err
		}
		if err := refused(c); err != nil {
			return err
		}
		t.saved, t.firstEvent = c, t.s.lastEvent+1
		t.s.lastEvent += int64(len(c.Events))
		return nil
	})
}

// unique is a value of a unique key that a row is about to take.
type unique struct {
	lock
	payment string // whose it may be already
}

// uniques are the unique keys that changes insert, table by table, each table's sorted.
func uniques(c *ledger.Changes) []unique {
	var all []unique
	add := func(table string, rows []string) {
		slices.Sort(rows)
		for _, row := range rows {
			all = append(all, unique{lock: lock{table, row}})
		}
	}
	add("products", texts(c.NewProducts, func(p *product.Product) string { return string(p.ID) }))
	add("refs", texts(c.Entries, func(e stock.Entry) string {
		if e.Ref == "" {
			return ""
		}
		return string(e.ProductID) + "\x00" + e.Ref
	}))
	add("orders", texts(c.NewOrders, func(o *order.Order) string { return o.Number.String() }))
	add("payments", texts(c.NewPayments, func(p *payment.Payment) string { return p.ID }))
	add("refunds", texts(c.Refunds, func(r *payment.Refund) string { return r.PaymentID }))
	add("users", texts(c.NewUsers, func(u *user.User) string { return string(u.ID) }))
	var buyers []string
	for id, h := range c.Histories {
		if h.Was == 0 {
			buyers = append(buyers, string(id))
		}
	}
	add("buyers", buyers)
	keys := make([]string, 0, len(c.Keys))
	for k := range c.Keys {
		keys = append(keys, string(k[:]))
	}
	add("keys", keys)
	moneyFrom := len(all)
	for _, p := range slices.Concat(c.NewPayments, c.Payments) {
		if p.TransactionID != "" {
			all = append(all, unique{lock{"money", p.Provider + "\x00" + p.TransactionID}, p.ID})
		}
	}
	slices.SortFunc(all[moneyFrom:], func(a, b unique) int { return strings.Compare(a.row, b.row) })
	return all
}

func texts[T any](list []T, text func(T) string) (all []string) {
	for _, one := range list {
		if name := text(one); name != "" {
			all = append(all, name)
		}
	}
	return all
}

// taken reports whether a unique key is in the record.
func (s *Store) taken(l unique) (there bool) {
	before, after, _ := strings.Cut(l.row, "\x00")
	switch l.table {
	case "products":
		_, there = s.products[product.ID(l.row)]
	case "refs":
		there = s.refs[ledger.Ref{ProductID: product.ID(before), Ref: after}]
	case "orders":
		no, _ := order.ParseNumber(l.row)
		_, there = s.orders[no]
	case "payments":
		_, there = s.payments[l.row]
	case "money":
		id, known := s.money[ledger.Transaction{Provider: before, ID: after}]
		there = known && id != l.payment
	case "refunds":
		_, there = s.refunds[l.row]
	case "users":
		_, there = s.users[user.ID(l.row)]
	case "buyers":
		_, there = s.buyers[user.ID(l.row)]
	case "keys":
		_, there = s.keys[ledger.Key([]byte(l.row))]
	}
	return there
}

// unchanged looks at the rows that are updated: each must still be as it was loaded.
func (s *Store) unchanged(c *ledger.Changes) error {
	if planted.Bug(planted.WrittenUnconditionally) {
		return nil
	}
	for _, st := range c.Stock {
		if s.stock[st.ProductID].Version != st.Was {
			return fmt.Errorf("%w: stock of %s has changed", ledger.ErrRetry, st.ProductID)
		}
	}
	for _, o := range c.Orders {
		if s.orders[o.Number].Events != o.Had {
			return fmt.Errorf("%w: order %s has changed", ledger.ErrRetry, o.Number)
		}
	}
	for id, h := range c.Histories {
		if s.buyers[id].version != h.Was {
			return fmt.Errorf("%w: the history of %s has changed", ledger.ErrRetry, id)
		}
	}
	for _, p := range c.Payments {
		if s.payments[p.ID].Status == payment.Succeeded {
			return fmt.Errorf("%w: payment %s has changed", ledger.ErrRetry, p.ID)
		}
	}
	return nil
}

// refused is the CHECKs.
func refused(c *ledger.Changes) error {
	no := func(format string, args ...any) error {
		return fmt.Errorf("%w: "+format, append([]any{ledger.ErrRefused}, args...)...)
	}
	for _, p := range slices.Concat(c.NewProducts, c.Products) {
		if p.Price.Amount < 0 || len(p.Price.Currency) != 3 || p.MaxPerUser < 0 || p.PayWindow < 0 {
			return no("product %s", p.ID)
		}
	}
	for _, st := range c.Stock {
		if st.Received < 0 || st.Held < 0 || st.Sold < 0 || st.Available() < 0 {
			return no("stock of %s", st.ProductID)
		}
	}
	for i := range c.Entries {
		if e := &c.Entries[i]; e.Kind != stock.Received && (e.Available+e.Held+e.Sold != 0 || e.OrderNo == 0) {
			return no("entry %d of %s", e.Version, e.ProductID)
		}
	}
	for _, o := range c.NewOrders {
		if o.Status != order.Pending || o.Version != 1 || o.Events != 1 || !o.PayBy.After(o.CreatedAt) {
			return no("new order %s", o.Number)
		}
	}
	for _, o := range c.Orders {
		if !timed(o.Order) {
			return no("order %s is %s", o.Number, o.Status)
		}
	}
	for _, tr := range c.Transitions {
		if !tr.From.CanBecome(tr.To) {
			return no("order %s from %s to %s", tr.Number, tr.From, tr.To)
		}
	}
	for b, n := range c.Units {
		if n < 0 {
			return no("units of %s", b.UserID)
		}
	}
	return nil
}

// timed reports whether an order has the times that its status says.
func timed(o *order.Order) bool {
	paid, closed := !o.PaidAt.IsZero(), !o.ClosedAt.IsZero()
	switch o.Status {
	case order.Pending:
		return !paid && !closed
	case order.Paid:
		return paid && !closed
	case order.Cancelled:
		return closed
	case order.Expired:
		return closed && !o.ClosedAt.Before(o.PayBy)
	case order.Fulfilled, order.Refunded:
		return paid && closed
	}
	return false
}
