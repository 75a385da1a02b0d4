package httpapi

import (
	"github.com/holdfast-oms/holdfast/internal/feed"
	"github.com/holdfast-oms/holdfast/internal/user"
)

// streamUser tells what happens to all orders of one user, who need not be known.
func (s *Server) streamUser(x *exchange) error {
	id, err := x.existing("user")
	if err != nil {
		return err
	}
	if err := x.mine(user.ID(id), "user"); err != nil {
		return err
	}
	return s.follow(x, &telling{of: feed.Interest{UserID: user.ID(id)}, event: s.orderOf(x), key: x.stillAllowed})
}
