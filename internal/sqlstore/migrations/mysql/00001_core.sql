-- The record on MySQL and MariaDB; the SQLite file of the same number says what each table is for, this one what differs.
--
-- Ids and whatever else comes from strangers and is looked up is VARBINARY, UTF-8 inside, compared byte by byte: utf8mb4_bin takes
-- "a" and "a " for one, and the collations that do not are called differently on the two servers. 128 characters are 512 bytes.
-- Everything else is utf8mb4: our own words in VARCHAR, which utf8mb4_bin tells apart by case, and texts that nobody looks up.
--
-- There are no partial indexes. Unique keys need none, for NULLs do not collide; pending orders are found by status and pay_by.
-- Every CHECK is a named condition of the table, with its table's name, because MySQL wants them unique in the whole database,
-- refers to other columns in these only, and takes no CASE for a condition.
--
-- DDL commits by itself on these servers. A migration that was cut off half way is run again from its beginning, so each
-- statement does nothing where it was done before.

-- +goose NO TRANSACTION
-- +goose Up
CREATE TABLE IF NOT EXISTS products (
    product_id    VARBINARY(512) NOT NULL PRIMARY KEY,
    title         VARCHAR(500)   NOT NULL,
    price_amount  BIGINT         NOT NULL,
    currency      VARCHAR(8)     NOT NULL,
    max_per_user  BIGINT         NOT NULL,
    pay_window_ms BIGINT         NOT NULL,
    on_sale_from  BIGINT,
    on_sale_until BIGINT,
    active        TINYINT        NOT NULL,
    counts_users  TINYINT        NOT NULL,
    version       BIGINT         NOT NULL,
    created_at    BIGINT         NOT NULL,
    updated_at    BIGINT         NOT NULL,
    CONSTRAINT products_price CHECK (price_amount >= 0),
    CONSTRAINT products_currency CHECK (length(currency) = 3),
    CONSTRAINT products_limit CHECK (max_per_user >= 0),
    CONSTRAINT products_pay_window CHECK (pay_window_ms >= 0),
    CONSTRAINT products_active CHECK (active IN (0, 1)),
    CONSTRAINT products_counting CHECK (counts_users IN (0, 1, 2))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS stock (
    product_id VARBINARY(512) NOT NULL PRIMARY KEY,
    received   BIGINT         NOT NULL,
    held       BIGINT         NOT NULL,
    sold       BIGINT         NOT NULL,
    available  BIGINT GENERATED ALWAYS AS (received - held - sold) STORED,
    version    BIGINT         NOT NULL,
    events     BIGINT         NOT NULL,
    CONSTRAINT stock_received CHECK (received >= 0),
    CONSTRAINT stock_held CHECK (held >= 0),
    CONSTRAINT stock_sold CHECK (sold >= 0),
    CONSTRAINT stock_available CHECK (available >= 0)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS stock_ledger (
    id         BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id VARBINARY(512) NOT NULL,
    version    BIGINT         NOT NULL,
    kind       VARCHAR(16)    NOT NULL,
    available  BIGINT         NOT NULL,
    held       BIGINT         NOT NULL,
    sold       BIGINT         NOT NULL,
    order_no   BIGINT,
    reason     VARCHAR(500),
    ref        VARBINARY(512),
    at         BIGINT         NOT NULL,
    UNIQUE KEY stock_ledger_ref (product_id, ref),
    CONSTRAINT stock_ledger_kind CHECK (kind IN ('received', 'held', 'sold', 'released')),
    CONSTRAINT stock_ledger_moves CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
    user_id    VARBINARY(512) NOT NULL PRIMARY KEY,
    name       VARCHAR(200)   NOT NULL,
    phone      VARCHAR(50)    NOT NULL,
    email      VARCHAR(320)   NOT NULL,
    address    VARCHAR(2000)  NOT NULL,
    metadata   TEXT           NOT NULL,
    version    BIGINT         NOT NULL,
    created_at BIGINT         NOT NULL,
    updated_at BIGINT         NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS orders (
    order_no     BIGINT         NOT NULL PRIMARY KEY,
    user_id      VARBINARY(512) NOT NULL,
    status       VARCHAR(16)    NOT NULL,
    currency     VARCHAR(8)     NOT NULL,
    total_amount BIGINT         NOT NULL,
    created_at   BIGINT         NOT NULL,
    pay_by       BIGINT         NOT NULL,
    paid_at      BIGINT,
    closed_at    BIGINT,
    close_reason VARCHAR(500)   NOT NULL,
    paid_late    TINYINT        NOT NULL,
    reminded     TINYINT        NOT NULL,
    version      BIGINT         NOT NULL,
    events       BIGINT         NOT NULL,
    metadata     TEXT           NOT NULL,
    KEY orders_due (status, pay_by),
    KEY orders_user (user_id, order_no),
    CONSTRAINT orders_total CHECK (total_amount >= 0),
    CONSTRAINT orders_pay_by CHECK (pay_by > created_at),
    CONSTRAINT orders_paid_late CHECK (paid_late IN (0, 1)),
    CONSTRAINT orders_reminded CHECK (reminded IN (0, 1)),
    CONSTRAINT orders_states CHECK (
        (status = 'pending' AND paid_at IS NULL AND closed_at IS NULL)
        OR (status = 'paid' AND paid_at IS NOT NULL AND closed_at IS NULL)
        OR (status = 'cancelled' AND closed_at IS NOT NULL)
        OR (status = 'expired' AND closed_at IS NOT NULL AND closed_at >= pay_by)
        OR (status IN ('fulfilled', 'refunded') AND paid_at IS NOT NULL AND closed_at IS NOT NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_lines (
    order_no   BIGINT         NOT NULL,
    line       BIGINT         NOT NULL,
    product_id VARBINARY(512) NOT NULL,
    title      VARCHAR(500)   NOT NULL,
    quantity   BIGINT         NOT NULL,
    unit_price BIGINT         NOT NULL,
    PRIMARY KEY (order_no, line),
    CONSTRAINT order_lines_quantity CHECK (quantity > 0),
    CONSTRAINT order_lines_price CHECK (unit_price >= 0)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS order_transitions (
    order_no       BIGINT       NOT NULL,
    seq            BIGINT       NOT NULL,
    from_status    VARCHAR(16)  NOT NULL,
    to_status      VARCHAR(16)  NOT NULL,
    reason         VARCHAR(500) NOT NULL,
    event_sequence BIGINT       NOT NULL,
    at             BIGINT       NOT NULL,
    PRIMARY KEY (order_no, seq),
    CONSTRAINT order_transitions_steps CHECK (
        (from_status = '' AND to_status = 'pending' AND seq = 1)
        OR (from_status = 'pending' AND to_status IN ('paid', 'cancelled', 'expired') AND seq = 2)
        OR (from_status = 'paid' AND to_status IN ('fulfilled', 'refunded') AND seq = 3))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS user_units (
    product_id VARBINARY(512) NOT NULL,
    user_id    VARBINARY(512) NOT NULL,
    units      BIGINT         NOT NULL,
    PRIMARY KEY (product_id, user_id),
    CONSTRAINT user_units_units CHECK (units >= 0)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS payments (
    payment_id     VARBINARY(512) NOT NULL PRIMARY KEY,
    order_no       BIGINT         NOT NULL,
    provider       VARBINARY(64)  NOT NULL,
    status         VARCHAR(16)    NOT NULL,
    amount         BIGINT         NOT NULL,
    currency       VARCHAR(8)     NOT NULL,
    transaction_id VARBINARY(512),
    created_at     BIGINT         NOT NULL,
    paid_at        BIGINT,
    UNIQUE KEY payments_transaction (provider, transaction_id),
    KEY payments_order (order_no),
    CONSTRAINT payments_status CHECK (status IN ('pending', 'succeeded', 'failed', 'closed')),
    CONSTRAINT payments_amount CHECK (amount >= 0),
    CONSTRAINT payments_succeeded CHECK (status <> 'succeeded' OR (transaction_id IS NOT NULL AND paid_at IS NOT NULL))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS refunds (
    refund_id  VARBINARY(512) NOT NULL PRIMARY KEY,
    payment_id VARBINARY(512) NOT NULL,
    order_no   BIGINT         NOT NULL,
    amount     BIGINT         NOT NULL,
    currency   VARCHAR(8)     NOT NULL,
    reason     VARCHAR(500)   NOT NULL,
    status     VARCHAR(16)    NOT NULL,
    created_at BIGINT         NOT NULL,
    UNIQUE KEY refunds_payment (payment_id),
    CONSTRAINT refunds_amount CHECK (amount >= 0),
    CONSTRAINT refunds_status CHECK (status IN ('due', 'succeeded', 'failed'))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency_keys (
    `key`       BINARY(16) NOT NULL PRIMARY KEY,
    fingerprint BINARY(16) NOT NULL,
    order_no    BIGINT     NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS ledger_batches (
    batch_id BINARY(16) NOT NULL PRIMARY KEY,
    at       BIGINT     NOT NULL,
    KEY ledger_batches_at (at)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS number_days (
    day  BIGINT NOT NULL PRIMARY KEY,
    next BIGINT NOT NULL,
    CONSTRAINT number_days_next CHECK (next >= 1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox (
    id           BIGINT         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    subject_kind VARCHAR(16)    NOT NULL,
    subject      VARBINARY(512) NOT NULL,
    sequence     BIGINT         NOT NULL,
    type         VARCHAR(64)    NOT NULL,
    at           BIGINT         NOT NULL,
    data         MEDIUMTEXT     NOT NULL,
    UNIQUE KEY outbox_subject (subject_kind, subject, sequence),
    CONSTRAINT outbox_kind CHECK (subject_kind IN ('order', 'product')),
    CONSTRAINT outbox_sequence CHECK (sequence >= 1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS outbox_waiting (
    shard    BIGINT NOT NULL,
    event_id BIGINT NOT NULL,
    PRIMARY KEY (shard, event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS event_log (
    position BIGINT NOT NULL PRIMARY KEY,
    event_id BIGINT NOT NULL,
    UNIQUE KEY event_log_event (event_id)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS log_head (
    id       BIGINT NOT NULL PRIMARY KEY,
    position BIGINT NOT NULL,
    CONSTRAINT log_head_one CHECK (id = 1)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO log_head (id, position) VALUES (1, 0);

CREATE TABLE IF NOT EXISTS relay_leases (
    shard BIGINT         NOT NULL PRIMARY KEY,
    owner VARBINARY(512) NOT NULL,
    token BIGINT         NOT NULL,
    until BIGINT         NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
INSERT IGNORE INTO relay_leases (shard, owner, token, until)
VALUES (0, '', 0, 0), (1, '', 0, 0), (2, '', 0, 0), (3, '', 0, 0), (4, '', 0, 0), (5, '', 0, 0), (6, '', 0, 0), (7, '', 0, 0);

CREATE TABLE IF NOT EXISTS api_keys (
    key_id       VARBINARY(512) NOT NULL PRIMARY KEY,
    name         VARCHAR(200)   NOT NULL,
    hash         BINARY(32)     NOT NULL,
    scopes       VARCHAR(500)   NOT NULL,
    created_at   BIGINT         NOT NULL,
    last_used_at BIGINT,
    expires_at   BIGINT,
    revoked_at   BIGINT,
    UNIQUE KEY api_keys_hash (hash)
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS desk (
    name  VARBINARY(512) NOT NULL PRIMARY KEY,
    value TEXT           NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
SELECT 'there is no way back from the first migration';
