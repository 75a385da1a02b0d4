-- How many of a day's order numbers orders have, counted once the day is over, see the SQLite file of the same number.

-- +goose Up
ALTER TABLE number_days ADD COLUMN used BIGINT;

-- +goose Down
ALTER TABLE number_days DROP COLUMN used;
