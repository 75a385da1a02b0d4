// Package apikey is who a program at the desk is: a key, its scopes, and the form that keys have.
package apikey

import (
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"hash/crc32"
	"strings"
	"time"
)

// Scope is one thing a key may do. A write scope includes reading the same; admin includes everything.
type Scope string

// Every scope there is.
const (
	OrdersRead     Scope = "orders:read"
	OrdersWrite    Scope = "orders:write"
	CatalogueRead  Scope = "catalogue:read"
	CatalogueWrite Scope = "catalogue:write"
	UsersRead      Scope = "users:read"
	UsersWrite     Scope = "users:write"
	EventsRead     Scope = "events:read"
	SessionsWrite  Scope = "sessions:write"
	Admin          Scope = "admin"
)

// Scopes lists every scope.
func Scopes() []Scope {
	return []Scope{OrdersRead, OrdersWrite, CatalogueRead, CatalogueWrite, UsersRead, UsersWrite, EventsRead, SessionsWrite, Admin}
}

// Includes reports whether holding s is enough where want is asked for.
func (s Scope) Includes(want Scope) bool {
	return s == want || s == Admin ||
		strings.TrimSuffix(string(s), ":write")+":read" == string(want)
}

// Key is a key as it is kept: never the key itself, only its hash.
type Key struct {
	ID         string
	Name       string
	Hash       Hash
	Scopes     []Scope
	CreatedAt  time.Time
	LastUsedAt time.Time // zero: never; kept to the minute
	ExpiresAt  time.Time // zero: never
	RevokedAt  time.Time // zero: not revoked
}

// Allows reports whether the key has a scope.
func (k *Key) Allows(want Scope) bool {
	for _, s := range k.Scopes {
		if s.Includes(want) {
			return true
		}
	}
	return false
}

// Valid reports whether the key opens anything at now.
func (k *Key) Valid(now time.Time) bool {
	return k.RevokedAt.IsZero() && (k.ExpiresAt.IsZero() || now.Before(k.ExpiresAt))
}

// Hash is what is kept of a key. Made keys carry 190 random bits, so a fast hash is enough.
type Hash [sha256.Size]byte

// HashOf hashes a key as a client sends it.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// The form of made keys: hf_live_<id>_<secret>_<checksum>, after GitHub's tokens: a prefix that scanners know, and a checksum
// so that they do not cry wolf.
const (
	prefix      = "hf_live_"
	idChars     = 12
	secretChars = 32 // of 62: 190 bits
	sumChars    = 6
)

// Make makes a new key and its id.
func Make() (id, secret string) { return makeLike(prefix) }

func makeLike(prefix string) (id, secret string) {
	id = random(idChars)
	body := prefix + id + "_" + random(secretChars)
	return id, body + "_" + checksum(body)
}

// Mistyped reports whether a key or a session's token has the form of a made one but not its checksum: it need not be looked up.
func Mistyped(secret string) bool {
	for _, prefix := range []string{prefix, sessionPrefix} {
		if strings.HasPrefix(secret, prefix) {
			cut := len(secret) - sumChars - 1
			return cut < len(prefix)+idChars+1+secretChars || secret[cut] != '_' || checksum(secret[:cut]) != secret[cut+1:]
		}
	}
	return false
}

// Acceptable says what is wrong with a key that an operator chose himself, or "": 32 to 200 visible ASCII characters.
func Acceptable(secret string) string {
	if len(secret) < 32 || len(secret) > 200 {
		return "must be 32 to 200 characters long"
	}
	for i := range len(secret) {
		if secret[i] <= ' ' || secret[i] > '~' {
			return "must be visible ASCII characters only"
		}
	}
	return ""
}

const alphabet = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// random gives n characters of the alphabet, each equally likely.
func random(n int) string {
	out := make([]byte, 0, n)
	var buf [64]byte
	for len(out) < n {
		_, _ = rand.Read(buf[:])
		for _, b := range buf {
			if b < 248 && len(out) < n { // 248 = 4 × 62
				out = append(out, alphabet[b%62])
			}
		}
	}
	return string(out)
}

func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, sumChars)
	for i := range out {
		out[len(out)-1-i] = alphabet[sum%62]
		sum /= 62
	}
	return string(out)
}

// ParseScopes reads scopes and says which is unknown.
func ParseScopes(names []string) ([]Scope, error) {
	scopes := make([]Scope, 0, len(names))
	for _, name := range names {
		known := false
		for _, s := range Scopes() {
			known = known || string(s) == name
		}
		if !known {
			return nil, fmt.Errorf("there is no scope %q", name)
		}
		scopes = append(scopes, Scope(name))
	}
	return scopes, nil
}
