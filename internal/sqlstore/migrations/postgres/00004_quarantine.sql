-- The auditor stops the sale of a product whose numbers do not add up, see the SQLite file of the same number.

-- +goose Up
ALTER TABLE products
    ADD COLUMN quarantine TEXT NOT NULL DEFAULT '',
    ADD COLUMN quarantined_at BIGINT,
    ADD COLUMN released TEXT NOT NULL DEFAULT '';
CREATE INDEX products_quarantined ON products (quarantined_at);

-- +goose Down
SELECT 'there is no way back: a product whose sale was stopped would be sold again';
