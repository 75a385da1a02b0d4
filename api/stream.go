package api

import "time"

// CreateStreamTicket asks for a ticket.
type CreateStreamTicket struct {
	Stream string `json:"stream" minLength:"1" maxLength:"4096" doc:"The path of the stream, without a query." example:"/v1/orders/202611200000042/stream"`
}

// StreamTicket opens one stream, once.
type StreamTicket struct {
	Ticket    string    `json:"ticket" doc:"The ticket itself, shown this once."`
	Stream    string    `json:"stream"`
	ExpiresAt time.Time `json:"expires_at"`
}
