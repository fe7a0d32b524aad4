-- +goose Up

-- What waits says what came of its last try.
ALTER TABLE attempts ADD COLUMN query_last TEXT NOT NULL DEFAULT '';
ALTER TABLE refunds ADD COLUMN sends BIGINT NOT NULL DEFAULT 0;   -- times that it was handed out to be sent
ALTER TABLE refunds ADD COLUMN send_last TEXT NOT NULL DEFAULT '';
UPDATE refunds SET sends = 1 WHERE send_ms IS NULL;

-- When the next query may be due for a hint that names its attempt without the attempt's token, and how many turns were taken.
ALTER TABLE query_paces ADD COLUMN hint_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE query_paces ADD COLUMN turns BIGINT NOT NULL DEFAULT 0;
