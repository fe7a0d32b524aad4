package router

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

const (
	// sweepLease outlives one query and one confirm with their commits, so that no second worker takes
	// a claim whose holder is alive.
	sweepLease = 2 * time.Minute
	orphanLife = 7 * 24 * time.Hour
	idleLook   = time.Minute // a look at the clock even if nothing seems due
)

// QueryStep asks the provider of the attempt at an account that is due first what became of
// it, and applies the answer. It does at most one claimed unit and says when to come again.
func (r *Router) QueryStep(ctx context.Context, account string) (time.Time, error) {
	now := r.d.Now()
	known, ok := r.world().accounts[account]
	if !ok {
		return now.Add(idleLook), nil
	}
	if until := r.quietUntil(account); !until.IsZero() {
		return idle(now, until, nil)
	}
	if why, until := r.d.Gates.Shut(account, string(providers.OpQuery)); why != "" { // a claim would only count as asked
		return idle(now, until, nil)
	}
	w, err := r.d.Store.ClaimQuery(ctx, account, now, sweepLease, known.Provider.Describe().Patience.Gap)
	if errors.Is(err, orders.ErrNothing) {
		next, err := r.d.Store.NextQuery(ctx, account)
		return idle(now, next, err)
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	q := asking{r: r, QueryWork: w, account: known}
	if err := q.step(ctx); err != nil {
		return now.Add(time.Second), err
	}
	return now, nil
}

// asking is one claimed query on its way.
type asking struct {
	r *Router
	orders.QueryWork
	account    Account
	answered   bool // believably
	clear      bool // and the answer leaves nothing to ask
	authorised bool // the provider waits for our confirm
}

// step asks and ends the claim.
func (q *asking) step(ctx context.Context) error {
	next, err := q.ask(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if !next.IsZero() && !q.r.d.Now().Before(q.planEnd()) {
		if err := q.handOver(ctx); err != nil {
			return err
		}
		next = time.Time{}
	}
	if !next.IsZero() {
		n := q.Asked + 2
		q.r.d.Log.Info("waits for the provider to tell", "order_no", string(q.Order.No), "attempt_no", string(q.Attempt), "account", q.account.Name,
			"for", string(q.purpose()), "try", n, "of", lastTry(n, next, q.planEnd(), q.after), "last", q.Last, "next", next)
	}
	q.Urgent = q.mustKnow()
	return q.r.d.Store.FinishQuery(ctx, q.QueryWork, q.r.d.Now(), next)
}

// handOver makes a case for a person of what the provider did not tell in all the time that it is asked.
func (q *asking) handOver(ctx context.Context) error {
	detail := "asked " + q.account.Name + " why: " + string(q.purpose()) + "; its plan of queries ended at " + q.planEnd().UTC().Format(time.RFC3339)
	applied, err := q.r.d.Store.OpenUnresolved(ctx, q.Attempt, detail, q.r.d.Now())
	if err != nil || len(applied.Events) == 0 {
		return err
	}
	q.r.tell(&orders.Evidence{Account: q.account.Name}, &applied)
	q.r.d.Log.Error("nobody knows what became of a payment: a person must decide", "order_no", string(q.Order.No), "attempt_no", string(q.Attempt), "detail", detail)
	q.r.d.Wake()
	return nil
}

// planEnd is until when we go on asking by ourselves.
func (q *asking) planEnd() time.Time {
	begun, since := q.deadline(), []time.Time{q.UnprovenAt, q.Since}
	if sent := q.refundCall(); sent != nil {
		since = append(since, sent.SentAt)
	}
	for _, at := range since {
		if at.After(begun) {
			begun = at
		}
	}
	return begun.Add(or(q.patience().End, queryPlan))
}

// ask makes one query, applies its answer, confirms what waits for it, and says when to ask
// again; the zero time: never.
func (q *asking) ask(ctx context.Context) (time.Time, error) {
	a, d, asked := q.Order.Attempt(q.Attempt), q.account.Provider.Describe(), q.r.d.Now()
	snapshot, err := call(ctx, q.r, q.account.Name, providers.OpQuery, queryLimit(d), func(ctx context.Context) (providers.Snapshot, error) {
		return q.account.Provider.Query(ctx, ref(&q.Order, a))
	})
	now := q.r.d.Now()
	e := orders.Evidence{
		Source: orders.SourceQuery, Purpose: q.purpose(), Account: q.account.Name, AttemptNo: a.No, ReceivedAt: now, Settled: q.settled(asked),
		Raw: orders.Raw{Line: "query " + string(q.purpose()), Body: snapshot.Raw},
	}
	var next time.Time
	e.Fact, next = q.proven(ctx, &snapshot, err)
	if q.Last = came(err); err == nil {
		q.Last = attemptState(snapshot.State).String()
	}
	if e.Fact == nil {
		return next, nil
	}
	applied, err := q.r.apply(ctx, e)
	if err != nil {
		return time.Time{}, err
	}
	q.Order = applied.Order
	q.clear = applied.Verdict == orders.VerdictApplied || applied.Verdict == orders.VerdictNoChange
	if a = q.Order.Attempt(q.Attempt); a.State == orders.AttemptPaid {
		if q.Order.UndecidedRefund(a.No) != nil {
			return q.again(nil), nil
		}
		return time.Time{}, nil
	}
	if snapshot.Next == providers.NextConfirm {
		q.authorised = true
		refused, err := q.r.confirm(ctx, q.account, &q.Order, a)
		return q.again(refused), err
	}
	if q.over() && a.State.Ended() && !q.mustKnow() {
		return time.Time{}, nil
	}
	return q.after(q.r.d.Now(), q.Asked+1), nil
}

// settled is when the undecided refund was sent, if by the time of the question nothing of that was on its way any more.
func (q *asking) settled(asked time.Time) time.Time {
	if sent := q.refundCall(); sent != nil && asked.Sub(sent.SentAt) >= refundLife+q.patience().Grace {
		return sent.SentAt
	}
	return time.Time{}
}

// refundCall is the call of the undecided refund, or nil: there is none, or it was not sent.
func (q *asking) refundCall() *orders.Call {
	r := q.Order.UndecidedRefund(q.Attempt)
	if r == nil {
		return nil
	}
	return q.Order.RefundCall(r)
}

// proven is what the answer to a query proves, or when to ask again because it proves nothing.
func (q *asking) proven(ctx context.Context, s *providers.Snapshot, err error) (*orders.Fact, time.Time) {
	d := q.account.Provider.Describe()
	believed := d.AnswerAuth != providers.AnswerUnauthenticated // else anybody may have answered
	switch {
	case err == nil && believed:
		q.answered = true
		return q.r.fact(q.account.Name, s, nil), time.Time{}
	case err == nil:
		return nil, q.after(q.r.d.Now(), q.Asked+1)
	case ctx.Err() != nil: // we are stopping: the next process asks at once
		return nil, q.r.d.Now()
	case providers.KindOf(err) != providers.NotFound || !believed || q.mustKnow():
		return nil, q.again(err)
	case !q.over(): // the citizen has not arrived there yet
		q.answered, q.clear = true, true
		return nil, q.after(q.r.d.Now(), q.Asked+1)
	case !d.Patience.NotFoundFinal:
		return nil, q.again(err)
	}
	return &orders.Fact{State: orders.AttemptExpired}, time.Time{}
}

// after is when to ask again, at some moment after so many tries that did not end it: ever more slowly, and at the deadline
// in any case. A provider that names no time for a first query is asked at the deadline only, unless we must know.
func (q *asking) after(at time.Time, tried int) time.Time {
	next, deadline := at.Add(spaced(q.patience().Spacing, tried-1)), q.deadline()
	if !at.Before(deadline) || q.mustKnow() || (q.patience().FirstQuery > 0 && next.Before(deadline)) {
		return next
	}
	return deadline
}

// purpose is why we ask.
func (q *asking) purpose() orders.Purpose {
	switch doubt := q.Order.DoubtAbout(q.Attempt); {
	case doubt != nil:
		return orders.PurposeDoubt(doubt)
	case q.Unproven != "":
		return orders.PurposeBeforePaid(q.Unproven)
	case q.Order.UndecidedRefund(q.Attempt) != nil:
		return orders.PurposeRefund(q.Order.UndecidedRefund(q.Attempt))
	case q.over():
		return orders.PurposeAfterDeadline
	}
	return orders.PurposeLife
}

// mustKnow says whether money may have moved: then we ask until the provider says what became of it, whatever the clock
// says. That it does not know the payment is no such word.
func (q *asking) mustKnow() bool {
	return q.Unproven != "" || q.Order.DoubtAbout(q.Attempt) != nil || q.Order.UndecidedRefund(q.Attempt) != nil
}

// deadline is when the provider's page must have ended, and over whether it has passed.
func (q *asking) deadline() time.Time {
	d, end, a := q.account.Provider.Describe(), q.Order.ExpiresAt, q.Order.Attempt(q.Attempt)
	opened := a.HandedAt
	if opened.IsZero() { // its create may have been carried out all the same
		opened = a.CreatedAt
	}
	if d.PageLife > 0 && opened.Add(d.PageLife).After(end) {
		end = opened.Add(d.PageLife)
	}
	return end.Add(d.Patience.Grace)
}

func (q *asking) patience() providers.Patience { return q.account.Provider.Describe().Patience }

func (q *asking) over() bool { return !q.r.d.Now().Before(q.deadline()) }

// again is when to ask again about what we must know: ever more slowly, and no sooner than the provider allows.
func (q *asking) again(err error) time.Time {
	now := q.r.d.Now()
	next := now.Add(spaced(q.patience().Spacing, q.Asked))
	if e, ok := errors.AsType[*providers.Error](err); ok && e.RetryAfter > 0 {
		q.NotBefore = now.Add(e.RetryAfter)
		next = later(next, q.NotBefore)
	}
	return next
}

// slowestTry is between tries of something that must be known or done; queryPlan is for how long a provider is asked that
// does not say.
const (
	slowestTry = 10 * time.Minute
	queryPlan  = 72 * time.Hour
)

// spaced is how long to wait after so many repetitions: twice as long after each.
func spaced(spacing time.Duration, repeated int) time.Duration {
	return min(max(spacing, time.Second)<<min(repeated, 10), slowestTry)
}

// lastTry is the number of the try that is made at the end of a plan, when try n is made at some moment.
func lastTry(n int, at, end time.Time, after func(at time.Time, tried int) time.Time) int {
	for at.Before(end) {
		at = after(at, n)
		n++
	}
	return n
}

// came is what came of a call, for people: neither addresses nor foreign text but the provider's code. Empty: it was answered.
func came(err error) string {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*providers.Error](err); ok && e.Code != "" {
		return providers.KindOf(err).String() + " (" + e.Code + ")"
	}
	return providers.KindOf(err).String()
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
	sent, err := r.d.Store.ClaimConfirm(ctx, a.No, r.d.Now())
	if errors.Is(err, orders.ErrNotPayable) || errors.Is(err, orders.ErrCallExists) {
		r.d.Log.Info("not confirmed: the authorisation lapses", "order_no", string(o.No), "attempt_no", string(a.No), "why", err)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	snapshot, refused := call(ctx, r, account.Name, providers.OpConfirm, confirmDeadline, func(ctx context.Context) (providers.Snapshot, error) {
		return confirmer.Confirm(ctx, providers.ConfirmRequest{Attempt: ref(o, a)})
	})
	believed := account.Provider.Describe().AnswerAuth != providers.AnswerUnauthenticated
	sent.Outcome, sent.EndedAt = callOutcome(refused, believed), r.d.Now()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var fact *orders.Fact
	switch sent.Outcome {
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
			Source: orders.SourceCall, Account: account.Name, AttemptNo: a.No, Fact: fact, ReceivedAt: sent.EndedAt,
			Raw: orders.Raw{Line: "confirm", Body: snapshot.Raw},
		})
		if err != nil {
			return refused, err
		}
		state = applied.Order.Attempt(a.No).State
	}
	if sent.Outcome == orders.OutcomeDone && state != orders.AttemptPaid {
		sent.Outcome = orders.OutcomeUnknown // an answer that proves no payment proves no refusal either
	}
	return refused, r.d.Store.FinishCall(ctx, sent)
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
