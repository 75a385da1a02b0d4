-- The auditor stops the sale of a product whose numbers do not add up (docs/decisions/0016). It stands in the product's own row,
-- which every order of it has loaded under lock: so every process obeys from the next batch on.

-- +goose Up
ALTER TABLE products ADD COLUMN quarantine TEXT NOT NULL DEFAULT ''; -- what does not add up; '': nothing, it is sold
ALTER TABLE products ADD COLUMN quarantined_at INTEGER;              -- since when; NULL: it is sold
ALTER TABLE products ADD COLUMN released TEXT NOT NULL DEFAULT '';   -- what an operator has seen and let pass
CREATE INDEX products_quarantined ON products (quarantined_at);

-- +goose Down
SELECT 'there is no way back: a product whose sale was stopped would be sold again';
