package sqlstore

import (
	"context"
	"fmt"
	"time"

	"pay.taipei/gateway/orders"
)

// ClaimConfirm is documented in orders.Folder.
func (s *Store) ClaimConfirm(ctx context.Context, attempt orders.AttemptNo, now time.Time) (orders.Call, error) {
	return write(ctx, s, func(u unit) (orders.Call, error) { return u.claimConfirm(attempt, now) })
}

func (u unit) claimConfirm(attempt orders.AttemptNo, now time.Time) (orders.Call, error) {
	call := orders.Call{Attempt: attempt, Op: orders.OpConfirm, Ordinal: 1, SentAt: stored(now)}
	no, err := u.orderOf(attempt)
	if err != nil {
		return call, err
	}
	b, err := u.lock(no)
	if err != nil {
		return call, err
	}
	for _, c := range b.Order.Calls {
		if c.Attempt != attempt || c.Op != orders.OpConfirm {
			continue
		}
		switch c.Outcome {
		case orders.OutcomeOpen, orders.OutcomeUnknown, orders.OutcomeDone, orders.OutcomeRefused:
			return call, orders.ErrCallExists
		case orders.OutcomeNotSent: // the only proof that sending again cannot move money twice
			call.Ordinal = c.Ordinal + 1
		}
	}
	if !b.Payable(now) || b.Order.Attempt(attempt).State.Ended() { // a doubt about what has ended would show nowhere
		return call, orders.ErrNotPayable
	}
	return call, u.addCall(call)
}

// FinishCall is documented in orders.Folder. An outcome of unknown may still become done
// or refused.
func (s *Store) FinishCall(ctx context.Context, c orders.Call) error {
	_, err := write(ctx, s, func(u unit) (orders.Order, error) {
		no, err := u.orderOf(c.Attempt)
		if err != nil {
			return orders.Order{}, err
		}
		b, err := u.lock(no)
		if err != nil {
			return b.Order, err
		}
		if _, err := u.finishCall(&b.Order, c); err != nil {
			return b.Order, err
		}
		next := change{b, orders.CallEnded(b, c.Attempt, c.EndedAt)}
		if next.Verdict != orders.VerdictApplied {
			return b.Order, nil
		}
		return b.Order, u.save(&next, c.EndedAt)
	})
	return err
}

const sqlFinishCall = `UPDATE calls SET outcome = $4, ended_ms = $5 WHERE attempt_no = $1 AND op = $2 AND ordinal = $3`

// finishCall writes a call's outcome, also into the locked order, unless a better one is known, and returns what is known.
func (u unit) finishCall(o *orders.Order, c orders.Call) (*orders.Call, error) {
	for i := range o.Calls {
		known := &o.Calls[i]
		if known.Attempt != c.Attempt || known.Op != c.Op || known.Ordinal != c.Ordinal {
			continue
		}
		if !decides(known.Outcome, c.Outcome) {
			return known, nil
		}
		known.Outcome, known.EndedAt = c.Outcome, stored(c.EndedAt)
		return known, u.exec1(sqlFinishCall, c.Attempt, c.Op, c.Ordinal, c.Outcome, millis(c.EndedAt))
	}
	return nil, fmt.Errorf("%w: call %s %d of attempt %s", orders.ErrNotFound, c.Op, c.Ordinal, c.Attempt)
}

// decides says whether an outcome may replace a known one. Not sent must be proven at
// once: it never follows unknown.
func decides(known, next orders.Outcome) bool {
	switch known {
	case orders.OutcomeOpen:
		return next != orders.OutcomeOpen
	case orders.OutcomeUnknown:
		return next == orders.OutcomeDone || next == orders.OutcomeRefused
	case orders.OutcomeDone, orders.OutcomeRefused, orders.OutcomeNotSent:
		return false
	}
	return false
}
