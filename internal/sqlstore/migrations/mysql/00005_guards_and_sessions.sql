-- What the guards know of buyers, and the buyers' sessions; see the SQLite file of the same number. 64 numbers of orders are at most
-- 1215 characters.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS buyers (
    user_id VARBINARY(512) NOT NULL PRIMARY KEY,
    recent  VARCHAR(2000)  NOT NULL,
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

SET @todo = (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'stream_tickets' AND column_name = 'session_id');
SET @todo = IF(@todo > 0, 'DO 0', 'ALTER TABLE stream_tickets ADD COLUMN session_id VARBINARY(64) NOT NULL DEFAULT ''''');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- +goose Down
ALTER TABLE stream_tickets DROP COLUMN session_id;
DROP TABLE sessions;
DROP TABLE buyers;
