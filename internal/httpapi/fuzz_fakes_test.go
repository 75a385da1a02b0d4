package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/ledger"
	"github.com/holdfast-oms/holdfast/internal/money"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/payment"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/stock"
)

// The small stand-ins that need no record. `make fuzz` runs this file and fuzz_test.go without the other tests, which link a
// whole database: every branch of that would be counted at every try.

// allFaults lists what a route can be answered with, by its own account and because of what it takes.
func (r *route) allFaults() []*fault.Error {
	all := append([]*fault.Error{fault.ErrInternal, fault.ErrUnavailable}, r.faults...)
	if r.scope != "" {
		all = append(all, fault.ErrUnauthenticated, fault.ErrForbidden, fault.ErrOverloaded, fault.ErrRateLimited)
	}
	if !r.lenient {
		all = append(all, fault.ErrMalformed, fault.ErrInvalid)
	}
	if r.takes != nil {
		all = append(all, fault.ErrTooLarge, fault.ErrMediaType)
	}
	slices.SortFunc(all, func(a, b *fault.Error) int {
		if d := StatusOf(a.Kind) - StatusOf(b.Kind); d != 0 {
			return d
		}
		return strings.Compare(a.Code, b.Code)
	})
	return slices.CompactFunc(all, func(a, b *fault.Error) bool { return a.Code == b.Code })
}

var pathParam = regexp.MustCompile(`{([a-z_]+)}`)

// listener is a client who has heard enough as soon as a stream begins: it would go on for ever.
type listener struct {
	*httptest.ResponseRecorder
	leave func()
}

const streamMedia = "text/event-stream"

func (l *listener) WriteHeader(status int) {
	l.ResponseRecorder.WriteHeader(status)
	l.Flush()
}

func (l *listener) Write(b []byte) (int, error) {
	defer l.Flush()
	return l.ResponseRecorder.Write(b)
}

func (l *listener) Flush() {
	if strings.HasPrefix(l.Header().Get("Content-Type"), streamMedia) {
		l.leave()
	}
	l.ResponseRecorder.Flush()
}

type openGate struct{ refusal error }

func (g *openGate) Admit(context.Context, []ledger.PlaceLine) error { return g.refusal }
func (*openGate) MayHaveUsed(context.Context, ledger.Key) bool      { return false }

type noCache struct{}

func (noCache) Get(order.Number) *order.Order { return nil }
func (noCache) Fill(_ order.Number, load func() (*order.Order, error)) (*order.Order, error) {
	return load()
}

const toy = "toy"

// toyProvider believes whoever says "signed", and answers in one word.
type toyProvider struct{}

func (*toyProvider) Name() string                     { return toy }
func (*toyProvider) PayURL(p *payment.Payment) string { return "https://toy.example/" + p.ID }

func (*toyProvider) Verify(h http.Header, raw []byte, _ time.Time) (payment.Notice, error) {
	if h.Get("Toy-Signature") != "signed" {
		return payment.Notice{}, fault.ErrBadSignature
	}
	var n struct {
		OrderNo     string `json:"order_no"`
		Transaction string `json:"transaction"`
		Amount      int64  `json:"amount"`
		Failed      bool   `json:"failed"`
	}
	if err := json.Unmarshal(raw, &n); err != nil {
		return payment.Notice{}, fault.ErrMalformed.Because(err)
	}
	no, err := order.ParseNumber(n.OrderNo)
	if err != nil {
		return payment.Notice{}, fault.ErrInvalid.Because(err)
	}
	return payment.Notice{
		Provider: toy, OrderNumber: no, TransactionID: n.Transaction, Amount: money.Money{Amount: n.Amount, Currency: "CNY"},
		Succeeded: !n.Failed,
	}, nil
}

func (*toyProvider) Answer(w http.ResponseWriter, outcome ledger.PayOutcome, err error) error {
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(outcome))
	return err
}

// mapStore is a record that has one product and forgets every order.
type mapStore struct{}

func (mapStore) Begin(context.Context) (ledger.Tx, error)                      { return mapStore{}, nil }
func (mapStore) Claim(context.Context, ledger.BatchID) error                   { return nil }
func (mapStore) GrantNumbers(context.Context, order.Day, int64) (int64, error) { return 1, nil }
func (mapStore) Save(context.Context, *ledger.Changes) error                   { return nil }
func (mapStore) Commit(context.Context) error                                  { return nil }
func (mapStore) Rollback()                                                     {}
func (mapStore) Load(context.Context, *ledger.Want) (*ledger.Rows, error) {
	return &ledger.Rows{
		Now: time.Now(),
		Products: map[product.ID]*product.Product{
			"hot": {ID: "hot", Title: "Ticket", Price: money.Money{Amount: 9900, Currency: "CNY"}, Active: true},
		},
		Stock:  map[product.ID]*stock.Stock{"hot": {ProductID: "hot", Received: 1 << 40}},
		Orders: map[order.Number]*order.Order{},
		Keys:   map[ledger.Key]ledger.Answered{},
		Units:  map[ledger.Buyer]int64{},
	}, nil
}
