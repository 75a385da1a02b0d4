-- The auditor stops the sale of a product whose numbers do not add up, see the SQLite file of the same number. One ALTER is one
-- step: it is done or it is not, which is asked of the catalogue.

-- +goose NO TRANSACTION
-- +goose Up
SET @todo = (SELECT COUNT(*) FROM information_schema.columns
    WHERE table_schema = DATABASE() AND table_name = 'products' AND column_name = 'quarantined_at');
SET @todo = IF(@todo > 0, 'DO 0', 'ALTER TABLE products
    ADD COLUMN quarantine VARCHAR(1000) NOT NULL DEFAULT '''',
    ADD COLUMN quarantined_at BIGINT,
    ADD COLUMN released VARCHAR(1000) NOT NULL DEFAULT '''',
    ADD KEY products_quarantined (quarantined_at)');
PREPARE todo FROM @todo;
EXECUTE todo;
DEALLOCATE PREPARE todo;

-- +goose Down
SELECT 'there is no way back: a product whose sale was stopped would be sold again';
