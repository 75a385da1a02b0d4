-- What the record forgets, see the SQLite file of the same number. MySQL knows no ADD COLUMN IF NOT EXISTS, so whether this was
-- done before, by a run that was cut off, is asked of the catalogue. Each ALTER is one step: it is done or it is not.

-- +goose NO TRANSACTION
-- +goose Up
SET @todo = (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'log_head' AND column_name = 'pruned');
SET @todo = IF(@todo > 0, 'DO 0', 'ALTER TABLE log_head
    ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0,
    ADD COLUMN pruned_before BIGINT NOT NULL DEFAULT 0,
    ADD CONSTRAINT log_head_pruned CHECK (pruned >= 0 AND pruned <= position)');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- Of any status, pending ones too: there are no partial indexes. All of one status lie in the order of their numbers.
SET @todo = (SELECT COUNT(*) FROM information_schema.statistics
    WHERE table_schema = DATABASE() AND table_name = 'orders' AND index_name = 'orders_status');
SET @todo = IF(@todo > 0, 'DO 0', 'ALTER TABLE orders ADD KEY orders_status (status, order_no)');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- +goose Down
SELECT 'there is no way back: what was forgotten is gone';
