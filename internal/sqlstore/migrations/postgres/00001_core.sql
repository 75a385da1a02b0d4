-- The record. Times are whole milliseconds since 1970 (UTC), amounts minor units, texts UTF-8 compared byte by byte: every text
-- that is a key or is sorted by says COLLATE "C", whatever the database's own order is. Hot tables carry few indexes.
-- There are no foreign keys: every row of a batch is written by one statement list, and the audit joins both ways.
-- Rows that are written again and again have room for their next version on their page, and tables whose rows do not stay are
-- swept often.

-- +goose Up
CREATE TABLE products (
    product_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    title         TEXT COLLATE "C" NOT NULL,
    price_amount  BIGINT           NOT NULL CHECK (price_amount >= 0),
    currency      TEXT COLLATE "C" NOT NULL CHECK (length(currency) = 3),
    max_per_user  BIGINT           NOT NULL CHECK (max_per_user >= 0),     -- 0: no limit
    pay_window_ms BIGINT           NOT NULL CHECK (pay_window_ms >= 0),    -- 0: the desk's default
    on_sale_from  BIGINT,
    on_sale_until BIGINT,
    active        SMALLINT         NOT NULL CHECK (active IN (0, 1)),
    counts_users  SMALLINT         NOT NULL CHECK (counts_users IN (0, 1, 2)), -- see user_units
    version       BIGINT           NOT NULL,
    created_at    BIGINT           NOT NULL,
    updated_at    BIGINT           NOT NULL
);

-- One row per product. What is available is what the others leave: it cannot be wrong, and cannot be negative.
CREATE TABLE stock (
    product_id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    received   BIGINT           NOT NULL CHECK (received >= 0),
    held       BIGINT           NOT NULL CHECK (held >= 0),
    sold       BIGINT           NOT NULL CHECK (sold >= 0),
    available  BIGINT           GENERATED ALWAYS AS (received - held - sold) STORED CHECK (available >= 0),
    version    BIGINT           NOT NULL, -- number of its stock_ledger entries
    events     BIGINT           NOT NULL  -- number of its events
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000);

-- Append-only: replayed by product and version it never goes below zero and ends at the row in stock.
CREATE TABLE stock_ledger (
    id         BIGINT           GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
    product_id TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    kind       TEXT COLLATE "C" NOT NULL CHECK (kind IN ('received', 'held', 'sold', 'released')),
    available  BIGINT           NOT NULL, -- the change of each
    held       BIGINT           NOT NULL,
    sold       BIGINT           NOT NULL,
    order_no   BIGINT,
    reason     TEXT COLLATE "C",
    ref        TEXT COLLATE "C",
    at         BIGINT           NOT NULL,
    CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
);
CREATE UNIQUE INDEX stock_ledger_ref ON stock_ledger (product_id, ref) WHERE ref IS NOT NULL;

CREATE TABLE users (
    user_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name       TEXT COLLATE "C" NOT NULL,
    phone      TEXT COLLATE "C" NOT NULL,
    email      TEXT COLLATE "C" NOT NULL,
    address    TEXT COLLATE "C" NOT NULL,
    metadata   TEXT COLLATE "C" NOT NULL,
    version    BIGINT           NOT NULL,
    created_at BIGINT           NOT NULL,
    updated_at BIGINT           NOT NULL
);

-- order_no is the day times 10^10 plus the count of the day, so that it rises from day to day.
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
    version      BIGINT           NOT NULL, -- number of its order_transitions
    events       BIGINT           NOT NULL, -- number of its events
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

CREATE TABLE order_lines (
    order_no   BIGINT           NOT NULL,
    line       BIGINT           NOT NULL,
    product_id TEXT COLLATE "C" NOT NULL,
    title      TEXT COLLATE "C" NOT NULL,
    quantity   BIGINT           NOT NULL CHECK (quantity > 0),
    unit_price BIGINT           NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_no, line)
);

-- Every step of every order's life. seq is 1, 2, 3, … per order; event_sequence names the event that tells it.
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

-- Units in a user's pending, paid and fulfilled orders of a product. It is kept from the day a limit is first set on: 1 in
-- products.counts_users says that there were no such orders before, so that a missing counter is zero; 2 that there were, so
-- that a missing counter has to be worked out from the user's orders once.
CREATE TABLE user_units (
    product_id TEXT COLLATE "C" NOT NULL,
    user_id    TEXT COLLATE "C" NOT NULL,
    units      BIGINT           NOT NULL CHECK (units >= 0),
    PRIMARY KEY (product_id, user_id)
) WITH (fillfactor = 70);

CREATE TABLE payments (
    payment_id     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    order_no       BIGINT           NOT NULL,
    provider       TEXT COLLATE "C" NOT NULL,
    status         TEXT COLLATE "C" NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'closed')),
    amount         BIGINT           NOT NULL CHECK (amount >= 0),
    currency       TEXT COLLATE "C" NOT NULL,
    transaction_id TEXT COLLATE "C",
    created_at     BIGINT           NOT NULL,
    paid_at        BIGINT,
    CHECK (status <> 'succeeded' OR (transaction_id IS NOT NULL AND paid_at IS NOT NULL))
);
CREATE UNIQUE INDEX payments_transaction ON payments (provider, transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX payments_order ON payments (order_no);

-- Money that has to go back: one row per payment at most.
CREATE TABLE refunds (
    refund_id  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    payment_id TEXT COLLATE "C" NOT NULL UNIQUE,
    order_no   BIGINT           NOT NULL,
    amount     BIGINT           NOT NULL CHECK (amount >= 0),
    currency   TEXT COLLATE "C" NOT NULL,
    reason     TEXT COLLATE "C" NOT NULL,
    status     TEXT COLLATE "C" NOT NULL CHECK (status IN ('due', 'succeeded', 'failed')),
    created_at BIGINT           NOT NULL
);

-- key is a hash of the caller's scope and the Idempotency-Key; the answer is the data of the order's first event.
CREATE TABLE idempotency_keys (
    key         BYTEA  NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    fingerprint BYTEA  NOT NULL CHECK (length(fingerprint) = 16),
    order_no    BIGINT NOT NULL
);

-- A batch of the ledger writes its id first: whether a commit whose answer was lost took place is answered by it.
CREATE TABLE ledger_batches (
    batch_id BYTEA  NOT NULL PRIMARY KEY CHECK (length(batch_id) = 16),
    at       BIGINT NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX ledger_batches_at ON ledger_batches (at);

-- Numbers below next are granted, in blocks, to processes.
CREATE TABLE number_days (
    day  BIGINT NOT NULL PRIMARY KEY, -- yyyymmdd
    next BIGINT NOT NULL CHECK (next >= 1)
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

-- Facts, written in the transaction that made them true, and never changed. Each waits in outbox_waiting until the relay
-- has given it its place in event_log: small rows, for marking the fact itself would write it, and its page, a second time.
CREATE TABLE outbox (
    id           BIGINT           NOT NULL PRIMARY KEY,
    subject_kind TEXT COLLATE "C" NOT NULL CHECK (subject_kind IN ('order', 'product')),
    subject      TEXT COLLATE "C" NOT NULL,
    sequence     BIGINT           NOT NULL CHECK (sequence >= 1),
    type         TEXT COLLATE "C" NOT NULL,
    at           BIGINT           NOT NULL,
    data         TEXT COLLATE "C" NOT NULL
);
-- Taken after the locks of a batch, so that the ids of one subject's events rise; none is taken ahead (CACHE 1).
CREATE SEQUENCE outbox_ids CACHE 1;
CREATE UNIQUE INDEX outbox_subject ON outbox (subject_kind, subject, sequence);

CREATE TABLE outbox_waiting (
    shard    BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    PRIMARY KEY (shard, event_id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

-- The log: its order never changes, and nothing ever appears behind what was read.
CREATE TABLE event_log (
    position BIGINT NOT NULL PRIMARY KEY,
    event_id BIGINT NOT NULL UNIQUE
);

CREATE TABLE log_head (
    id       BIGINT NOT NULL PRIMARY KEY CHECK (id = 1),
    position BIGINT NOT NULL -- of the last event in the log
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
INSERT INTO log_head (id, position) VALUES (1, 0);

-- Who relays which shard. token rises with every change of hands: a relay that was paused cannot write with an old one.
CREATE TABLE relay_leases (
    shard BIGINT           NOT NULL PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    token BIGINT           NOT NULL,
    until BIGINT           NOT NULL
) WITH (fillfactor = 30, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);
INSERT INTO relay_leases (shard, owner, token, until)
VALUES (0, '', 0, 0), (1, '', 0, 0), (2, '', 0, 0), (3, '', 0, 0), (4, '', 0, 0), (5, '', 0, 0), (6, '', 0, 0), (7, '', 0, 0);

CREATE TABLE api_keys (
    key_id       TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name         TEXT COLLATE "C" NOT NULL,
    hash         BYTEA            NOT NULL UNIQUE, -- SHA-256 of the whole key: 160 random bits need no slow hash
    scopes       TEXT COLLATE "C" NOT NULL,        -- separated by spaces
    created_at   BIGINT           NOT NULL,
    last_used_at BIGINT,
    expires_at   BIGINT,
    revoked_at   BIGINT
);

-- What all processes of one desk share: the sandbox's secret, made at the first start.
CREATE TABLE desk (
    name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

-- +goose Down
SELECT 'there is no way back from the first migration';
