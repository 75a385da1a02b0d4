-- Holdfast's own tables (internal/sqlstore/migrations/mysql), as far as placing an order writes them.

CREATE TABLE products (
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
    quarantine     VARCHAR(1000)  NOT NULL DEFAULT '',
    quarantined_at BIGINT,
    released       VARCHAR(1000)  NOT NULL DEFAULT '',
    KEY products_quarantined (quarantined_at),
    CONSTRAINT products_price CHECK (price_amount >= 0),
    CONSTRAINT products_currency CHECK (length(currency) = 3),
    CONSTRAINT products_limit CHECK (max_per_user >= 0),
    CONSTRAINT products_pay_window CHECK (pay_window_ms >= 0),
    CONSTRAINT products_active CHECK (active IN (0, 1)),
    CONSTRAINT products_counting CHECK (counts_users IN (0, 1, 2))
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE stock (
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

CREATE TABLE stock_ledger (
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

CREATE TABLE orders (
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
    KEY orders_status (status, order_no),
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

CREATE TABLE order_lines (
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

CREATE TABLE order_transitions (
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

CREATE TABLE idempotency_keys (
    `key`       BINARY(16) NOT NULL PRIMARY KEY,
    fingerprint BINARY(16) NOT NULL,
    order_no    BIGINT     NOT NULL
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE outbox (
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

CREATE TABLE outbox_waiting (
    shard    BIGINT NOT NULL,
    event_id BIGINT NOT NULL PRIMARY KEY
) ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
