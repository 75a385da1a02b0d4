package httpapi

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/checkout"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/product"
	"github.com/holdfast-oms/holdfast/internal/ratelimit"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// placeOrder answers with the very bytes that the record keeps. Whom an order by a key counts for is known when it is read; what
// cannot be read counts for the key alone.
func (s *Server) placeOrder(x *exchange) error {
	want, err := s.readOrder(x)
	if x.session == nil {
		if err == nil {
			x.counts(ratelimit.ByUser, string(want.UserID))
		}
		if limited := x.settle(); limited != nil {
			return limited
		}
	}
	if errors.Is(err, fault.ErrOverloaded) {
		s.refusals.wait(x.ctx, time.Now())
	}
	if err != nil {
		return err
	}
	placed, err := s.desk.Place(x.ctx, want)
	if err != nil {
		return err
	}
	x.no = placed.Number
	if placed.Replayed {
		x.Header()["Idempotency-Replayed"] = replayed
	}
	x.json(http.StatusCreated, placed.Body)
	return nil
}

// readOrder reads what is wanted, and turns a rush away before it reads anything.
func (s *Server) readOrder(x *exchange) (want checkout.Order, err error) {
	if s.desk.TurnsAway() {
		return want, fault.ErrOverloaded
	}
	key, err := idempotencyKey(x.r.Header)
	if err != nil {
		return want, err
	}
	want = checkout.Order{Scope: checkout.Merchant, IdempotencyKey: key}
	if x.session != nil {
		want.Scope = checkout.ScopeOf(x.session.UserID)
	}
	if err := x.decode(orderRequired, func(f *fields, name []byte) { f.orderField(&want, name) }); err != nil {
		return want, err
	}
	return want, x.mine(want.UserID, "user")
}

var (
	orderRequired = []string{"user_id", "lines"}
	lineRequired  = []string{"product_id", "quantity"}
)

// orderField reads one field of an order.
func (f *fields) orderField(o *checkout.Order, name []byte) {
	switch string(name) {
	case "user_id":
		o.UserID = user.ID(f.id())
	case "lines":
		f.array(limits.LinesPerOrder, "lines", func(int) { o.Lines = append(o.Lines, f.line()) })
	case "metadata":
		o.Metadata = f.metadata()
	default:
		f.unknown()
	}
}

// line reads one line of an order.
func (f *fields) line() (l checkout.Line) {
	f.object(lineRequired, func(f *fields, name []byte) {
		switch string(name) {
		case "product_id":
			l.ProductID = product.ID(f.id())
		case "quantity":
			l.Quantity = f.integer(1, limits.QuantityPerLine)
		default:
			f.unknown()
		}
	})
	return l
}

const idempotencyHeader = "Idempotency-Key"

// idempotencyKey reads the one header: 1 to 255 visible ASCII characters, quotes being two of them. Without it a client that
// lost an answer would buy twice.
func idempotencyKey(h http.Header) (string, error) {
	sent := h[idempotencyHeader]
	if len(sent) != 1 || sent[0] == "" {
		return "", fault.ErrMalformed.Detailf("One Idempotency-Key header is needed.").Field(idempotencyHeader, "is required, once")
	}
	visible := func(c byte) bool { return c > ' ' && c <= '~' }
	if len(sent[0]) > limits.KeyChars || slices.ContainsFunc([]byte(sent[0]), func(c byte) bool { return !visible(c) }) {
		return "", fault.ErrMalformed.Detailf("The Idempotency-Key header cannot be used.").
			Field(idempotencyHeader, "must be 1 to %d visible ASCII characters", limits.KeyChars)
	}
	return sent[0], nil
}

func (s *Server) getOrder(x *exchange) error {
	if _, err := x.orderNo(); err != nil {
		return err
	}
	expand, err := x.expandsUser()
	if err != nil {
		return err
	}
	o, err := x.order()
	if err != nil {
		return err
	}
	if !expand {
		x.out = o.AppendJSON(x.out[:0], x.now)
		x.ok(x.out)
		return nil
	}
	u, err := s.desk.UserOf(x.ctx, o)
	if err != nil {
		return err
	}
	joined := []byte(`null`)
	if u != nil {
		joined = u.AppendJSON(nil)
	}
	x.out = o.AppendJSONWith(x.out[:0], x.now, "user", joined)
	x.ok(x.out)
	return nil
}

// expandsUser reads ?expand=user. Who may not read users may not read them joined in.
func (x *exchange) expandsUser() (bool, error) {
	expand := x.checked("expand", func(value string) string {
		if value != "user" {
			return "must be user"
		}
		return ""
	})
	if err := x.fields.invalid(); err != nil || expand == "" {
		return false, err
	}
	return true, x.needs(apikey.UsersRead)
}

func (s *Server) listOrders(x *exchange) error {
	filter := checkout.OrderFilter{
		UserID:       user.ID(x.checked("user_id", limits.ID)),
		Status:       order.Status(x.checked("status", knownStatus)),
		CreatedAfter: x.timeParam("created_after"),
		Limit:        x.limit() + 1,
	}
	if x.session != nil && filter.UserID == "" {
		filter.UserID = x.session.UserID
	}
	bound := strings.Join([]string{string(filter.UserID), string(filter.Status), filter.CreatedAfter.String()}, "\x00")
	filter.Before = order.Number(numberAt(x.after(bound)))
	if err := x.fields.invalid(); err != nil {
		return err
	}
	if err := x.mine(filter.UserID, "user"); err != nil {
		return err
	}
	var err error
	if filter.Until, err = s.desk.Record.OrdersEnd(x.ctx, filter); err != nil {
		return err
	}
	orders, err := s.desk.Record.Orders(x.ctx, filter)
	if err != nil {
		return err
	}
	next := filter.Until
	if len(orders) == filter.Limit {
		orders = orders[:filter.Limit-1]
		next = orders[len(orders)-1].Number
	}
	var place []byte
	if next != 0 {
		place = placeOf(int64(next))
	}
	x.page(len(orders), bound, place, func(b []byte, i int) []byte { return orders[i].AppendJSON(b, x.now) })
	return nil
}

func knownStatus(value string) string {
	if !slices.Contains(order.Statuses(), order.Status(value)) {
		return "must be a status of an order"
	}
	return ""
}
