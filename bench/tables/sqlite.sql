-- Holdfast's own tables (internal/sqlstore/migrations/sqlite), as far as placing an order writes them.

CREATE TABLE products (
    product_id    TEXT    NOT NULL PRIMARY KEY,
    title         TEXT    NOT NULL,
    price_amount  INTEGER NOT NULL CHECK (price_amount >= 0),
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    max_per_user  INTEGER NOT NULL CHECK (max_per_user >= 0),
    pay_window_ms INTEGER NOT NULL CHECK (pay_window_ms >= 0),
    on_sale_from  INTEGER,
    on_sale_until INTEGER,
    active        INTEGER NOT NULL CHECK (active IN (0, 1)),
    counts_users  INTEGER NOT NULL CHECK (counts_users IN (0, 1, 2)),
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL,
    quarantine     TEXT    NOT NULL DEFAULT '',
    quarantined_at INTEGER,
    released       TEXT    NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
CREATE INDEX products_quarantined ON products (quarantined_at);

CREATE TABLE stock (
    product_id TEXT    NOT NULL PRIMARY KEY,
    received   INTEGER NOT NULL CHECK (received >= 0),
    held       INTEGER NOT NULL CHECK (held >= 0),
    sold       INTEGER NOT NULL CHECK (sold >= 0),
    available  INTEGER GENERATED ALWAYS AS (received - held - sold) STORED CHECK (available >= 0),
    version    INTEGER NOT NULL,
    events     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE stock_ledger (
    id         INTEGER NOT NULL PRIMARY KEY,
    product_id TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('received', 'held', 'sold', 'released')),
    available  INTEGER NOT NULL,
    held       INTEGER NOT NULL,
    sold       INTEGER NOT NULL,
    order_no   INTEGER,
    reason     TEXT,
    ref        TEXT,
    at         INTEGER NOT NULL,
    CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX stock_ledger_ref ON stock_ledger (product_id, ref) WHERE ref IS NOT NULL;

CREATE TABLE orders (
    order_no     INTEGER NOT NULL PRIMARY KEY,
    user_id      TEXT    NOT NULL,
    status       TEXT    NOT NULL,
    currency     TEXT    NOT NULL,
    total_amount INTEGER NOT NULL CHECK (total_amount >= 0),
    created_at   INTEGER NOT NULL,
    pay_by       INTEGER NOT NULL CHECK (pay_by > created_at),
    paid_at      INTEGER,
    closed_at    INTEGER,
    close_reason TEXT    NOT NULL,
    paid_late    INTEGER NOT NULL CHECK (paid_late IN (0, 1)),
    reminded     INTEGER NOT NULL CHECK (reminded IN (0, 1)),
    version      INTEGER NOT NULL,
    events       INTEGER NOT NULL,
    metadata     TEXT    NOT NULL,
    CHECK (CASE status
        WHEN 'pending' THEN paid_at IS NULL AND closed_at IS NULL
        WHEN 'paid' THEN paid_at IS NOT NULL AND closed_at IS NULL
        WHEN 'cancelled' THEN closed_at IS NOT NULL
        WHEN 'expired' THEN closed_at IS NOT NULL AND closed_at >= pay_by
        WHEN 'fulfilled' THEN paid_at IS NOT NULL AND closed_at IS NOT NULL
        WHEN 'refunded' THEN paid_at IS NOT NULL AND closed_at IS NOT NULL
        ELSE FALSE END)
) STRICT;
CREATE INDEX orders_due ON orders (pay_by) WHERE status = 'pending';
CREATE INDEX orders_status ON orders (status) WHERE status <> 'pending';
CREATE INDEX orders_user ON orders (order_no / 4096, user_id);

CREATE TABLE order_lines (
    order_no   INTEGER NOT NULL,
    line       INTEGER NOT NULL,
    product_id TEXT    NOT NULL,
    title      TEXT    NOT NULL,
    quantity   INTEGER NOT NULL CHECK (quantity > 0),
    unit_price INTEGER NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_no, line)
) STRICT, WITHOUT ROWID;

CREATE TABLE order_transitions (
    order_no       INTEGER NOT NULL,
    seq            INTEGER NOT NULL,
    from_status    TEXT    NOT NULL,
    to_status      TEXT    NOT NULL,
    reason         TEXT    NOT NULL,
    event_sequence INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    PRIMARY KEY (order_no, seq),
    CHECK (CASE from_status
        WHEN '' THEN to_status = 'pending' AND seq = 1
        WHEN 'pending' THEN to_status IN ('paid', 'cancelled', 'expired') AND seq = 2
        WHEN 'paid' THEN to_status IN ('fulfilled', 'refunded') AND seq = 3
        ELSE FALSE END)
) STRICT, WITHOUT ROWID;

CREATE TABLE idempotency_keys (
    key         BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 16),
    order_no    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE outbox (
    id           INTEGER NOT NULL PRIMARY KEY,
    subject_kind TEXT    NOT NULL CHECK (subject_kind IN ('order', 'product')),
    subject      TEXT    NOT NULL,
    sequence     INTEGER NOT NULL CHECK (sequence >= 1),
    type         TEXT    NOT NULL,
    at           INTEGER NOT NULL,
    data         TEXT    NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_subject ON outbox (subject_kind, subject, sequence);

CREATE TABLE outbox_waiting (
    event_id INTEGER NOT NULL PRIMARY KEY,
    shard    INTEGER NOT NULL
) STRICT;
