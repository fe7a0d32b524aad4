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
	// sweepLease outlives one query and one confirm with their commits, so that no second worker takes
	// a claim whose holder is alive.
	sweepLease    = 2 * time.Minute
	orphanLife    = 7 * 24 * time.Hour
	slowestAsking = 10 * time.Minute
	idleLook      = time.Minute // a look at the clock even if nothing seems due
)

// QueryStep asks the provider of the attempt at an account that is due first what became of
// it, and applies the answer. It does at most one claimed unit and says when to come again.
func (r *Router) QueryStep(ctx context.Context, account string) (time.Time, error) {
	now := r.d.Now()
	w, err := r.d.Store.ClaimQuery(ctx, account, now, sweepLease)
	if errors.Is(err, orders.ErrNothing) {
		next, err := r.d.Store.NextQuery(ctx, account)
		return idle(now, next, err)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	q := asking{Router: r, QueryWork: w, account: r.accounts[account]}
	next, err := q.ask(ctx)
	if err != nil {
		return now.Add(time.Second), err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := r.d.Store.FinishQuery(ctx, q.QueryWork, r.d.Now(), next); err != nil {
		return now.Add(time.Second), err
	}
	return now, nil
}

// asking is one claimed query on its way.
type asking struct {
	*Router
	orders.QueryWork
	account Account
}

// ask makes one query, applies its answer, confirms what waits for it, and says when to ask
// again; the zero time: never.
func (q *asking) ask(ctx context.Context) (time.Time, error) {
	a, d := q.Order.Attempt(q.Attempt), q.account.Provider.Describe()
	callCtx, cancel := context.WithTimeout(ctx, patience(d))
	snapshot, err := observed(q.Router, q.account.Name, providers.OpQuery, func() (providers.Snapshot, error) {
		return q.account.Provider.Query(callCtx, ref(&q.Order, a))
	})
	cancel()
	e := orders.Evidence{
		Source: orders.SourceQuery, Purpose: q.purpose(), Account: q.account.Name, AttemptNo: a.No, ReceivedAt: q.d.Now(),
		Raw: orders.Raw{Line: "query " + string(q.purpose()), Body: snapshot.Raw},
	}
	var next time.Time
	if e.Fact, next = q.proven(ctx, &snapshot, err); e.Fact == nil {
		return next, nil
	}
	applied, err := q.apply(ctx, e)
	if err != nil {
		return time.Time{}, err
	}
	q.Order = applied.Order
	if a = q.Order.Attempt(q.Attempt); a.State == orders.AttemptPaid {
		return time.Time{}, nil
	}
	if snapshot.Next == providers.NextConfirm {
		refused, err := q.confirm(ctx, q.account, &q.Order, a)
		return q.again(refused), err
	}
	if q.over() && a.State.Ended() && !q.mustKnow() {
		return time.Time{}, nil
	}
	return q.later(nil), nil
}

// proven is what the answer to a query proves, or when to ask again because it proves nothing.
func (q *asking) proven(ctx context.Context, s *providers.Snapshot, err error) (*orders.Fact, time.Time) {
	d := q.account.Provider.Describe()
	believed := d.AnswerAuth != providers.AnswerUnauthenticated // else anybody may have answered
	switch {
	case err == nil && believed:
		return q.fact(q.account.Name, s, nil), time.Time{}
	case err == nil:
		return nil, q.later(nil)
	case ctx.Err() != nil: // we are stopping: the next process asks at once
		return nil, q.d.Now()
	case providers.KindOf(err) != providers.NotFound || !believed || q.mustKnow():
		return nil, q.again(err)
	case !q.over(): // the citizen has not arrived there yet
		return nil, q.deadline()
	case !d.Patience.NotFoundFinal:
		return nil, q.again(err)
	}
	return &orders.Fact{State: orders.AttemptExpired}, time.Time{}
}

// later is when to ask again: not before the deadline, unless we must know.
func (q *asking) later(err error) time.Time {
	if q.over() || q.mustKnow() {
		return q.again(err)
	}
	return q.deadline()
}

// purpose is why we ask.
func (q *asking) purpose() orders.Purpose {
	switch doubt := q.Order.DoubtAbout(q.Attempt); {
	case doubt != nil:
		return orders.PurposeDoubt(doubt)
	case q.Unproven != "":
		return orders.PurposeBeforePaid(q.Unproven)
	case q.over():
		return orders.PurposeAfterDeadline
	}
	return orders.PurposeLife
}

// mustKnow says whether money may have moved: then we ask until the provider says what became of it, whatever the clock
// says. That it does not know the payment is no such word.
func (q *asking) mustKnow() bool { return q.Unproven != "" || q.Order.DoubtAbout(q.Attempt) != nil }

// deadline is when the provider's page must have ended, and over whether it has passed.
func (q *asking) deadline() time.Time {
	return q.Order.ExpiresAt.Add(q.account.Provider.Describe().Patience.Grace)
}

func (q *asking) over() bool { return !q.d.Now().Before(q.deadline()) }

// again is when to ask again about what we must know: ever more slowly, and no sooner than the provider allows.
func (q *asking) again(err error) time.Time {
	wait := max(q.account.Provider.Describe().Patience.Spacing, time.Second)
	for range min(q.Asked, 10) {
		wait *= 2
	}
	wait = min(wait, slowestAsking)
	now := q.d.Now()
	if e, ok := errors.AsType[*providers.Error](err); ok && e.RetryAfter > 0 {
		q.NotBefore = now.Add(e.RetryAfter)
		wait = max(wait, e.RetryAfter)
	}
	return now.Add(wait)
}

func patience(d providers.Descriptor) time.Duration {
	if d.Patience.Deadline > 0 {
		return d.Patience.Deadline
	}
	return queryDeadline
}

// confirm moves the money of an authorised attempt: claimed and committed first, sent
// once, never repeated. Whatever its answer does not tell stays a doubt for queries. refused is
// what the provider's side answered, err what went wrong on ours.
func (r *Router) confirm(ctx context.Context, account Account, o *orders.Order, a *orders.Attempt) (refused, err error) {
	confirmer, ok := account.Provider.(providers.Confirmer)
	if !ok {
		r.d.Log.Error("provider waits for a confirm that its adapter cannot make", "account", account.Name, "attempt_no", string(a.No))
		return nil, nil
	}
	call, err := r.d.Store.ClaimConfirm(ctx, a.No, r.d.Now())
	if errors.Is(err, orders.ErrNotPayable) || errors.Is(err, orders.ErrCallExists) {
		r.d.Log.Info("not confirmed: the authorisation lapses", "order_no", string(o.No), "attempt_no", string(a.No), "why", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	callCtx, cancel := context.WithTimeout(ctx, confirmDeadline)
	snapshot, refused := observed(r, account.Name, providers.OpConfirm, func() (providers.Snapshot, error) {
		return confirmer.Confirm(callCtx, providers.ConfirmRequest{Attempt: ref(o, a)})
	})
	cancel()
	believed := account.Provider.Describe().AnswerAuth != providers.AnswerUnauthenticated
	call.Outcome, call.EndedAt = callOutcome(refused, believed), r.d.Now()
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var fact *orders.Fact
	switch call.Outcome {
	case orders.OutcomeDone:
		if believed {
			fact = r.fact(account.Name, &snapshot, nil)
		}
	case orders.OutcomeRefused:
		fact = &orders.Fact{State: orders.AttemptFailed}
	case orders.OutcomeOpen, orders.OutcomeNotSent, orders.OutcomeUnknown:
	}
	state := a.State
	if fact != nil {
		applied, err := r.apply(ctx, orders.Evidence{
			Source: orders.SourceCall, Account: account.Name, AttemptNo: a.No, Fact: fact, ReceivedAt: call.EndedAt,
			Raw: orders.Raw{Line: "confirm", Body: snapshot.Raw},
		})
		if err != nil {
			return refused, err
		}
		state = applied.Order.Attempt(a.No).State
	}
	if call.Outcome == orders.OutcomeDone && state != orders.AttemptPaid {
		call.Outcome = orders.OutcomeUnknown // an answer that proves no payment proves no refusal either
	}
	return refused, r.d.Store.FinishCall(ctx, call)
}

// callOutcome says what a money call's error proves. A no is worth as much as the answer that says it.
func callOutcome(err error, believed bool) orders.Outcome {
	if err == nil {
		return orders.OutcomeDone
	}
	switch providers.KindOf(err) {
	case providers.Unavailable, providers.RateLimited:
		return orders.OutcomeNotSent
	case providers.Declined:
		if believed {
			return orders.OutcomeRefused
		}
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
		next, err := r.d.Store.NextDue(ctx)
		return idle(now, next, err)
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
		next, err := r.d.Store.NextDue(ctx)
		return idle(now, next, err)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	e.Ask = true // what else it said, such as that the payer waits for our confirm, is not kept
	if _, err := r.apply(ctx, e); err != nil {
		return now.Add(time.Second), err
	}
	return now, nil
}

// idle is when to look again though nothing is due now.
func idle(now, next time.Time, err error) (time.Time, error) {
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
