-- Events wait under their ids, whatever their shard, see the SQLite file of the same number. One ALTER is one step: it is done or it is
-- not, which is asked of the catalogue.

-- +goose NO TRANSACTION
-- +goose Up
SET @todo = (SELECT COUNT(*) FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'outbox_waiting' AND index_name = 'PRIMARY' AND column_name = 'shard');
SET @todo = IF(@todo = 0, 'DO 0', 'ALTER TABLE outbox_waiting DROP PRIMARY KEY, ADD PRIMARY KEY (event_id)');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- +goose Down
SELECT 'nothing has to be undone: an older desk looks events up by shard as well';
