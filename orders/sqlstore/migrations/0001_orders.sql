-- +goose Up

-- One text for SQLite and Postgres. Times are unix milliseconds, money is a count of the
-- currency's smallest unit, identifiers are made by the gateway. CAST guards money because
-- SQLite would store text and fractions in a BIGINT column.

CREATE TABLE orders (
    order_no         TEXT    NOT NULL PRIMARY KEY,
    client_id        TEXT    NOT NULL,
    client_reference TEXT    NOT NULL,
    merchant         TEXT    NOT NULL,
    payer_member_id  TEXT    NOT NULL,
    provider         TEXT    NOT NULL,
    methods          TEXT    NOT NULL,
    settlement       TEXT    NOT NULL,
    currency         TEXT    NOT NULL,
    amount           BIGINT  NOT NULL CHECK (amount = CAST(amount AS BIGINT) AND amount >= 0),
    fee              BIGINT  NOT NULL CHECK (fee = CAST(fee AS BIGINT) AND fee >= 0),
    total            BIGINT  NOT NULL CHECK (total = amount + fee),
    return_url       TEXT    NOT NULL,
    pay_token        TEXT    NOT NULL UNIQUE,
    state_rank       BIGINT  NOT NULL CHECK (state_rank IN (0, 20, 21, 30, 40, 50)),
    version          BIGINT  NOT NULL CHECK (version >= 1),
    late             BOOLEAN NOT NULL,
    review           BOOLEAN NOT NULL,
    created_ms       BIGINT  NOT NULL,
    expires_ms       BIGINT  NOT NULL,
    settle_ms        BIGINT,                     -- when time may end it; null: it cannot
    locked           BIGINT  NOT NULL DEFAULT 0, -- counts locks: the row is locked by an update
    UNIQUE (client_id, client_reference)
);
CREATE INDEX orders_settle ON orders (settle_ms) WHERE settle_ms IS NOT NULL;
CREATE INDEX orders_review ON orders (order_no) WHERE review;

CREATE TABLE order_lines (
    order_no   TEXT   NOT NULL REFERENCES orders (order_no),
    bill_no    TEXT   NOT NULL,
    pos        BIGINT NOT NULL,
    name       TEXT   NOT NULL,
    quantity   BIGINT NOT NULL CHECK (quantity = CAST(quantity AS BIGINT) AND quantity >= 1),
    unit_price BIGINT NOT NULL CHECK (unit_price = CAST(unit_price AS BIGINT) AND unit_price >= 0),
    subtotal   BIGINT NOT NULL CHECK (subtotal = quantity * unit_price),
    PRIMARY KEY (order_no, bill_no)
);

CREATE TABLE attempts (
    attempt_no        TEXT    NOT NULL PRIMARY KEY,
    order_no          TEXT    NOT NULL REFERENCES orders (order_no),
    ordinal           BIGINT  NOT NULL CHECK (ordinal BETWEEN 1 AND 99),
    account           TEXT    NOT NULL,
    provider          TEXT    NOT NULL,
    environment       TEXT    NOT NULL,
    payee_member_id   TEXT    NOT NULL,
    token             TEXT    NOT NULL UNIQUE,
    state_rank        BIGINT  NOT NULL CHECK (state_rank IN (0, 10, 20, 21, 22, 30)),
    abandoned         BOOLEAN NOT NULL,
    created_ms        BIGINT  NOT NULL,
    handed_ms         BIGINT,
    redirect          TEXT    NOT NULL,          -- JSON or null
    refs              TEXT    NOT NULL,          -- JSON or null
    provider_trade_no TEXT    NOT NULL,
    method            TEXT    NOT NULL,
    paid_ms           BIGINT CHECK (paid_ms IS NULL OR state_rank = 30),
    query_ms          BIGINT,                    -- when it is asked next, or the end of the lease of a claimed query
    query_claimed     BOOLEAN NOT NULL DEFAULT FALSE,
    query_wanted_ms   BIGINT,                    -- a query asked for while one was claimed
    query_fence       BIGINT  NOT NULL DEFAULT 0,
    queried_ms        BIGINT,                    -- the last query
    asked             BIGINT  NOT NULL DEFAULT 0,
    UNIQUE (order_no, ordinal)
);
CREATE INDEX attempts_query ON attempts (query_ms) WHERE query_ms IS NOT NULL AND state_rank < 30;

CREATE TABLE bills (
    merchant     TEXT   NOT NULL,
    bill_no      TEXT   NOT NULL,
    holder_order TEXT   NOT NULL,                -- empty: nobody
    paid_order   TEXT   NOT NULL,                -- empty: unpaid
    locked       BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (merchant, bill_no)
);

CREATE TABLE surplus (
    attempt_no TEXT   NOT NULL REFERENCES attempts (attempt_no),
    bill_no    TEXT   NOT NULL,
    order_no   TEXT   NOT NULL REFERENCES orders (order_no),
    amount     BIGINT NOT NULL CHECK (amount = CAST(amount AS BIGINT) AND amount >= 0),
    refunded   BIGINT NOT NULL CHECK (refunded = CAST(refunded AS BIGINT) AND refunded >= 0 AND refunded <= amount),
    PRIMARY KEY (attempt_no, bill_no)
);
CREATE INDEX surplus_order ON surplus (order_no);
CREATE INDEX surplus_open ON surplus (attempt_no) WHERE refunded < amount;

CREATE TABLE calls (
    attempt_no TEXT   NOT NULL REFERENCES attempts (attempt_no),
    op         TEXT   NOT NULL CHECK (op IN ('create', 'confirm', 'refund')),
    ordinal    BIGINT NOT NULL CHECK (ordinal >= 1),
    sent_ms    BIGINT NOT NULL,
    outcome    TEXT   NOT NULL CHECK (outcome IN ('', 'done', 'refused', 'not_sent', 'unknown')),
    ended_ms   BIGINT,
    PRIMARY KEY (attempt_no, op, ordinal)
);
CREATE UNIQUE INDEX calls_once ON calls (attempt_no, op) WHERE outcome IN ('', 'done', 'unknown');
CREATE INDEX calls_doubt ON calls (attempt_no) WHERE op <> 'create' AND outcome IN ('', 'unknown');

CREATE TABLE evidence (
    digest      TEXT    NOT NULL PRIMARY KEY,    -- of its meaning, hex
    account     TEXT    NOT NULL,
    attempt_no  TEXT    NOT NULL,                -- as claimed by the message
    source      TEXT    NOT NULL,
    purpose     TEXT    NOT NULL,
    nonce       TEXT    NOT NULL,                -- of the first delivery
    needs_query BOOLEAN NOT NULL,
    fact        TEXT    NOT NULL,                -- JSON or null
    received_ms BIGINT  NOT NULL,                -- first
    raw_line    BYTEA   NOT NULL,
    raw_header  BYTEA   NOT NULL,
    raw_body    BYTEA   NOT NULL,
    verdict     TEXT    NOT NULL,
    why         TEXT    NOT NULL,
    seen        BIGINT  NOT NULL,                -- deliveries
    applied_ms  BIGINT,
    next_ms     BIGINT                           -- when an orphan is looked at next; null: not by itself
);
CREATE INDEX evidence_attempt ON evidence (attempt_no);
CREATE INDEX evidence_next ON evidence (next_ms) WHERE next_ms IS NOT NULL;
CREATE INDEX evidence_orphans ON evidence (digest) WHERE verdict = 'orphan';

-- Every nonce of every delivery, with the meaning it carried.
CREATE TABLE nonces (
    account TEXT NOT NULL,
    nonce   TEXT NOT NULL,
    digest  TEXT NOT NULL,
    PRIMARY KEY (account, nonce)
);

-- Inauthentic callbacks: counted by account and minute, the first of a minute kept whole.
CREATE TABLE refusal_counts (
    account   TEXT   NOT NULL,
    minute_ms BIGINT NOT NULL,
    count     BIGINT NOT NULL,
    PRIMARY KEY (account, minute_ms)
);
CREATE TABLE refusals (
    account     TEXT   NOT NULL,
    minute_ms   BIGINT NOT NULL,
    n           BIGINT NOT NULL,
    received_ms BIGINT NOT NULL,
    reason      TEXT   NOT NULL,
    raw_line    BYTEA  NOT NULL,
    raw_header  BYTEA  NOT NULL,
    raw_body    BYTEA  NOT NULL,
    PRIMARY KEY (account, minute_ms, n)
);

CREATE TABLE keys (
    client_id   TEXT    NOT NULL,
    route       TEXT    NOT NULL,
    idem_key    TEXT    NOT NULL,
    fingerprint BYTEA   NOT NULL,
    order_no    TEXT    NOT NULL,
    done        BOOLEAN NOT NULL,
    status      BIGINT  NOT NULL,
    answer      BYTEA   NOT NULL,
    fence       BIGINT  NOT NULL,
    lease_ms    BIGINT  NOT NULL,
    created_ms  BIGINT  NOT NULL,
    PRIMARY KEY (client_id, route, idem_key)
);
CREATE UNIQUE INDEX keys_running ON keys (order_no) WHERE NOT done;

CREATE TABLE number_blocks (
    day         TEXT   NOT NULL PRIMARY KEY,
    next_serial BIGINT NOT NULL
);

CREATE TABLE events (
    order_no    TEXT   NOT NULL REFERENCES orders (order_no),
    version     BIGINT NOT NULL CHECK (version >= 1),
    client_id   TEXT   NOT NULL,
    type        TEXT   NOT NULL,
    occurred_ms BIGINT NOT NULL,
    body        BYTEA  NOT NULL,
    seq         BIGINT,
    hash        BYTEA,
    state       TEXT   NOT NULL CHECK (state IN ('ready', 'done', 'held')),
    due_ms      BIGINT NOT NULL,                 -- of the next try, or the end of the lease of a claimed one
    fence       BIGINT NOT NULL DEFAULT 0,
    attempts    BIGINT NOT NULL DEFAULT 0,
    last_error  TEXT   NOT NULL DEFAULT '',
    ended_ms    BIGINT,                          -- of the last try
    PRIMARY KEY (order_no, version)
);
CREATE UNIQUE INDEX events_seq ON events (client_id, seq) WHERE seq IS NOT NULL;
CREATE INDEX events_due ON events (client_id, due_ms) WHERE state = 'ready';
CREATE INDEX events_undelivered ON events (client_id, state, occurred_ms) WHERE state <> 'done';
CREATE INDEX events_unsequenced ON events (client_id, order_no, version) WHERE seq IS NULL;

CREATE TABLE feed_heads (
    client_id TEXT   NOT NULL PRIMARY KEY,
    seq       BIGINT NOT NULL,
    hash      BYTEA  NOT NULL
);
