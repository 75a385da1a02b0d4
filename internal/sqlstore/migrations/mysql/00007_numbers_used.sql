-- How many of a day's order numbers orders have, counted once the day is over, see the SQLite file of the same number. One ALTER is one
-- step: it is done or it is not, which is asked of the catalogue.

-- +goose NO TRANSACTION
-- +goose Up
SET @todo = (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'number_days' AND column_name = 'used');
SET @todo = IF(@todo > 0, 'DO 0', 'ALTER TABLE number_days ADD COLUMN used BIGINT');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- +goose Down
ALTER TABLE number_days DROP COLUMN used;
