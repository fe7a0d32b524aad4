package router

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// leastBudget is what must be left of a request's deadline for another send.
const leastBudget = 2 * time.Second

// trying makes attempts of one order until one leads somewhere: all under one deadline, each at another account, and each
// committed before a byte of it leaves. No money has moved whatever becomes of a create.
type trying struct {
	*Router
	w       *world
	wishes  orders.Wishes
	answers orders.Answers
	lease   *orders.Lease // the running key of the request; nil for a click, which has none
	tried   []string      // accounts
	unknown bool          // every create so far ended without a known outcome

	leaving *orders.Redirect // the redirect that was committed to leave us
}

// answered notes what an answer is rendered to.
func answered(into *orders.Answer, render orders.Render) orders.Render {
	if render == nil {
		return nil
	}
	return func(o *orders.Order) (int, []byte, error) {
		status, body, err := render(o)
		*into = orders.Answer{Status: status, Body: body}
		return status, body, err
	}
}

// add commits the next attempt at the best account that was not tried, after a create that ended so. clicked says that the
// browser waits for it.
func (t *trying) add(ctx context.Context, o *orders.Order, ended orders.Outcome, key *orders.NewKey, clicked bool) (next orders.Order, answer orders.Answer, err error) {
	ask := askedFor(o, t.wishes, t.tried...)
	decision := t.choose(t.w, ask)
	if len(decision.Ranked) == 0 {
		return next, answer, t.refusal(decision)
	}
	account := t.w.accounts[decision.Ranked[0].Account]
	d := account.Provider.Describe()
	a := orders.Addition{Order: o.No, Now: t.d.Now(), Ended: ended, Lease: t.lease, Key: key, Create: d.ServerCreate}
	if t.lease != nil {
		t.lease.Until = a.Now.Add(placeLease)
	}
	var signed *orders.Redirect
	a.Next = func(o *orders.Order) (attempt orders.Attempt, err error) {
		attempt, signed, err = t.make(ctx, o, account, decision.Receipt, a.Now, clicked)
		return attempt, err
	}
	if !d.ServerCreate && t.answers != nil {
		a.Answer = answered(&answer, t.answers.Created)
	}
	if next, err = t.d.Store.AddAttempt(ctx, a); err != nil {
		return next, answer, err
	}
	t.leaving, t.tried = signed, append(t.tried, account.Name)
	t.d.Meter.Attempt(account.Name)
	t.d.Log.Info("attempt", "order_no", string(next.No), "attempt_no", string(next.Current().No), "account", account.Name)
	return next, answer, nil
}

// make makes the next attempt of an order. Where the adapter only signs, and the redirect lives as long as the order or
// leaves now, it is signed here.
func (t *trying) make(ctx context.Context, o *orders.Order, account Account, receipt policy.Receipt, now time.Time, leaves bool) (orders.Attempt, *orders.Redirect, error) {
	ordinal := 1
	if len(o.Attempts) > 0 {
		ordinal = o.Current().Ordinal + 1
	}
	a, err := t.attempt(t.w, o, account, ordinal, now)
	if err != nil {
		return a, nil, err
	}
	a.Wishes = t.wishes
	why, err := json.Marshal(receipt)
	if err != nil {
		return a, nil, fmt.Errorf("router: decision receipt: %w", err)
	}
	a.Receipt = string(why)
	d := account.Provider.Describe()
	if d.ServerCreate || (d.RedirectLife > 0 && !leaves) {
		return a, nil, nil
	}
	with := *o
	with.Attempts = append(append([]orders.Attempt{}, o.Attempts...), a)
	signing, cancel := context.WithTimeout(ctx, signDeadline)
	defer cancel()
	created, err := account.Provider.Create(signing, t.request(t.w, &with))
	if err != nil {
		return a, nil, fmt.Errorf("router: %w", err)
	}
	signed := redirect(created.Redirect)
	if d.RedirectLife == 0 {
		a.Redirect = signed
	}
	a.Refs, a.State, a.HandedAt = created.Refs, orders.AttemptPending, now
	if first := firstQuery(d, now); !first.IsZero() && first.Before(a.QueryAt) {
		a.QueryAt = first
	}
	return a, signed, nil
}

// firstQuery is when the provider may first be asked about an attempt that leaves now; the zero time: it names no time, and
// is asked at the attempt's end.
func firstQuery(d providers.Descriptor, now time.Time) time.Time {
	if d.Patience.FirstQuery <= 0 {
		return time.Time{}
	}
	return now.Add(d.Patience.FirstQuery)
}

// run sends the create call of the newest attempt, whose row is committed, and goes on to the next account while that is
// allowed: after an outcome that is unknown, and after a proof that nothing was carried out.
func (t *trying) run(ctx context.Context, o orders.Order) (orders.Answer, error) {
	t.unknown = true
	for {
		a := o.Current()
		t.tried = append(t.tried, a.Account)
		f := orders.CreateFinish{Attempt: a.No}
		if t.lease != nil {
			f.Key, f.Fence = &t.lease.Key, t.lease.Fence
		}
		account, ok := t.w.accounts[a.Account]
		if !ok {
			return t.giveUp(ctx, f, orders.OutcomeNotSent, errNotConfigured)
		}
		d := account.Provider.Describe()
		created, err := call(ctx, t.Router, a.Account, providers.OpCreate, createLimit(d), func(ctx context.Context) (providers.Created, error) {
			return account.Provider.Create(ctx, t.request(t.w, &o))
		})
		if err == nil {
			now := t.d.Now()
			f.Outcome, f.Redirect, f.Refs, f.QueryAt = orders.OutcomeDone, redirect(created.Redirect), created.Refs, firstQuery(d, now)
			return t.finish(ctx, f, t.created())
		}
		outcome := createOutcome(err)
		t.unknown = t.unknown && outcome == orders.OutcomeUnknown
		if outcome == orders.OutcomeRefused {
			f.Outcome = outcome
			return t.finish(ctx, f, t.declined())
		}
		if deadline, ok := ctx.Deadline(); ok && deadline.Sub(t.d.Now()) < leastBudget {
			return t.giveUp(ctx, f, outcome, err)
		}
		next, answer, noMore := t.add(ctx, &o, outcome, nil, t.lease == nil)
		if noMore != nil {
			t.d.Log.Info("no further account", "order_no", string(o.No), "why", noMore)
			return t.giveUp(ctx, f, outcome, err)
		}
		if !t.w.accounts[next.Current().Account].Provider.Describe().ServerCreate {
			t.d.Wake()
			return answer, nil
		}
		o = next
	}
}

func (t *trying) created() orders.Render {
	if t.answers == nil {
		return nil
	}
	return t.answers.Created
}

func (t *trying) declined() orders.Render {
	if t.answers == nil {
		return nil
	}
	return t.answers.Declined
}

// giveUp ends a request that found no account. When every create ended unknown that is its answer: one of them may have
// gone through. Else nothing is stored, and the same request may be sent again.
func (t *trying) giveUp(ctx context.Context, f orders.CreateFinish, outcome orders.Outcome, why error) (orders.Answer, error) {
	f.Outcome = outcome
	if t.unknown && outcome == orders.OutcomeUnknown {
		var render orders.Render
		if t.answers != nil {
			render = t.answers.Unknown
		}
		return t.finish(ctx, f, render)
	}
	retryAfter := 2 * time.Second
	if e, ok := errors.AsType[*providers.Error](why); ok {
		retryAfter = max(retryAfter, e.RetryAfter)
	}
	if answer, err := t.finish(ctx, f, nil); err != nil {
		return answer, err
	}
	return orders.Answer{}, &orders.NoAccountError{Why: "no provider account can be used now (" + why.Error() + ")", RetryAfter: retryAfter}
}

// createOutcome says what an adapter's error on create means: no money has moved whatever it is, so an unknown outcome is
// abandoned but watched.
func createOutcome(err error) orders.Outcome {
	switch providers.KindOf(err) {
	case providers.Unavailable, providers.RateLimited, providers.Auth:
		return orders.OutcomeNotSent
	case providers.Invalid, providers.Declined, providers.NotFound:
		return orders.OutcomeRefused
	case providers.OutcomeUnknown, providers.Duplicate, providers.Untrusted:
		return orders.OutcomeUnknown
	}
	return orders.OutcomeUnknown
}

// finish commits a create's outcome and its answer, though the client may have hung up.
func (t *trying) finish(ctx context.Context, f orders.CreateFinish, render orders.Render) (orders.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var answer orders.Answer
	f.Now, f.Answer = t.d.Now(), answered(&answer, render)
	t.leaving = nil
	o, err := t.d.Store.FinishCreate(ctx, f)
	if err != nil {
		if errors.Is(err, orders.ErrFenced) {
			return orders.Answer{}, orders.ErrInFlight
		}
		return orders.Answer{}, err
	}
	if a := o.Attempt(f.Attempt); !a.Abandoned && !a.HandedAt.IsZero() && f.Outcome == orders.OutcomeDone {
		t.leaving = a.Redirect // as committed: an order that was paid or ended meanwhile sends nobody
	}
	t.d.Wake()
	return answer, nil
}
