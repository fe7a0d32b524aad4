-- +goose Up

-- A cancel that waits for a doubt, and how many cases the order has had.
ALTER TABLE orders ADD COLUMN cancel_ms BIGINT;
ALTER TABLE orders ADD COLUMN cases BIGINT NOT NULL DEFAULT 0;

-- Why an attempt was made at its account.
ALTER TABLE attempts ADD COLUMN wishes TEXT NOT NULL DEFAULT 'null';  -- JSON or null
ALTER TABLE attempts ADD COLUMN receipt TEXT NOT NULL DEFAULT '';

-- What has to be known now is asked first; a person may begin the plan of queries anew.
ALTER TABLE attempts ADD COLUMN query_urgent BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE attempts ADD COLUMN query_since_ms BIGINT;
DROP INDEX attempts_query_account;
UPDATE attempts SET query_ms = NULL WHERE state_rank = 30 AND NOT query_claimed AND NOT EXISTS (
    SELECT 1 FROM evidence e WHERE e.attempt_no = attempts.attempt_no AND e.verdict = 'needs_query' AND e.applied_ms IS NULL);
CREATE INDEX attempts_query_account ON attempts (account, query_ms) WHERE query_ms IS NOT NULL;
CREATE INDEX attempts_query_urgent ON attempts (account, query_ms) WHERE query_ms IS NOT NULL AND query_urgent;
CREATE INDEX attempts_handed ON attempts (account, handed_ms) WHERE handed_ms IS NOT NULL;

-- An attempt's refunds, undecided ones included, are no more than its money: of the order what is no surplus, of a
-- surplus what it is.
ALTER TABLE attempts ADD COLUMN paid BIGINT NOT NULL DEFAULT 0 CHECK (paid >= 0 AND (paid = 0 OR state_rank = 30));
ALTER TABLE attempts ADD COLUMN surplus BIGINT NOT NULL DEFAULT 0 CHECK (surplus >= 0 AND surplus <= paid);
ALTER TABLE attempts ADD COLUMN refunds BIGINT NOT NULL DEFAULT 0 CHECK (refunds >= 0 AND refunds <= paid - surplus);
ALTER TABLE surplus ADD COLUMN refunding BIGINT NOT NULL DEFAULT 0 CHECK (refunding >= 0 AND refunded + refunding <= amount);
UPDATE attempts SET
    paid = (SELECT o.total FROM orders o WHERE o.order_no = attempts.order_no),
    surplus = COALESCE((SELECT SUM(s.amount) FROM surplus s WHERE s.attempt_no = attempts.attempt_no), 0)
    WHERE state_rank = 30;

CREATE TABLE refunds (
    attempt_no         TEXT   NOT NULL REFERENCES attempts (attempt_no),
    ordinal            BIGINT NOT NULL CHECK (ordinal BETWEEN 1 AND 99),
    order_no           TEXT   NOT NULL REFERENCES orders (order_no),
    account            TEXT   NOT NULL,
    bill_no            TEXT   NOT NULL,               -- of the surplus; empty: of the order
    amount             BIGINT NOT NULL CHECK (amount = CAST(amount AS BIGINT) AND amount >= 1),
    reason             TEXT   NOT NULL,
    state              TEXT   NOT NULL CHECK (state IN ('undecided', 'done', 'failed')),
    why                TEXT   NOT NULL,
    provider_refund_no TEXT   NOT NULL,
    asked_ms           BIGINT NOT NULL,
    decided_ms         BIGINT,
    send_ms            BIGINT,                        -- when it is to be sent; null: it was claimed, and is never sent again
    PRIMARY KEY (attempt_no, ordinal)
);
CREATE UNIQUE INDEX refunds_one ON refunds (attempt_no) WHERE state = 'undecided';
CREATE INDEX refunds_order ON refunds (order_no);
CREATE INDEX refunds_send ON refunds (account, send_ms) WHERE send_ms IS NOT NULL;

-- A refund that was carried out does not keep the next one from being sent.
DROP INDEX calls_once;
CREATE UNIQUE INDEX calls_once ON calls (attempt_no, op) WHERE op <> 'refund' AND outcome IN ('', 'done', 'unknown');

-- A key under which an order was placed, and not a later request about it.
ALTER TABLE keys ADD COLUMN placed BOOLEAN NOT NULL DEFAULT TRUE;

CREATE TABLE cases (
    order_no   TEXT   NOT NULL REFERENCES orders (order_no),
    number     BIGINT NOT NULL CHECK (number >= 1),
    attempt_no TEXT   NOT NULL REFERENCES attempts (attempt_no),
    kind       TEXT   NOT NULL CHECK (kind IN ('unresolved', 'refund_mismatch')),
    detail     TEXT   NOT NULL,
    opened_ms  BIGINT NOT NULL,
    closed_ms  BIGINT,
    closed_by  TEXT   NOT NULL,
    note       TEXT   NOT NULL,
    PRIMARY KEY (order_no, number)
);
CREATE UNIQUE INDEX cases_open ON cases (attempt_no, kind) WHERE closed_ms IS NULL;

-- What operators and providers impose on accounts; rows are kept, for they count their edits.
CREATE TABLE controls (
    kind     TEXT    NOT NULL CHECK (kind IN ('force', 'quiet', 'window')),
    name     TEXT    NOT NULL,
    spec     TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    set_by   TEXT    NOT NULL,
    set_ms   BIGINT  NOT NULL,
    until_ms BIGINT,                                  -- null: until it is taken back
    dropped  BOOLEAN NOT NULL,
    edits    BIGINT  NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE TABLE control_log (
    kind     TEXT    NOT NULL,
    name     TEXT    NOT NULL,
    edit     BIGINT  NOT NULL,
    at_ms    BIGINT  NOT NULL,
    dropped  BOOLEAN NOT NULL,
    spec     TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    edited_by TEXT   NOT NULL,
    until_ms BIGINT,
    PRIMARY KEY (kind, name, edit)
);

-- When an account may be asked next.
CREATE TABLE query_paces (
    account TEXT   NOT NULL PRIMARY KEY,
    next_ms BIGINT NOT NULL
);
