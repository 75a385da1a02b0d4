-- Events wait under their ids, whatever their shard: they go into the log in the order in which they were written, and are found, and
-- taken away, by the one key.

-- +goose Up
CREATE TABLE waiting_before AS SELECT event_id, shard FROM outbox_waiting;
DROP TABLE outbox_waiting;
CREATE TABLE outbox_waiting (
    event_id INTEGER NOT NULL PRIMARY KEY,
    shard    INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_waiting (event_id, shard) SELECT event_id, shard FROM waiting_before;
DROP TABLE waiting_before;

-- +goose Down
SELECT 'nothing has to be undone: an older desk looks events up by shard as well';
