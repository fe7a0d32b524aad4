package sqlstore

import (
	"context"
	"fmt"
	"math"
	"strings"
	"time"

	"pay.taipei/gateway/orders"
)

// mayBeKnown is the condition under which a provider may know an attempt: only then is it
// asked about. It is the rule of orders.Settle in SQL, and besides a provider that has told us knows it.
const (
	mayBeKnown = `(attempts.handed_ms IS NOT NULL OR EXISTS (
		SELECT 1 FROM calls c WHERE c.attempt_no = attempts.attempt_no AND c.outcome <> 'not_sent') OR ` + unproven + `)`
	unproven = `EXISTS (SELECT 1 FROM evidence e WHERE e.attempt_no = attempts.attempt_no AND e.verdict = 'needs_query' AND e.applied_ms IS NULL)`
	// A paid attempt is asked about only for what was said of it and is not proven, or for a refund that was sent.
	askable = mayBeKnown + ` AND (state_rank < 30 OR ` + unproven + ` OR EXISTS (SELECT 1 FROM refunds r
		WHERE r.attempt_no = attempts.attempt_no AND r.state = 'undecided' AND r.send_ms IS NULL))`
)

const (
	// The row is locked until the claim is committed, so that two replicas keep the distance too.
	sqlPace = `INSERT INTO query_paces (account, next_ms, turns) VALUES ($1, $3, 1)
		ON CONFLICT (account) DO UPDATE SET next_ms = $3, turns = query_paces.turns + 1 WHERE query_paces.next_ms <= $2 RETURNING turns`
	sqlIsQuiet = `SELECT 1 FROM controls WHERE kind = 'quiet' AND name = $1 AND NOT dropped AND (until_ms IS NULL OR until_ms > $2)`
	// The end of the lease is the next time at which the query is due.
	sqlClaimQuery = `UPDATE attempts SET query_ms = $2, query_claimed = TRUE, query_wanted_ms = NULL, query_urgent = FALSE,
		query_fence = query_fence + 1, queried_ms = $1, asked = asked + 1
		WHERE attempt_no = (SELECT attempt_no FROM attempts
			WHERE account = $3 AND query_ms IS NOT NULL AND query_ms <= $1 AND ` + askable + ` /*urgent*/
			ORDER BY query_ms, attempt_no LIMIT 1 /*skip locked*/)
		RETURNING attempt_no, order_no, asked, query_fence, query_since_ms, query_last`
	// What could not stand alone has been proven by a query.
	sqlProven = `UPDATE evidence SET applied_ms = $2 WHERE attempt_no = $1 AND verdict = 'needs_query' AND applied_ms IS NULL
		AND EXISTS (SELECT 1 FROM attempts a WHERE a.attempt_no = $1 AND a.state_rank = 30)`
	sqlUnproven = `SELECT digest, received_ms FROM evidence WHERE attempt_no = $1 AND verdict = 'needs_query' AND applied_ms IS NULL
		ORDER BY received_ms, digest LIMIT 1`
	sqlFinishQuery = `UPDATE attempts SET query_claimed = FALSE, queried_ms = $3, query_wanted_ms = NULL, query_hold_ms = $5,
		query_ms = CASE WHEN query_wanted_ms < $4 OR $4 IS NULL THEN query_wanted_ms ELSE $4 END, query_urgent = query_urgent OR $6, query_last = $7
		WHERE attempt_no = $1 AND query_fence = $2 AND query_claimed`
)

// everyOther is which turn of an account with a pace goes to a query that is not urgent: else many that are could hold up the
// others for ever.
const everyOther = 4

// ClaimQuery is documented in orders.Sweep. An attempt of which no byte has left us is never
// asked about: some providers count such questions against us.
func (s *Store) ClaimQuery(ctx context.Context, account string, now time.Time, lease, gap time.Duration) (orders.QueryWork, error) {
	return write(ctx, s, func(u unit) (orders.QueryWork, error) {
		var w orders.QueryWork
		turn, err := u.mayAsk(account, now, gap)
		if err != nil {
			return w, err
		}
		var no orders.OrderNo
		first := "AND query_urgent"
		if turn%everyOther == 0 {
			first = "AND NOT query_urgent"
		}
		for _, which := range []string{first, ""} {
			found, err := u.one(strings.Replace(sqlClaimQuery, markUrgent, which, 1), []any{now.UnixMilli(), now.Add(lease).UnixMilli(), account},
				&w.Attempt, &no, &w.Asked, &w.Fence, moment{&w.Since}, &w.Last)
			if err != nil {
				return w, err
			}
			if found {
				break
			}
		}
		if no == "" {
			return w, orders.ErrNothing
		}
		w.Asked-- // not counting this time
		if _, err := u.one(sqlUnproven, []any{w.Attempt}, &w.Unproven, moment{&w.UnprovenAt}); err != nil {
			return w, err
		}
		w.Order, err = u.order(no)
		return w, err
	})
}

const sqlClaimAttempt = `UPDATE attempts SET query_ms = $2, query_claimed = TRUE, query_urgent = FALSE,
	query_wanted_ms = CASE WHEN query_claimed THEN query_wanted_ms WHEN query_ms > $1 THEN query_ms END,
	query_fence = query_fence + 1, queried_ms = $1, asked = asked + 1
	WHERE attempt_no = $3 AND NOT (query_claimed AND query_ms > $1) AND (queried_ms IS NULL OR queried_ms <= $4) AND ` + askable + `
	RETURNING order_no, asked, query_fence, query_since_ms, query_last`

// ClaimAttempt is documented in orders.Sweep. A query that becomes due later stays so.
func (s *Store) ClaimAttempt(ctx context.Context, attempt orders.AttemptNo, now time.Time, lease, gap, spacing time.Duration) (orders.QueryWork, error) {
	return write(ctx, s, func(u unit) (orders.QueryWork, error) {
		w := orders.QueryWork{Attempt: attempt}
		o, err := u.orderOf(attempt)
		if err != nil {
			return w, err
		}
		if w.Order, err = u.order(o); err != nil {
			return w, err
		}
		if _, err := u.mayAsk(w.Order.Attempt(attempt).Account, now, gap); err != nil {
			return w, err
		}
		found, err := u.one(sqlClaimAttempt, []any{now.UnixMilli(), now.Add(lease).UnixMilli(), attempt, now.Add(-spacing).UnixMilli()},
			&o, &w.Asked, &w.Fence, moment{&w.Since}, &w.Last)
		if err == nil && !found {
			err = orders.ErrNothing
		}
		if err != nil {
			return w, err
		}
		w.Asked--
		_, err = u.one(sqlUnproven, []any{attempt}, &w.Unproven, moment{&w.UnprovenAt})
		return w, err
	})
}

// TakeTurn is documented in orders.Sweep.
func (s *Store) TakeTurn(ctx context.Context, account string, attempt orders.AttemptNo, now time.Time, gap time.Duration) error {
	_, err := write(ctx, s, func(u unit) (int64, error) {
		if _, err := u.mayAsk(account, now, gap); err != nil {
			return 0, err
		}
		return u.exec(sqlAsked, attempt, now.UnixMilli())
	})
	return err
}

const sqlAsked = `UPDATE attempts SET queried_ms = $2 WHERE attempt_no = $1`

// ToldPaid is documented in orders.Reader.
func (s *Store) ToldPaid(ctx context.Context, attempt orders.AttemptNo) (bool, error) {
	return read(ctx, s, func(u unit) (bool, error) { return u.toldPaid(attempt) })
}

func (u unit) toldPaid(attempt orders.AttemptNo) (bool, error) {
	var digest string
	var at time.Time
	_, err := u.one(sqlUnproven, []any{attempt}, &digest, moment{&at})
	return digest != "", err
}

// mayAsk takes an account's turn, which is given back with the transaction; ErrNothing when it has none now. Where there is no
// gap to keep, turns are not counted.
func (u unit) mayAsk(account string, now time.Time, gap time.Duration) (turn int64, err error) {
	quiet, err := u.one(sqlIsQuiet, []any{account, now.UnixMilli()}, &turn)
	if err == nil && quiet {
		err = orders.ErrNothing
	}
	if err != nil || gap <= 0 {
		return 1, err
	}
	found, err := u.one(sqlPace, []any{account, now.UnixMilli(), now.Add(gap).UnixMilli()}, &turn)
	if err == nil && !found {
		err = orders.ErrNothing
	}
	return turn, err
}

// FinishQuery is documented in orders.Sweep; ErrFenced when the claim was lost. A query that
// evidence asked for meanwhile stays due when that is earlier than next.
func (s *Store) FinishQuery(ctx context.Context, w orders.QueryWork, now, next time.Time) error {
	if next.IsZero() || w.Unproven != "" {
		// A transaction of its own: Apply locks evidence before the attempt, and this must not wait for it the other way round.
		if _, err := write(ctx, s, func(u unit) (int64, error) { return u.exec(sqlProven, w.Attempt, now.UnixMilli()) }); err != nil {
			return err
		}
	}
	_, err := write(ctx, s, func(u unit) (int64, error) {
		return u.fenced(sqlFinishQuery, w.Attempt, w.Fence, now.UnixMilli(), millis(next), millis(w.NotBefore), w.Urgent, note(w.Last))
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
	sqlSetQuery = `UPDATE attempts SET query_ms = $2, query_wanted_ms = $3, asked = CASE WHEN $4 THEN 0 ELSE asked END,
		query_last = CASE WHEN $4 THEN '' ELSE query_last END, query_urgent = query_urgent OR $4 WHERE attempt_no = $1`
)

// due makes an attempt's query due at a moment, but not within spacing of the last one, and not before the provider
// wants to be asked. Without spacing it is news: asking starts anew. A query that is wanted before latest is not put off beyond
// it, and one wanted after it not at all.
func (u unit) due(attempt orders.AttemptNo, at, latest time.Time, spacing time.Duration) error {
	var next, wanted, last, hold time.Time
	var claimed bool
	if _, err := u.one(sqlLockQuery, []any{attempt}, moment{&next}, &claimed, moment{&wanted}, moment{&last}, moment{&hold}); err != nil {
		return err
	}
	due := at
	if !last.IsZero() && due.Before(last.Add(spacing)) {
		due = last.Add(spacing)
	}
	if !latest.IsZero() && due.After(latest) {
		due = latest
		if at.After(latest) {
			due = at
		}
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

const (
	hintTurn    = `CASE WHEN query_paces.hint_ms + $3 > $2 THEN query_paces.hint_ms + $3 ELSE $2 END`
	sqlHintTurn = `INSERT INTO query_paces (account, next_ms, hint_ms) VALUES ($1, 0, $2)
		ON CONFLICT (account) DO UPDATE SET hint_ms = ` + hintTurn + ` WHERE ` + hintTurn + ` < $4 RETURNING hint_ms`
	sqlQueryNext = `SELECT CASE WHEN query_claimed THEN query_wanted_ms ELSE query_ms END FROM attempts WHERE attempt_no = $1`
)

// hinted makes a query due for a hint that anybody may have sent: one of an account and HintSpacing, the others later. One that
// is due by then anyway takes no turn, so that guessed numbers cannot put off what comes after them without end.
func (u unit) hinted(e *orders.Evidence) error {
	var next, turn time.Time
	if _, err := u.one(sqlQueryNext, []any{e.AttemptNo}, moment{&next}); err != nil {
		return err
	}
	before := int64(math.MaxInt64)
	if !next.IsZero() {
		before = next.UnixMilli()
	}
	args := []any{e.Account, e.ReceivedAt.UnixMilli(), orders.HintSpacing.Milliseconds(), before}
	if found, err := u.one(sqlHintTurn, args, moment{&turn}); err != nil || !found {
		return err
	}
	return u.due(e.AttemptNo, turn, time.Time{}, orders.HintSpacing)
}

// earlier is the earlier of two moments, of which the zero time is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}

const sqlAskNow = `UPDATE attempts SET query_since_ms = $2 WHERE attempt_no = $1`

// AskNow is documented in orders.Sweep.
func (s *Store) AskNow(ctx context.Context, attempt orders.AttemptNo, now time.Time) error {
	_, err := write(ctx, s, func(u unit) (orders.AttemptNo, error) {
		if _, err := u.orderOf(attempt); err != nil {
			return attempt, err
		}
		if err := u.exec1(sqlAskNow, attempt, now.UnixMilli()); err != nil {
			return attempt, err
		}
		return attempt, u.due(attempt, now, time.Time{}, 0)
	})
	return err
}

// OpenUnresolved is documented in orders.Sweep.
func (s *Store) OpenUnresolved(ctx context.Context, attempt orders.AttemptNo, detail string, now time.Time) (orders.Applied, error) {
	return write(ctx, s, func(u unit) (orders.Applied, error) {
		no, err := u.orderOf(attempt)
		if err != nil {
			return orders.Applied{}, err
		}
		b, err := u.lock(no)
		if err != nil {
			return orders.Applied{}, err
		}
		c := change{b, orders.Unresolved(b, attempt, detail, now)}
		if told, err := u.toldPaid(attempt); err != nil {
			return orders.Applied{}, err
		} else if told {
			c.Fate = orders.Unproven(b, attempt, detail, now)
		}
		if len(c.Events) > 0 {
			if err := u.save(&c, now); err != nil {
				return orders.Applied{}, err
			}
		}
		return orders.Applied{Verdict: c.Verdict, Order: c.Book.Order, Events: c.Events}, nil
	})
}

// CloseCase is documented in orders.Sweep.
func (s *Store) CloseCase(ctx context.Context, no orders.OrderNo, number int, by, why string, now time.Time) error {
	_, err := write(ctx, s, func(u unit) (orders.OrderNo, error) {
		if _, err := u.lockOrder(no); err != nil {
			return no, err
		}
		n, err := u.exec(sqlMoveCase, no, number, now.UnixMilli(), note(by), note(why))
		if err == nil && n == 0 {
			err = fmt.Errorf("%w: open case %d of order %s", orders.ErrNotFound, number, no)
		}
		return no, err
	})
	return err
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
	err = u.save(&c, now)
	return c.Book.Order, err
}

const (
	sqlClaimOrphan = `UPDATE evidence SET next_ms = $2
		WHERE digest = (SELECT digest FROM evidence WHERE next_ms IS NOT NULL AND next_ms <= $1 AND received_ms > $3
			ORDER BY next_ms, digest LIMIT 1 /*skip locked*/)
		RETURNING source, purpose, account, attempt_no, nonce, fact, needs_query, received_ms, raw_line, raw_header, raw_body`
	// Orphans that are too old are not looked at any more, nor counted; they are kept.
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
	// Not before the account's turn comes, and the end of its quiet.
	sqlNextQuery = `SELECT MIN(query_ms),
		(SELECT next_ms FROM query_paces WHERE account = $1),
		(SELECT until_ms FROM controls WHERE kind = 'quiet' AND name = $1 AND NOT dropped)
		FROM attempts WHERE account = $1 AND query_ms IS NOT NULL AND ` + askable
	sqlAccounts = `SELECT DISTINCT account FROM attempts WHERE query_ms IS NOT NULL ORDER BY account`
	sqlNextDue  = `SELECT MIN(at) FROM (
	SELECT MIN(settle_ms) AS at FROM orders WHERE settle_ms IS NOT NULL
	UNION ALL SELECT MIN(next_ms) FROM evidence WHERE next_ms IS NOT NULL) AS due`
)

// NextQuery is documented in orders.Sweep.
func (s *Store) NextQuery(ctx context.Context, account string) (time.Time, error) {
	return read(ctx, s, func(u unit) (at time.Time, err error) {
		var pace, quiet time.Time
		_, err = u.one(sqlNextQuery, []any{account}, moment{&at}, moment{&pace}, moment{&quiet})
		for _, t := range []time.Time{pace, quiet} {
			if !at.IsZero() && at.Before(t) {
				at = t
			}
		}
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
