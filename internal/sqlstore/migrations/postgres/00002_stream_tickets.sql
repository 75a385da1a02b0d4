-- Tickets for streams: a browser's EventSource can send no header, so it brings a ticket that opens one stream, once, within a
-- minute. Used ones are deleted, and the row deleted is what decides who used it; the few that nobody came with are deleted
-- while others are made.

-- +goose Up
CREATE TABLE stream_tickets (
    hash       BYTEA            NOT NULL PRIMARY KEY CHECK (length(hash) = 32), -- SHA-256 of the ticket: 190 random bits
    stream     TEXT COLLATE "C" NOT NULL, -- the path it opens
    key_id     TEXT COLLATE "C" NOT NULL, -- of the API key it was made with: revoked, its tickets open nothing
    expires_at BIGINT           NOT NULL
);
CREATE INDEX stream_tickets_expiry ON stream_tickets (expires_at);

-- +goose Down
DROP TABLE stream_tickets;
