package sqlstore

import (
	"context"
	"time"

	"pay.taipei/gateway/orders"
)

// mayBeKnown is the condition under which a provider may know an attempt: only then is it
// asked about. It is the rule of orders.Settle in SQL, and besides a provider that has told us knows it.
const (
	mayBeKnown = `(attempts.handed_ms IS NOT NULL OR EXISTS (
		SELECT 1 FROM calls c WHERE c.attempt_no = attempts.attempt_no AND c.outcome <> 'not_sent') OR ` + unproven + `)`
	unproven = `EXISTS (SELECT 1 FROM evidence e WHERE e.attempt_no = attempts.attempt_no AND e.verdict = 'needs_query' AND e.applied_ms IS NULL)`
)

const (
	// The end of the lease is the next time at which the query is due.
	sqlClaimQuery = `UPDATE attempts SET query_ms = $2, query_claimed = TRUE, query_wanted_ms = NULL,
		query_fence = query_fence + 1, queried_ms = $1, asked = asked + 1
		WHERE attempt_no = (SELECT attempt_no FROM attempts
			WHERE account = $3 AND query_ms IS NOT NULL AND query_ms <= $1 AND state_rank < 30 AND ` + mayBeKnown + `
			ORDER BY query_ms, attempt_no LIMIT 1 /*skip locked*/)
		RETURNING attempt_no, order_no, asked, query_fence`
	// What could not stand alone has been proven by a query.
	sqlProven = `UPDATE evidence SET applied_ms = $2 WHERE attempt_no = $1 AND verdict = 'needs_query' AND applied_ms IS NULL
		AND EXISTS (SELECT 1 FROM attempts a WHERE a.attempt_no = $1 AND a.state_rank = 30)`
	sqlUnproven = `SELECT digest FROM evidence WHERE attempt_no = $1 AND verdict = 'needs_query' AND applied_ms IS NULL
		ORDER BY received_ms, digest LIMIT 1`
	sqlFinishQuery = `UPDATE attempts SET query_claimed = FALSE, queried_ms = $3, query_wanted_ms = NULL, query_hold_ms = $5,
		query_ms = CASE WHEN query_wanted_ms < $4 OR $4 IS NULL THEN query_wanted_ms ELSE $4 END
		WHERE attempt_no = $1 AND query_fence = $2 AND query_claimed`
)

// ClaimQuery is documented in orders.Sweep. An attempt of which no byte has left us is never
// asked about: some providers count such questions against us.
func (s *Store) ClaimQuery(ctx context.Context, account string, now time.Time, lease time.Duration) (orders.QueryWork, error) {
	return write(ctx, s, func(u unit) (orders.QueryWork, error) {
		var w orders.QueryWork
		var no orders.OrderNo
		found, err := u.one(sqlClaimQuery, []any{now.UnixMilli(), now.Add(lease).UnixMilli(), account}, &w.Attempt, &no, &w.Asked, &w.Fence)
		if err != nil {
			return w, err
		}
		if !found {
			return w, orders.ErrNothing
		}
		w.Asked-- // not counting this time
		if _, err = u.one(sqlUnproven, []any{w.Attempt}, &w.Unproven); err != nil {
			return w, err
		}
		w.Order, err = u.order(no)
		return w, err
	})
}

// FinishQuery is documented in orders.Sweep; ErrFenced when the claim was lost. A query that
// evidence asked for meanwhile stays due when that is earlier than next.
func (s *Store) FinishQuery(ctx context.Context, w orders.QueryWork, now, next time.Time) error {
	if next.IsZero() {
		// A transaction of its own: Apply locks evidence before the attempt, and this must not wait for it the other way round.
		if _, err := write(ctx, s, func(u unit) (int64, error) { return u.exec(sqlProven, w.Attempt, now.UnixMilli()) }); err != nil {
			return err
		}
	}
	_, err := write(ctx, s, func(u unit) (int64, error) {
		return u.fenced(sqlFinishQuery, w.Attempt, w.Fence, now.UnixMilli(), millis(next), millis(w.NotBefore))
	})
	return err
}

// fenced runs a statement that finds its row only while the claim is held.
func (u unit) fenced(query string, args ...any) (int64, error) {
	n, err := u.exec(query, args...)
	if err == nil && n == 0 {
		err = orders.ErrFenced
	}
	return n, err
}

const (
	sqlLockQuery = `UPDATE attempts SET query_fence = query_fence WHERE attempt_no = $1
		RETURNING query_ms, query_claimed, query_wanted_ms, queried_ms, query_hold_ms`
	sqlSetQuery = `UPDATE attempts SET query_ms = $2, query_wanted_ms = $3, asked = CASE WHEN $4 THEN 0 ELSE asked END WHERE attempt_no = $1`
)

// due makes an attempt's query due at a moment, but not within spacing of the last one, and not before the provider
// wants to be asked. Without spacing it is news: asking starts anew.
func (u unit) due(attempt orders.AttemptNo, at time.Time, spacing time.Duration) error {
	var next, wanted, last, hold time.Time
	var claimed bool
	if _, err := u.one(sqlLockQuery, []any{attempt}, moment{&next}, &claimed, moment{&wanted}, moment{&last}, moment{&hold}); err != nil {
		return err
	}
	due := at
	if !last.IsZero() && due.Before(last.Add(spacing)) {
		due = last.Add(spacing)
	}
	if due.Before(hold) {
		due = hold
	}
	if claimed { // what is due is the lease; this query comes after the claimed one
		wanted = earlier(wanted, due)
	} else {
		next = earlier(next, due)
	}
	return u.exec1(sqlSetQuery, attempt, millis(next), millis(wanted), spacing == 0)
}

// earlier is the earlier of two moments, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

const sqlClaimSettle = `UPDATE orders SET settle_ms = $2, locked = locked + 1
	WHERE order_no = (SELECT order_no FROM orders WHERE settle_ms IS NOT NULL AND settle_ms <= $1
		ORDER BY settle_ms, order_no LIMIT 1 /*skip locked*/)
	RETURNING order_no`

// settleAgain is when an order that could not be settled is looked at again: evidence
// ends it, or takes the obstacle away.
const settleAgain = time.Minute

// SettleNext is documented in orders.Sweep.
func (s *Store) SettleNext(ctx context.Context, now time.Time) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.settle(now) })
}

func (u unit) settle(now time.Time) (orders.Order, error) {
	var no orders.OrderNo
	found, err := u.one(sqlClaimSettle, []any{now.UnixMilli(), now.Add(settleAgain).UnixMilli()}, &no)
	if err != nil {
		return orders.Order{}, err
	}
	if !found {
		return orders.Order{}, orders.ErrNothing
	}
	b, err := u.lock(no)
	if err != nil {
		return orders.Order{}, err
	}
	c := change{b, orders.Settle(b, now)}
	if c.Verdict != orders.VerdictApplied {
		return b.Order, nil
	}
	if err := u.forgetQueries(&c); err != nil {
		return orders.Order{}, err
	}
	err = u.save(&c, now)
	return c.Book.Order, err
}

const sqlForgetQuery = `UPDATE attempts SET query_ms = NULL WHERE attempt_no = $1 AND NOT ` + unproven + ` RETURNING attempt_no`

// forgetQueries takes back the queries of the attempts that time alone has ended: they never left us. Where the provider
// says that one is paid all the same, it is asked until it proves that.
func (u unit) forgetQueries(c *change) error {
	for i := range c.before.Order.Attempts {
		a := &c.Book.Order.Attempts[i]
		if a.State == c.before.Order.Attempts[i].State {
			continue
		}
		var no orders.AttemptNo
		forgotten, err := u.one(sqlForgetQuery, []any{a.No}, &no)
		if err != nil {
			return err
		}
		if forgotten {
			a.QueryAt = time.Time{}
		}
	}
	return nil
}

const (
	sqlClaimOrphan = `UPDATE evidence SET next_ms = $2
		WHERE digest = (SELECT digest FROM evidence WHERE next_ms IS NOT NULL AND next_ms <= $1 AND received_ms > $3
			ORDER BY next_ms, digest LIMIT 1 /*skip locked*/)
		RETURNING source, purpose, account, attempt_no, nonce, fact, needs_query, received_ms, raw_line, raw_header, raw_body`
	// Orphans that are too old are not looked at any more; they stay counted.
	sqlRetireOrphans = `UPDATE evidence SET next_ms = NULL WHERE next_ms IS NOT NULL AND next_ms <= $1 AND received_ms <= $2`
)

// orphanAgain is when an orphan is looked at again.
const orphanAgain = time.Minute

// ClaimOrphan is documented in orders.Sweep.
func (s *Store) ClaimOrphan(ctx context.Context, now, since time.Time) (orders.Evidence, error) {
	var f *fact
	claim, err := write(ctx, s, func(u unit) (*orders.Evidence, error) {
		var e orders.Evidence
		var line, header []byte
		found, err := u.one(sqlClaimOrphan, []any{now.UnixMilli(), now.Add(orphanAgain).UnixMilli(), since.UnixMilli()},
			&e.Source, &e.Purpose, &e.Account, &e.AttemptNo, &e.Nonce, asJSON{&f}, &e.NeedsQuery, moment{&e.ReceivedAt},
			&line, &header, &e.Raw.Body)
		if err != nil {
			return nil, err
		}
		if !found {
			_, err = u.exec(sqlRetireOrphans, now.UnixMilli(), since.UnixMilli())
			return nil, err
		}
		e.Raw.Line, e.Raw.Header = string(line), string(header)
		return &e, nil
	})
	switch {
	case err != nil:
		return orders.Evidence{}, err
	case claim == nil:
		return orders.Evidence{}, orders.ErrNothing
	}
	// Only now: a row that cannot be read must not hold up those behind it.
	claim.Fact, err = f.fact()
	return *claim, err
}

const (
	sqlNextQuery = `SELECT MIN(query_ms) FROM attempts WHERE account = $1 AND query_ms IS NOT NULL AND state_rank < 30 AND ` + mayBeKnown
	sqlAccounts  = `SELECT DISTINCT account FROM attempts WHERE query_ms IS NOT NULL AND state_rank < 30 ORDER BY account`
	sqlNextDue   = `SELECT MIN(at) FROM (
	SELECT MIN(settle_ms) AS at FROM orders WHERE settle_ms IS NOT NULL
	UNION ALL SELECT MIN(next_ms) FROM evidence WHERE next_ms IS NOT NULL) AS due`
)

// NextQuery is documented in orders.Sweep.
func (s *Store) NextQuery(ctx context.Context, account string) (time.Time, error) {
	return read(ctx, s, func(u unit) (at time.Time, err error) {
		_, err = u.one(sqlNextQuery, []any{account}, moment{&at})
		return at, err
	})
}

// QueryAccounts is documented in orders.Sweep.
func (s *Store) QueryAccounts(ctx context.Context) ([]string, error) {
	return read(ctx, s, func(u unit) (accounts []string, err error) {
		err = u.each(sqlAccounts, nil, func(row scan) error {
			var account string
			err := row(&account)
			accounts = append(accounts, account)
			return err
		})
		return accounts, err
	})
}

// NextDue is documented in orders.Sweep.
func (s *Store) NextDue(ctx context.Context) (time.Time, error) {
	return read(ctx, s, func(u unit) (at time.Time, err error) {
		_, err = u.one(sqlNextDue, nil, moment{&at})
		return at, err
	})
}
