package app

import (
	"context"
	mathrand "math/rand/v2"
	"time"

	"pay.taipei/gateway/internal/breaker"
	"pay.taipei/gateway/router"
	"pay.taipei/gateway/router/policy"
)

// gates lets the router use the breakers, whose words are their own.
type gates struct{ set *breaker.Set }

func (a *App) openGates() error {
	set, err := breaker.New(breaker.Config{Replica: newID(), MaxOpen: longestOpen, Window: window, Bucket: window / 60}, breaker.Deps{Now: a.now, Rand: mathrand.Uint64, Board: a.redis.Board("breakers")})
	a.gates = gates{set}
	return err
}

// Enter is documented in router.Gates.
func (g gates) Enter(ctx context.Context, account, op string) (func(router.CallResult), error) {
	done, err := g.set.Enter(ctx, account, op)
	if err != nil {
		return nil, err
	}
	return func(r router.CallResult) { done(resultOf(r)) }, nil
}

func resultOf(r router.CallResult) breaker.Result {
	switch r {
	case router.CallAnswered:
		return breaker.Success
	case router.CallFault:
		return breaker.Fault
	case router.CallExcluded:
	}
	return breaker.Excluded
}

// Shut is documented in router.Gates.
func (g gates) Shut(account, op string) (why string, until time.Time) {
	s := g.set.Look(account, op)
	switch s.Why {
	case breaker.WhyForced:
		return policy.ForcedOpen, s.Until
	case breaker.WhyOpen, breaker.WhyProbing, breaker.WhyAdvice, breaker.WhyFull:
		return policy.BreakerOpen, s.Until
	}
	return "", time.Time{}
}

// force hands over what operators hold open or closed.
func (g gates) force(list []router.Force) {
	forced := make([]breaker.Forced, len(list))
	for i, f := range list {
		forced[i] = breaker.Forced{Account: f.Account, Op: f.Op, Mode: breaker.ForceClosed, Until: f.Until}
		if f.Open {
			forced[i].Mode = breaker.ForceOpen
		}
	}
	g.set.SetForced(forced)
}

// watchAccounts shows how the accounts are.
func (a *App) watchAccounts() {
	now := a.now()
	known := map[string]bool{}
	for _, c := range a.router.Conditions() {
		known[c.Account] = true
		a.metrics.Maintenance(c.Account, c.Maintenance)
		a.metrics.Quiet(c.Account, c.QuietUntil.Sub(now))
	}
	for _, s := range a.gates.set.States() {
		if known[s.Account] {
			a.metrics.Breaker(s.Account, s.Op, int(s.Phase), s.Forced != breaker.ForceNone)
		}
	}
}

// window is long enough that the probes of an account without traffic, which come no faster than its provider likes, open its
// breaker too.
const window = 2 * time.Minute

// longestOpen lets an account that comes back serve again within half a minute, also after many failed probes.
const longestOpen = 20 * time.Second
