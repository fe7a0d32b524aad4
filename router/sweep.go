package router

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

const (
	queryDeadline   = 10 * time.Second // unless the provider's patience says otherwise
	confirmDeadline = 45 * time.Second // LINE Pay asks for a read time-out of at least 40 s
	// sweepLease outlives one query and one confirm, so that no second worker takes
	// a claim whose holder is alive.
	sweepLease    = 90 * time.Second
	orphanLife    = 7 * 24 * time.Hour
	slowestAsking = 10 * time.Minute
	idleLook      = time.Minute // a look at the clock even if nothing seems due
)

// QueryStep asks the provider of the attempt that is due first what became of it, and
// applies the answer. It does at most one claimed unit and says when to come again.
func (r *Router) QueryStep(ctx context.Context) (time.Time, error) {
	now := r.d.Now()
	w, err := r.d.Store.ClaimQuery(ctx, now, sweepLease)
	if errors.Is(err, orders.ErrNothing) {
		return r.idle(ctx, now)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	a := w.Order.Attempt(w.Attempt)
	account, ok := r.accounts[a.Account]
	if !ok {
		r.d.Log.Error("cannot ask: account is not configured any more", "account", a.Account, "attempt_no", string(a.No))
		return now, r.d.Store.FinishQuery(ctx, w, now, now.Add(slowestAsking))
	}
	asked, err := r.ask(ctx, account, &w)
	if err != nil {
		return now.Add(time.Second), err
	}
	if asked.confirm {
		if err := r.confirm(ctx, account, &w.Order, a); err != nil {
			return now.Add(time.Second), err
		}
	}
	return now, r.d.Store.FinishQuery(ctx, w, r.d.Now(), asked.next)
}

type asked struct {
	next    time.Time // zero: never again
	confirm bool
}

// ask makes one query and applies its answer.
func (r *Router) ask(ctx context.Context, account Account, w *orders.QueryWork) (asked, error) {
	a, d := w.Order.Attempt(w.Attempt), account.Provider.Describe()
	deadline := w.Order.ExpiresAt.Add(d.Patience.Grace)
	purpose := orders.PurposeLife
	if !r.d.Now().Before(deadline) {
		purpose = orders.PurposeAfterDeadline
	}
	callCtx, cancel := context.WithTimeout(ctx, patience(d))
	snapshot, err := observed(r, account.Name, providers.OpQuery, func() (providers.Snapshot, error) {
		return account.Provider.Query(callCtx, ref(&w.Order, a))
	})
	cancel()
	e := orders.Evidence{Source: orders.SourceQuery, Purpose: purpose, Account: account.Name, AttemptNo: a.No, ReceivedAt: r.d.Now(), Raw: orders.Raw{Line: "query " + string(purpose)}}
	switch {
	case err == nil && d.AnswerAuth != providers.AnswerUnauthenticated:
		e.Fact = r.fact(account.Name, &snapshot)
	case err == nil:
	case providers.KindOf(err) == providers.NotFound && purpose == orders.PurposeAfterDeadline && d.Patience.NotFoundFinal:
		e.Fact = &orders.Fact{State: orders.AttemptExpired}
	case providers.KindOf(err) == providers.NotFound && purpose == orders.PurposeLife: // the citizen has not arrived there yet
		return asked{next: deadline}, nil
	default:
		return asked{next: r.soon(w, d)}, nil
	}
	applied, err := r.apply(ctx, e)
	if err != nil {
		return asked{}, err
	}
	confirm := snapshot.Next == providers.NextConfirm
	switch b := applied.Order.Attempt(a.No); {
	case b.State == orders.AttemptPaid || (b.State.Ended() && purpose == orders.PurposeAfterDeadline):
		return asked{}, nil
	case purpose == orders.PurposeAfterDeadline || confirm || applied.Order.Doubt():
		return asked{next: r.soon(w, d), confirm: confirm}, nil
	}
	return asked{next: deadline}, nil
}

// soon is when to ask again about what we must know: ever more slowly.
func (r *Router) soon(w *orders.QueryWork, d providers.Descriptor) time.Time {
	wait := max(d.Patience.Spacing, time.Second)
	for range min(w.Asked, 10) {
		wait *= 2
	}
	return r.d.Now().Add(min(wait, slowestAsking))
}

func patience(d providers.Descriptor) time.Duration {
	if d.Patience.Deadline > 0 {
		return d.Patience.Deadline
	}
	return queryDeadline
}

// confirm moves the money of an authorised attempt: claimed and committed first, sent
// once, never repeated. Whatever its answer does not tell stays a doubt for queries.
func (r *Router) confirm(ctx context.Context, account Account, o *orders.Order, a *orders.Attempt) error {
	confirmer, ok := account.Provider.(providers.Confirmer)
	if !ok {
		r.d.Log.Error("provider waits for a confirm that its adapter cannot make", "account", account.Name, "attempt_no", string(a.No))
		return nil
	}
	call, err := r.d.Store.ClaimCall(ctx, a.No, orders.OpConfirm, r.d.Now())
	if errors.Is(err, orders.ErrNotPayable) || errors.Is(err, orders.ErrCallExists) {
		r.d.Log.Info("not confirmed: the authorisation lapses", "order_no", string(o.No), "attempt_no", string(a.No), "why", err)
		return nil
	}
	if err != nil {
		return err
	}
	callCtx, cancel := context.WithTimeout(ctx, confirmDeadline)
	snapshot, err := observed(r, account.Name, providers.OpConfirm, func() (providers.Snapshot, error) {
		return confirmer.Confirm(callCtx, providers.ConfirmRequest{Attempt: ref(o, a)})
	})
	cancel()
	call.Outcome, call.EndedAt = callOutcome(err), r.d.Now()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	e := orders.Evidence{Source: orders.SourceCall, Account: account.Name, AttemptNo: a.No, ReceivedAt: call.EndedAt, Raw: orders.Raw{Line: "confirm"}}
	switch call.Outcome {
	case orders.OutcomeDone:
		if account.Provider.Describe().AnswerAuth != providers.AnswerUnauthenticated {
			e.Fact = r.fact(account.Name, &snapshot)
		}
	case orders.OutcomeRefused:
		e.Fact = &orders.Fact{State: orders.AttemptFailed}
	case orders.OutcomeOpen, orders.OutcomeNotSent, orders.OutcomeUnknown:
	}
	applied := orders.Applied{Order: *o}
	if e.Fact != nil {
		if applied, err = r.apply(ctx, e); err != nil {
			return err
		}
	}
	if call.Outcome == orders.OutcomeDone && applied.Order.Attempt(a.No).State != orders.AttemptPaid {
		call.Outcome = orders.OutcomeUnknown // an answer that proves no payment proves no refusal either
	}
	return r.d.Store.FinishCall(ctx, call)
}

// callOutcome says what a money call's error proves.
func callOutcome(err error) orders.Outcome {
	if err == nil {
		return orders.OutcomeDone
	}
	switch providers.KindOf(err) {
	case providers.Unavailable, providers.RateLimited:
		return orders.OutcomeNotSent
	case providers.Declined:
		return orders.OutcomeRefused
	case providers.OutcomeUnknown, providers.Auth, providers.Invalid, providers.Duplicate, providers.NotFound, providers.Untrusted:
		return orders.OutcomeUnknown
	}
	return orders.OutcomeUnknown
}

// SettleStep ends one order that time alone may end.
func (r *Router) SettleStep(ctx context.Context) (time.Time, error) {
	now := r.d.Now()
	o, err := r.d.Store.SettleNext(ctx, now)
	if errors.Is(err, orders.ErrNothing) {
		return r.idle(ctx, now)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	if o.State == orders.OrderExpired {
		r.d.Meter.OrderMoved(o.State.String())
		r.d.Log.Info("order expired", "order_no", string(o.No))
		r.d.Wake()
	}
	return now, nil
}

// OrphanStep tries again to match one callback that came before its attempt was committed.
func (r *Router) OrphanStep(ctx context.Context) (time.Time, error) {
	now := r.d.Now()
	e, err := r.d.Store.ClaimOrphan(ctx, now, now.Add(-orphanLife))
	if errors.Is(err, orders.ErrNothing) {
		return r.idle(ctx, now)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	applied, err := r.apply(ctx, e)
	if err != nil {
		return now.Add(time.Second), err
	}
	if applied.Verdict == orders.VerdictOrphan {
		return now, nil
	}
	// A hint, a fact that needs a query, or a payer who waits for our confirm: ask.
	if err := r.d.Store.Due(ctx, e.AttemptNo, now, hintSpacing); err != nil {
		return now.Add(time.Second), err
	}
	r.d.Wake()
	return now, nil
}

// idle is when to look again though nothing is due.
func (r *Router) idle(ctx context.Context, now time.Time) (time.Time, error) {
	next, err := r.d.Store.NextDue(ctx)
	if err != nil {
		return now.Add(time.Second), err
	}
	if latest := now.Add(idleLook); next.IsZero() || next.After(latest) {
		return latest, nil
	}
	if !next.After(now) { // held by another worker's claim
		return now.Add(time.Second), nil
	}
	return next, nil
}
