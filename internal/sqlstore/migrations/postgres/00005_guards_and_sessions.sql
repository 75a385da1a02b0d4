-- What the guards know of buyers, and the buyers' sessions; see the SQLite file of the same number.

-- +goose Up
CREATE TABLE buyers (
    user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    recent  TEXT COLLATE "C" NOT NULL,
    version BIGINT           NOT NULL CHECK (version >= 1),
    at      BIGINT           NOT NULL -- of the last change
) WITH (fillfactor = 70);

CREATE TABLE sessions (
    session_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    user_id    TEXT COLLATE "C" NOT NULL,
    hash       BYTEA            NOT NULL UNIQUE CHECK (length(hash) = 32),
    created_at BIGINT           NOT NULL,
    idle_at    BIGINT           NOT NULL,
    ends_at    BIGINT           NOT NULL,
    CHECK (idle_at <= ends_at)
);
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (idle_at);

ALTER TABLE stream_tickets ADD COLUMN session_id TEXT COLLATE "C" NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE stream_tickets DROP COLUMN session_id;
DROP TABLE sessions;
DROP TABLE buyers;
