-- How many of a day's order numbers orders have, counted once the day is over: whoever asks for it need not count them again.

-- +goose Up
ALTER TABLE number_days ADD COLUMN used INTEGER; -- NULL: not counted, or the day's numbers were asked for since

-- +goose Down
ALTER TABLE number_days DROP COLUMN used;
