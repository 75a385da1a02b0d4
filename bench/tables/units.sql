-- What unit-rows keeps of its stock: a row for each unit, in one of the two.

CREATE TABLE free_units (
    product_id varchar(128) NOT NULL,
    unit_id    bigint       NOT NULL,
    PRIMARY KEY (product_id, unit_id)
);

CREATE TABLE held_units (
    order_no   bigint       NOT NULL,
    product_id varchar(128) NOT NULL,
    unit_id    bigint       NOT NULL,
    PRIMARY KEY (order_no, product_id, unit_id)
);
