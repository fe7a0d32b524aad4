package sqlstore

import (
	"context"
	"time"

	"pay.taipei/gateway/orders"
)

// AskRefund is documented in orders.Refunder.
func (s *Store) AskRefund(ctx context.Context, r orders.RefundRequest) (orders.Order, error) {
	return write(ctx, s, func(u unit) (orders.Order, error) { return u.askRefund(r) })
}

func (u unit) askRefund(r orders.RefundRequest) (orders.Order, error) {
	if err := u.takeKey(&r.Key, r.Order, r.Now); err != nil {
		return orders.Order{}, err
	}
	b, err := u.lock(r.Order)
	if err != nil {
		return b.Order, err
	}
	c := changing(b)
	o := &c.Book.Order
	ask, err := r.Ask(o)
	if err != nil {
		return b.Order, err
	}
	refund, err := o.NewRefund(ask, stored(r.Now))
	if err != nil {
		return b.Order, err
	}
	o.Refunds = append(o.Refunds, refund)
	if err := u.save(c, r.Now); err != nil {
		return b.Order, err
	}
	answer := func(o *orders.Order) (int, []byte, error) { return r.Answer(o, o.RefundByID(refund.ID())) }
	return *o, u.keepAnswer(&r.Key, answer, o, r.Now)
}

const (
	// A claimed refund has no time at which it is sent: nothing sends it again, unless its sender proves that it did not.
	sqlClaimRefund = `UPDATE refunds SET send_ms = NULL, sends = sends + 1
		WHERE (attempt_no, ordinal) = (SELECT attempt_no, ordinal FROM refunds
			WHERE account = $1 AND send_ms IS NOT NULL AND send_ms <= $2 ORDER BY send_ms, attempt_no, ordinal LIMIT 1 /*skip locked*/)
			AND send_ms IS NOT NULL AND state = 'undecided'
		RETURNING order_no, attempt_no, ordinal, sends, send_last`
	sqlSendAgain = `UPDATE refunds SET send_ms = $3, send_last = $4 WHERE attempt_no = $1 AND ordinal = $2 AND state = 'undecided'`
	// The call of a refund that is sent again takes the place of the one that was not sent.
	sqlSendRefund = `INSERT INTO calls (attempt_no, op, ordinal, sent_ms, outcome) VALUES ($1, $2, $3, $4, '')
		ON CONFLICT (attempt_no, op, ordinal) DO UPDATE SET sent_ms = $4, outcome = '', ended_ms = NULL WHERE calls.outcome = 'not_sent'`
	sqlNextRefund = `SELECT MIN(send_ms) FROM refunds WHERE account = $1 AND send_ms IS NOT NULL`
)

// refundAnswer is when the provider is asked about a refund whose sender has told nothing: longer than the call may take.
// Whoever finishes the refund says better.
const refundAnswer = time.Minute

// ClaimRefund is documented in orders.Refunder.
func (s *Store) ClaimRefund(ctx context.Context, account string, now time.Time) (orders.RefundWork, error) {
	return write(ctx, s, func(u unit) (orders.RefundWork, error) {
		var w orders.RefundWork
		var no orders.OrderNo
		found, err := u.one(sqlClaimRefund, []any{account, now.UnixMilli()}, &no, &w.Refund.Attempt, &w.Refund.Ordinal, &w.Sent, &w.Last)
		if err != nil {
			return w, err
		}
		if !found {
			return w, orders.ErrNothing
		}
		w.Sent-- // not counting this time
		if err := u.exec1(sqlSendRefund, w.Refund.Attempt, orders.OpRefund, w.Refund.Ordinal, now.UnixMilli()); err != nil {
			return w, err
		}
		if err := u.due(w.Refund.Attempt, now.Add(refundAnswer), time.Time{}, 0); err != nil {
			return w, err
		}
		if w.Order, err = u.order(no); err != nil {
			return w, err
		}
		w.Refund = *w.Order.RefundByID(w.Refund.ID())
		return w, nil
	})
}

// NextRefund is documented in orders.Refunder.
func (s *Store) NextRefund(ctx context.Context, account string) (time.Time, error) {
	return read(ctx, s, func(u unit) (at time.Time, err error) {
		_, err = u.one(sqlNextRefund, []any{account}, moment{&at})
		return at, err
	})
}

// FinishRefund is documented in orders.Refunder.
func (s *Store) FinishRefund(ctx context.Context, f orders.RefundFinish) (orders.Applied, error) {
	return write(ctx, s, func(u unit) (orders.Applied, error) { return u.finishRefund(f) })
}

func (u unit) finishRefund(f orders.RefundFinish) (orders.Applied, error) {
	f.No, f.Why = text(f.No), note(f.Why)
	var done orders.Applied
	no, err := u.orderOf(f.Attempt)
	if err != nil {
		return done, err
	}
	b, err := u.lock(no)
	if err != nil {
		return done, err
	}
	call := orders.Call{Attempt: f.Attempt, Op: orders.OpRefund, Ordinal: f.Ordinal, Outcome: f.Outcome, EndedAt: f.Now}
	known, err := u.finishCall(&b.Order, call)
	if err != nil {
		return done, err
	}
	if known.Outcome == orders.OutcomeNotSent && !f.SendAt.IsZero() {
		done.Order, done.Verdict = b.Order, orders.VerdictNoChange
		_, err := u.exec(sqlSendAgain, f.Attempt, f.Ordinal, millis(f.SendAt), f.Why)
		return done, err
	}
	fate := orders.Fate{Book: b, Verdict: orders.VerdictNoChange}
	switch known.Outcome { // what was known before is not taken back
	case orders.OutcomeDone:
		fate = orders.EndRefund(b, f.Attempt, f.Ordinal, f.State, f.No, f.Why, f.Now)
	case orders.OutcomeRefused, orders.OutcomeNotSent:
		fate = orders.EndRefund(b, f.Attempt, f.Ordinal, orders.RefundFailed, f.No, f.Why, f.Now)
	case orders.OutcomeOpen, orders.OutcomeUnknown:
	}
	c := change{b, fate}
	done.Verdict, done.Events, done.Moved = fate.Verdict, fate.Events, fate.Verdict == orders.VerdictApplied
	if done.Moved {
		if err := u.save(&c, f.Now); err != nil {
			return done, err
		}
	}
	done.Order = c.Book.Order
	if done.Order.UndecidedRefund(f.Attempt) == nil || f.QueryAt.IsZero() {
		return done, nil
	}
	return done, u.askAbout(known, f.QueryAt)
}

const sqlMoveQuery = `UPDATE attempts SET query_ms = $3 WHERE attempt_no = $1 AND NOT query_claimed AND query_ms = $2`

// askAbout makes the query due that asks about a refund's call, in place of the one of a sender that tells nothing.
func (u unit) askAbout(c *orders.Call, at time.Time) error {
	n, err := u.exec(sqlMoveQuery, c.Attempt, c.SentAt.Add(refundAnswer).UnixMilli(), at.UnixMilli())
	if err != nil || n > 0 {
		return err
	}
	return u.due(c.Attempt, at, time.Time{}, 0)
}
