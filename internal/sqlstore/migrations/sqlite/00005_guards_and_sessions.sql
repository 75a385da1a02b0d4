-- What the guards know of buyers, and the buyers' sessions.

-- +goose Up
-- The newest orders of a user, by number and separated by spaces, oldest first: those that the guards on unpaid and repeated orders
-- look at. It is written only while a guard is on, by the order that is placed; whether those orders are paid, expired or waiting is
-- asked of them. version rises with every change: two processes that place orders of one user meet here, and the second looks again.
CREATE TABLE buyers (
    user_id TEXT    NOT NULL PRIMARY KEY,
    recent  TEXT    NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1),
    at      INTEGER NOT NULL -- of the last change
) STRICT, WITHOUT ROWID;

-- A session that is ended is deleted, so whatever row is here and not over is good.
CREATE TABLE sessions (
    session_id TEXT    NOT NULL PRIMARY KEY,
    user_id    TEXT    NOT NULL,
    hash       BLOB    NOT NULL UNIQUE CHECK (length(hash) = 32), -- SHA-256 of the token: 190 random bits
    created_at INTEGER NOT NULL,
    idle_at    INTEGER NOT NULL, -- unless it is used before
    ends_at    INTEGER NOT NULL, -- however much it is used
    CHECK (idle_at <= ends_at)
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expiry ON sessions (idle_at);

-- A ticket may be made with a session instead of a key; its key_id is then empty.
ALTER TABLE stream_tickets ADD COLUMN session_id TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE stream_tickets DROP COLUMN session_id;
DROP TABLE sessions;
DROP TABLE buyers;
