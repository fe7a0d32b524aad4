package router

import (
	"context"
	"errors"
	"slices"
	"time"

	"pay.taipei/gateway/orders"
)

// Attempt makes another way to pay an order: the citizen went back and picks another provider. Earlier attempts are
// watched on. Errors are those of Place, and orders.ErrNotFound, ErrNotPayable, ErrTooManyAttempts.
func (r *Router) Attempt(ctx context.Context, cmd orders.AttemptCommand, answers orders.Answers) (orders.Answer, error) {
	return r.once(ctx, cmd.Key, &cmd, func(ctx context.Context, key orders.NewKey) (orders.Answer, error) {
		o, err := r.d.Store.Order(ctx, cmd.Order)
		if err != nil {
			return orders.Answer{}, err
		}
		t := &trying{Router: r, w: r.world(), wishes: o.Current().Wishes, answers: answers}
		if len(cmd.Providers) > 0 {
			if !slices.ContainsFunc(cmd.Providers, t.w.named) {
				return orders.Answer{}, errUnknownProvider()
			}
			t.wishes = orders.Wishes{Providers: cmd.Providers}
		}
		if len(cmd.Methods) > 0 {
			t.wishes.Methods = cmd.Methods
		}
		key.LeaseUntil, key.Fence = r.d.Now().Add(placeLease), r.d.Now().UnixNano()
		return t.begin(ctx, &o, &key, false)
	})
}

// Cancel cancels an order; while a call that moves money is in doubt it notes the wish, and evidence decides. Errors:
// orders.ErrNotFound, ErrNotPayable, ErrKeyReused, ErrUnavailable.
func (r *Router) Cancel(ctx context.Context, cmd orders.CancelCommand, answers orders.Answers) (orders.Answer, error) {
	return r.once(ctx, cmd.Key, &cmd, func(ctx context.Context, key orders.NewKey) (answer orders.Answer, err error) {
		o, err := r.d.Store.Cancel(ctx, orders.Cancellation{
			Order: cmd.Order, Now: r.d.Now(), Key: &key, Answer: answered(&answer, answers.Cancelled),
		})
		if err != nil {
			return orders.Answer{}, err
		}
		r.cancelled(&o)
		return answer, nil
	})
}

func (r *Router) cancelled(o *orders.Order) {
	if o.State == orders.OrderCancelled {
		r.d.Meter.OrderMoved(o.State.String())
	}
	r.d.Log.Info("order cancelled", "order_no", string(o.No), "status", o.State.String(), "waits_for_doubt", o.State == orders.OrderOpen)
	r.d.Wake()
}

// once runs a request under its key, unless its answer is stored: to its end, though the client may have hung up. The key
// of a request that died without an answer does not keep the next from being made.
func (r *Router) once(ctx context.Context, key orders.KeyRef, cmd interface{ Fingerprint() ([32]byte, error) }, fresh func(context.Context, orders.NewKey) (orders.Answer, error)) (orders.Answer, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), placeDeadline)
	defer cancel()
	fingerprint, err := cmd.Fingerprint()
	if err != nil {
		return orders.Answer{}, err
	}
	for range 2 {
		row, err := r.d.Store.LookKey(ctx, key)
		if err == nil {
			if answer, done, err := r.stored(row, fingerprint); done || err != nil {
				return answer, err
			}
		} else if !errors.Is(err, orders.ErrNotFound) {
			return orders.Answer{}, err
		}
		answer, err := fresh(ctx, orders.NewKey{Ref: key, Fingerprint: fingerprint})
		if !errors.Is(err, orders.ErrKeyTaken) { // the same request won the race
			return answer, err
		}
	}
	return orders.Answer{}, orders.ErrInFlight
}

// supersede takes the bills from an order of the same client: its provider is asked now, and if it is not paid it is
// cancelled. Nothing is guessed: where the provider may not be asked, or does not say, the bills stay.
func (r *Router) supersede(ctx context.Context, held *orders.BillError) error {
	o, err := r.d.Store.Order(ctx, held.Holder)
	if err != nil {
		return err
	}
	keep := func(wait time.Duration) error {
		kept := *held
		kept.RetryAfter = max(wait, time.Second)
		return &kept
	}
	if o.State != orders.OrderOpen || o.Review || o.Doubt() {
		return keep(supersedeWait)
	}
	for i := range o.Attempts {
		a := &o.Attempts[i]
		if !o.MayHaveLeft(a) {
			continue
		}
		if a.State.Ended() {
			told, err := r.d.Store.ToldPaid(ctx, a.No)
			if err != nil {
				return err
			}
			if !told {
				continue
			}
		}
		if wait, err := r.unpaid(ctx, a); err != nil || wait > 0 {
			if err != nil {
				return err
			}
			return keep(wait)
		}
	}
	done, err := r.d.Store.Cancel(ctx, orders.Cancellation{Order: o.No, Now: r.d.Now()})
	switch {
	case errors.Is(err, orders.ErrNotPayable): // paid or ended meanwhile: placing tells
		return nil
	case err != nil:
		return err
	case done.State == orders.OrderOpen:
		return keep(supersedeWait)
	}
	r.cancelled(&done)
	return nil
}

// supersedeWait is when to ask again for bills that a doubtful order holds.
const supersedeWait = 5 * time.Second

// unpaid asks the provider of an attempt now. No wait means that it said clearly: not paid.
func (r *Router) unpaid(ctx context.Context, a *orders.Attempt) (wait time.Duration, err error) {
	account, ok := r.world().accounts[a.Account]
	if !ok {
		return supersedeWait, nil
	}
	patience, now := account.Provider.Describe().Patience, r.d.Now()
	if early := a.HandedAt.Add(patience.FirstQuery).Sub(now); !a.HandedAt.IsZero() && early > 0 {
		return early, nil
	}
	w, err := r.d.Store.ClaimAttempt(ctx, a.No, now, sweepLease, patience.Gap, patience.Spacing)
	if errors.Is(err, orders.ErrNothing) {
		return max(patience.Spacing, supersedeWait), nil
	}
	if err != nil {
		return 0, err
	}
	q := asking{r: r, QueryWork: w, account: account}
	if err := q.step(ctx); err != nil {
		return 0, err
	}
	if !q.answered || !q.clear || w.Unproven != "" || q.authorised || q.Order.Doubt() || q.Order.Attempt(a.No).State == orders.AttemptPaid {
		return supersedeWait, nil
	}
	return 0, nil
}
