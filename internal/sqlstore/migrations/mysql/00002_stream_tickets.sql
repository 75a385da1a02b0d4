-- Tickets for streams, see the SQLite file of the same number.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS stream_tickets (
    hash       BINARY(32)     NOT NULL PRIMARY KEY,
    stream     VARBINARY(4096) NOT NULL,
    key_id     VARBINARY(512) NOT NULL,
    expires_at BIGINT         NOT NULL,
    KEY stream_tickets_expiry (expires_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE stream_tickets;
