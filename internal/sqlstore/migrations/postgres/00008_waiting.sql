-- Events wait under their ids, whatever their shard, see the SQLite file of the same number.

-- +goose Up
ALTER TABLE outbox_waiting DROP CONSTRAINT outbox_waiting_pkey, ADD PRIMARY KEY (event_id);

-- +goose Down
SELECT 'nothing has to be undone: an older desk looks events up by shard as well';
