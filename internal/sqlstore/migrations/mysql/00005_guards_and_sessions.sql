-- What the guards know of buyers, and the buyers' sessions; see the SQLite file of the same number.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS buyers (
    user_id VARBINARY(512) NOT NULL PRIMARY KEY,
    recent  VARCHAR(1000)  NOT NULL,
    version BIGINT         NOT NULL,
    at      BIGINT         NOT NULL,
    CONSTRAINT buyers_version CHECK (version >= 1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sessions (
    session_id VARBINARY(64)  NOT NULL PRIMARY KEY,
    user_id    VARBINARY(512) NOT NULL,
    hash       BINARY(32)     NOT NULL,
    created_at BIGINT         NOT NULL,
    idle_at    BIGINT         NOT NULL,
    ends_at    BIGINT         NOT NULL,
    CONSTRAINT sessions_ends CHECK (idle_at <= ends_at),
    UNIQUE KEY sessions_hash (hash),
    KEY sessions_user (user_id),
    KEY sessions_expiry (idle_at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Adding a column that is there is an error on MySQL, which knows no IF NOT EXISTS here; it is the last statement, so a migration
-- that was cut off has not got it.
ALTER TABLE stream_tickets ADD COLUMN session_id VARBINARY(64) NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE stream_tickets DROP COLUMN session_id;
DROP TABLE sessions;
DROP TABLE buyers;
