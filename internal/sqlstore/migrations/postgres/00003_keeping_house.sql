-- What the record forgets, and how it can still be proven right.

-- +goose Up
-- The log is forgotten from its beginning: events up to position pruned are no longer kept, and all of them were written before
-- pruned_before. With these two the audit tells an event that was forgotten from one that is missing.
ALTER TABLE log_head ADD COLUMN pruned BIGINT NOT NULL DEFAULT 0 CHECK (pruned >= 0 AND pruned <= position);
ALTER TABLE log_head ADD COLUMN pruned_before BIGINT NOT NULL DEFAULT 0;

-- Orders of a status, newest first. A pending order is not in it, so placing one does not write it; those are in orders_due.
CREATE INDEX orders_status ON orders (status, order_no) WHERE status <> 'pending';

-- +goose Down
SELECT 'there is no way back: what was forgotten is gone';
