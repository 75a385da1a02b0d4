package apikey

import (
	"strings"
	"time"
)

// TicketLasts is how long a ticket may wait to be used.
const TicketLasts = time.Minute

// Ticket opens one stream, once, in the name of the key or the session that it was made with. As of a key, only its hash is kept.
type Ticket struct {
	Hash      Hash
	Stream    string // the path it opens
	KeyID     string // "": it was made with a session
	SessionID string
	ExpiresAt time.Time
}

const ticketPrefix = "hf_ticket_"

// MakeTicket makes the secret of a new ticket: 190 random bits behind a prefix that scanners can know.
func MakeTicket() string { return ticketPrefix + random(secretChars) }

// TicketLike reports whether a secret has the form of a ticket: nothing else need be looked up.
func TicketLike(secret string) bool {
	return len(secret) == len(ticketPrefix)+secretChars && strings.HasPrefix(secret, ticketPrefix)
}
