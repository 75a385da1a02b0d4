package httpapi

import (
	"net/http"
	"slices"
	"time"

	"github.com/holdfast-oms/holdfast/internal/apikey"
	"github.com/holdfast-oms/holdfast/internal/fault"
	"github.com/holdfast-oms/holdfast/internal/limits"
	"github.com/holdfast-oms/holdfast/internal/wire"
)

// createKey makes a key and shows it, this once.
func (s *Server) createKey(x *exchange) error {
	k := &apikey.Key{CreatedAt: x.now.UTC().Truncate(time.Millisecond)}
	err := x.decode([]string{"name", "scopes"}, func(f *fields, name []byte) {
		switch string(name) {
		case "name":
			k.Name = f.label(limits.NameChars)
		case "scopes":
			k.Scopes = f.scopes()
		case "expires_at":
			if f.null() {
				return
			}
			if k.ExpiresAt = f.time(); !k.ExpiresAt.After(x.now) {
				f.fail("must be in the future")
			}
		default:
			f.unknown()
		}
	})
	if err != nil {
		return err
	}
	var secret string
	k.ID, secret = apikey.Make()
	k.Hash = apikey.HashOf(secret)
	if err := s.desk.Record.AddKey(x.ctx, k); err != nil {
		return notWritten(err)
	}
	b := appendKeyHead(x.out[:0], k)
	b = wire.AppendString(append(b, `,"key":`...), secret)
	b = wire.AppendTime(append(b, `,"created_at":`...), k.CreatedAt)
	b = wire.AppendTime(append(b, `,"expires_at":`...), k.ExpiresAt)
	b = append(b, '}')
	x.json(http.StatusCreated, b)
	clear(b) // the buffer is used again, and the key is not to stay in it
	return nil
}

// scopes reads the scopes of a key: each that there is, at most once.
func (f *fields) scopes() (scopes []apikey.Scope) {
	f.array(len(apikey.Scopes()), "scopes", func(int) {
		name, ok := f.string()
		scope := apikey.Scope(name)
		switch {
		case !ok:
		case !slices.Contains(apikey.Scopes(), scope):
			f.fail("is not a scope")
		case slices.Contains(scopes, scope):
			f.fail("is there already")
		default:
			scopes = append(scopes, scope)
		}
	})
	return scopes
}

func (s *Server) listKeys(x *exchange) error {
	limit, after := x.limit(), x.after("")
	if err := x.fields.invalid(); err != nil {
		return err
	}
	keys, err := s.desk.Record.Keys(x.ctx, string(after), limit+1)
	if err != nil {
		return err
	}
	var next []byte
	if len(keys) > limit {
		keys = keys[:limit]
		next = []byte(keys[limit-1].ID)
	}
	x.page(len(keys), "", next, func(b []byte, i int) []byte { return appendKey(b, keys[i]) })
	return nil
}

// revokeKey ends a key for good: in this process at once, in others within 5 s.
func (s *Server) revokeKey(x *exchange) error {
	id, err := x.existing("key")
	if err != nil {
		return err
	}
	k, err := s.desk.Record.RevokeKey(x.ctx, id)
	if err != nil {
		return notWritten(err)
	}
	s.keys.forgetAll()
	x.out = appendKey(x.out[:0], k)
	x.ok(x.out)
	return nil
}

// notWritten says of a write past the ledger what the ledger says of its own.
func notWritten(err error) error {
	if f := fault.Of(err); f.Kind != fault.Internal {
		return f
	}
	return fault.ErrUnavailable.Because(err)
}

func appendKeyHead(b []byte, k *apikey.Key) []byte {
	b = wire.AppendString(append(b, `{"key_id":`...), k.ID)
	b = wire.AppendString(append(b, `,"name":`...), k.Name)
	return appendStrings(append(b, `,"scopes":`...), k.Scopes)
}

func appendKey(b []byte, k *apikey.Key) []byte {
	b = appendKeyHead(b, k)
	b = wire.AppendTime(append(b, `,"created_at":`...), k.CreatedAt)
	b = wire.AppendTime(append(b, `,"last_used_at":`...), k.LastUsedAt)
	b = wire.AppendTime(append(b, `,"expires_at":`...), k.ExpiresAt)
	b = wire.AppendTime(append(b, `,"revoked_at":`...), k.RevokedAt)
	return append(b, '}')
}
