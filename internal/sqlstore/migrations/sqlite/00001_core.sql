-- The record. Times are whole milliseconds since 1970 (UTC), amounts minor units, texts UTF-8 compared byte by byte.
-- Hot tables carry few indexes, and keys that rise (order numbers do): an index on a random key dirties a page an order.
-- There are no foreign keys: every row of a batch is written by one statement list, and the audit joins both ways.

-- +goose Up
CREATE TABLE products (
    product_id    TEXT    NOT NULL PRIMARY KEY,
    title         TEXT    NOT NULL,
    price_amount  INTEGER NOT NULL CHECK (price_amount >= 0),
    currency      TEXT    NOT NULL CHECK (length(currency) = 3),
    max_per_user  INTEGER NOT NULL CHECK (max_per_user >= 0),     -- 0: no limit
    pay_window_ms INTEGER NOT NULL CHECK (pay_window_ms >= 0),    -- 0: the desk's default
    on_sale_from  INTEGER,
    on_sale_until INTEGER,
    active        INTEGER NOT NULL CHECK (active IN (0, 1)),
    counts_users  INTEGER NOT NULL CHECK (counts_users IN (0, 1, 2)), -- see user_units
    version       INTEGER NOT NULL,
    created_at    INTEGER NOT NULL,
    updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One row per product. What is available is what the others leave: it cannot be wrong, and cannot be negative.
CREATE TABLE stock (
    product_id TEXT    NOT NULL PRIMARY KEY,
    received   INTEGER NOT NULL CHECK (received >= 0),
    held       INTEGER NOT NULL CHECK (held >= 0),
    sold       INTEGER NOT NULL CHECK (sold >= 0),
    available  INTEGER GENERATED ALWAYS AS (received - held - sold) STORED CHECK (available >= 0),
    version    INTEGER NOT NULL, -- number of its stock_ledger entries
    events     INTEGER NOT NULL  -- number of its events
) STRICT, WITHOUT ROWID;

-- Append-only: replayed by product and version it never goes below zero and ends at the row in stock.
CREATE TABLE stock_ledger (
    id         INTEGER NOT NULL PRIMARY KEY,
    product_id TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    kind       TEXT    NOT NULL CHECK (kind IN ('received', 'held', 'sold', 'released')),
    available  INTEGER NOT NULL, -- the change of each
    held       INTEGER NOT NULL,
    sold       INTEGER NOT NULL,
    order_no   INTEGER,
    reason     TEXT,
    ref        TEXT,
    at         INTEGER NOT NULL,
    CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
) STRICT;
CREATE UNIQUE INDEX stock_ledger_ref ON stock_ledger (product_id, ref) WHERE ref IS NOT NULL;

CREATE TABLE users (
    user_id    TEXT    NOT NULL PRIMARY KEY,
    name       TEXT    NOT NULL,
    phone      TEXT    NOT NULL,
    email      TEXT    NOT NULL,
    address    TEXT    NOT NULL,
    metadata   TEXT    NOT NULL,
    version    INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- order_no is the day times 10^10 plus the count of the day, so that it rises from day to day.
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
    version      INTEGER NOT NULL, -- number of its order_transitions
    events       INTEGER NOT NULL, -- number of its events
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
-- By user within segments of 4096 order numbers: an index on the user alone would dirty one random page for every order,
-- this one some forty for a whole batch. Who looks for a user's orders walks the segments, newest first.
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

-- Every step of every order's life. seq is 1, 2, 3, … per order; event_sequence names the event that tells it.
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

-- Units in a user's pending, paid and fulfilled orders of a product. It is kept from the day a limit is first set on: 1 in
-- products.counts_users says that there were no such orders before, so that a missing counter is zero; 2 that there were, so
-- that a missing counter has to be worked out from the user's orders once.
CREATE TABLE user_units (
    product_id TEXT    NOT NULL,
    user_id    TEXT    NOT NULL,
    units      INTEGER NOT NULL CHECK (units >= 0),
    PRIMARY KEY (product_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE TABLE payments (
    payment_id     TEXT    NOT NULL PRIMARY KEY,
    order_no       INTEGER NOT NULL,
    provider       TEXT    NOT NULL,
    status         TEXT    NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'closed')),
    amount         INTEGER NOT NULL CHECK (amount >= 0),
    currency       TEXT    NOT NULL,
    transaction_id TEXT,
    created_at     INTEGER NOT NULL,
    paid_at        INTEGER,
    CHECK (status <> 'succeeded' OR (transaction_id IS NOT NULL AND paid_at IS NOT NULL))
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX payments_transaction ON payments (provider, transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX payments_order ON payments (order_no);

-- Money that has to go back: one row per payment at most.
CREATE TABLE refunds (
    refund_id  TEXT    NOT NULL PRIMARY KEY,
    payment_id TEXT    NOT NULL UNIQUE,
    order_no   INTEGER NOT NULL,
    amount     INTEGER NOT NULL CHECK (amount >= 0),
    currency   TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    status     TEXT    NOT NULL CHECK (status IN ('due', 'succeeded', 'failed')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- key is a hash of the caller's scope and the Idempotency-Key; the answer is the data of the order's first event.
CREATE TABLE idempotency_keys (
    key         BLOB    NOT NULL PRIMARY KEY CHECK (length(key) = 16),
    fingerprint BLOB    NOT NULL CHECK (length(fingerprint) = 16),
    order_no    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- A batch of the ledger writes its id first: whether a commit whose answer was lost took place is answered by it.
CREATE TABLE ledger_batches (
    batch_id BLOB    NOT NULL PRIMARY KEY CHECK (length(batch_id) = 16),
    at       INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX ledger_batches_at ON ledger_batches (at);

-- Numbers below next are granted, in blocks, to processes.
CREATE TABLE number_days (
    day  INTEGER NOT NULL PRIMARY KEY, -- yyyymmdd
    next INTEGER NOT NULL CHECK (next >= 1)
) STRICT;

-- Facts, written in the transaction that made them true, and never changed. Each waits in outbox_waiting until the relay
-- has given it its place in event_log: small rows, for marking the fact itself would write it, and its page, a second time.
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
    shard    INTEGER NOT NULL,
    event_id INTEGER NOT NULL,
    PRIMARY KEY (shard, event_id)
) STRICT, WITHOUT ROWID;

-- The log: its order never changes, and nothing ever appears behind what was read.
CREATE TABLE event_log (
    position INTEGER NOT NULL PRIMARY KEY,
    event_id INTEGER NOT NULL UNIQUE
) STRICT;

CREATE TABLE log_head (
    id       INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    position INTEGER NOT NULL -- of the last event in the log
) STRICT;
INSERT INTO log_head (id, position) VALUES (1, 0);

-- Who relays which shard. token rises with every change of hands: a relay that was paused cannot write with an old one.
CREATE TABLE relay_leases (
    shard INTEGER NOT NULL PRIMARY KEY,
    owner TEXT    NOT NULL,
    token INTEGER NOT NULL,
    until INTEGER NOT NULL
) STRICT;
INSERT INTO relay_leases (shard, owner, token, until)
VALUES (0, '', 0, 0), (1, '', 0, 0), (2, '', 0, 0), (3, '', 0, 0), (4, '', 0, 0), (5, '', 0, 0), (6, '', 0, 0), (7, '', 0, 0);

CREATE TABLE api_keys (
    key_id       TEXT    NOT NULL PRIMARY KEY,
    name         TEXT    NOT NULL,
    hash         BLOB    NOT NULL UNIQUE, -- SHA-256 of the whole key: 160 random bits need no slow hash
    scopes       TEXT    NOT NULL,        -- separated by spaces
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    expires_at   INTEGER,
    revoked_at   INTEGER
) STRICT, WITHOUT ROWID;

-- What all processes of one desk share: the sandbox's secret, made at the first start.
CREATE TABLE desk (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- +goose Down
SELECT 'there is no way back from the first migration';
