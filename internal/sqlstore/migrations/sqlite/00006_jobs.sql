-- What is done once a day among all processes.

-- +goose Up
-- The first to write the row of a job and a day does it. Should it not be done by until, another may take it up.
CREATE TABLE jobs (
    name   TEXT NOT NULL,
    day    INTEGER NOT NULL, -- yyyymmdd, in the desk's time zone
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL,
    state  INTEGER NOT NULL CHECK (state IN (0, 1)), -- 1: it is done
    PRIMARY KEY (name, day)
) STRICT;

-- +goose Down
DROP TABLE jobs;
