// Package user is the buyer's noun. The shop names its users; what is known of one beyond the id is optional.
package user

import (
	"strconv"
	"time"

	"github.com/holdfast-oms/holdfast/internal/wire"
)

// ID is the shop's own string for a user: 1 to 128 printable characters, compared byte by byte.
type ID string

// User is what the shop told us of a buyer.
type User struct {
	ID        ID
	Name      string
	Phone     string
	Email     string
	Address   string
	Metadata  []byte // a compact JSON object
	Version   int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// AppendJSON appends the user as the API shows it.
func (u *User) AppendJSON(b []byte) []byte {
	b = wire.AppendString(append(b, `{"user_id":`...), u.ID)
	b = wire.AppendOptional(append(b, `,"name":`...), u.Name)
	b = wire.AppendOptional(append(b, `,"phone":`...), u.Phone)
	b = wire.AppendOptional(append(b, `,"email":`...), u.Email)
	b = wire.AppendOptional(append(b, `,"address":`...), u.Address)
	b = wire.AppendObject(append(b, `,"metadata":`...), u.Metadata)
	b = strconv.AppendInt(append(b, `,"version":`...), u.Version, 10)
	b = wire.AppendTime(append(b, `,"created_at":`...), u.CreatedAt)
	b = wire.AppendTime(append(b, `,"updated_at":`...), u.UpdatedAt)
	return append(b, '}')
}
