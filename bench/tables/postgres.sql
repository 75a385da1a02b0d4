-- Holdfast's own tables (internal/sqlstore/migrations/postgres), as far as placing an order writes them.

CREATE TABLE products (
    product_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title         TEXT COLLATE "C" NOT NULL,
    price_amount  BIGINT           NOT NULL CHECK (price_amount >= 0),
    currency      TEXT COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    max_per_user  BIGINT           NOT NULL CHECK (max_per_user >= 0),
    pay_window_ms BIGINT           NOT NULL CHECK (pay_window_ms >= 0),
    on_sale_from  BIGINT,
    on_sale_until BIGINT,
    active        SMALLINT         NOT NULL CHECK (active IN (0, 1)),
    counts_users  SMALLINT         NOT NULL CHECK (counts_users IN (0, 1, 2)),
    version       BIGINT           NOT NULL,
    created_at    BIGINT           NOT NULL,
    updated_at    BIGINT           NOT NULL,
    quarantine     TEXT             NOT NULL DEFAULT '',
    quarantined_at BIGINT,
    released       TEXT             NOT NULL DEFAULT ''
);
CREATE INDEX products_quarantined ON products (quarantined_at);

CREATE TABLE stock (
    product_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    received   BIGINT           NOT NULL CHECK (received >= 0),
    held       BIGINT           NOT NULL CHECK (held >= 0),
    sold       BIGINT           NOT NULL CHECK (sold >= 0),
    available  BIGINT           GENERATED ALWAYS AS (received - held - sold) STORED CHECK (available >= 0),
    version    BIGINT           NOT NULL,
    events     BIGINT           NOT NULL
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

CREATE TABLE stock_ledger (
    id         BIGINT           GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    product_id TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('received', 'held', 'sold', 'released')),
    available  BIGINT           NOT NULL,
    held       BIGINT           NOT NULL,
    sold       BIGINT           NOT NULL,
    order_no   BIGINT,
    reason     TEXT COLLATE "C",
    ref        TEXT COLLATE "C",
    at         BIGINT           NOT NULL,
    CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
);
CREATE UNIQUE INDEX stock_ledger_ref ON stock_ledger (product_id, ref) WHERE ref IS NOT NULL;

CREATE TABLE orders (
    order_no     BIGINT           NOT NULL PRIMARY KEY,
    user_id      TEXT COLLATE "C" NOT NULL,
    status       TEXT COLLATE "C" NOT NULL,
    currency     TEXT COLLATE "C" NOT NULL,
    total_amount BIGINT           NOT NULL CHECK (total_amount >= 0),
    created_at   BIGINT           NOT NULL,
    pay_by       BIGINT           NOT NULL CHECK (pay_by > created_at),
    paid_at      BIGINT,
    closed_at    BIGINT,
    close_reason TEXT COLLATE "C" NOT NULL,
    paid_late    SMALLINT         NOT NULL CHECK (paid_late IN (0, 1)),
    reminded     SMALLINT         NOT NULL CHECK (reminded IN (0, 1)),
    version      BIGINT           NOT NULL,
    events       BIGINT           NOT NULL,
    metadata     TEXT COLLATE "C" NOT NULL,
    CHECK (CASE status
        WHEN 'pending' THEN paid_at IS NULL AND closed_at IS NULL
        WHEN 'paid' THEN paid_at IS NOT NULL AND closed_at IS NULL
        WHEN 'cancelled' THEN closed_at IS NOT NULL
        WHEN 'expired' THEN closed_at IS NOT NULL AND closed_at >= pay_by
        WHEN 'fulfilled' THEN paid_at IS NOT NULL AND closed_at IS NOT NULL
        WHEN 'refunded' THEN paid_at IS NOT NULL AND closed_at IS NOT NULL
        ELSE FALSE END)
);
CREATE INDEX orders_due ON orders (pay_by, order_no) WHERE status = 'pending';
CREATE INDEX orders_user ON orders (user_id, order_no);
CREATE INDEX orders_status ON orders (status, order_no) WHERE status <> 'pending';

CREATE TABLE order_lines (
    order_no   BIGINT           NOT NULL,
    line       BIGINT           NOT NULL,
    product_id TEXT COLLATE "C" NOT NULL,
    title      TEXT COLLATE "C" NOT NULL,
    quantity   BIGINT           NOT NULL CHECK (quantity > 0),
    unit_price BIGINT           NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_no, line)
);

CREATE TABLE order_transitions (
    order_no       BIGINT           NOT NULL,
    seq            BIGINT           NOT NULL,
    from_status    TEXT COLLATE "C" NOT NULL,
    to_status      TEXT COLLATE "C" NOT NULL,
    reason         TEXT COLLATE "C" NOT NULL,
    event_sequence BIGINT           NOT NULL,
    at             BIGINT           NOT NULL,
    PRIMARY KEY (order_no, seq),
    CHECK (CASE from_status
        WHEN '' THEN to_status = 'pending' AND seq = 1
        WHEN 'pending' THEN to_status IN ('paid', 'cancelled', 'expired') AND seq = 2
        WHEN 'paid' THEN to_status IN ('fulfilled', 'refunded') AND seq = 3
        ELSE FALSE END)
);

CREATE TABLE idempotency_keys (
    key         BYTEA  NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    fingerprint BYTEA  NOT NULL CHECK (length(fingerprint) = 16),
    order_no    BIGINT NOT NULL
);

CREATE TABLE outbox (
    id           BIGINT           NOT NULL PRIMARY KEY,
    subject_kind TEXT COLLATE "C" NOT NULL CHECK (subject_kind IN ('order', 'product')),
    subject      TEXT COLLATE "C" NOT NULL,
    sequence     BIGINT           NOT NULL CHECK (sequence >= 1),
    type         TEXT COLLATE "C" NOT NULL,
    at           BIGINT           NOT NULL,
    data         TEXT COLLATE "C" NOT NULL
);
CREATE UNIQUE INDEX outbox_subject ON outbox (subject_kind, subject, sequence);
CREATE SEQUENCE outbox_ids CACHE 1;

CREATE TABLE outbox_waiting (
    shard    BIGINT NOT NULL,
    event_id BIGINT NOT NULL PRIMARY KEY
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
