package ledger

import (
	"bytes"

	"github.com/holdfast-oms/holdfast/internal/user"
)

// PutUser creates a user, or changes what is set of him.
type PutUser struct {
	ID       user.ID
	Name     Patch[string]
	Phone    Patch[string]
	Email    Patch[string]
	Address  Patch[string]
	Metadata Patch[[]byte]
}

// UserPut is the answer to PutUser.
type UserPut struct {
	user.User
	Created bool
}

func (c PutUser) lane() Lane { return Open }

func (c PutUser) wants(w *Want) { w.Users = append(w.Users, c.ID) }

func (c PutUser) decide(b *Books) (UserPut, error) {
	u := b.Users[c.ID]
	created := u == nil
	if created {
		u = &user.User{ID: c.ID, CreatedAt: b.Now}
	}
	is := *u
	c.Name.apply(&is.Name)
	c.Phone.apply(&is.Phone)
	c.Email.apply(&is.Email)
	c.Address.apply(&is.Address)
	c.Metadata.apply(&is.Metadata)
	if !created && same(&is, u) {
		return UserPut{User: is}, nil
	}
	is.Version++
	is.UpdatedAt = b.Now
	*u = is
	if created {
		b.Users[c.ID] = u
		b.changes.NewUsers = append(b.changes.NewUsers, u)
	}
	b.changeUser(u)
	return UserPut{User: is, Created: created}, nil
}

func same(a, b *user.User) bool {
	return a.Name == b.Name && a.Phone == b.Phone && a.Email == b.Email && a.Address == b.Address &&
		bytes.Equal(a.Metadata, b.Metadata)
}
