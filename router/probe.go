package router

import (
	"context"
	"errors"
	"sync"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
)

// probes remember when each account was last heard of, so that one without traffic is looked after.
type probes struct {
	sync.Mutex
	heard map[string]time.Time
}

func (p *probes) note(account string, at time.Time) {
	p.Lock()
	defer p.Unlock()
	if p.heard == nil {
		p.heard = map[string]time.Time{}
	}
	p.heard[account] = at
}

func (p *probes) last(account string) time.Time {
	p.Lock()
	defer p.Unlock()
	return p.heard[account]
}

const (
	// probeIdle is how long an account may be without an answer before it is probed; at least its spacing of queries.
	probeIdle = 10 * time.Second
	// probeAgain is when the next probe follows one that never reached the provider, and so costs it nothing.
	probeAgain = time.Second
)

// ProbeStep asks an account about a payment that it knows, while there is no traffic that would tell whether it is there, or
// while its breaker waits for a proof that it is back. The answer counts for its health and for nothing else.
func (r *Router) ProbeStep(ctx context.Context, name string) (time.Time, error) {
	now := r.d.Now()
	account, ok := r.world().accounts[name]
	if !ok {
		return now.Add(idleLook), nil
	}
	d := account.Provider.Describe()
	every := max(d.Patience.Spacing, probeIdle)
	why, until := r.d.Gates.Shut(name, string(providers.OpQuery))
	if quiet := r.quietUntil(name); !quiet.IsZero() {
		return idle(now, quiet, nil)
	}
	if heard := r.probes.last(name); why == "" && now.Before(heard.Add(every)) {
		return heard.Add(every), nil
	}
	if why != "" && now.Before(until) {
		return idle(now, until, nil)
	}
	o, attempt, err := r.d.Store.LastHanded(ctx, name, now.Add(-max(d.Patience.FirstQuery, d.Patience.Spacing)))
	if errors.Is(err, orders.ErrNotFound) { // nothing that the provider knows: a question about nothing may be held against us
		return now.Add(every), nil
	}
	if err != nil {
		return now.Add(time.Second), err
	}
	if err := r.d.Store.TakeTurn(ctx, name, "", now, d.Patience.Gap); err != nil {
		if errors.Is(err, orders.ErrNothing) {
			err = nil
		}
		return now.Add(time.Second), err
	}
	_, err = call(ctx, r, name, providers.OpQuery, queryLimit(d), func(ctx context.Context) (providers.Snapshot, error) {
		return account.Provider.Query(ctx, ref(&o, o.Attempt(attempt)))
	})
	if err != nil && providers.KindOf(err) == providers.Unavailable {
		return r.d.Now().Add(probeAgain), nil
	}
	next := r.d.Now().Add(every)
	if o.State == orders.OrderOpen { // its payer may come back any moment, and is not to wait because of this
		return next, nil
	}
	return next, r.d.Store.TakeTurn(ctx, name, attempt, r.d.Now(), 0) // it counts as asked about
}
