package router

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"pay.taipei/gateway/orders"
	"pay.taipei/gateway/providers"
	"pay.taipei/gateway/router/policy"
)

// ControlStore is what the router needs of what operators and providers impose.
type ControlStore interface {
	Controls(ctx context.Context, now time.Time) ([]orders.Control, error)
	SetControl(ctx context.Context, c orders.Control) error
}

// Force is a breaker that an operator holds open or closed. Op empty: all of the account's.
type Force struct {
	Account, Op string
	Open        bool
	Until       time.Time // zero: until it is taken back
}

// imposed is what was imposed when it was last read; never changed, only replaced.
type imposed struct {
	quiet   map[string]time.Time // by account
	windows []policy.Window
}

// controls are read every second, so that nothing on the way of an order waits for them.
type controls struct{ now atomic.Pointer[imposed] }

func (c *controls) get() *imposed {
	if i := c.now.Load(); i != nil {
		return i
	}
	return &imposed{}
}

const controlsEvery = time.Second

// ControlsStep reads what is imposed on accounts. While the store is away what was read last holds.
func (r *Router) ControlsStep(ctx context.Context) (time.Time, error) {
	now := r.d.Now()
	list, err := r.d.Store.Controls(ctx, now)
	if err != nil {
		return now.Add(controlsEvery), err
	}
	next := imposed{quiet: map[string]time.Time{}}
	var forced []Force
	for _, c := range list {
		switch c.Kind {
		case orders.ControlQuiet:
			next.quiet[c.Name] = c.Until
		case orders.ControlForce:
			account, op, _ := strings.Cut(c.Name, "/")
			forced = append(forced, Force{account, op, c.Spec == "open", c.Until})
		case orders.ControlWindow:
			w, err := policy.ParseWindow([]byte(c.Spec))
			if err != nil { // whoever set it was told; an older program may not know it
				r.d.Log.Error("a maintenance window cannot be read: it has no effect", "window", c.Name, "err", err)
				continue
			}
			next.windows = append(next.windows, w)
		}
	}
	r.imposed.now.Store(&next)
	r.d.SetForced(forced)
	return now.Add(controlsEvery), nil
}

// quietUntil is until when an account wants to be left alone; the zero time: it does not.
func (r *Router) quietUntil(account string) time.Time {
	if until := r.imposed.get().quiet[account]; r.d.Now().Before(until) {
		return until
	}
	return time.Time{}
}

// rules are the configured rules with the windows that were set since.
func (r *Router) rules(w *world) policy.Rules {
	rules := w.rules
	if extra := r.imposed.get().windows; len(extra) > 0 {
		rules.Calendar = append(append(policy.Calendar{}, rules.Calendar...), extra...)
	}
	return rules
}

// heed makes the whole account quiet when its provider asks to be left alone, on all replicas and over restarts.
func (r *Router) heed(ctx context.Context, account string, err error) {
	e, ok := errors.AsType[*providers.Error](err)
	known, served := r.world().accounts[account]
	if !ok || e.Kind != providers.RateLimited || !served {
		return
	}
	wait := or(e.RetryAfter, or(known.Provider.Describe().Patience.Penalty, usualPenalty))
	now := r.d.Now()
	c := orders.Control{
		Kind: orders.ControlQuiet, Name: account, Reason: "the provider asks to be left alone (code " + e.Code + ")", By: "gateway",
		SetAt: now, Until: now.Add(wait),
	}
	if !r.quietUntil(account).Before(c.Until) {
		return // it asked for more before
	}
	next := imposed{quiet: map[string]time.Time{account: c.Until}, windows: r.imposed.get().windows}
	for name, until := range r.imposed.get().quiet {
		if name != account {
			next.quiet[name] = until
		}
	}
	r.imposed.now.Store(&next)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := r.d.Store.SetControl(ctx, c); err != nil {
		r.d.Log.Error("not written down that a provider asks to be left alone: other replicas do not know", "account", account, "until", c.Until, "err", err)
		return
	}
	r.d.Log.Warn("a provider asks to be left alone", "account", account, "until", c.Until)
}

// usualPenalty is for how long an account is left alone whose provider does not say.
const usualPenalty = time.Minute

// Condition is how an account is, for those who watch.
type Condition struct {
	Account     string
	Provider    string
	Maintenance bool      // in a window now
	QuietUntil  time.Time // zero: it may be asked
	Why         string    // nobody is sent there now; a rule's code
	Until       time.Time // of Why; zero: not known
}

// Conditions tells of every account, in the order of display.
func (r *Router) Conditions() []Condition {
	w, now := r.world(), r.d.Now()
	rules := r.rules(w)
	list := make([]Condition, len(w.display))
	for i, a := range w.display {
		d := a.Provider.Describe()
		window, in := rules.Calendar.Now(policy.Subject{Account: a.Name, Provider: d.Name}, now)
		list[i] = Condition{Account: a.Name, Provider: d.Name, Maintenance: in, QuietUntil: r.quietUntil(a.Name)}
		health := r.health(a.Name, d)
		switch {
		case in:
			list[i].Why, list[i].Until = policy.Maintenance, window.End
		case health.Down:
			list[i].Why, list[i].Until = health.Why, health.Until
		}
	}
	return list
}

// CheckWindow refuses a window that names nothing configured, is wrong in itself, or overlaps another one of the same subject.
func (r *Router) CheckWindow(w *policy.Window) error {
	world := r.world()
	rules := r.rules(world)
	others := slices.DeleteFunc(slices.Clone(rules.Calendar), func(o policy.Window) bool { return o.ID == w.ID })
	var accounts []policy.Account
	for _, a := range world.display {
		accounts = append(accounts, policy.Account{Name: a.Name, Provider: a.Provider.Describe().Name})
	}
	var merchants []policy.Merchant
	for code := range world.merchants {
		merchants = append(merchants, policy.Merchant{Code: code})
	}
	if problems := policy.Validate(policy.Rules{Calendar: append(others, *w)}, accounts, merchants); len(problems) > 0 {
		return fmt.Errorf("window %s: %s", w.ID, problems[0].What)
	}
	return nil
}
