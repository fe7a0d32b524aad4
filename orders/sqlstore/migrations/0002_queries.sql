-- +goose Up

-- Each account is asked by workers of its own.
CREATE INDEX attempts_query_account ON attempts (account, query_ms) WHERE query_ms IS NOT NULL AND state_rank < 30;
DROP INDEX attempts_query;
ALTER TABLE attempts ADD COLUMN query_hold_ms BIGINT; -- the provider wants to be left alone until then

-- What may not stand alone waits for a query.
CREATE INDEX evidence_unproven ON evidence (attempt_no) WHERE verdict = 'needs_query' AND applied_ms IS NULL;
