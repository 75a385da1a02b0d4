-- What is done once a day among all processes, see the SQLite file of the same number.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS jobs (
    name   VARBINARY(64) NOT NULL,
    day    BIGINT        NOT NULL,
    holder VARBINARY(255) NOT NULL,
    until  BIGINT        NOT NULL,
    state  BIGINT        NOT NULL CHECK (state IN (0, 1)),
    PRIMARY KEY (name, day)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE jobs;
