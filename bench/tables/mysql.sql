-- Holdfast's own tables (internal/sqlstore/migrations/mysql), as far as placing an order writes them.

CREATE TABLE products (
    product_id    varbinary(512) NOT NULL PRIMARY KEY,
    title         text           NOT NULL,
    price_amount  bigint         NOT NULL CHECK (price_amount >= 0),
    currency      varbinary(3)   NOT NULL CHECK (length(currency) = 3),
    max_per_user  bigint         NOT NULL CHECK (max_per_user >= 0),
    pay_window_ms bigint         NOT NULL CHECK (pay_window_ms >= 0),
    on_sale_from  bigint,
    on_sale_until bigint,
    active        tinyint        NOT NULL CHECK (active IN (0, 1)),
    counts_users  tinyint        NOT NULL CHECK (counts_users IN (0, 1, 2)),
    version       bigint         NOT NULL,
    created_at    bigint         NOT NULL,
    updated_at    bigint         NOT NULL
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE stock (
    product_id varbinary(512) NOT NULL PRIMARY KEY,
    received   bigint NOT NULL CHECK (received >= 0),
    held       bigint NOT NULL CHECK (held >= 0),
    sold       bigint NOT NULL CHECK (sold >= 0),
    available  bigint GENERATED ALWAYS AS (received - held - sold) STORED,
    version    bigint NOT NULL,
    events     bigint NOT NULL,
    CHECK (available >= 0)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE stock_ledger (
    id         bigint NOT NULL AUTO_INCREMENT PRIMARY KEY,
    product_id varbinary(512) NOT NULL,
    version    bigint NOT NULL,
    kind       varbinary(16) NOT NULL CHECK (kind IN ('received', 'held', 'sold', 'released')),
    available  bigint NOT NULL,
    held       bigint NOT NULL,
    sold       bigint NOT NULL,
    order_no   bigint,
    reason     text,
    ref        varbinary(512),
    at         bigint NOT NULL,
    UNIQUE KEY stock_ledger_ref (product_id, ref),
    CHECK (kind = 'received' OR (available + held + sold = 0 AND order_no IS NOT NULL))
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE orders (
    order_no     bigint         NOT NULL PRIMARY KEY,
    user_id      varbinary(512) NOT NULL,
    status       varbinary(16)  NOT NULL,
    currency     varbinary(3)   NOT NULL,
    total_amount bigint         NOT NULL CHECK (total_amount >= 0),
    created_at   bigint         NOT NULL,
    pay_by       bigint         NOT NULL CHECK (pay_by > created_at),
    paid_at      bigint,
    closed_at    bigint,
    close_reason text           NOT NULL,
    paid_late    tinyint        NOT NULL CHECK (paid_late IN (0, 1)),
    reminded     tinyint        NOT NULL CHECK (reminded IN (0, 1)),
    version      bigint         NOT NULL,
    events       bigint         NOT NULL,
    metadata     text           NOT NULL,
    due          bigint GENERATED ALWAYS AS (CASE WHEN status = 'pending' THEN pay_by END) VIRTUAL,
    KEY orders_due (due),
    KEY orders_status (status, order_no),
    KEY orders_user (user_id, order_no)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE order_lines (
    order_no   bigint         NOT NULL,
    line       int            NOT NULL,
    product_id varbinary(512) NOT NULL,
    title      text           NOT NULL,
    quantity   bigint         NOT NULL CHECK (quantity > 0),
    unit_price bigint         NOT NULL CHECK (unit_price >= 0),
    PRIMARY KEY (order_no, line)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE order_transitions (
    order_no       bigint        NOT NULL,
    seq            bigint        NOT NULL,
    from_status    varbinary(16) NOT NULL,
    to_status      varbinary(16) NOT NULL,
    reason         text          NOT NULL,
    event_sequence bigint        NOT NULL,
    at             bigint        NOT NULL,
    PRIMARY KEY (order_no, seq)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE idempotency_keys (
    `key`       binary(16) NOT NULL PRIMARY KEY,
    fingerprint binary(16) NOT NULL,
    order_no    bigint     NOT NULL
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE outbox (
    id           bigint         NOT NULL AUTO_INCREMENT PRIMARY KEY,
    subject_kind varbinary(16)  NOT NULL CHECK (subject_kind IN ('order', 'product')),
    subject      varbinary(512) NOT NULL,
    sequence     bigint         NOT NULL CHECK (sequence >= 1),
    type         varbinary(64)  NOT NULL,
    at           bigint         NOT NULL,
    data         mediumtext     NOT NULL,
    UNIQUE KEY outbox_subject (subject_kind, subject, sequence)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;

CREATE TABLE outbox_waiting (
    shard    bigint NOT NULL,
    event_id bigint NOT NULL,
    PRIMARY KEY (shard, event_id)
) ENGINE = InnoDB, CHARACTER SET utf8mb4;
