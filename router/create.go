package router

import (
	"context"
	"errors"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// create makes the one create call of the current attempt, whose call row is committed,
// and commits its outcome.
func (p *placing) create(ctx context.Context, o *orders.Order, fence int64) (orders.Answer, error) {
	a := o.Current()
	account, ok := p.accounts[a.Account]
	if !ok {
		return orders.Answer{}, &orders.NoAccountError{Why: "account " + a.Account + " is not configured any more", RetryAfter: time.Minute}
	}
	created, err := observed(p.Router, a.Account, providers.OpCreate, func() (providers.Created, error) {
		return account.Provider.Create(ctx, p.request(o))
	})
	finish := orders.CreateFinish{Key: p.cmd.Key, Fence: fence, Attempt: a.No, Now: p.d.Now()}
	if err != nil {
		outcome, render, refused := p.createError(err)
		finish.Outcome = outcome
		return p.finish(ctx, finish, render, refused)
	}
	finish.Outcome, finish.Redirect, finish.Refs = orders.OutcomeDone, redirect(created.Redirect), created.Refs
	return p.finish(ctx, finish, p.answers.Created, nil)
}

// createError says what an adapter's error on create means: no money has moved whatever
// it is, so an unknown outcome is abandoned but watched.
func (p *placing) createError(err error) (orders.Outcome, func(*orders.Order) (int, []byte, error), error) {
	var e *providers.Error
	retryAfter := 2 * time.Second
	if errors.As(err, &e) && e.RetryAfter > retryAfter {
		retryAfter = e.RetryAfter
	}
	switch kind := providers.KindOf(err); kind {
	case providers.Unavailable, providers.RateLimited, providers.Auth:
		return orders.OutcomeNotSent, nil, &orders.NoAccountError{Why: "the provider cannot be used now (" + kind.String() + ")", RetryAfter: retryAfter}
	case providers.Invalid, providers.Declined, providers.NotFound:
		return orders.OutcomeRefused, p.answers.Declined, nil
	case providers.OutcomeUnknown, providers.Duplicate, providers.Untrusted:
		return orders.OutcomeUnknown, p.answers.Unknown, nil
	}
	return orders.OutcomeUnknown, p.answers.Unknown, nil
}

// finish commits a create's outcome and its answer, though the client may have hung up.
func (p *placing) finish(ctx context.Context, f orders.CreateFinish, render func(*orders.Order) (int, []byte, error), refused error) (orders.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	var answer orders.Answer
	if render != nil {
		f.Answer = func(o *orders.Order) (int, []byte, error) {
			status, body, err := render(o)
			answer = orders.Answer{Status: status, Body: body}
			return status, body, err
		}
	}
	if _, err := p.d.Store.FinishCreate(ctx, f); err != nil {
		if errors.Is(err, orders.ErrFenced) {
			return orders.Answer{}, orders.ErrInFlight
		}
		return orders.Answer{}, err
	}
	p.d.Wake()
	return answer, refused
}

// resume goes on with the order of a request that died: with a new attempt when nobody
// knows whether the old one left us, else with the same.
func (p *placing) resume(ctx context.Context) (orders.Answer, error) {
	now := p.d.Now()
	var stored orders.Answer
	o, fence, err := p.d.Store.Resume(ctx, orders.Resumption{
		Key: p.cmd.Key, Fingerprint: p.fingerprint, Now: now, LeaseUntil: now.Add(placeLease),
		Next: func(o *orders.Order) (orders.Attempt, error) {
			last := o.Current()
			account, ok := p.accounts[last.Account]
			if !ok {
				return orders.Attempt{}, &orders.NoAccountError{Why: "account " + last.Account + " is not configured any more", RetryAfter: time.Minute}
			}
			return p.attempt(o, account, last.Ordinal+1, now)
		},
		Conflict: func(o *orders.Order, b *orders.BillError) (int, []byte, error) {
			status, body, err := p.answers.Conflict(o, b)
			stored = orders.Answer{Status: status, Body: body}
			return status, body, err
		},
	})
	var bill *orders.BillError
	switch {
	case errors.As(err, &bill):
		p.d.Wake()
		return stored, nil
	case errors.Is(err, orders.ErrKeyTaken):
		return orders.Answer{}, orders.ErrInFlight
	case err != nil:
		return orders.Answer{}, err
	}
	p.d.Log.Info("order resumed", "order_no", string(o.No), "attempt_no", string(o.Current().No))
	return p.create(ctx, &o, fence)
}
