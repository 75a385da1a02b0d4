package httpapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"

	"github.com/holdfast-oms/holdfast/internal/fault"
)

// cursors makes and reads the cursors of lists: a place, sealed together with the list and the filter it belongs to. Nobody
// can make one up, and one list's cursor is refused by another.
type cursors struct{ key []byte }

const (
	sealBytes   = 16
	cursorChars = 1024 // the longest place is a product id of 128 characters
)

var errCursor = fault.ErrInvalid.Field("cursor", "is not a cursor of this list with these filters")

func (c cursors) make(list, filter string, place []byte) string {
	return base64.RawURLEncoding.EncodeToString(append(c.seal(list, filter, place), place...))
}

func (c cursors) read(list, filter, cursor string) (place []byte, err error) {
	if len(cursor) > cursorChars {
		return nil, errCursor
	}
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(sealed) < sealBytes {
		return nil, errCursor
	}
	place = sealed[sealBytes:]
	if !hmac.Equal(sealed[:sealBytes], c.seal(list, filter, place)) {
		return nil, errCursor
	}
	return place, nil
}

func (c cursors) seal(list, filter string, place []byte) []byte {
	mac := hmac.New(sha256.New, c.key)
	for _, part := range []string{list, filter, string(place)} {
		var size [8]byte
		binary.BigEndian.PutUint64(size[:], uint64(len(part)))
		mac.Write(size[:])
		mac.Write([]byte(part))
	}
	return mac.Sum(nil)[:sealBytes]
}

// Places that are numbers.

func placeOf(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func numberAt(place []byte) int64 {
	if len(place) != 8 {
		return 0
	}
	return int64(binary.BigEndian.Uint64(place))
}
