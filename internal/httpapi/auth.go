package httpapi

import (
	"net/http"
	"strings"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/order"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// remembers reports whether it is known without asking the record whose request it is, or that it is nobody's.
func (s *Server) remembers(x *exchange) bool {
	if _, given := x.ticket(); given {
		return false
	}
	secret, ok := bearer(x.r.Header)
	switch {
	case !ok:
		return true
	case apikey.SessionLike(secret):
		return s.sessions.remembers(secret, x.now)
	}
	return s.keys.remembers(secret, x.now)
}

// recognize finds out whose request it is.
func (s *Server) recognize(x *exchange) (err error) {
	if ticket, given := x.ticket(); given {
		return s.redeem(x, ticket)
	}
	secret, ok := bearer(x.r.Header)
	if !ok {
		return fault.ErrUnauthenticated
	}
	if apikey.SessionLike(secret) {
		x.session, err = s.sessions.find(x.ctx, secret, x.now)
	} else {
		x.key, err = s.keys.find(x.ctx, secret, x.now)
	}
	return err
}

// needs refuses a key that lacks a scope, and a session where buyers have no business. Whether what it is about is the buyer's own
// is looked at where that is known; see mine.
func (x *exchange) needs(scope apikey.Scope) error {
	switch {
	case x.session != nil && !x.route.buyers:
		return fault.ErrForbidden.Detailf("A buyer's session may not do this; it needs a key with the scope %s.", scope)
	case x.session == nil && !x.key.Allows(scope):
		return fault.ErrForbidden.Detailf("The key lacks the scope %s.", scope)
	}
	return nil
}

// mine tells a buyer that there is no such thing where it belongs to somebody else, in the words in which he would be told if there
// were none.
func (x *exchange) mine(owner user.ID, thing string) error {
	if x.session != nil && x.session.UserID != owner {
		return fault.ErrNotFound.Detailf("There is no such %s.", thing)
	}
	return nil
}

// order gives the order that the path names, to a buyer his own only.
func (x *exchange) order() (*order.Order, error) {
	no, err := x.orderNo()
	if err != nil {
		return nil, err
	}
	o, err := x.s.desk.Order(x.ctx, no)
	if err != nil {
		return nil, err
	}
	return o, x.mine(o.UserID, "order")
}

// changing gives the number of the order in the path, to be changed: whose it is need be known of a buyer only, and never changes.
func (x *exchange) changing() (order.Number, error) {
	if x.session == nil {
		return x.orderNo()
	}
	o, err := x.order()
	if err != nil {
		return 0, err
	}
	return o.Number, nil
}

// secretChars bounds a key as it is sent (product.md: an operator's own has up to 200 characters).
const secretChars = 200

// bearer reads the one Authorization header. Of two, nobody knows which was meant.
func bearer(h http.Header) (secret string, ok bool) {
	sent := h["Authorization"]
	if len(sent) != 1 {
		return "", false
	}
	scheme, secret, _ := strings.Cut(sent[0], " ")
	return secret, strings.EqualFold(scheme, "Bearer") && secret != "" && len(secret) <= secretChars
}
